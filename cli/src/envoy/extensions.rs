//! WasmPlugins as Envoy's HTTP filters.

use std::path::Path;

use serde_json::{Value, json};

use super::{Configuration, Delivery, Settings};
use crate::mesh::plugins::Plugin;
use crate::resources::wasm_plugin::FailStrategy;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

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
        let name = format!("extensions.istio.io/wasmplugin/{}.{}~{proxy}", plugin.namespace, plugin.name);
        let typed_config = wasm(plugin, proxy);
        match &settings.delivery {
            Delivery::Inline => filters.push(json!({"name": name, "typed_config": typed_config})),
            Delivery::Files(directory) => {
                filters.push(json!({
                    "name": name,
                    "config_discovery": {
                        "config_source": file_source(&directory.join("extensions").join(file_name(&name))),
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
    name.rsplit('/').next().unwrap_or(name).to_owned()
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

fn wasm(plugin: &Plugin, proxy: &str) -> Value {
    let mut vm = json!({
        // Filters of one vm_id share data. Pods don't; so that the workloads that share this Envoy don't either, each
        // has a vm_id of its own, where Istio leaves it empty.
        "vm_id": proxy,
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": plugin.module.path}},
    });
    if !plugin.env.is_empty() || !plugin.host_env.is_empty() {
        vm["environment_variables"] = json!({"key_values": plugin.env, "host_env_keys": plugin.host_env});
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
        config["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration});
    }
    json!({"@type": WASM, "config": config})
}
