//! What the modules that ship ask of their host.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use tollgate_tests::artifacts;

/// What `make build` holds each to as well.
const LARGEST: u64 = 180_000;
const LARGEST_POLICY: u64 = 255_000;

#[test]
fn modules_are_small_and_ask_only_for_what_they_use() {
    let common = [
        "env.proxy_define_metric",
        "env.proxy_get_buffer_bytes",
        "env.proxy_get_header_map_pairs",
        "env.proxy_get_header_map_value",
        "env.proxy_get_property",
        "env.proxy_increment_metric",
        "env.proxy_log",
        "env.proxy_record_metric",
    ];
    let denying = ["env.proxy_send_local_response", "env.proxy_set_property", "wasi_snapshot_preview1.clock_time_get"];
    let storing = ["env.proxy_get_shared_data", "env.proxy_set_shared_data", "wasi_snapshot_preview1.random_get"];
    let removing = ["env.proxy_remove_header_map_value"];
    let answering = ["env.proxy_add_header_map_value"];
    let counting = [
        "env.proxy_get_shared_data",
        "env.proxy_set_property",
        "env.proxy_set_shared_data",
        "wasi_snapshot_preview1.clock_time_get",
    ];
    let exports = [
        "__data_end",
        "__heap_base",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_memory_allocate",
        "proxy_on_request_headers",
    ];
    for (name, largest, more_imports, more_exports) in [
        ("rate-limit", LARGEST_POLICY, [&denying[..], &storing].concat(), &[][..]),
        (
            "rate-limit-response",
            LARGEST_POLICY,
            [&denying[..], &storing, &answering].concat(),
            &["proxy_on_response_headers"],
        ),
        ("mtls-identity", LARGEST_POLICY, [&denying[..], &answering, &removing].concat(), &[]),
        ("route-metrics", LARGEST, counting.to_vec(), &["proxy_on_log"]),
    ] {
        let inspect = Command::new(artifacts::tollgate())
            .args(["inspect", "-o", "json"])
            .arg(artifacts::module(name))
            .output()
            .expect("tollgate runs");
        let report: Value = serde_json::from_slice(&inspect.stdout).expect("JSON");
        assert!(inspect.status.success(), "{report}");
        let module = &report[0];
        let bytes = module["bytes"].as_u64().expect("a size");
        eprintln!("{name}: {bytes} bytes");
        assert!(bytes <= largest, "{name} has {bytes} bytes");
        let expected = common.into_iter().chain(more_imports).collect();
        assert_eq!(names(&module["imports"]), expected, "imports of {name}");
        let expected = exports.into_iter().chain(more_exports.iter().copied()).collect();
        assert_eq!(names(&module["exports"]), expected, "exports of {name}");
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}
