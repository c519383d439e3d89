//! Where a WasmPlugin's module is on this machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::problem::{Notices, Problem};
use crate::resources::Resource;
use crate::resources::wasm_plugin::WasmPluginSpec;

/// A module that is there and is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its absolute path.
    pub path: PathBuf,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
}

impl Module {
    /// Copies it, if it is still the one that was found.
    pub fn copy_to(&self, target: &Path) -> Result<(), Problem> {
        let failed = |error: std::io::Error| Problem::new(format!("can't copy {}: {error}", self.path.display()));
        let bytes = std::fs::read(&self.path).map_err(failed)?;
        if hex(&Sha256::digest(&bytes)) != self.sha256 {
            return Err(Problem::new(format!("{} is being replaced", self.path.display())).cure("try again"));
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let staged = target.with_extension("staged");
        std::fs::write(&staged, bytes).and_then(|()| std::fs::rename(&staged, target)).map_err(failed)
    }
}

/// Finds the module that a plugin names; nothing is downloaded.
pub fn resolve(plugin: &Resource<WasmPluginSpec>, directory: &Path, notices: &mut Notices) -> Result<Module, Problem> {
    let url = plugin.spec.url.as_str();
    let other = other_build(plugin);
    let (path, is_local) = match url.split_once("://") {
        Some(("file", path)) => {
            let path = PathBuf::from(path);
            (other.as_ref().map_or(path.clone(), |_| path.with_file_name(format!("{FOR_RESPONSES}.wasm"))), true)
        }
        Some(("oci" | "http" | "https", _)) | None => {
            let name = module_name(url).ok_or_else(|| Problem::at(&plugin.origin, "spec.url", "names no module"))?;
            let name = other.as_ref().map_or(name, |_| FOR_RESPONSES);
            (directory.join(format!("{name}.wasm")), false)
        }
        Some((scheme, _)) => {
            return Err(Problem::at(
                &plugin.origin,
                "spec.url",
                format!("unknown scheme {scheme}://, expected oci://, https://, http:// or file://"),
            ));
        }
    };
    let bytes = std::fs::read(&path).map_err(|error| {
        let problem = Problem::at(&plugin.origin, "spec.url", format!("no module at {}: {error}", path.display()));
        if is_local {
            problem.cure("put the module there, or mend the URL")
        } else {
            problem.cure(format!("run `make build`, or name the directory that has {url}'s module: --modules DIR"))
        }
    })?;
    if !bytes.starts_with(b"\0asm") {
        return Err(Problem::at(&plugin.origin, "spec.url", format!("{} is not a Wasm module", path.display())));
    }
    let sha256 = hex(&Sha256::digest(&bytes));
    match other {
        None => check_sha256(plugin, &sha256, &path, notices)?,
        Some(warning) => {
            let reason = format!("{}. Here {} is taken", warning.reason, path.display());
            notices.warn_of(Problem { reason, ..warning });
        }
    }
    if !is_local {
        notices.note(format!(
            "modules are not pulled: those that a registry has are taken from {}, whatever their pull policy and secret",
            directory.display()
        ));
    }
    let path = std::path::absolute(&path)
        .map_err(|error| Problem::new(format!("no absolute path for {}: {error}", path.display())))?;
    Ok(Module { path, sha256 })
}

/// The builds of `rate-limit`: Envoy calls the second one for responses too.
const PLAIN: &str = "rate-limit";
const FOR_RESPONSES: &str = "rate-limit-response";

/// What is wrong where a plugin names the build of `rate-limit` that does not do what its rules need.
fn other_build(plugin: &Resource<WasmPluginSpec>) -> Option<Problem> {
    let url = plugin.spec.url.as_str();
    if module_name(url) != Some(PLAIN) {
        return None;
    }
    let rule = configuration(plugin)?.needs_response()?;
    let reason = format!(
        "names the plain {PLAIN}, which refuses this configuration: pluginConfig.{rule} has something to do when the response comes \
         (`headers: all`, or a cost by the response)"
    );
    let cure = match url.rsplit_once(PLAIN) {
        Some((before, after)) => format!("name the build for responses: {before}{FOR_RESPONSES}{after}"),
        None => format!("name the build for responses, {FOR_RESPONSES}"),
    };
    Some(Problem::at(&plugin.origin, "spec.url", reason).cure(cure))
}

/// What `rate-limit` reads, where it can.
fn configuration(plugin: &Resource<WasmPluginSpec>) -> Option<rate_limit::config::Config> {
    let bytes = plugin.spec.plugin_config.as_ref().map(ToString::to_string).unwrap_or_default();
    rate_limit::config::Config::parse(bytes.as_bytes()).ok()
}

/// Warns where a plugin names a build of `rate-limit` that does less or more than its rules need.
pub fn check_build(plugin: &Resource<WasmPluginSpec>, notices: &mut Notices) {
    if let Some(warning) = other_build(plugin) {
        notices.warn_of(warning);
    }
    let is_enough = || configuration(plugin).is_some_and(|config| config.needs_response().is_none());
    if module_name(&plugin.spec.url) == Some(FOR_RESPONSES) && is_enough() {
        notices.note(format!(
            "{}: spec.url: names {FOR_RESPONSES}, though no rule needs responses: that costs each request a call more \
             than {PLAIN}",
            plugin.origin
        ));
    }
}

fn check_sha256(
    plugin: &Resource<WasmPluginSpec>,
    found: &str,
    path: &Path,
    notices: &mut Notices,
) -> Result<(), Problem> {
    let Some(wanted) = plugin.spec.sha256.as_deref().filter(|sum| !sum.is_empty()) else { return Ok(()) };
    if plugin.spec.url.starts_with("file://") || plugin.spec.url.starts_with("http") {
        if !wanted.eq_ignore_ascii_case(found) {
            let reason = format!("{} has the sum {found}, not {wanted}", path.display());
            return Err(Problem::at(&plugin.origin, "spec.sha256", reason));
        }
    } else {
        notices.warn_at(&plugin.origin, "spec.sha256", "is the image's, not the module's, and not checked here");
    }
    Ok(())
}

/// `rate-limit` of `oci://registry/some/rate-limit:1.0@sha256:...`.
pub fn module_name(url: &str) -> Option<&str> {
    let path = url.split_once("://").map_or(url, |(_, path)| path);
    let path = path.split(['?', '#']).next()?;
    let path = path.split_once('@').map_or(path, |(path, _)| path);
    let last = path.rsplit('/').next()?;
    let last = last.split_once(':').map_or(last, |(name, _)| name);
    let name = last.strip_suffix(".wasm").unwrap_or(last);
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_the_last_part_of_its_url() {
        for url in [
            "oci://ghcr.io/tollgate/rate-limit:0.1.0",
            "oci://localhost:5000/rate-limit@sha256:abc",
            "https://example.com/a/rate-limit.wasm?x=1",
            "ghcr.io/tollgate/rate-limit:1@sha256:abc",
            "file:///opt/rate-limit.wasm",
        ] {
            assert_eq!(module_name(url), Some("rate-limit"), "{url}");
        }
        assert_eq!(module_name("oci://example.com/"), None);
        assert_eq!(module_name("https://example.com/.."), None);
    }
}
