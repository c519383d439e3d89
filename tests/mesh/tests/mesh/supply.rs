//! Where modules come from, and what happens when they don't.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_mesh::{
    Mesh,
    mesh::{MODULES, NAMESPACE, call, start_registry},
    node::Pod,
    wait::until,
};
use tollgate_tests::artifacts;

use crate::request::value;

const PATIENCE: Duration = Duration::from_secs(30);
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

fn rules(name: &str) -> Value {
    json!({ "rules": [{ "name": name, "limits": [{ "requests": 1000, "per": "1m" }] }] })
}

/// Waits until requests are decided under a rule of this name.
async fn decided_by(server: &Pod, friend: &Pod, rule: &str) {
    until(&format!("requests are decided by the rule {rule}"), PATIENCE, async || {
        let answer = call(friend, "/posts/7").await.ok()?;
        let labels = [("rule", rule), ("decision", "allowed")];
        let counted = value(&server.metrics().await, "tollgate_rate_limit_total", &labels)?;
        (answer.status == 200 && counted > 0).then_some(())
    })
    .await;
}

/// The kind of filter that Envoy has for a plugin.
async fn kind(server: &Pod, plugin: &str) -> Option<String> {
    let delivered = server.delivered(plugin).await;
    delivered.first()?["typed_config"]["@type"].as_str().map(str::to_owned)
}

async fn stands_in(server: &Pod, plugin: &str) {
    until(&format!("something stands in for {plugin}"), PATIENCE, async || {
        (kind(server, plugin).await.as_deref() == Some(RBAC)).then_some(())
    })
    .await;
}

/// As `tollgate push` wrote them into the manifests, and as `url` may say otherwise.
pub async fn modules_are_pulled_by_tag_by_digest_and_over_http(mesh: &mut Mesh) {
    let registry = mesh.registry.as_ref().expect("it runs").address();
    let digest = mesh.push("rate-limit", &[]);
    let sha256 = digest.strip_prefix("sha256:").expect("a digest").to_owned();
    let artifact = mesh.push("rate-limit", &["--form", "artifact"]);
    let module = std::fs::read(artifacts::module("rate-limit")).expect("the module");
    let module_sha256: String = Sha256::digest(&module).iter().map(|byte| format!("{byte:02x}")).collect();
    let http = mesh.files.put("/modules/rate-limit.wasm", module);
    let sources = [
        ("by-digest", format!("oci://{registry}/rate-limit@{digest}"), sha256),
        ("as-artifact", format!("oci://{registry}/rate-limit@{artifact}"), artifact.replace("sha256:", "")),
        ("over-http", http, module_sha256),
    ];
    for (rule, url, sha256) in sources {
        mesh.patch("rate-limit", &json!({ "url": url, "sha256": sha256, "pluginConfig": rules(rule) }));
        decided_by(&mesh.server, &mesh.friend, rule).await;
        assert_eq!(kind(&mesh.server, "rate-limit").await.as_deref(), Some(WASM), "{url}");
    }
    // The tag is the artifact's now; the manifests name the layer's digest.
    mesh.push("rate-limit", &[]);
    mesh.restore("rate-limit").await;
}

/// A digest that is not the module's: `failStrategy` decides, and nothing of the API says so.
pub async fn a_wrong_digest_refuses_or_admits_as_the_fail_strategy_says(mesh: &mut Mesh) {
    let wrong = "0".repeat(64);
    for (strategy, status) in [("FAIL_OPEN", 200), ("FAIL_CLOSE", 403)] {
        mesh.patch("rate-limit", &json!({ "sha256": wrong, "failStrategy": strategy }));
        stands_in(&mesh.server, "rate-limit").await;
        until(&format!("{strategy} answers {status}"), PATIENCE, async || {
            (call(&mesh.friend, "/posts/7").await.ok()?.status == status).then_some(())
        })
        .await;
        for _ in 0..150 {
            assert_eq!(call(&mesh.friend, "/posts/7").await.expect("an answer").status, status, "{strategy}");
        }
        // Who calls is still checked: the other filters are modules of their own.
        assert_eq!(call(&mesh.stranger, "/posts/7").await.expect("an answer").status, 403);
        // What TollgateModuleNotFetched goes by.
        let failed = [("result", "checksum_mismatched")];
        assert_eq!(value(&mesh.server.metrics().await, "istio_agent_wasm_remote_fetch_count", &failed), Some(1));
        mesh.restore("rate-limit").await;
        until("the module is back", PATIENCE, async || {
            (kind(&mesh.server, "rate-limit").await.as_deref() == Some(WASM)).then_some(())
        })
        .await;
    }
    assert!(mesh.server.log().contains(&wrong), "the agent's log names the digest");
}

