//! Token-bucket rate limits, exact across all workers of one proxy.
//!
//! `config` is what users write, `bucket` the arithmetic, `store` the one shared value behind each bucket, `policy`
//! the decision, `headers` what a limited caller is told. All of it is pure; the glue to Envoy exists on wasm32 alone.

#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod bucket;
pub mod config;
pub mod headers;
pub mod policy;
pub mod store;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
