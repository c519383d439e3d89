//! kubectl, which is what users have: its validation, its apply, its words.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::parts;

/// kubectl for one user of the cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// With that user's configuration.
    pub fn new(kubeconfig: &Path) -> Self {
        Self { program: parts::kubernetes("kubectl"), kubeconfig: kubeconfig.to_owned() }
    }

    /// The configuration.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What it prints, or what it says is wrong.
    pub fn try_run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        let mut process = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            // Nothing of the user's own: neither preferences nor caches.
            .env_clear()
            .env("HOME", self.kubeconfig.parent().expect("a directory"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        let mut stdin = process.stdin.take().expect("piped");
        let input = input.unwrap_or_default().to_owned();
        // It may fail before it has read all.
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = process.wait_with_output().expect("it ends");
        let _ = writer.join();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What it prints.
    ///
    /// # Panics
    /// It fails: with what it says.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments, None).unwrap_or_else(|said| panic!("kubectl {}: {said}", arguments.join(" ")))
    }

    /// One object, or a list of them.
    pub fn get(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get", "-o", "json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.run(&arguments)).expect("JSON")
    }

    /// One object, if it is there and the API server answers.
    pub fn find(&self, arguments: &[&str]) -> Option<Value> {
        let arguments: Vec<&str> = ["get", "-o", "json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.try_run(&arguments, None).ok()?).ok()
    }

    /// Applies manifests, as YAML or JSON.
    ///
    /// # Panics
    /// They are refused: with why.
    pub fn apply(&self, manifests: &str) {
        self.try_apply(manifests, &[]).unwrap_or_else(|said| panic!("kubectl apply: {said}\n{manifests}"));
    }

    /// The same, with more arguments; or why they are refused.
    pub fn try_apply(&self, manifests: &str, arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<&str> = ["apply", "-f", "-"].iter().chain(arguments).copied().collect();
        self.try_run(&arguments, Some(manifests))
    }
}
