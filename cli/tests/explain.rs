//! What explain says of requests, and what it exits with.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/explain/mesh.yaml")
}

fn explain(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["explain", "-f"]).arg(fixture()).args(arguments).output().unwrap()
}

/// Standard output, then standard error, with the file as it is named here.
fn shown(arguments: &[&str]) -> String {
    let output = explain(arguments);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(&fixture().display().to_string(), "mesh.yaml")
    };
    format!("{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

fn json(arguments: &[&str]) -> Value {
    let output = explain(&[&["-o", "json", "--plugin", "limit"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer.pointer("/plugins/0/rateLimit").unwrap().clone()
}

#[test]
fn a_workloads_plugins_are_asked_in_their_order() {
    let text = shown(&[
        "--workload",
        "prod/users",
        "--principal",
        "cluster.local/ns/prod/sa/blog",
        "-H",
        "x-cost: 20",
        "-H",
        "x-forwarded-for: 198.51.100.9",
        "https://api.example.com/users/7?full=0",
    ]);
    insta::assert_snapshot!("workload", text);
}

#[test]
fn who_is_denied_does_not_reach_the_next() {
    insta::assert_snapshot!("denied", shown(&["--workload", "users", "/admin/x"]));
}

#[test]
fn a_curl_command_is_a_request() {
    let curl = [
        "--plugin",
        "prod/limit",
        "--source",
        "10.0.0.1",
        "--",
        "curl",
        "-sk",
        "https://shop.example.com/login",
        "-H",
        "X-Client: web-2",
        "-H",
        "origin: https://app.example.com",
        "-H",
        "x-forwarded-for: 6.6.6.6, 203.0.113.7",
        "-d",
        "user=me",
    ];
    insta::assert_snapshot!("curl", shown(&curl));
}

#[test]
fn a_missing_part_of_the_key_passes_the_rule_over_or_turns_the_request_away() {
    let skipped = json(&["https://api.example.com/users/7?full=1"]);
    let tokens = skipped.pointer("/passedOver/1").unwrap();
    assert_eq!(tokens.pointer("/rule").unwrap(), "tokens");
    assert_eq!(tokens.pointer("/lacks").unwrap(), "jwtClaim sub (--jwt-claim says what a verified token has)");
    assert_eq!(skipped.pointer("/charged/0/rule").unwrap(), "callers");
    let claimed = json(&["--jwt-claim", "sub=alice", "/users/7?full=1"]);
    assert_eq!(claimed.pointer("/charged/0/key/0/value").unwrap(), "alice");
    let lacking = json(&["/users/7/posts"]);
    assert_eq!(lacking.pointer("/charged/0/rule").unwrap(), "keys");
    assert_eq!(lacking.pointer("/decision").unwrap(), "admitted", "the rule is in shadow mode");
    assert_eq!(lacking.pointer("/charged/0/key/0/missing").unwrap(), "it is turned away");
    assert_eq!(lacking.pointer("/charged/0/key/1/value").unwrap(), "7");
}

#[test]
fn overrides_are_chosen_by_the_filters_own_code() {
    let gold = json(&["-H", "x-plan: gold", "https://api.example.com/people"]);
    assert_eq!(
        gold.pointer("/charged/0/override").unwrap(),
        r#"rules[3].overrides[1], for {"header":{"x-plan":"gold"}}"#
    );
    assert_eq!(gold.pointer("/charged/0/limits/0/requests").unwrap(), 4000);
    let batch = json(&["--principal", "cluster.local/ns/prod/sa/batch", "https://api.example.com/people"]);
    assert_eq!(batch.pointer("/charged/0/unlimited").unwrap(), "the override says unlimited");
    assert_eq!(batch.pointer("/charged/1/rule").unwrap(), "everything");
}

#[test]
fn exemptions_and_what_keeps_a_request_from_one_are_said() {
    let preflight = json(&["-X", "OPTIONS", "-H", "access-control-request-method: POST", "/login"]);
    assert_eq!(preflight.pointer("/decision").unwrap(), "exempt");
    let ambiguous = json(&["//health"]);
    assert_eq!(ambiguous.pointer("/exempt/is").unwrap(), false);
    assert_eq!(ambiguous.pointer("/exempt/doubt").unwrap(), "the path is ambiguous: it has two slashes in a row");
}

#[test]
fn a_grpc_caller_is_told_in_its_own_terms() {
    let answer = json(&["-X", "POST", "-H", "content-type: application/grpc", "https://api.example.com/people"]);
    assert_eq!(answer.pointer("/charged/0/whenLimited/grpcStatus").unwrap(), 8);
    assert_eq!(answer.pointer("/charged/0/whenLimited/status").unwrap(), 200);
}

#[test]
fn wrong_usage_is_two_and_a_wrong_configuration_one() {
    for wrong in [
        &["-X", "G ET", "/"][..],
        &["-H", "no colon", "/"],
        &["--source", "nowhere", "/"],
        &["ftp://host/"],
        &[],
        &["--", "curl", "--frobnicate", "http://host"],
    ] {
        assert_eq!(explain(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(explain(&["--plugin", "nobody", "/"]).status.code(), Some(1));
    assert_eq!(explain(&["--workload", "nobody", "/"]).status.code(), Some(1));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.yaml");
    let text = std::fs::read_to_string(fixture()).unwrap().replace("per: 1h", "per: 1 hour");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(["explain", "/login", "-f"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("spec.pluginConfig.rules[0].limits[1].per: invalid duration"), "{text}");
}