/// A configuration that the module refuses: the former one stays, and the proxy's log says why.
pub async fn a_refused_configuration_leaves_the_former_one_in_force(mesh: &mut Mesh) {
    mesh.patch("rate-limit", &json!({ "pluginConfig": rules("good") }));
    decided_by(&mesh.server, &mesh.friend, "good").await;
    // Other tests have had their refusals.
    let refusals = |log: String| {
        let lines = log.lines().filter(|line| line.contains("event=configuration_refused"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let former = refusals(mesh.server.log()).len();
    mesh.patch(
        "rate-limit",
        &json!({ "pluginConfig": { "rules": [{ "name": "bad", "limits": [{ "requests": 0, "per": "1m" }] }] } }),
    );
    until("the log says that it was refused", PATIENCE, async || {
        let line = refusals(mesh.server.log()).into_iter().nth(former)?;
        assert!(line.contains("path=rules[0].limits[0].requests"), "{line}");
        Some(())
    })
    .await;
    let before = allowed(&mesh.server, "good").await;
    for _ in 0..20 {
        assert_eq!(call(&mesh.friend, "/posts/7").await.expect("an answer").status, 200);
    }
    assert_eq!(allowed(&mesh.server, "good").await, before.map(|before| before + 20));
    // What TollgateConfigRefused goes by: Envoy's own counter, which Istio leaves out unless a sidecar asks for it, and
    // istiod's.
    let refused = |line: &str| line.contains("rate_limit") && line.contains("_config_fail{") && !line.ends_with(" 0");
    until("Envoy counts it", PATIENCE, async || {
        let metrics = mesh.server.metrics().await;
        let mut lines = metrics.lines();
        lines.any(|it| it.starts_with("envoy_extension_config_discovery_http_filter_") && refused(it)).then_some(())
    })
    .await;
    let rejected = value(&mesh.istiod.metrics().await, "pilot_total_xds_rejects", &[("type", "ecds")]);
    assert!(rejected.is_some_and(|rejected| rejected > 0), "istiod counts it");
    mesh.restore("rate-limit").await;
}

/// What `failStrategy` means for a module that is there and fails: its VM is gone, and requests pass without it or are
/// refused, until the module is delivered anew.
pub async fn a_module_that_traps_admits_or_refuses_as_the_fail_strategy_says(mesh: &mut Mesh) {
    let module = std::fs::read(artifacts::crash()).expect("the module");
    let url = mesh.files.put("/modules/crash.wasm", module);
    for (strategy, expected) in [("FAIL_OPEN", 200), ("FAIL_CLOSE", 503)] {
        let rule = strategy.to_lowercase();
        let spec = json!({ "url": url, "sha256": null, "failStrategy": strategy, "pluginConfig": rules(&rule) });
        mesh.patch("rate-limit", &spec);
        decided_by(&mesh.server, &mesh.friend, &rule).await;
        // Each worker has a VM of its own, and a response of 418 ends the one that sees it.
        until("every worker's VM has trapped", PATIENCE, async || {
            let _ = call(&mesh.friend, "/status/418").await;
            let before = allowed(&mesh.server, &rule).await;
            for _ in 0..10 {
                let answer = call(&mesh.friend, "/posts/7").await.ok()?;
                (answer.status == expected).then_some(())?;
            }
            (allowed(&mesh.server, &rule).await == before).then_some(())
        })
        .await;
        assert!(mesh.server.log().contains("Uncaught RuntimeError"), "{}", mesh.server.log());
        assert_eq!(call(&mesh.stranger, "/posts/7").await.expect("an answer").status, 403, "{strategy}");
        mesh.restore("rate-limit").await;
    }
}

/// What pilot-agent has fetched it remembers until it ends: a sidecar that starts has no module, whatever lies on disk.
pub async fn a_sidecar_that_starts_while_the_registry_is_away_fails_as_each_plugin_says(mesh: &mut Mesh) {
    let address = mesh.registry.take().expect("it runs").address();
    mesh.server.restart().await;
    for plugin in MODULES {
        assert_eq!(kind(&mesh.server, plugin).await.as_deref(), Some(RBAC), "{plugin}");
    }
    // route-metrics and rate-limit fail open, mtls-identity fails closed.
    for _ in 0..20 {
        assert_eq!(call(&mesh.friend, "/posts/7").await.expect("an answer").status, 403);
    }

    mesh.registry = Some(start_registry(address).await);
    for module in MODULES {
        mesh.push(module, &[]);
    }
    // The agent does not try again by itself; it does when a plugin is delivered anew, and an annotation is enough.
    mesh.kubectl().run(&[
        "annotate",
        "wasmplugins",
        "--all",
        "-n",
        NAMESPACE,
        "--overwrite",
        "tollgate.istio.io/fetch=again",
    ]);
    until("all modules are there", PATIENCE, async || {
        for plugin in MODULES {
            (kind(&mesh.server, plugin).await.as_deref() == Some(WASM)).then_some(())?;
        }
        (call(&mesh.friend, "/posts/7").await.ok()?.status == 200).then_some(())
    })
    .await;
    mesh.kubectl().run(&["annotate", "wasmplugins", "--all", "-n", NAMESPACE, "tollgate.istio.io/fetch-"]);
}

async fn allowed(server: &Pod, rule: &str) -> Option<u64> {
    value(&server.metrics().await, "tollgate_rate_limit_total", &[("rule", rule), ("decision", "allowed")])
}
