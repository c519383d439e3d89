//! The only caller of the Proxy-Wasm ABI (version 0.2.1) among Tollgate's crates.
//!
//! No call panics, whatever status the host returns; header values are bytes; each attribute is read at most once a
//! callback. A module exports just the callbacks that it names in [`export!`], because Envoy enters the VM for each
//! that is exported, needed or not.
//!
//! Everything but the decoding of what the host hands over exists on wasm32 alone.

pub mod pairs;

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
mod export;
#[cfg(target_arch = "wasm32")]
mod metrics;
#[cfg(target_arch = "wasm32")]
mod plugin;
#[cfg(target_arch = "wasm32")]
mod reply;
#[cfg(target_arch = "wasm32")]
mod request;
#[cfg(target_arch = "wasm32")]
mod response;
#[cfg(target_arch = "wasm32")]
mod shared_data;
#[cfg(target_arch = "wasm32")]
mod system;

#[cfg(target_arch = "wasm32")]
pub use self::{
    export::{Dispatcher, memory_allocate},
    metrics::{Counter, Gauge, Histogram, config_hash, config_info},
    plugin::{Flow, Plugin, Root},
    reply::{EncodedHeaders, LocalReply},
    request::HostRequest,
    response::HostResponse,
    shared_data::SharedData,
    system::{LogLevel, is_news, istio_stat_tags, log, log_unreachable_rules, now, random, set_property, unix_seconds},
};
