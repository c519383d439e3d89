//! `tollgate doctor` in a mesh that is ill in one way after the other: each is named, and where the cure is a command, it
//! is carried out as it stands there.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use tollgate_mesh::{
    Mesh, istio,
    mesh::{MODULES, NAMESPACE, SERVER, call, start_registry},
    node::Pod,
    parts,
    wait::until,
};
use tollgate_tests::artifacts;

use crate::load::Load;

const PATIENCE: Duration = Duration::from_secs(60);

/// What doctor said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    report: Value,
}

impl Said {
    fn is_healthy(&self) -> bool {
        self.code == Some(0) && self.report["healthy"] == true
    }

    /// The error or warning of a check about a plugin.
    fn trouble(&self, check: &str, plugin: &str) -> Option<&Value> {
        let plugin = format!("{NAMESPACE}/{plugin}");
        let mut findings = self.report["findings"].as_array()?.iter();
        let found = findings.find(|finding| {
            let is_trouble = finding["severity"] == "error" || finding["severity"] == "warning";
            is_trouble && finding["check"] == check && finding["plugin"] == plugin.as_str()
        })?;
        assert_eq!(self.code, Some(1), "{:#}", self.report);
        assert!(found["why"].as_str().is_some_and(|why| !why.is_empty()), "{found:#}");
        Some(found)
    }
}

