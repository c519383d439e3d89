//! What render prints, and that Envoy takes it.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One of each thing that render carries out.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesh.yaml")
}

fn render(modules: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["render", "-f"])
        .arg(fixture())
        .arg("--modules")
        .arg(modules)
        .args(["--upstream", "users=127.0.0.1:9999"])
        .args(more)
        .output()
        .unwrap()
}

/// Certificates and paths differ from run to run.
fn steady(text: &str, modules: &Path) -> String {
    let mut lines = Vec::new();
    let mut in_pem = false;
    for line in text.lines() {
        if line.contains("-----BEGIN") {
            in_pem = true;
            lines.push("<PEM>".to_owned());
        }
        if !in_pem {
            lines.push(
                line.replace(&modules.display().to_string(), "<modules>")
                    .replace(&fixture().display().to_string(), "mesh.yaml"),
            );
        }
        in_pem = in_pem && !line.contains("-----END");
    }
    lines.join("\n")
}

#[test]
fn the_bootstrap_is_as_it_was() {
    let modules = support::modules(&["tag"]);
    let output = render(modules.path(), &[]);
    let notices = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notices}");
    insta::assert_snapshot!("notices", steady(&notices, modules.path()));
    insta::assert_snapshot!("bootstrap", steady(&String::from_utf8(output.stdout).unwrap(), modules.path()));
}

#[test]
fn envoy_takes_the_bootstrap() {
    let envoy = support::envoy();
    let modules = support::modules(&["tag"]);
    for format in ["yaml", "json"] {
        let output = render(modules.path(), &["-o", format]);
        let file = modules.path().join(format!("envoy.{format}"));
        std::fs::write(&file, output.stdout).unwrap();
        let validated = Command::new(&envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
        assert!(validated.status.success(), "{format}: {}", String::from_utf8_lossy(&validated.stderr));
    }
}

#[test]
fn a_missing_module_is_named_with_its_cure() {
    let empty = tempfile::tempdir().unwrap();
    let output = render(empty.path(), &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("WasmPlugin prod/tag: spec.url: no module at"), "{text}");
    assert!(text.contains("make build"), "{text}");
}

#[test]
fn wrong_usage_exits_with_two() {
    let status = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["render", "--wrong"]).output().unwrap().status;
    assert_eq!(status.code(), Some(2));
}

#[test]
fn the_build_for_responses_is_taken_where_rules_need_it() {
    let modules = support::modules(&["rate-limit", "rate-limit-response"]);
    let input = modules.path().join("limit.yaml");
    let plugin = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: limit}\nspec:\n  url: \
                  oci://example.com/rate-limit:1\n  pluginConfig: {rules: [{name: a, headers: all, limits: [{requests: \
                  5, per: 1s}]}]}\n";
    std::fs::write(&input, plugin).unwrap();
    let rendered = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let command = command.args(["render", "--upstream", "users=127.0.0.1:9", "-f"]).arg(&input);
        command.arg("--modules").arg(modules.path()).output().unwrap()
    };
    let output = rendered();
    let notices = String::from_utf8(output.stderr).unwrap();
    assert!(notices.contains("rate-limit-response.wasm is taken"), "{notices}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("/rate-limit-response.wasm"), "{notices}");
    std::fs::write(&input, plugin.replace("headers: all, ", "")).unwrap();
    let output = rendered();
    assert!(String::from_utf8(output.stdout).unwrap().contains("/rate-limit.wasm"));
}
