//! Starts real Envoys with the modules just built, talks to them, and stops them.
//!
//! Everything runs on loopback, on ports that the system chooses. What is missing fails the test and says how to get
//! it; nothing is skipped.

pub mod alertmanager;
pub mod application;
pub mod artifacts;
pub mod certificates;
pub mod client;
pub mod config;
pub mod conversation;
pub mod daemon;
pub mod dashboards;
pub mod envoy;
pub mod flood;
pub mod istio;
pub mod jaeger;
pub mod loki;
pub mod monitoring;
pub mod prometheus;
pub mod promtail;
pub mod queries;
pub mod registry;
pub mod telemetry;
pub mod tokens;
pub mod wire;
pub mod world;