/// With a kubectl, somebody's configuration of it, and these arguments.
async fn run(kubectl: &Path, kubeconfig: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new(artifacts::tollgate());
    command.args(["doctor", "-o", "json", "--kubectl"]).arg(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command.env_clear().env("HOME", kubeconfig.parent().expect("a directory"));
    // The requests of a test's load go on meanwhile.
    tokio::task::spawn_blocking(move || command.output().expect("tollgate runs")).await.expect("no panic")
}

/// With every sidecar's admin interface, since no kubelet is there to reach them through.
async fn doctor(mesh: &Mesh, more: &[&str]) -> Said {
    let admins = [&mesh.server, &mesh.friend, &mesh.stranger].map(|pod| pod.admin().to_string());
    let mut arguments: Vec<String> = admins.into_iter().flat_map(|admin| ["--admin".to_owned(), admin]).collect();
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let output = run(&parts::kubernetes("kubectl"), mesh.kubectl().kubeconfig(), &arguments).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Said { code: output.status.code(), report }
}

/// What doctor says once the change has come to the proxies.
async fn until_named(mesh: &Mesh, check: &str, plugin: &str, what: &str) -> Value {
    let (found, _) = until(&format!("doctor says of {plugin}: {what}"), PATIENCE, async || {
        let said = doctor(mesh, &["--watch", "0"]).await;
        let found = said.trouble(check, plugin)?;
        found["what"].as_str()?.contains(what).then(|| found.clone())
    })
    .await;
    found
}

/// The gateway's proxy against the WasmPlugins of its namespace.
async fn of_the_gateway(mesh: &Mesh) -> Said {
    let arguments = ["--admin", &mesh.gateway.admin().to_string(), "-n", istio::NAMESPACE, "--watch", "0"];
    let output = run(&parts::kubernetes("kubectl"), mesh.kubectl().kubeconfig(), &arguments.map(str::to_owned)).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Said { code: output.status.code(), report }
}

/// Waits until doctor has nothing to say of the gateway.
pub async fn until_the_gateway_is_healthy(mesh: &Mesh) {
    until("nothing is wrong at the gateway", PATIENCE, async || of_the_gateway(mesh).await.is_healthy().then_some(()))
        .await;
}

/// Waits until doctor names a trouble of a plugin at the gateway. What a listener had before it drains for 45 s.
pub async fn until_the_gateway_has_trouble(mesh: &Mesh, check: &str, plugin: &str) {
    until(&format!("doctor says {check} of {plugin}"), PATIENCE, async || {
        let said = of_the_gateway(mesh).await;
        let plugin = format!("{}/{plugin}", istio::NAMESPACE);
        let mut findings = said.report["findings"].as_array()?.iter();
        findings
            .find(|it| it["check"] == check && it["plugin"] == plugin.as_str() && it["severity"] != "ok")
            .map(|_| ())
    })
    .await;
}

/// Of a namespace whose filters are in shadow mode: each is in force at this proxy, and its mode is said, but not blamed.
pub async fn says_that_it_is_only_tried(mesh: &Mesh, pod: &Pod, namespace: &str) {
    let arguments = ["--admin", &pod.admin().to_string(), "-n", namespace, "--watch", "0"].map(str::to_owned);
    let output = run(&parts::kubernetes("kubectl"), mesh.kubectl().kubeconfig(), &arguments).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().expect("a list");
    let has = |severity: &str, plugin: &str, text: &str| {
        let id = format!("{namespace}/{plugin}");
        findings.iter().any(|it| {
            let what = it["what"].as_str().unwrap_or_default();
            it["severity"] == severity && it["plugin"] == id.as_str() && what.contains(text)
        })
    };
    assert!(has("note", "mtls-identity", "it is in shadow mode"), "{report:#}");
    assert!(has("note", "mtls-identity", "FAIL_OPEN"), "{report:#}");
    assert!(has("note", "rate-limit", "shadow"), "{report:#}");
    assert!(!findings.iter().any(|it| it["severity"] == "error"), "{report:#}");
}

async fn until_healthy(mesh: &Mesh) {
    until("nothing is wrong", PATIENCE, async || doctor(mesh, &["--watch", "0"]).await.is_healthy().then_some(()))
        .await;
}

/// Runs the last line of a cure as a shell takes it.
fn carry_out(mesh: &Mesh, finding: &Value) {
    let cure = finding["cure"].as_str().expect("a cure");
    let command = cure.lines().last().expect("a line");
    let kubectl = parts::kubernetes("kubectl");
    let path = format!("{}:/usr/bin:/bin", kubectl.parent().expect("a directory").display());
    let output = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .env("PATH", path)
        .env("HOME", mesh.directory())
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Nothing to say of the manifests as they are; what can't be looked at is never taken for health.
pub async fn a_healthy_mesh_is_healthy_and_what_cannot_be_asked_is_said(mesh: &mut Mesh) {
    let module = artifacts::module("rate-limit").display().to_string();
    let said = doctor(mesh, &["--module", &module]).await;
    assert!(said.is_healthy(), "{:#}", said.report);
    let findings = said.report["findings"].as_array().expect("a list");
    let oks: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "ok").collect();
    for plugin in MODULES {
        let id = format!("{NAMESPACE}/{plugin}");
        assert!(oks.iter().any(|ok| ok["plugin"] == id.as_str()), "{plugin}: {:#}", said.report);
    }
    let other = doctor(mesh, &["--module", &artifacts::module("rate-limit-response").display().to_string()]).await;
    let digest = other.trouble("digest", "rate-limit").unwrap_or_else(|| panic!("{:#}", other.report));
    assert!(digest["what"].as_str().expect("text").contains("which is not"), "{digest:#}");

    // Without a kubelet nothing can be carried out in a pod.
    let (kubectl, administrator) = (parts::kubernetes("kubectl"), mesh.kubectl().kubeconfig());
    let output = run(&kubectl, administrator, &["-n".to_owned(), NAMESPACE.to_owned()]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["unseen"].as_array().map(Vec::len), Some(3), "{report:#}");
    // With one, doctor finds its way to each proxy by itself.
    let output = run(&kubectl_with_kubelet(mesh), administrator, &[]).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["proxies"].as_array().map(Vec::len), Some(3), "{report:#}");
    // Somebody who may read nothing.
    let url = mesh.control_plane.url();
    let nobody = mesh.control_plane.pki().kubeconfig_with_certificate("nobody", &url, "nobody", None);
    let output = run(&kubectl, &nobody, &[]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("forbidden") && text.contains("create clusterrolebinding tollgate-doctor"), "{text}");
    // With the cure, and with what allows the same in one namespace, it may look and change nothing.
    let cure: Vec<&str> = text.lines().filter_map(|line| line.split_once(" create ")).map(|(_, rest)| rest).collect();
    let made = ["clusterrole", "clusterrolebinding"].map(|kind| ["", "-exec"].map(|more| (kind, more))).concat();
    assert_eq!(cure.len(), made.len(), "{text}");
    for command in cure {
        let words = command.split('#').next().unwrap_or_default().split_whitespace();
        mesh.kubectl().run(&["create"].into_iter().chain(words).collect::<Vec<_>>());
    }
    let report: Value = serde_json::from_slice(&run(&kubectl, &nobody, &[]).await.stdout).expect("JSON");
    assert_eq!(report["plugins"].as_array().map(Vec::len), Some(MODULES.len()), "{report:#}");
    let rights = mesh.kubectl().run(&["auth", "can-i", "--list", "--as=nobody"]);
    let of = |resource: &str| rights.lines().find(|line| line.split_whitespace().next() == Some(resource));
    assert!(of("pods").is_some_and(|line| line.ends_with("[get list]")), "{rights}");
    assert!(of("pods/exec").is_some_and(|line| line.ends_with("[create]")), "{rights}");
    for (kind, more) in made {
        mesh.kubectl().run(&["delete", kind, &format!("tollgate-doctor{more}")]);
    }
    let (somebody, namespace) = ("--user=somebody", format!("--namespace={NAMESPACE}"));
    let kinds = "--resource=pods,services,wasmplugins.extensions.istio.io,peerauthentications.security.istio.io,\
                 destinationrules.networking.istio.io";
    mesh.kubectl().run(&["create", "role", "looks", "--verb=get,list", kinds, &namespace]);
    mesh.kubectl().run(&["create", "rolebinding", "looks", "--role=looks", somebody, &namespace]);
    let somebody = mesh.control_plane.pki().kubeconfig_with_certificate("somebody", &url, "somebody", None);
    let output = run(&kubectl, &somebody, &["-n".to_owned(), NAMESPACE.to_owned()]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["plugins"].as_array().map(Vec::len), Some(MODULES.len()), "{report:#}");
    assert!(report["findings"].to_string().contains("in the namespace \\\"istio-system\\\""), "{report:#}");
    for kind in ["role", "rolebinding"] {
        mesh.kubectl().run(&["delete", kind, "looks", &namespace]);
    }
}

