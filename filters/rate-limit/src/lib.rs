//! Token-bucket rate limits, exact across all workers of one proxy.
//!
//! `config` is what users write, `bucket` the arithmetic, `table` the shared values behind the buckets, `key` the way from
//! a request to its bucket, `policy` the decision, `reply` and `headers` what callers are told. All of it is pure; the
//! glue to Envoy exists on wasm32 alone.

#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod bucket;
pub mod config;
pub mod headers;
pub mod key;
pub mod policy;
pub mod reply;
pub mod table;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
