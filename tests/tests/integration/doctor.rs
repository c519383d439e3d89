//! `tollgate doctor` at real Envoys, healthy and each ill in its own way.

use std::{path::Path, process::Output, time::Duration};

use serde_json::{Value, json};
use tokio::process::Command;
use tollgate_tests::{
    artifacts,
    client::get,
    config::{Discovered, Listener, Plugin, bootstrap},
    envoy::Envoy,
    flood::flood,
};

/// What doctor says of an Envoy: its exit code and its findings.
struct Said {
    code: Option<i32>,
    report: Value,
}

impl Said {
    fn is_healthy(&self) -> bool {
        self.code == Some(0) && self.report["healthy"] == true
    }

    /// The finding of a check that is an error or a warning.
    fn trouble(&self, check: &str) -> &Value {
        assert_eq!(self.code, Some(1), "{:#}", self.report);
        let findings = self.report["findings"].as_array().expect("a list");
        let is_it = |finding: &&Value| {
            finding["check"] == check && ["error", "warning"].iter().any(|it| finding["severity"] == *it)
        };
        let found = findings.iter().find(is_it).unwrap_or_else(|| panic!("no {check}: {:#}", self.report));
        for part in ["what", "why", "cure"] {
            assert!(found[part].as_str().is_some_and(|text| !text.is_empty()), "no {part}: {found:#}");
        }
        found
    }
}

async fn run(arguments: &[&str]) -> Output {
    let tollgate = tokio::task::spawn_blocking(artifacts::tollgate).await.expect("no panic");
    Command::new(tollgate).arg("doctor").args(arguments).output().await.expect("tollgate runs")
}

async fn doctor(envoy: &Envoy, more: &[&str]) -> Said {
    let admin = envoy.admin().to_string();
    let output = run(&[&["--admin", &admin, "-o", "json", "--watch", "1s"], more].concat()).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Said { code: output.status.code(), report }
}

/// The same while requests come.
async fn doctor_under_load(envoy: &Envoy, more: &[&str]) -> Said {
    let address = envoy.address("in");
    let load = tokio::spawn(async move { flood(address, "/", 2, Duration::from_secs(4)).await });
    let said = doctor(envoy, more).await;
    load.abort();
    said
}

fn rate_limit(rules: Value) -> Plugin {
    Plugin::new("rate-limit", json!({ "rules": rules }))
}

fn wide() -> Value {
    json!([{"name": "wide", "limits": [{"requests": 1_000_000, "per": "1s"}]}])
}

fn metrics() -> Plugin {
    Plugin::new("route-metrics", json!({}))
}

fn inbound(plugins: &[Plugin]) -> Listener {
    Listener::new("in", plugins.iter().map(Plugin::filter))
}

async fn start(listener: Listener) -> Envoy {
    Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&[listener], vec![])).await
}

