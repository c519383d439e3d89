//! What Istio makes of its resources, by its own code: the programs of `tests/istio`.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// What becomes of the AuthorizationPolicies of one workload.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Translation {
    /// The HTTP filters, in the order of the workload's chain.
    pub filters: Vec<Value>,
    /// Why Istio's webhook refuses a policy, by the policy's name.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
}

/// Translates the AuthorizationPolicies that hold for each workload: the mesh's trust domain with its aliases behind it,
/// and the resources.
///
/// # Panics
/// The program is missing, or refuses its input.
pub fn translate<'a>(workloads: impl IntoIterator<Item = (&'a [String], &'a [Value])>) -> Vec<Translation> {
    let program = program();
    let mut process = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let lines: Vec<String> = workloads
        .into_iter()
        .map(|(domains, policies)| json!({"trustDomains": domains, "policies": policies}).to_string())
        .collect();
    let mut input = process.stdin.take().expect("piped");
    let text = lines.join("\n");
    // The answers may fill the pipe before all of the questions are in the other one.
    let questions = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = process.wait_with_output().expect("waitable");
    assert!(output.status.success(), "authz: {}", output.status);
    questions.join().expect("no panic").expect("all of it is read");
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Translation> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    assert_eq!(answers.len(), lines.len(), "one answer for each workload");
    answers
}

fn program() -> PathBuf {
    let program = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set").join("istio-authz/bin/authz");
    assert!(program.is_file(), "{} is missing: run `make istio-authz`", program.display());
    program
}
