//! `tollgate inspect`: what a module asks of its host and offers it. The build calls it so that a module with anything
//! unexpected in either never ships.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use wasmparser::{ExternalKind, Parser, Payload, Validator};

use crate::args::{InspectArguments, ReportFormat};
use crate::output;
use crate::problem::{Origin, Problem, Problems};

/// The part of WASI that Envoy serves (proxy-wasm-cpp-host `include/proxy-wasm/exports.h`) and that a filter may want.
const WASI: [&str; 12] = [
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "proc_exit",
    "random_get",
];

/// What the host calls, by ABI 0.2.1.
const CALLBACKS: [&str; 26] = [
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_context_create",
    "proxy_on_context_finalize",
    "proxy_on_done",
    "proxy_on_log",
    "proxy_on_delete",
    "proxy_on_new_connection",
    "proxy_on_downstream_data",
    "proxy_on_upstream_data",
    "proxy_on_downstream_connection_close",
    "proxy_on_upstream_connection_close",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_request_metadata",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_response_metadata",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
];

/// Two more callbacks, of which a module needs neither to be one.
const MORE_CALLBACKS: [&str; 2] = ["proxy_on_queue_ready", "proxy_on_foreign_function"];

const ALLOCATE: &str = "proxy_on_memory_allocate";
const OTHER_EXPORTS: [&str; 5] = ["memory", "proxy_abi_version_0_2_1", "_initialize", "__data_end", "__heap_base"];

/// What is in a module.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    file: String,
    bytes: u64,
    imports: Vec<String>,
    exports: Vec<String>,
    callbacks: BTreeSet<String>,
    /// What is not as it should be.
    problems: Vec<String>,
}

/// Prints what is in the modules; true when all of it is as it should be.
pub fn inspect(arguments: &InspectArguments) -> Result<bool, Problems> {
    let mut modules = Vec::new();
    for path in &arguments.modules {
        modules.push(read(path, arguments)?);
    }
    match arguments.output {
        ReportFormat::Json => {
            let text = serde_json::to_string_pretty(&modules).map_err(|error| Problem::new(error.to_string()))?;
            output::line(text);
        }
        ReportFormat::Text => modules.iter().for_each(print),
    }
    Ok(modules.iter().all(|module| module.problems.is_empty()))
}

fn read(path: &Path, arguments: &InspectArguments) -> Result<Module, Problem> {
    let origin = Origin::file(path.display().to_string());
    let bytes = std::fs::read(path).map_err(|error| Problem::at(&origin, "", format!("can't be read: {error}")))?;
    let mut module = parse(&bytes).map_err(|error| Problem::at(&origin, "", format!("is no Wasm module: {error}")))?;
    module.file = origin.file;
    check(&mut module, arguments.max_bytes, arguments.callbacks.as_deref());
    Ok(module)
}

fn parse(bytes: &[u8]) -> Result<Module, wasmparser::BinaryReaderError> {
    Validator::new().validate_all(bytes)?;
    let mut module = Module { bytes: bytes.len() as u64, ..Module::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    module.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func && is_callback(export.name) {
                        module.callbacks.insert(export.name.to_owned());
                    }
                    module.exports.push(export.name.to_owned());
                }
            }
            _ => {}
        }
    }
    module.imports.sort();
    module.exports.sort();
    Ok(module)
}

fn is_callback(name: &str) -> bool {
    CALLBACKS.contains(&name) || MORE_CALLBACKS.contains(&name)
}

fn check(module: &mut Module, max_bytes: Option<u64>, callbacks: Option<&[String]>) {
    let mut problems = Vec::new();
    for import in &module.imports {
        let known = match import.split_once('.') {
            Some(("env", name)) => name.starts_with("proxy_"),
            Some(("wasi_snapshot_preview1" | "wasi_unstable", name)) => WASI.contains(&name),
            _ => false,
        };
        if !known {
            problems.push(format!("imports {import}, which Envoy does not serve"));
        }
    }
    for export in &module.exports {
        if !is_callback(export) && export != ALLOCATE && !OTHER_EXPORTS.contains(&export.as_str()) {
            problems.push(format!("exports {export}, which nobody asks for"));
        }
    }
    for needed in ["memory", "proxy_abi_version_0_2_1", ALLOCATE] {
        if !module.exports.iter().any(|export| export == needed) {
            problems.push(format!("does not export {needed}"));
        }
    }
    if let Some(wanted) = callbacks {
        let wanted: BTreeSet<&str> = wanted.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        let found: BTreeSet<&str> = module.callbacks.iter().map(String::as_str).collect();
        problems.extend(wanted.difference(&found).map(|name| format!("does not export {name}")));
        problems.extend(found.difference(&wanted).map(|name| format!("exports {name}, which is not in --callbacks")));
    }
    if let Some(max) = max_bytes.filter(|max| module.bytes > *max) {
        problems.push(format!("has {} bytes, over {max}", module.bytes));
    }
    module.problems = problems;
}

fn print(module: &Module) {
    output::line(format!("{}  {} bytes", output::styled(output::STRONG, &module.file), module.bytes));
    output::line(format!("  imports  {}", module.imports.join("\n           ")));
    output::line(format!("  exports  {}", module.exports.join("\n           ")));
    for problem in &module.problems {
        output::line(format!("  {} {problem}", output::styled(output::BAD, "wrong:")));
    }
    if module.problems.is_empty() {
        output::line(format!("  {}", output::styled(output::GOOD, "as it should be")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(imports: &[&str], exports: &[&str]) -> Module {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Module {
            bytes: 10,
            imports: owned(imports),
            exports: owned(exports),
            callbacks: exports.iter().filter(|name| is_callback(name)).map(|name| (*name).to_owned()).collect(),
            ..Module::default()
        }
    }

    const GOOD: [&str; 4] =
        ["memory", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate", "proxy_on_request_headers"];

    #[test]
    fn a_good_module_passes() {
        let mut good = module(&["env.proxy_log", "wasi_snapshot_preview1.clock_time_get"], &GOOD);
        check(&mut good, Some(10), Some(&["proxy_on_request_headers".to_owned()]));
        assert!(good.problems.is_empty(), "{:?}", good.problems);
    }

    #[test]
    fn what_is_unexpected_is_named() {
        let mut bad = module(&["env.abort", "wasi_snapshot_preview1.path_open"], &[&GOOD[..], &["malloc"]].concat());
        check(&mut bad, Some(9), Some(&["proxy_on_log".to_owned()]));
        assert_eq!(bad.problems.len(), 6, "{:?}", bad.problems);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(parse(b"\0asm\x01\0\0\0").is_ok());
        assert!(parse(b"hello").is_err());
        assert!(parse(b"\0asm\x01\0\0\0\xff").is_err());
    }
}
