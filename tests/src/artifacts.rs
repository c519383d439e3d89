//! What the tests run: the modules and the program just built, and every Envoy on offer.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The project's directory.
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A module, such as `rate-limit`. The modules are built first, so none is ever out of date.
pub fn module(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| run(Command::new(project().join("tools/build-modules.sh")).arg("-q")));
    project().join("dist").join(format!("{name}.wasm")).canonicalize().expect("the build leaves every module in dist/")
}

/// The filter that does nothing, on the Proxy-Wasm SDK, built first.
pub fn noop() -> PathBuf {
    test_module("tollgate-bench-noop")
}

/// A filter that does nothing but read as many values of each request as its configuration is long. Built first.
pub fn floor() -> PathBuf {
    test_module("tollgate-bench-floor")
}

/// rate-limit with a trap in it: a response of status 418 ends the VM. Built first.
pub fn crash() -> PathBuf {
    test_module("tollgate-test-crash")
}

fn test_module(package: &str) -> PathBuf {
    let script = project().join("tools/build-test-module.sh");
    let build = Command::new(script).arg(package).output().expect("the script runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    PathBuf::from(String::from_utf8_lossy(&build.stdout).trim())
}

/// The program `tollgate`, built first.
pub fn tollgate() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "-q", "--locked", "--release", "--package", "tollgate-cli"]).current_dir(project());
        // What cargo says of the tests' own package, ring's build script would take for a change of its own, and half of
        // the program would be compiled anew each time.
        for (name, _) in std::env::vars_os() {
            let of_package =
                name.to_str().is_some_and(|it| it.starts_with("CARGO_PKG_") || it.starts_with("CARGO_MANIFEST"));
            if of_package {
                build.env_remove(name);
            }
        }
        run(&mut build);
    });
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from);
    target.join("release/tollgate")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed: {status}");
}

/// An Envoy that `make envoy` installed.
#[derive(Debug, Clone)]
pub struct EnvoyBinary {
    /// Its version, such as `1.40.0`.
    pub version: String,
    /// Where it is.
    pub path: PathBuf,
}

/// All Envoys of `tests/envoy-versions.txt`, oldest first.
pub fn envoys() -> Vec<EnvoyBinary> {
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let versions = include_str!("../envoy-versions.txt").lines();
    let versions = versions.filter_map(|line| line.split('#').next()?.split_whitespace().next());
    let mut envoys: Vec<_> = versions
        .map(|version| {
            let path = cache.join("envoy").join(version).join("envoy");
            assert!(path.is_file(), "{} is missing: run `make envoy`", path.display());
            EnvoyBinary { version: version.to_owned(), path }
        })
        .collect();
    envoys.sort_by_key(|envoy| envoy.version.split('.').map(|part| part.parse::<u32>().ok()).collect::<Vec<_>>());
    assert!(envoys.len() >= 2, "tests/envoy-versions.txt must name the oldest and the newest Envoy on offer");
    envoys
}

/// The newest of them.
pub fn newest_envoy() -> EnvoyBinary {
    envoys().pop().expect("at least two")
}