/// kubectl with what the API server would have a kubelet and pilot-agent do for `exec`, which is to ask the Pod's Envoy.
/// The real pilot-agent asks no other port than 15000, which each Pod has on a network of its own. All else is kubectl's.
fn kubectl_with_kubelet(mesh: &Mesh) -> PathBuf {
    let pods = [&mesh.server, &mesh.friend, &mesh.stranger];
    let ports = pods.map(|pod| format!("    {}) port={} ;;\n", pod.id().1, pod.admin().port())).concat();
    let script = format!(
        "#!/bin/sh
PATH=/usr/bin:/bin
case \" $* \" in *' exec '*)
  while [ \"$1\" != exec ]; do shift; done
  case \"$2\" in
{ports}  esac
  [ \"$3 $4 $5 $6 $7\" = '-n {NAMESPACE} -c istio-proxy --' ] && [ \"$8 $9\" = 'pilot-agent request' ] || exit 64
  shift 9
  [ \"$1\" = GET ] && exec curl --silent --show-error --fail \"http://127.0.0.1:$port/$2\" ;;
esac
exec {} \"$@\"
",
        parts::kubernetes("kubectl").display()
    );
    let path = mesh.directory().join("kubectl-with-kubelet");
    std::fs::write(&path, script).expect("writable");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("writable");
    path
}

/// Whatever is wrong in the resources; each cure is a command, and after it nothing is wrong.
pub async fn what_is_wrong_in_the_resources_is_mended_by_the_command_it_says(mesh: &mut Mesh) {
    mesh.patch("rate-limit", &json!({ "selector": { "matchLabels": { "app": "load-balancr" } } }));
    let found =
        until_named(mesh, "selector", "rate-limit", "the selector app=load-balancr fits none of the 3 pods").await;
    carry_out(mesh, &found);
    until_healthy(mesh).await;

    mesh.patch("rate-limit", &json!({ "phase": "AUTHN", "priority": 500 }));
    let found = until_named(mesh, "order", "mtls-identity", "a request meets it after titanium-prod/rate-limit").await;
    carry_out(mesh, &found);
    until_healthy(mesh).await;

    mesh.patch("mtls-identity", &json!({ "match": null }));
    let found = until_named(mesh, "direction", "mtls-identity", "both directions").await;
    carry_out(mesh, &found);
    until_healthy(mesh).await;

    let permissive = json!({ "spec": { "mtls": { "mode": "PERMISSIVE" } } }).to_string();
    let policy = ["patch", "peerauthentication", "default-mtls", "-n", NAMESPACE, "--type=merge", "-p", &permissive];
    mesh.kubectl().run(&policy);
    let found =
        until_named(mesh, "mtls", "mtls-identity", "mutual TLS is PERMISSIVE on titanium-prod/load-balancer:8080")
            .await;
    carry_out(mesh, &found);
    until_healthy(mesh).await;
    for plugin in ["rate-limit", "mtls-identity"] {
        mesh.restore(plugin).await;
    }
}

/// What no resource shows: the proxy has something else than was asked for.
pub async fn what_only_the_proxy_knows_is_found_there(mesh: &mut Mesh) {
    mesh.patch("rate-limit", &json!({ "sha256": "0".repeat(64) }));
    until_named(mesh, "module", "rate-limit", "a filter that lets all through stands in its place").await;
    mesh.restore("rate-limit").await;
    until_healthy(mesh).await;

    let bad = json!({ "rules": [{ "name": "bad", "limits": [{ "requests": 0, "per": "1m" }] }] });
    mesh.patch("rate-limit", &json!({ "pluginConfig": bad }));
    let found = until_named(mesh, "in-force", "rate-limit", "it refused the configuration").await;
    let what = found["what"].as_str().expect("text");
    assert!(what.contains("rules[0].limits[0].requests: must be greater than zero, found 0"), "{what}");
    assert!(found["cure"].as_str().expect("a cure").contains("edit wasmplugin rate-limit"), "{found:#}");
    mesh.restore("rate-limit").await;
    until_healthy(mesh).await;

    // As where a Service calls its port tcp; what says so here is the Sidecar.
    let speak = |protocol: &str| {
        let patch = json!([{ "op": "replace", "path": "/spec/ingress/0/port/protocol", "value": protocol }]);
        mesh.kubectl().run(&["patch", "sidecar", SERVER, "-n", NAMESPACE, "--type=json", "-p", &patch.to_string()]);
    };
    speak("TCP");
    let found = until_named(mesh, "delivery", "rate-limit", "the proxy takes 8080 for TCP, and no port for HTTP").await;
    let cure = "patch service load-balancer -n titanium-prod --type=json";
    assert!(found["cure"].as_str().is_some_and(|text| text.contains(cure)), "{found:#}");
    speak("HTTP");
    until_healthy(mesh).await;

    let module = std::fs::read(artifacts::crash()).expect("the module");
    let url = mesh.files.put("/modules/crash.wasm", module);
    let wide = json!({ "rules": [{ "name": "wide", "limits": [{ "requests": 1_000_000, "per": "1s" }] }] });
    mesh.patch("rate-limit", &json!({ "url": url, "sha256": null, "pluginConfig": wide }));
    until("each worker's VM has trapped, and doctor sees it", PATIENCE, async || {
        // A response of 418 ends the VM that sees it.
        for _ in 0..8 {
            let _ = call(&mesh.friend, "/status/418").await;
        }
        let load = Load::start(&mesh.friend, 4).await;
        let said = doctor(mesh, &["--watch", "1s"]).await;
        load.stop().await;
        let found = said.trouble("fail-strategy", "rate-limit")?;
        assert!(found["why"].as_str()?.contains("pass without it"), "{found:#}");
        Some(())
    })
    .await;
    mesh.restore("rate-limit").await;
    until_healthy(mesh).await;
}

/// A sidecar that starts while its modules can't be had; the cure is what has the agent try again.
pub async fn a_registry_that_is_away_is_named_and_the_cure_fetches_again(mesh: &mut Mesh) {
    let address = mesh.registry.take().expect("it runs").address();
    mesh.server.restart().await;
    let denies = until_named(mesh, "module", "mtls-identity", "a filter that denies all stands in its place").await;
    let said = doctor(mesh, &["--watch", "0"]).await;
    let troubles =
        MODULES.map(|plugin| said.trouble("module", plugin).cloned().unwrap_or_else(|| panic!("{plugin}: {said:?}")));
    assert!(denies["why"].as_str().expect("text").contains("every request gets 403"), "{denies:#}");
    mesh.registry = Some(start_registry(address).await);
    for module in MODULES {
        mesh.push(module, &[]);
    }
    for trouble in &troubles {
        carry_out(mesh, trouble);
    }
    until_healthy(mesh).await;
    mesh.kubectl().run(&["annotate", "wasmplugins", "--all", "-n", NAMESPACE, "fetch-"]);
}
