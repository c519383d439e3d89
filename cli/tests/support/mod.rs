//! A Wasm module that does nothing, and the Envoy to load it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends by panicking")]

use std::path::PathBuf;

/// The least that is a Proxy-Wasm filter.
const NOTHING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))"#;

/// A directory with modules of these names, each of which does nothing.
pub fn modules(names: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(directory.path().join(format!("{name}.wasm")), wat::parse_str(NOTHING).unwrap()).unwrap();
    }
    directory
}

/// The Envoy that the program would run. There is no skipping: without one, the test fails and says how to get it.
pub fn envoy() -> PathBuf {
    tollgate_cli::tools::envoy(None).unwrap_or_else(|problem| panic!("{problem}"))
}
