//! What validate prints, and what it exits with.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const UNREACHABLE: &str = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: route-metrics, namespace: prod}
spec:
  url: oci://registry.local/route-metrics:1
  pluginConfig:
    routes:
    - name: all-users
      match: [{paths: ["/users/*"]}]
    - name: user
      match: [{paths: ["/users/{id}"], methods: [GET]}]
"#;

fn validate(resources: &str, more: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["validate", "-f", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(resources.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_rule_that_no_request_can_reach_is_said_and_passes() {
    let output = validate(UNREACHABLE, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text,
        "warning: standard input:2: WasmPlugin prod/route-metrics: spec.pluginConfig.routes[1]: can never match: \
         route `all-users` before it takes all that it would\n  \
         to mend it: move it before route `all-users`, or delete it\n"
    );
}

#[test]
fn a_program_gets_warnings_in_their_parts() {
    let output = validate(UNREACHABLE, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warning = json!({
        "file": "standard input",
        "line": 2,
        "resource": "WasmPlugin prod/route-metrics",
        "path": "spec.pluginConfig.routes[1]",
        "reason": "can never match: route `all-users` before it takes all that it would",
        "cure": "move it before route `all-users`, or delete it",
    });
    assert_eq!(report, json!({"valid": true, "problems": [], "warnings": [warning]}));
}

#[test]
fn a_wrong_configuration_fails_and_says_where() {
    let output = validate(&UNREACHABLE.replace("[GET]", "[get]"), &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("spec.pluginConfig.routes[1].match[0].methods[0]: invalid method `get`"), "{text}");
}

const HEADERS: &str = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: limit, namespace: prod}
spec:
  url: oci://rate-limit.example/rate-limit:1
  pluginConfig:
    rules:
    - name: all
      limits: [{requests: 5, per: 1s}]
      headers: all
"#;

#[test]
fn a_plain_module_for_rules_that_need_responses_is_a_warning_with_the_right_name() {
    let output = validate(HEADERS, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text,
        "warning: standard input:2: WasmPlugin prod/limit: spec.url: names the plain rate-limit, which refuses this \
         configuration: pluginConfig.rules[0] has something to do when the response comes (`headers: all`, or a cost \
         by the response)\n  \
         to mend it: name the build for responses: oci://rate-limit.example/rate-limit-response:1\n"
    );
}

#[test]
fn the_build_for_responses_is_noted_where_no_rule_needs_it() {
    let with = HEADERS.replace("/rate-limit:1", "/rate-limit-response:1");
    assert_eq!(String::from_utf8(validate(&with, &[]).stderr).unwrap(), "");
    let without = with.replace("      headers: all\n", "");
    let text = String::from_utf8(validate(&without, &[]).stderr).unwrap();
    assert!(
        text.starts_with("note: standard input:2: WasmPlugin prod/limit: spec.url: names rate-limit-response"),
        "{text}"
    );
    let wrong = with.replace("headers: all", "headers: some");
    assert_eq!(validate(&wrong, &[]).status.code(), Some(1));
}

/// As when the first command of a pipe has failed: that must not look like health.
#[test]
fn nothing_at_all_is_not_valid() {
    for empty in ["", "---\n", "# a comment\n"] {
        let output = validate(empty, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{empty:?}: {text}");
        assert!(text.starts_with("error: there is no resource in what was read"), "{text}");
    }
}
