//! What Istio makes of the shipped Telemetry and of the providers that it names, for an Envoy without a control plane.
//!
//! The manifests are read as they are shipped. That istiod makes the same of them is what `tests/mesh` shows.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::{artifacts, daemon::program};

/// A YAML file of `istio/monitoring`.
///
/// # Panics
/// It is missing, or no YAML.
pub fn shipped(file: &str) -> Value {
    let path = artifacts::project().join("istio/monitoring").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Telemetry that a kustomization of `istio/monitoring` makes.
///
/// # Panics
/// It makes none, or several.
pub fn resource(kustomization: &str) -> Value {
    let directory = artifacts::project().join("istio/monitoring").join(kustomization);
    let build = Command::new(program("bin/kustomize", "tools")).arg("build").arg(directory).output().expect("it runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    among(&String::from_utf8(build.stdout).expect("text"))
}

/// The one Telemetry among resources in YAML.
///
/// # Panics
/// There is none, or there are several.
pub fn among(resources: &str) -> Value {
    let resources: Vec<Value> = serde_saphyr::from_multiple(resources).expect("YAML");
    let telemetry: Vec<Value> = resources.into_iter().filter(|it| it["kind"] == "Telemetry").collect();
    <[Value; 1]>::try_from(telemetry).map(|[telemetry]| telemetry).unwrap_or_else(|all| panic!("{}", all.len()))
}

/// The mesh's extension providers.
pub fn providers() -> Value {
    shipped("mesh-config.yaml")["spec"]["meshConfig"]["extensionProviders"].take()
}

/// The extension provider of this name.
fn provider(name: &Value) -> Value {
    let providers = providers().as_array().cloned().unwrap_or_default();
    providers.into_iter().find(|provider| provider["name"] == *name).unwrap_or_else(|| panic!("no provider {name}"))
}

/// The access log of an inbound listener, with the file that it is written to.
///
/// # Panics
/// The Telemetry turns on none, or one of another kind.
pub fn access_log(telemetry: &Value, path: &str) -> Value {
    let provider = provider(&telemetry["spec"]["accessLogging"][0]["providers"][0]["name"]);
    let file = &provider["envoyFileAccessLog"];
    assert_eq!(file["path"], "/dev/stdout", "what a container runtime keeps");
    let labels = &file["logFormat"]["labels"];
    assert!(labels.is_object(), "{file}");
    let mut format = json!({"json_format": labels, "json_format_options": {}});
    if labels.to_string().contains("%REQ_WITHOUT_QUERY") {
        format["formatters"] = json!([{
            "name": "envoy.formatter.req_without_query",
            "typed_config":
                {"@type": "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"},
        }]);
    }
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": format,
        },
    })
}

/// The tracing of a connection manager that sends spans to a cluster, as those of a service.
///
/// # Panics
/// The Telemetry turns on none, or by another protocol.
pub fn tracing(telemetry: &Value, service: &str, cluster: &str) -> Value {
    let tracing = &telemetry["spec"]["tracing"][0];
    let provider = provider(&tracing["providers"][0]["name"]);
    let collector = &provider["opentelemetry"]["service"];
    assert!(collector.is_string(), "{provider}");
    json!({
        "client_sampling": {"value": 100.0},
        "random_sampling": {"value": tracing["randomSamplingPercentage"].as_f64()},
        "overall_sampling": {"value": 100.0},
        "custom_tags": custom_tags(telemetry),
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": service,
                "grpc_service": {"envoy_grpc": {"cluster_name": cluster, "authority": collector}},
            },
        },
    })
}

/// The tags that it puts on spans, sorted by name.
pub fn custom_tags(telemetry: &Value) -> Vec<Value> {
    let tags = telemetry["spec"]["tracing"][0]["customTags"].as_object().cloned().unwrap_or_default();
    let tag = |(name, of): (String, Value)| {
        let mut tag = Map::from_iter([("tag".to_owned(), json!(name))]);
        match (of["formatter"]["value"].as_str(), of["literal"]["value"].as_str()) {
            (Some(format), None) => tag.insert("value".to_owned(), json!(format)),
            (None, Some(text)) => tag.insert("literal".to_owned(), json!({"value": text})),
            _ => panic!("{name}: {of}"),
        };
        Value::Object(tag)
    };
    tags.into_iter().map(tag).collect()
}

/// Expressions that it puts into labels of Istio's metrics, by label.
///
/// # Panics
/// They differ from metric to metric.
pub fn metric_labels(telemetry: &Value) -> Map<String, Value> {
    let overrides = telemetry["spec"]["metrics"][0]["overrides"].as_array().cloned().unwrap_or_default();
    let tags: Vec<&Value> = overrides.iter().map(|of| &of["tagOverrides"]).collect();
    assert!(tags.windows(2).all(|pair| pair[0] == pair[1]), "{overrides:?}");
    let tags = tags.first().and_then(|tags| tags.as_object()).expect("labels");
    tags.iter().map(|(label, of)| (label.clone(), of["value"].clone())).collect()
}
