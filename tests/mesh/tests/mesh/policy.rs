//! Policies that change while requests run.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_mesh::{
    Mesh,
    mesh::{HOST, NAMESPACE, SERVER, call},
    wait::until,
};

use crate::load::{self, Load};

const PATIENCE: Duration = Duration::from_secs(20);

/// An edit reaches all workers within two seconds of `kubectl apply`, loses no request and gives no bucket away.
pub async fn an_edited_limit_is_in_force_within_two_seconds_and_keeps_the_buckets_fill(mesh: &mut Mesh) {
    let load = Load::start(&mesh.friend, 4).await;
    until("the bucket is empty", PATIENCE, async || {
        (call(&mesh.friend, "/posts/7").await.ok()?.status == 429).then_some(())
    })
    .await;
    let edit = |requests: u64| {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": { "name": "rate-limit", "namespace": NAMESPACE },
            "spec": { "pluginConfig": { "rules": [
                { "name": "load-balancer", "limits": [{ "requests": requests, "per": "1m" }] },
            ] } },
        })
    };
    let mut edits = Vec::new();
    for requests in [1200, 600] {
        mesh.kubectl()
            .try_apply(&edit(requests).to_string(), &["--server-side", "--force-conflicts", "--field-manager=edit"])
            .expect("the edit is taken");
        edits.push((requests, Instant::now()));
        until("the edit is in force", PATIENCE, async || {
            let policy = format!("\"load-balancer\";q={requests};w=60");
            let answer = call(&mesh.friend, "/posts/7").await.ok()?;
            (answer.header("ratelimit-policy") == Some(&policy)).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let samples = load.stop().await;

    load::assert_only(&samples, &[200, 429]);
    for (requests, applied) in &edits {
        let policy = format!("\"load-balancer\";q={requests};w=60");
        let later = edits.iter().map(|(_, at)| *at).find(|at| at > applied).unwrap_or_else(Instant::now);
        let others = samples.iter().filter(|it| it.sent > *applied && it.sent < later);
        let last = others.filter(|it| it.policy.as_ref().is_some_and(|it| *it != policy)).map(|it| it.answered).max();
        let took = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(*applied));
        assert!(took < Duration::from_secs(2), "{requests}: the former limit was in force for {took:?}");
    }
    // At 1200 a minute, 20 come back each second; a bucket that an edit had filled would have let 1200 through.
    let since = edits[0].1;
    let after: Vec<_> = samples.iter().filter(|it| it.sent > since).cloned().collect();
    let most = u64::try_from(load::length(&after).as_millis() * 20 / 1000 + 25).expect("seconds");
    let admitted = load::count(&after, 200);
    assert!(admitted <= most, "{admitted} admitted after the edits, {most} is what came back");
    assert!(admitted >= 30, "only {admitted} admitted: the higher limit was not in force");
    mesh.restore("rate-limit").await;
}

/// Adding or removing a filter makes a new chain, and a connection that is open drains: it answers one more request by
/// the old one. How many that can be is the number of connections.
pub async fn a_plugin_that_comes_or_goes_is_missed_by_one_request_of_each_open_connection_at_most(mesh: &mut Mesh) {
    let manifest = mesh.manifests().join("base/mtls-identity.yaml").display().to_string();
    // With limits, more than these requests would be refused.
    mesh.patch(
        "rate-limit",
        &json!({ "pluginConfig": { "rules": [
        { "name": "wide", "limits": [{ "requests": 1_000_000, "per": "1s" }] },
    ] } }),
    );
    for (command, former, status) in [("delete", 403, 200), ("create", 200, 403)] {
        let load = Load::start(&mesh.stranger, 8).await;
        until("the load runs", PATIENCE, async || {
            (call(&mesh.stranger, "/posts/7").await.ok()?.status == former).then_some(())
        })
        .await;
        mesh.kubectl().run(&[command, "-f", &manifest]);
        until(&format!("{command} is in force"), PATIENCE, async || {
            (call(&mesh.stranger, "/posts/7").await.ok()?.status == status).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let open = mesh.stranger.connections_to(HOST).await;
        let samples = load.stop().await;
        load::assert_only(&samples, &[200, 403]);
        let first = samples.iter().position(|sample| sample.status == Some(status)).expect("it is in force");
        let late = load::count(&samples[first..], former);
        println!(
            "{command}: {late} of {} later answers were the former chain's; {open} connections",
            samples.len() - first
        );
        assert!(late <= open.max(8) + 1, "{command}: {late} requests on {open} connections by the former chain");
    }
    mesh.restore("rate-limit").await;
}

/// Neither istiod nor the API server is in the way of a request.
pub async fn enforcement_goes_on_while_the_control_plane_is_away(mesh: &mut Mesh) {
    let pid = mesh.server.pid();
    let (friend, stranger) = (&mesh.friend, &mesh.stranger);
    let check = async || {
        let load = Load::start(friend, 2).await;
        for _ in 0..20 {
            assert_eq!(call(stranger, "/posts/7").await.expect("an answer").status, 403);
        }
        until("the limit holds", PATIENCE, async || (call(friend, "/posts/7").await.ok()?.status == 429).then_some(()))
            .await;
        load::assert_only(&load.stop().await, &[200, 429]);
    };
    mesh.istiod.without(check).await;
    mesh.control_plane.without_api_server(check).await;
    check().await;
    assert_eq!(mesh.server.pid(), pid);

    // And they are back: the next edit is in force again.
    let rules = json!({ "pluginConfig": { "rules": [
        { "name": "afterwards", "limits": [{ "requests": 1, "per": "1h" }] },
    ] } });
    mesh.patch("rate-limit", &rules);
    until("an edit is in force", Duration::from_secs(60), async || {
        let answer = call(&mesh.friend, "/posts/7").await.ok()?;
        (answer.header("ratelimit-policy") == Some("\"afterwards\";q=1;w=3600")).then_some(())
    })
    .await;
    mesh.restore("rate-limit").await;
}

/// Another module in its place, by tag and digest: no request is lost and the bucket is not a fresh one. The build for
/// responses stands for a new version; it is another binary with the same buckets.
pub async fn a_module_is_replaced_under_load_and_the_bucket_stays(mesh: &mut Mesh) {
    let load = Load::start(&mesh.friend, 4).await;
    until("the bucket is empty", PATIENCE, async || {
        (call(&mesh.friend, "/posts/7").await.ok()?.status == 429).then_some(())
    })
    .await;
    let file = async || {
        let delivered = mesh.server.delivered("rate-limit").await;
        delivered.first()?.pointer("/typed_config/config/vm_config/code/local/filename")?.as_str().map(str::to_owned)
    };
    let former = file().await.expect("a module");
    let digest = mesh.push("rate-limit-response", &[]);
    let registry = mesh.registry.as_ref().expect("it runs").address();
    let url = format!("oci://{registry}/rate-limit-response:0.1.0");
    mesh.patch("rate-limit", &json!({ "url": url, "sha256": digest.replace("sha256:", "") }));
    let replaced = Instant::now();
    let (_, took) =
        until("the new module is delivered", PATIENCE, async || file().await.filter(|file| *file != former)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let samples = load.stop().await;

    println!("delivered {took:?} after the change");
    load::assert_only(&samples, &[200, 429]);
    let after: Vec<_> = samples.into_iter().filter(|sample| sample.sent > replaced).collect();
    let most = u64::try_from(load::length(&after).as_millis() * 100 / 60_000 + 2).expect("seconds");
    let admitted = load::count(&after, 200);
    assert!(admitted <= most, "{admitted} admitted by the new module, {most} is what came back");
    assert!(admitted > 0, "nothing was admitted any more");
    mesh.restore("rate-limit").await;
}

/// A new version beside the old one in the same chain: first in shadow, where it counts by its own buckets and decides
/// nothing, then both, then alone. All of it under load, and never is more admitted than one limit gives.
pub async fn a_new_module_takes_over_from_an_old_one_beside_it(mesh: &mut Mesh) {
    mesh.restore("rate-limit").await;
    let digest = mesh.push("rate-limit-response", &[]);
    let registry = mesh.registry.as_ref().expect("it runs").address();
    let next = |mode: &str| {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": { "name": "rate-limit-next", "namespace": NAMESPACE },
            "spec": {
                "selector": { "matchLabels": { "app": SERVER } },
                "url": format!("oci://{registry}/rate-limit-response:0.1.0"),
                "sha256": digest.replace("sha256:", ""),
                "phase": "STATS",
                "failStrategy": "FAIL_OPEN",
                "match": [{ "mode": "SERVER" }],
                "pluginConfig": { "rules": [
                    { "name": "next", "mode": mode, "limits": [{ "requests": 100, "per": "1m" }] },
                ] },
            },
        })
        .to_string()
    };
    let counted = async |rule: &str, decision: &str| {
        let labels = [("rule", rule), ("decision", decision)];
        crate::request::value(&mesh.server.metrics().await, "tollgate_rate_limit_total", &labels).unwrap_or(0)
    };
    let load = Load::start(&mesh.friend, 4).await;
    until("the bucket is empty", PATIENCE, async || (counted("load-balancer", "limited").await > 0).then_some(()))
        .await;
    mesh.kubectl().apply(&next("shadow"));
    until("both decide", PATIENCE, async || (counted("next", "allowed").await > 0).then_some(())).await;
    let files = [mesh.server.delivered("rate-limit").await, mesh.server.delivered("rate-limit-next").await];
    let files = files.map(|filters| {
        let file =
            filters.last().expect("it is delivered").pointer("/typed_config/config/vm_config/code/local/filename");
        file.expect("a module").clone()
    });
    assert_ne!(files[0], files[1], "two modules, each with its own digest");
    assert_eq!(counted("next", "limited").await, 0, "in shadow");

    mesh.kubectl().apply(&next("enforce"));
    until("the proxy has both in force", PATIENCE, async || {
        let delivered = mesh.server.delivered("rate-limit-next").await;
        delivered.first()?["typed_config"]["config"]["configuration"].to_string().contains("enforce").then_some(())
    })
    .await;
    mesh.kubectl().run(&["delete", "wasmplugin", "rate-limit", "-n", NAMESPACE]);
    until("the new one limits alone", PATIENCE, async || (counted("next", "limited").await > 20).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let samples = load.stop().await;
    load::assert_only(&samples, &[200, 429]);
    // The new one's bucket was full when it came; all that it admitted before the old one was gone, the old one had
    // admitted as well. What it had left then is what the takeover can give at most.
    let length = load::length(&samples).as_millis();
    let refilled = u64::try_from(length * 100 / 60_000).expect("seconds");
    let admitted = load::count(&samples, 200);
    println!("{admitted} of {} admitted in {length} ms", samples.len());
    assert!(admitted >= 100, "{admitted}");
    assert!(admitted <= 200 + refilled, "{admitted} admitted, {refilled} came back");
    assert!(samples.last().is_some_and(|sample| sample.policy.as_deref() == Some("\"next\";q=100;w=60")));

    let manifest = mesh.manifests().join("base/rate-limit.yaml").display().to_string();
    mesh.kubectl().run(&["delete", "wasmplugin", "rate-limit-next", "-n", NAMESPACE]);
    mesh.kubectl().run(&["create", "-f", &manifest]);
    mesh.server.restart().await;
}

/// Istio's own authorization stands between identity and limits, and its refusals are counted but not charged.
pub async fn an_authorization_policy_stands_between_identity_and_limits(mesh: &mut Mesh) {
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": "no-admin", "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": { "app": "load-balancer" } },
            "action": "DENY",
            "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }],
        },
    });
    mesh.restore("rate-limit").await;
    mesh.kubectl().apply(&policy.to_string());
    let mut open = 0;
    until("the policy is in force", PATIENCE, async || {
        open = mesh.friend.connections_to(HOST).await.max(open);
        let answer = call(&mesh.friend, "/admin").await.ok()?;
        (answer.status == 403 && answer.body.starts_with(b"RBAC")).then_some(())
    })
    .await;
    let order = ["route-metrics", "mtls-identity", "envoy.filters.http.rbac", "rate-limit"];
    mesh.server.assert_order(8080, &order).await;

    let allowed = async || {
        let metrics = mesh.server.metrics().await;
        let labels = [("rule", "load-balancer"), ("decision", "allowed")];
        crate::request::value(&metrics, "tollgate_rate_limit_total", &labels)
    };
    let before = allowed().await;
    // The chain has one filter more; a connection from before has one request of the old one left.
    let mut late = 0;
    for _ in 0..150 {
        let answer = call(&mesh.friend, "/admin").await.expect("an answer");
        late += u64::from(answer.status == 200);
        assert!(answer.status == 403 || late <= open, "{late} requests on {open} connections: {answer:?}");
    }
    assert_eq!(allowed().await, before.map(|before| before + late));
    assert_eq!(call(&mesh.friend, "/posts/7").await.expect("an answer").status, 200);
    mesh.kubectl().run(&["delete", "authorizationpolicy", "no-admin", "-n", NAMESPACE]);
    until("the policy is gone", PATIENCE, async || {
        (call(&mesh.friend, "/admin").await.ok()?.status == 200).then_some(())
    })
    .await;
}