/// A WasmPlugin as a file, with a module's own digest.
fn manifest(directory: &Path, name: &str, config: &Value) -> String {
    use sha2::{Digest as _, Sha256};
    let module = std::fs::read(artifacts::module(name)).expect("the module");
    let sha256: String = Sha256::digest(&module).iter().map(|byte| format!("{byte:02x}")).collect();
    let resource = json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {
            "url": format!("https://registry.example.com/{name}.wasm"),
            "sha256": sha256,
            "match": [{"mode": "SERVER"}],
            "phase": if name == "route-metrics" { "AUTHN" } else { "STATS" },
            "pluginConfig": config,
        },
    });
    let path = directory.join(format!("{name}.json"));
    std::fs::write(&path, resource.to_string()).expect("writable");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_proxy_has_nothing_wrong_alone_and_beside_its_manifests() {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    for binary in artifacts::envoys() {
        let envoy = Envoy::start(&binary, 2, &bootstrap(&[inbound(&[metrics(), rate_limit(wide())])], vec![])).await;
        let said = doctor_under_load(&envoy, &[]).await;
        assert!(said.is_healthy(), "Envoy {}: {:#}", binary.version, said.report);
        let oks =
            said.report["findings"].as_array().expect("a list").iter().filter(|finding| finding["severity"] == "ok");
        assert_eq!(oks.count(), 2, "{:#}", said.report);
        assert_eq!(said.report["proxies"][0]["envoy"], binary.version);

        let files = [
            manifest(directory.path(), "route-metrics", &json!({})),
            manifest(directory.path(), "rate-limit", &json!({ "rules": wide() })),
        ];
        let module = artifacts::module("rate-limit").display().to_string();
        let said = doctor(&envoy, &["-f", &files[0], "-f", &files[1], "--module", &module]).await;
        assert!(said.is_healthy(), "{:#}", said.report);
        // What the manifest says now is not what the proxy has.
        let other = json!({ "rules": [{"name": "wide", "limits": [{"requests": 7, "per": "1s"}]}] });
        manifest(directory.path(), "rate-limit", &other);
        let said = doctor(&envoy, &["-f", &files[0], "-f", &files[1]]).await;
        let what = said.trouble("configuration")["what"].to_string();
        assert!(what.contains("rules.0.limits.0.requests is 1000000 there, 7 in the resource"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_stay_in_the_names_of_metrics_are_an_error() {
    let mut without = bootstrap(&[inbound(&[metrics(), rate_limit(wide())])], vec![]);
    without["stats_config"] = json!({});
    let envoy = Envoy::start(&artifacts::newest_envoy(), 2, &without).await;
    let said = doctor(&envoy, &[]).await;
    assert!(said.trouble("stats-tags")["what"].to_string().contains("___tollgate_"), "{:#}", said.report);
    // One that is missing is enough.
    let mut without_one = bootstrap(&[inbound(&[metrics(), rate_limit(wide())])], vec![]);
    without_one["stats_config"]["stats_tags"]
        .as_array_mut()
        .expect("a list")
        .retain(|tag| tag["tag_name"] != "decision");
    let envoy = Envoy::start(&artifacts::newest_envoy(), 2, &without_one).await;
    doctor(&envoy, &[]).await.trouble("stats-tags");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_in_the_wrong_order_are_named() {
    let envoy = start(inbound(&[rate_limit(wide()), metrics()])).await;
    let said = doctor(&envoy, &[]).await;
    let order = said.trouble("order");
    assert_eq!(order["plugin"], "wasm-route-metrics", "{order:#}");
    assert_eq!(order["what"], "a request meets it after wasm-rate-limit", "{order:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_refused_is_found_with_the_place_of_the_mistake() {
    let discovered = Discovered::new(&rate_limit(wide()));
    let listener = Listener::new("in", [discovered.filter()]);
    let envoy = start(listener).await;
    assert!(doctor(&envoy, &[]).await.is_healthy());
    let failed = "extension_config_discovery.http_filter.discovered.config_fail";
    let before = envoy.stat(failed).await;
    discovered.push(&rate_limit(json!([{"name": "wide", "limits": [{"requests": 0, "per": "1s"}]}])));
    envoy.wait_until("it is refused", async || envoy.stat(failed).await > before).await;
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let bad = json!({ "rules": [{"name": "wide", "limits": [{"requests": 0, "per": "1s"}]}] });
    let file = manifest(directory.path(), "rate-limit", &bad);
    let said = doctor(&envoy, &["-f", &file]).await;
    let what = said.trouble("plugin-config")["what"].to_string();
    assert!(what.contains("rules[0].limits[0].requests: must be greater than zero, found 0"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_meet_no_request_are_an_error_while_requests_come() {
    let rules = json!([{"name": "login", "match": [{"paths": ["/login"]}], "limits": [{"requests": 1, "per": "1m"}]}]);
    let envoy = start(inbound(&[metrics(), rate_limit(rules)])).await;
    assert!(doctor(&envoy, &[]).await.is_healthy(), "no requests, no trouble");
    for number in 1..=20 {
        assert_eq!(get(envoy.address("in"), "/signin").await.expect("an answer").status, 200);
        assert!(number != 3 || doctor(&envoy, &[]).await.is_healthy(), "three may be probes");
    }
    let what = doctor(&envoy, &[]).await.trouble("rules")["what"].to_string();
    assert!(what.contains("no rule has ever met a request, while 20 met none"), "{what}");
    assert_eq!(get(envoy.address("in"), "/login").await.expect("an answer").status, 200);
    assert!(doctor(&envoy, &[]).await.is_healthy(), "one of them met its rule");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_trapped_shows_while_requests_come() {
    let crash = Plugin::of(artifacts::crash(), "rate-limit", json!({ "rules": wide() }));
    let teapot = json!({"route_config": {"virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{"name": "default", "match": {"prefix": "/"}, "direct_response": {"status": 418}}],
    }]}});
    let envoy = start(inbound(&[metrics(), crash]).connection_manager(teapot)).await;
    let address = envoy.address("in");
    envoy
        .wait_until("both workers' VMs have trapped", async || {
            let flooded = flood(address, "/", 8, Duration::from_millis(50)).await;
            flooded.total() > 0 && flooded.of(503) == flooded.total()
        })
        .await;
    let said = doctor_under_load(&envoy, &[]).await;
    let trapped = said.trouble("fail-strategy");
    assert_eq!(trapped["plugin"], "wasm-rate-limit", "{trapped:#}");
    assert!(trapped["what"].to_string().contains("it saw 0 of at least"), "{trapped:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_a_certificate_and_a_proxy_without_filters_are_named() {
    let identity = Plugin::new("mtls-identity", json!({}));
    let envoy = start(inbound(&[identity])).await;
    let what = doctor(&envoy, &[]).await.trouble("mtls")["what"].to_string();
    assert!(what.contains("callers without a certificate get in"), "{what}");
    let envoy = start(inbound(&[])).await;
    doctor(&envoy, &[]).await.trouble("delivery");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_proxy_and_a_dead_api_server_are_clear_errors_and_wrong_usage_is_2() {
    let nobody = tollgate_tests::registry::free_address().to_string();
    let output = run(&["--admin", &nobody]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("no proxy can be looked at at {nobody}")), "{text}");
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text}");

    // Somebody who takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("it listens").to_string();
    let output = run(&["--admin", &address, "--timeout", "300ms"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no answer within 300ms"), "{output:?}");

    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let kubectl = directory.path().join("kubectl");
    // As kubectl ends when nobody answers it.
    std::fs::write(&kubectl, "#!/bin/sh\necho 'Unable to connect to the server: dial tcp: i/o timeout' >&2\nexit 1\n")
        .expect("writable");
    std::fs::set_permissions(&kubectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("writable");
    let output = run(&["--kubectl", &kubectl.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("Unable to connect to the server") && text.contains("cluster-info"), "{text}");

    for wrong in [
        &["-f", "x.yaml"][..],
        &["--admin", "nonsense"],
        &["--watch", "soon"],
        &["-f", "x", "-n", "y", "--admin", "a:1"],
    ] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}
