//! What a real Prometheus makes of the metrics, and the shipped rules and dashboards of them.

mod alerts;
mod dashboards;
mod exactness;
mod notifications;
mod rules;
