//! Checks who is calling by the SPIFFE ID in the peer's verified certificate.
//!
//! `config` is what users write, `identity` finds out who the peer is, `policy` decides. All of it is pure; the glue to
//! Envoy exists on wasm32 alone.

pub mod certificates;
pub mod conditions;
pub mod config;
pub mod identity;
mod peers;
pub mod policy;
#[cfg(test)]
mod testing;

#[cfg(all(target_arch = "wasm32", not(test)))]
mod plugin;
