//! Kubernetes: etcd, the API server, the controllers and the scheduler, and one node that is only registered.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use crate::{
    addresses::{Addresses, free},
    kubectl::Kubectl,
    parts,
    pki::Pki,
    process::Process,
    wait::until,
};

/// The one node.
pub const NODE: &str = "node-1";
const START: Duration = Duration::from_secs(120);

/// A running control plane. Dropped from the last started to the first.
pub struct ControlPlane {
    scheduler: Process,
    controllers: Process,
    api_server: Process,
    etcd: Process,
    launch: Launch,
    kubectl: Kubectl,
    pki: Pki,
}

/// What the API server is started with, the first time and after it was stopped.
struct Launch {
    logs: PathBuf,
    state: PathBuf,
    etcd: SocketAddr,
    address: SocketAddr,
    services: String,
}

impl ControlPlane {
    /// Starts it and waits until it is ready.
    pub async fn start(state: &Path, logs: &Path, addresses: &Addresses) -> Self {
        let (etcd_at, peers, address) = (free(), free(), free());
        let pki_directory = state.join("pki");
        std::fs::create_dir_all(&pki_directory).expect("writable");
        let pki = Pki::new(&pki_directory);
        pki.issue_server(&[Ipv4Addr::LOCALHOST, addresses.service(1)]);
        let server = format!("https://{address}");
        let admin = pki.kubeconfig_with_certificate("admin", &server, "admin", Some("system:masters"));
        let launch = Launch {
            logs: logs.to_owned(),
            state: state.to_owned(),
            etcd: etcd_at,
            address,
            services: addresses.service_range(),
        };

        let etcd = Process::start("etcd", logs, &parts::kubernetes("etcd"), |command| {
            command
                .args(["--name", "mesh", "--unsafe-no-fsync", "--data-dir"])
                .arg(state.join("etcd"))
                .args(["--listen-client-urls", &format!("http://{etcd_at}")])
                .args(["--advertise-client-urls", &format!("http://{etcd_at}")])
                .args(["--listen-peer-urls", &format!("http://{peers}")])
                .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
                .args(["--initial-cluster", &format!("mesh=http://{peers}")]);
        });
        let mut api_server = launch.api_server(&pki);
        let kubectl = Kubectl::new(&admin);
        ready(&kubectl, &mut api_server).await;

        let own = |name: &str, user: &str| pki.kubeconfig_with_certificate(name, &server, user, None);
        let controllers = own("controllers", "system:kube-controller-manager");
        let controllers =
            Process::start("controllers", logs, &parts::kubernetes("kube-controller-manager"), |command| {
                command
                    .arg(option("kubeconfig", &controllers))
                    .arg(option("service-account-private-key-file", &pki.path("service-account.key")))
                    .arg(option("root-ca-file", &pki.path("ca.crt")))
                    .arg(option("cluster-signing-cert-file", &pki.path("ca.crt")))
                    .arg(option("cluster-signing-key-file", &pki.path("ca.key")))
                    .arg(option("cert-dir", &state.join("controllers")))
                    // The node sends no heartbeats, and no metrics server is there to scale by.
                    .arg("--controllers=*,-node-lifecycle-controller,-horizontal-pod-autoscaler-controller")
                    .args(["--use-service-account-credentials=true", "--leader-elect=false"])
                    .args(["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={}", free().port())]);
            });
        let scheduler = own("scheduler", "system:kube-scheduler");
        let scheduler = Process::start("scheduler", logs, &parts::kubernetes("kube-scheduler"), |command| {
            command
                .arg(option("kubeconfig", &scheduler))
                .arg(option("cert-dir", &state.join("scheduler")))
                .arg("--leader-elect=false")
                .args(["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={}", free().port())]);
        });
        let mut control_plane = Self { scheduler, controllers, api_server, etcd, launch, kubectl, pki };
        control_plane.register_node();
        control_plane.assert_runs();
        control_plane
    }

    fn register_node(&self) {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": NODE, "labels": { "kubernetes.io/hostname": NODE } },
            "status": {
                "capacity": { "cpu": "64", "memory": "256Gi", "pods": "110" },
                "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "110" },
                "conditions": [{ "type": "Ready", "status": "True", "reason": "Registered", "message": "by the tests" }],
                "nodeInfo": {
                    "kubeletVersion": "v1.37.2", "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "",
                    "osImage": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            },
        });
        self.kubectl.try_run(&["create", "-f", "-"], Some(&node.to_string())).expect("the node is registered");
    }

    /// kubectl for the administrator.
    pub const fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The cluster's certificates.
    pub const fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.launch.address)
    }

    /// # Panics
    /// A part of it has ended.
    pub fn assert_runs(&mut self) {
        for part in [&mut self.etcd, &mut self.api_server, &mut self.controllers, &mut self.scheduler] {
            part.assert_runs();
        }
    }

    /// Kills the API server, calls `meanwhile`, starts it again and waits until it is ready.
    pub async fn without_api_server<T>(&mut self, meanwhile: impl AsyncFnOnce() -> T) -> T {
        self.api_server.end();
        let result = meanwhile().await;
        self.api_server = self.launch.api_server(&self.pki);
        ready(&self.kubectl, &mut self.api_server).await;
        result
    }
}

impl Launch {
    fn api_server(&self, pki: &Pki) -> Process {
        Process::start("api-server", &self.logs, &parts::kubernetes("kube-apiserver"), |command| {
            command
                .arg(format!("--etcd-servers=http://{}", self.etcd))
                .args(["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={}", self.address.port())])
                .args(["--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
                .arg(option("tls-cert-file", &pki.path("api.crt")))
                .arg(option("tls-private-key-file", &pki.path("api.key")))
                .arg(option("client-ca-file", &pki.path("ca.crt")))
                .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
                // It taints a new node until the controller that watches heartbeats finds it ready.
                .arg("--disable-admission-plugins=TaintNodesByCondition")
                .args(["--anonymous-auth=false", "--allow-privileged=true"])
                .arg("--service-account-issuer=https://kubernetes.default.svc")
                .arg(option("service-account-key-file", &pki.path("service-account.pub")))
                .arg(option("service-account-signing-key-file", &pki.path("service-account.key")))
                .arg(format!("--service-cluster-ip-range={}", self.services))
                .arg(option("cert-dir", &self.state.join("api-server")));
        })
    }
}

async fn ready(kubectl: &Kubectl, api_server: &mut Process) {
    until("the API server is ready", START, async || {
        api_server.assert_runs();
        kubectl.try_run(&["get", "--raw", "/readyz"], None).ok().filter(|answer| answer == "ok")
    })
    .await;
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
