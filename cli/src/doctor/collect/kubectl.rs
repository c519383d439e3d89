//! kubectl as a process: it has the user's credentials, plugins and proxies (ADR 13).

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::args::doctor::DoctorArguments;
use crate::doctor::cures::quoted;
use crate::problem::Problem;
use crate::tools;

/// kubectl, and which cluster it talks to.
#[derive(Debug, Clone)]
pub(super) struct Kubectl {
    program: PathBuf,
    cluster: Vec<String>,
    timeout: Duration,
}

impl Kubectl {
    pub(super) fn find(arguments: &DoctorArguments) -> Result<Self, Problem> {
        let mut cluster = Vec::new();
        if let Some(file) = &arguments.kubeconfig {
            cluster.extend(["--kubeconfig".to_owned(), file.display().to_string()]);
        }
        if let Some(context) = &arguments.context {
            cluster.extend(["--context".to_owned(), context.clone()]);
        }
        Ok(Self { program: tools::kubectl(arguments.kubectl.as_deref())?, cluster, timeout: arguments.timeout })
    }

    /// What a user must add to `kubectl` to reach the same cluster.
    pub(super) fn spelled(&self) -> String {
        self.cluster.iter().map(|argument| format!(" {}", quoted(argument))).collect()
    }

    /// All resources of a kind: of a namespace, or of all.
    pub(super) async fn list(&self, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>, Problem> {
        let mut arguments = vec!["get", kind, "-o", "json"];
        match namespace {
            Some(namespace) => arguments.extend(["-n", namespace]),
            None => arguments.push("-A"),
        }
        let text = self.run(&arguments).await?;
        let unreadable = |error| Problem::new(format!("kubectl get {kind}: its output can't be read: {error}"));
        let mut list: Value = serde_json::from_str(&text).map_err(unreadable)?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// What it prints; ended when it takes too long.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, Problem> {
        let child = Command::new(&self.program)
            .args(&self.cluster)
            .arg(format!("--request-timeout={}ms", self.timeout.as_millis()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Problem::new(format!("can't run {}: {error}", self.program.display())))?;
        // It asks the API server what it knows before it asks for anything; so it gets the time for two answers.
        let patience = self.timeout.saturating_mul(2);
        let Ok(ended) = tokio::time::timeout(patience, child.wait_with_output()).await else {
            return Err(Problem::new(format!("kubectl {}: no answer within {patience:?}", arguments.join(" ")))
                .cure(format!("kubectl{} cluster-info, or a longer --timeout", self.spelled())));
        };
        let output = ended.map_err(|error| Problem::new(format!("kubectl: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.explain(&String::from_utf8_lossy(&output.stderr)))
    }

    /// What kubectl says last is what it stumbled over; before come the tries.
    fn explain(&self, said: &str) -> Problem {
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
        let forbidden = said.lines().find(|line| line.contains("(Forbidden)"));
        let kubectl = format!("kubectl{}", self.spelled());
        if let Some(line) = forbidden {
            let user = line.split("User \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("USER");
            return Problem::new(format!("kubectl: {line}")).cure(format!(
                "{kubectl} create clusterrole tollgate-doctor --verb=get,list --resource={KINDS}   # as an administrator\n\
                 {kubectl} create clusterrole tollgate-doctor-exec --verb=create --resource=pods/exec\n\
                 {kubectl} create clusterrolebinding tollgate-doctor --clusterrole=tollgate-doctor --user={user}\n\
                 {kubectl} create clusterrolebinding tollgate-doctor-exec --clusterrole=tollgate-doctor-exec --user={user}",
                user = quoted(user)
            ));
        }
        let problem = Problem::new(format!("kubectl: {last}"));
        if said.contains("doesn't have a resource type") {
            return problem
                .cure(format!("{kubectl} get crd | grep istio.io   # Istio's kinds are not in this cluster"));
        }
        if said.contains("connection to the server") || said.contains("Unable to connect") {
            return problem
                .cure(format!("{kubectl} cluster-info   # the API server does not answer, or is another one"));
        }
        problem
    }
}

/// What doctor reads.
const KINDS: &str = "pods,services,wasmplugins.extensions.istio.io,peerauthentications.security.istio.io,\
                     destinationrules.networking.istio.io";

#[cfg(test)]
mod tests {
    use super::*;

    fn kubectl() -> Kubectl {
        let cluster = vec!["--context".into(), "my cluster".into()];
        Kubectl { program: "/bin/sh".into(), cluster, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn what_kubectl_stumbles_over_comes_with_its_cure() {
        let forbidden = "Error from server (Forbidden): pods is forbidden: User \"bob\" cannot list resource \"pods\"";
        let problem = kubectl().explain(forbidden);
        assert!(problem.reason.contains("cannot list"), "{problem}");
        assert!(problem.cure.unwrap().contains(
            "--context 'my cluster' create clusterrolebinding tollgate-doctor --clusterrole=tollgate-doctor --user=bob"
        ));
        let refused = "E1123 memcache.go:381] \"Couldn't get\"\nThe connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n";
        let problem = kubectl().explain(refused);
        assert!(problem.reason.starts_with("kubectl: The connection to the server"), "{problem}");
        assert!(problem.cure.unwrap().contains("cluster-info"));
        assert!(kubectl().explain("").reason.contains("without a word"));
    }

    #[tokio::test]
    async fn a_kubectl_that_hangs_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("kubectl");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let kubectl = Kubectl { program, timeout: Duration::from_millis(100), cluster: Vec::new() };
        let problem = kubectl.run(&["get", "pods"]).await.unwrap_err();
        assert!(problem.reason.contains("no answer within 200ms"), "{problem}");
    }
}
