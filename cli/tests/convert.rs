//! What convert makes of EnvoyFilters and AuthorizationPolicies, and what it says of each of their fields.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/convert").join(name)
}

fn convert(name: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["convert", "-f"]).arg(fixture(name)).args(more).output().unwrap()
}

/// Exit code, standard output and standard error, with the file as it is named in the fixtures.
fn shown(output: &Output, name: &str) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(&fixture(name).display().to_string(), name).replace(env!("CARGO_PKG_VERSION"), "<version>")
    };
    let code = output.status.code().unwrap();
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_limit_whose_labels_find_no_pod_is_carried_over_and_said_to_do_nothing() {
    insta::assert_snapshot!("platform", shown(&convert("platform.yaml", &[]), "platform.yaml"));
}

#[test]
fn limits_of_routes_become_rules_of_the_pods_port() {
    insta::assert_snapshot!("routes", shown(&convert("routes.yaml", &[]), "routes.yaml"));
}

#[test]
fn what_did_nothing_comes_out_in_shadow_mode_and_is_named() {
    insta::assert_snapshot!("without_effect", shown(&convert("without-effect.yaml", &[]), "without-effect.yaml"));
}

#[test]
fn what_cannot_be_carried_over_is_refused_with_its_place_and_the_rest_is_converted() {
    insta::assert_snapshot!("broken", shown(&convert("broken.yaml", &[]), "broken.yaml"));
}

#[test]
fn replies_shares_and_hosts_of_a_gateway_become_the_rules_own() {
    insta::assert_snapshot!("gateway", shown(&convert("gateway.yaml", &[]), "gateway.yaml"));
}

#[test]
fn descriptors_for_any_value_become_keys() {
    insta::assert_snapshot!("dynamic", shown(&convert("dynamic.yaml", &[]), "dynamic.yaml"));
}

#[test]
fn policies_of_one_workload_become_one_plugin() {
    insta::assert_snapshot!("authorization", shown(&convert("authorization.yaml", &[]), "authorization.yaml"));
}

#[test]
fn every_field_of_a_policy_is_accounted_for() {
    let output = convert("authorization-fields.yaml", &[]);
    insta::assert_snapshot!("authorization_fields", shown(&output, "authorization-fields.yaml"));
}

#[test]
fn policies_of_a_mesh_are_united_where_their_workloads_are_known() {
    let output = convert("authorization-mesh.yaml", &[]);
    insta::assert_snapshot!("authorization_mesh", shown(&output, "authorization-mesh.yaml"));
}

#[test]
fn policies_that_cannot_be_carried_over_are_refused_with_their_place() {
    let output = convert("authorization-broken.yaml", &[]);
    insta::assert_snapshot!("authorization_broken", shown(&output, "authorization-broken.yaml"));
}

#[test]
fn trust_domains_and_trusted_proxies_are_said_on_the_command_line() {
    let more = ["-o", "json", "--trust-domain", "new", "--trust-domain", "old", "--trusted-proxies", "2"];
    let output = convert("authorization-mesh.yaml", &more);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let named = |name: &str| {
        let resources = all["resources"].as_array().unwrap().iter();
        resources
            .map(|resource| resource["metadata"]["name"].as_str().unwrap())
            .position(|found| found == name)
            .unwrap()
    };
    let config = |name: &str| &all["resources"][named(name)]["spec"]["pluginConfig"];
    assert_eq!(config("edge")["trustDomains"], serde_json::json!(["new", "old"]));
    // The gateway's own entry, and those of two proxies before it.
    assert_eq!(config("edge")["rules"][0]["when"]["trustedHops"], 3);
    assert_eq!(config("through-waypoint")["rules"][0]["allow"][0]["principals"][0], "new/ns/shop/sa/web");
    let notes = all["notes"].as_array().unwrap().iter();
    let codes: std::collections::BTreeSet<_> = notes.filter_map(|note| note["difference"].as_str()).collect();
    assert!(codes.contains("identity_required") && codes.contains("later_workloads"), "{codes:?}");
    for wrong in [["--trust-domain", "a/b"], ["--trust-domain", "A"], ["--trusted-proxies", "32"]] {
        assert_eq!(convert("authorization-mesh.yaml", &wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_example_in_the_documentation_is_what_the_program_does() {
    let document = include_str!("../../docs/convert.md");
    let (_, example) = document.split_once("### Example").unwrap();
    let blocks: Vec<&str> = example.split("```").skip(1).step_by(2).take(3).collect();
    let block = |index: usize| blocks[index].split_once('\n').unwrap().1;
    let mut convert = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("convert")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    convert.stdin.take().unwrap().write_all(block(0).as_bytes()).unwrap();
    let output = convert.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), block(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), block(2));
}

#[test]
fn json_has_resources_notes_and_problems() {
    let output = convert("broken.yaml", &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all["resources"][0]["spec"]["pluginConfig"]["rules"][0]["limits"][0]["requests"], 10);
    assert_eq!(all["resources"].as_array().unwrap().len(), 1);
    let problem = &all["problems"][0];
    assert_eq!((&problem["line"], &problem["resource"]), (&2.into(), &"EnvoyFilter shop/too-much".into()));
    assert!(problem["cure"].is_string());
    let notes = all["notes"].as_array().unwrap();
    let policy = notes.iter().find(|note| note["resource"] == "PeerAuthentication shop/callers").unwrap();
    assert_eq!(policy["dropped"], true);
    let per = notes.iter().find(|note| note["became"] == "per: 1m").unwrap();
    assert_eq!(per["path"], "spec.configPatches[0].patch.value.typed_config.token_bucket.fill_interval");
}

#[test]
fn what_comes_out_is_what_validate_takes() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "platform.yaml",
        "routes.yaml",
        "without-effect.yaml",
        "gateway.yaml",
        "dynamic.yaml",
        "authorization.yaml",
        "authorization-fields.yaml",
        "authorization-mesh.yaml",
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, convert(name, &[]).stdout).unwrap();
        let validated =
            Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["validate", "-f"]).arg(&file).output().unwrap();
        assert!(validated.status.success(), "{name}: {}", String::from_utf8_lossy(&validated.stderr));
    }
}

#[test]
fn standard_input_is_read_and_no_context_is_both_directions() {
    let text = std::fs::read_to_string(fixture("dynamic.yaml")).unwrap();
    let (filter, _) = text.split_once("          stage: 2").unwrap();
    let filter = filter.replace("match: {context: SIDECAR_INBOUND}", "match: {}")
        + "          token_bucket: {max_tokens: 5, tokens_per_fill: 1, fill_interval: 1s}\n";
    let mut convert = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("convert")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    convert.stdin.take().unwrap().write_all(filter.as_bytes()).unwrap();
    let output = convert.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["name: per-caller-inbound", "mode: SERVER", "name: per-caller-outbound", "mode: CLIENT", "burst: 5"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn nothing_to_convert_is_a_problem_and_wrong_usage_is_two() {
    let output = convert("../mesh.yaml", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("what was read has no EnvoyFilter"));
    assert_eq!(convert("platform.yaml", &["-o", "text"]).status.code(), Some(2));
}
