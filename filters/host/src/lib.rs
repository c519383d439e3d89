//! Proxy-Wasm host adapter.
