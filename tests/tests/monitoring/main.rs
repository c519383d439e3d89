//! What a real Prometheus makes of the metrics, and the shipped rules of them.

mod alerts;
mod exactness;
mod rules;
