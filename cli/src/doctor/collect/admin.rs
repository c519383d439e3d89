//! A proxy's admin interface: at a port, or through `kubectl exec` and pilot-agent, since in a pod it listens on the
//! pod's loopback address alone.

use std::time::Duration;

use super::kubectl::Kubectl;
use crate::doctor::facts::Pod;
use crate::problem::Problem;
use crate::run::admin::Admin;

/// The container that has the proxy.
const CONTAINER: &str = "istio-proxy";

/// Where a proxy is asked.
#[derive(Debug, Clone)]
pub(super) enum At {
    /// `HOST:PORT`.
    Port(String),
    /// In a pod.
    Pod {
        /// With which kubectl.
        kubectl: Kubectl,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl At {
    pub(super) fn pod(kubectl: &Kubectl, pod: &Pod) -> Self {
        Self::Pod { kubectl: kubectl.clone(), namespace: pod.namespace.clone(), name: pod.name.clone() }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Port(address) => address.clone(),
            Self::Pod { namespace, name, .. } => format!("{namespace}/{name}"),
        }
    }

    /// Whether its files are those of this machine, as far as one can tell.
    pub(super) fn is_this_machine(&self) -> bool {
        match self {
            Self::Port(address) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                host == "localhost"
                    || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            Self::Pod { .. } => false,
        }
    }

    /// Fetches a page, or says why not.
    pub(super) async fn get(&self, path: &str, timeout: Duration) -> Result<String, String> {
        match self {
            Self::Port(address) => {
                let fetched = tokio::time::timeout(timeout, fetch(address, path)).await;
                fetched.unwrap_or_else(|_| Err(format!("{path}: no answer within {timeout:?}")))
            }
            Self::Pod { kubectl, namespace, name } => {
                let path = path.trim_start_matches('/');
                let arguments =
                    ["exec", name, "-n", namespace, "-c", CONTAINER, "--", "pilot-agent", "request", "GET", path];
                kubectl.run(&arguments).await.map_err(|problem| problem.reason)
            }
        }
    }

    /// What to say of one that does not answer.
    pub(super) fn unreachable(&self, reason: &str) -> Problem {
        Problem::new(format!("no proxy can be looked at at {}: {reason}", self.name())).cure(
            "kubectl port-forward POD -n NAMESPACE 15000   # Envoy's admin port, not 15020 or 15090, which are for metrics",
        )
    }
}

async fn fetch(address: &str, path: &str) -> Result<String, String> {
    let mut addresses = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
    let address = addresses.next().ok_or("the name has no address")?;
    let (status, text) = Admin { address }.get(path).await.map_err(|problem| problem.reason)?;
    if status == 200 { Ok(text) } else { Err(format!("{path} answers {status}: this is not Envoy's admin interface")) }
}
