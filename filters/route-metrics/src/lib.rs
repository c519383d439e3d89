//! Requests and durations by route, with labels that Prometheus can use.
//!
//! `config` is what users write, `labels` turns what the proxy knows into label values, `series` keeps their number
//! bounded. All of it is pure; the glue to Envoy exists on wasm32 alone.

pub mod config;
pub mod labels;
pub mod series;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
