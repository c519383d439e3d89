//! The programs that a mesh is made of, where `make mesh-parts` put them.

use std::path::PathBuf;

use tollgate_tests::artifacts;

fn cached(path: &str) -> PathBuf {
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let path = cache.join(path);
    assert!(path.is_file(), "{} is missing: run `make mesh-parts`", path.display());
    path
}

/// etcd, kube-apiserver, kube-controller-manager, kube-scheduler or kubectl.
pub fn kubernetes(name: &str) -> PathBuf {
    cached(&format!("kubernetes/bin/{name}"))
}

/// pilot-discovery, pilot-agent or istioctl.
pub fn istio(name: &str) -> PathBuf {
    cached(&format!("istio/bin/{name}"))
}

/// What pilot-agent makes Envoy's bootstrap from.
pub fn bootstrap_template() -> PathBuf {
    cached("istio/envoy_bootstrap.json")
}

/// The Envoy of the sidecars: the newest on offer.
pub fn envoy() -> PathBuf {
    artifacts::newest_envoy().path
}
