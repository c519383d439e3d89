//! WasmPlugins as Envoy's HTTP filters.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Configuration, Delivery, Settings, set};
use crate::mesh::modules::Module;
use crate::mesh::plugins::Plugin;
use crate::resources::wasm_plugin::FailStrategy;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Istio's for WasmPlugins. The proxy's name comes after the plugin's, since here the proxies share one Envoy.
const NAME_PREFIX: &str = "extensions.istio.io/wasmplugin/";

/// A filter that is delivered by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// `envoy.config.core.v3.TypedExtensionConfig`.
    pub resource: Value,
    /// The WasmPlugin behind it, `namespace/name`.
    pub plugin: String,
    /// Whose sidecar runs it.
    pub proxy: String,
}

/// The HTTP filters of one proxy: its plugins and the router.
pub(super) fn http_filters(
    plugins: &[std::sync::Arc<Plugin>],
    proxy: &str,
    settings: &Settings<'_>,
    configuration: &mut Configuration,
) -> Vec<Value> {
    let mut filters: Vec<Value> = Vec::new();
    for plugin in plugins {
        let name = format!("{NAME_PREFIX}{}.{}~{proxy}", plugin.namespace, plugin.name);
        let typed_config = wasm(plugin, proxy, &module_file(&plugin.module, &settings.delivery));
        match &settings.delivery {
            Delivery::Inline => filters.push(json!({"name": name, "typed_config": typed_config})),
            Delivery::Files { xds, .. } => {
                filters.push(json!({
                    "name": name,
                    "config_discovery": {
                        "config_source": file_source(&xds.join("extensions").join(file_name(&name))),
                        "type_urls": [WASM],
                    },
                }));
                let resource = json!({
                    "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                    "name": name,
                    "typed_config": typed_config,
                });
                let extension = Extension { resource, plugin: plugin.id(), proxy: proxy.to_owned() };
                configuration.extensions.insert(name, extension);
            }
        }
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    filters
}

/// The directory's name for an extension, which has slashes in its own.
pub fn file_name(name: &str) -> String {
    name.trim_start_matches(NAME_PREFIX).replace('/', "_")
}

/// A file in a directory of its own, replaced by renaming.
pub fn file_source(directory: &Path) -> Value {
    json!({
        "path_config_source": {
            "path": directory.join("config.json"),
            "watched_directory": {"path": directory},
        },
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    })
}

/// Where Envoy reads a module.
pub fn module_file(module: &Module, delivery: &Delivery) -> PathBuf {
    match delivery {
        Delivery::Inline => module.path.clone(),
        Delivery::Files { modules, .. } => modules.join(format!("{}.wasm", module.sha256)),
    }
}

fn wasm(plugin: &Plugin, proxy: &str, module_file: &Path) -> Value {
    let mut vm = json!({
        // Filters of one vm_id share data. Pods don't; so that the workloads that share this Envoy don't either, each
        // has a vm_id of its own, where Istio leaves it empty.
        "vm_id": proxy,
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": module_file}},
    });
    if !plugin.env.is_empty() || !plugin.host_env.is_empty() {
        set(&mut vm, "environment_variables", json!({"key_values": plugin.env, "host_env_keys": plugin.host_env}));
    }
    let mut config = json!({
        "name": format!("{}.{}", plugin.namespace, plugin.name),
        "root_id": plugin.root_id,
        "failure_policy": match plugin.fail_strategy {
            FailStrategy::FailClose => "FAIL_CLOSED",
            FailStrategy::FailOpen => "FAIL_OPEN",
            FailStrategy::FailReload => "FAIL_RELOAD",
        },
        "vm_config": vm,
    });
    if let Some(configuration) = &plugin.configuration {
        set(
            &mut config,
            "configuration",
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration}),
        );
    }
    json!({"@type": WASM, "config": config})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_has_a_file_of_its_own() {
        let name = |plugin: &str| file_name(&format!("{NAME_PREFIX}prod.{plugin}~prod/users"));
        assert_eq!(name("limit"), "prod.limit~prod_users");
        assert_ne!(name("limit"), name("metrics"));
    }
}
