//! The bootstrap: static for `render`, with files to watch for `run`; and what of the statistics is fixed at the start.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::extensions::file_source;
use super::{Configuration, node, set, socket_address};
use crate::mesh::Mesh;

/// Everything in one document.
pub fn standalone(mesh: &Mesh, configuration: &Configuration, admin: SocketAddr) -> Value {
    json!({
        "node": node(),
        "admin": {"address": socket_address(admin)},
        "static_resources": {
            "listeners": configuration.listeners.values().collect::<Vec<_>>(),
            "clusters": configuration.clusters.values().collect::<Vec<_>>(),
        },
        "stats_config": stats_config(mesh),
    })
}

/// Listeners and clusters come from files below `directory`.
pub fn watching(mesh: &Mesh, directory: &Path, admin: SocketAddr) -> Value {
    json!({
        "node": node(),
        "admin": {"address": socket_address(admin)},
        "dynamic_resources": {
            "lds_config": file_source(&directory.join("listeners")),
            "cds_config": file_source(&directory.join("clusters")),
        },
        "stats_config": stats_config(mesh),
    })
}

/// Tags as Istio's bootstrap makes them of `extraStatTags`, beside Envoy's own.
pub fn stats_config(mesh: &Mesh) -> Value {
    let tags: Vec<Value> =
        mesh.stat_tags.iter().map(|tag| json!({"tag_name": tag, "regex": format!("({tag}=\\.=(.*?);\\.;)")})).collect();
    let mut config = json!({"use_all_default_tags": true, "stats_tags": tags});
    if !mesh.histogram_buckets.is_empty() {
        let buckets = mesh.histogram_buckets.iter();
        let settings = buckets.map(|(prefix, buckets)| json!({"match": {"prefix": prefix}, "buckets": buckets}));
        set(&mut config, "histogram_bucket_settings", json!(settings.collect::<Vec<_>>()));
    }
    config
}
