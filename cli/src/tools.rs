//! Where the programs that tollgate needs are found: Envoy, kustomize and kubectl, on PATH or where `make` installed them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::problem::Problem;

/// The Envoy to run: the one asked for, else `$ENVOY_BIN`, else `envoy` on PATH, else the newest that make installed.
pub fn envoy(asked: Option<&Path>) -> Result<PathBuf, Problem> {
    let named = asked
        .map(|path| (path.to_owned(), "--envoy"))
        .or_else(|| std::env::var_os("ENVOY_BIN").filter(|v| !v.is_empty()).map(|v| (PathBuf::from(v), "$ENVOY_BIN")));
    if let Some((path, by)) = named {
        if is_executable(&path) {
            return Ok(path);
        }
        if let Some(found) = path.to_str().filter(|name| !name.contains('/')).and_then(on_path) {
            return Ok(found);
        }
        return Err(Problem::new(format!("{by} names {}, which is no program that can be run", path.display()))
            .cure("give the path of an Envoy binary, or leave it out to take the one on PATH or make's"));
    }
    on_path("envoy").or_else(newest_installed_envoy).ok_or_else(|| {
        Problem::new("no Envoy found: not by --envoy, not by $ENVOY_BIN, not on PATH, not where make installs it")
            .cure("run `make envoy` in Tollgate's source, or install Envoy 1.36 or newer (https://www.envoyproxy.io/docs/envoy/latest/start/install)")
    })
}

/// The kubectl to run: the one asked for, else the one on PATH, else the one that make installed for its mesh.
pub fn kubectl(asked: Option<&Path>) -> Result<PathBuf, Problem> {
    if let Some(path) = asked {
        return if is_executable(path) {
            Ok(path.to_owned())
        } else {
            Err(Problem::new(format!("--kubectl names {}, which is no program that can be run", path.display())))
        };
    }
    let installed = || cache().map(|cache| cache.join("kubernetes/bin/kubectl")).filter(|path| is_executable(path));
    on_path("kubectl").or_else(installed).ok_or_else(|| {
        Problem::new("no kubectl found, by which clusters are asked: not by --kubectl, not on PATH").cure(
            "install it (https://kubernetes.io/docs/tasks/tools/), or look at a proxy alone: tollgate doctor --admin \
             127.0.0.1:15000",
        )
    })
}

/// The first program of this name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| is_executable(candidate))
}

/// The directory that `make` installs programs in.
pub fn cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("TOLLGATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("tollgate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/tollgate")))
}

fn newest_installed_envoy() -> Option<PathBuf> {
    let versions = std::fs::read_dir(cache()?.join("envoy")).ok()?;
    versions
        .filter_map(|entry| {
            let directory = entry.ok()?.path();
            let version = version(directory.file_name()?.to_str()?)?;
            let binary = directory.join("envoy");
            is_executable(&binary).then_some((version, binary))
        })
        .max()
        .map(|(_, binary)| binary)
}

fn version(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.40.0") > version("1.9.12"));
        assert_eq!(version("1.x"), None);
    }

    #[test]
    fn an_envoy_that_is_not_there_is_named() {
        let error = envoy(Some(Path::new("/nonexistent/envoy"))).unwrap_err().to_string();
        assert!(error.contains("--envoy names /nonexistent/envoy"), "{error}");
    }
}
