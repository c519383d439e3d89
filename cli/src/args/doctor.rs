//! Arguments of `tollgate doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ReportFormat;

/// `tollgate doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate doctor                                  (the cluster that kubectl talks to)\n  \
                        tollgate doctor -n prod --module dist/rate-limit.wasm\n  \
                        tollgate doctor --admin 127.0.0.1:15000          (one proxy, by itself)\n  \
                        tollgate doctor --admin 127.0.0.1:15000 -f istio/base\n  \
                        tollgate doctor -o json | jq -r '.findings[] | select(.severity == \"error\") | .what'\n\n\
                        What Kubernetes says of a WasmPlugin is what was asked for; what is enforced, only each proxy can say. \
                        So doctor reads both and compares. From the API server, by kubectl and with its permissions: \
                        WasmPlugins, pods, Services, PeerAuthentications, DestinationRules. From each proxy that a plugin \
                        selects, through kubectl exec and pilot-agent, or at the ports that --admin names: its filters, the \
                        modules' digests, the configurations, the metrics, twice. It changes nothing.\n\n\
                        Each finding says what, where, why it matters, and the command that mends it. A selector that fits \
                        no pod, a module that could not be fetched and the filter that stands in for it, a configuration \
                        that was refused, a VM that trapped, labels that stay in metrics' names: docs/operations.md has them \
                        all.\n\n\
                        Exit codes: 0 nothing wrong, 1 an error or a warning was found, or it could not be looked, 2 wrong \
                        usage.")]
pub struct DoctorArguments {
    /// Only the WasmPlugins of this namespace, and those of istio-system [default: of all namespaces]
    #[arg(short, long, value_name = "NAME", conflicts_with = "files")]
    pub namespace: Option<String>,
    /// kubectl's configuration [default: kubectl's own]
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub kubeconfig: Option<PathBuf>,
    /// kubectl's context [default: the current one]
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub context: Option<String>,
    /// Admin interface of a proxy, in place of kubectl exec; may be given several times. Alone it is compared with no
    /// resources; beside --namespace, --kubeconfig or --context with the cluster's, beside --file with those
    #[arg(long = "admin", value_name = "HOST:PORT", value_parser = admin)]
    pub admins: Vec<String>,
    /// File, directory or kustomization to compare the proxies with, in place of a cluster; may be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", requires = "admins")]
    pub files: Vec<PathBuf>,
    /// The module that should run, to compare digests with, in place of spec.sha256; may be given several times
    #[arg(long = "module", value_name = "FILE.wasm")]
    pub modules: Vec<PathBuf>,
    /// Time between two looks at each proxy's metrics, which show whether the filters see its requests; 0 looks once
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub watch: Duration,
    /// How long the API server, or a proxy, may take for one answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,
    /// The kubectl to run [default: the one on PATH, else the one that make installed]
    #[arg(long, value_name = "PATH", conflicts_with = "files")]
    pub kubectl: Option<PathBuf>,
    /// Form of the report
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

impl DoctorArguments {
    /// Whether a cluster is asked.
    pub fn asks_cluster(&self) -> bool {
        let named = self.namespace.is_some() || self.kubeconfig.is_some() || self.context.is_some();
        self.files.is_empty() && (named || self.admins.is_empty())
    }
}

fn admin(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if crate::envoy::is_endpoint(address) {
        Ok(address.to_owned())
    } else {
        Err("expected HOST:PORT, such as 127.0.0.1:15000".to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::duration::parse(text).ok_or_else(|| "expected a duration, such as 2s or 500ms".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|found| if found.is_zero() { Err("must be more than 0".to_owned()) } else { Ok(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_interface_is_an_address_with_or_without_its_scheme() {
        assert_eq!(admin("127.0.0.1:15000").as_deref(), Ok("127.0.0.1:15000"));
        assert_eq!(admin("http://localhost:15000/").as_deref(), Ok("localhost:15000"));
        assert!(admin("15000").is_err());
    }
}
