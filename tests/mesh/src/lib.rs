//! A real Istio on a real Kubernetes API, on one machine: etcd, kube-apiserver, kube-controller-manager,
//! kube-scheduler, istiod, pilot-agents each with a stock Envoy, a registry, an application.
//!
//! Nothing of it is a stand-in but the node: [`node`] does with a Pod what a kubelet would. Everything listens on
//! loopback, on ports and addresses that are free, keeps its files in a temporary directory, and ends with the program
//! that started it, however that ends.

pub mod addresses;
pub mod application;
pub mod control_plane;
pub mod istio;
pub mod kubectl;
pub mod mesh;
pub mod node;
pub mod parts;
pub mod pki;
pub mod process;
pub mod wait;

pub use mesh::Mesh;
