//! Requests, durations, sizes and what is in flight by route, with labels that Prometheus can use.
//!
//! `config` is what users write, `observer` reads a request, `labels` turns what was read into label values, `names` those
//! into names of stats, `series` keeps their number bounded. All of it is pure; the glue to Envoy exists on wasm32 alone.

pub mod config;
pub mod labels;
pub mod names;
pub mod observer;
pub mod series;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
