//! Checks who is calling by the SPIFFE ID in the peer's verified certificate.
//!
//! `config` is what users write, `identity` finds out who the peer is, `policy` decides. All of it is pure; the glue to
//! Envoy exists on wasm32 alone.

pub mod config;
pub mod identity;
pub mod policy;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
