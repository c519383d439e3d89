//! Kustomizations: building one with the kustomize at hand, and knowing which local files it is made of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Document, documents};
use crate::problem::{Origin, Problem, Problems};
use crate::tools;

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether kustomize would take a file of this name for a kustomization.
pub(super) fn is_file_name(name: &OsStr) -> bool {
    FILE_NAMES.iter().any(|known| name == *known)
}

/// The kustomization file of a directory.
pub(super) fn file_in(directory: &Path) -> Option<PathBuf> {
    FILE_NAMES.iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

/// The built resources, each traced back to the file that it came from.
pub(super) fn build(directory: &Path) -> Result<Vec<Document>, Problems> {
    let shown = directory.display().to_string();
    let (program, arguments) = kustomize().ok_or_else(|| {
        Problem::at(&Origin::file(&shown), "", "is a kustomization, and there is no kustomize to build it with").cure(
            "run `make tools`, or install kustomize or kubectl; or build it elsewhere and pipe it in: \
             kustomize build DIR | tollgate run -f -",
        )
    })?;
    let output = Command::new(&program)
        .args(arguments)
        .arg(directory)
        .output()
        .map_err(|error| Problem::new(format!("can't run {}: {error}", program.display())))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Problem::at(
            &Origin::file(&shown),
            "",
            format!("kustomize can't build it: {}", reason.trim().trim_start_matches("Error: ")),
        )
        .into());
    }
    let closure = closure(directory);
    let mut built = documents::parse(&shown, &output.stdout)?;
    for document in &mut built {
        document.origin = closure.trace(&shown, document);
    }
    Ok(built)
}

fn kustomize() -> Option<(PathBuf, &'static [&'static str])> {
    if let Some(path) = tools::on_path("kustomize") {
        return Some((path, &["build"]));
    }
    if let Some(path) = tools::on_path("kubectl") {
        return Some((path, &["kustomize"]));
    }
    let cached = tools::cache()?.join("bin/kustomize");
    cached.is_file().then_some((cached, &["build"]))
}

/// The local files that a kustomization is made of.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// Directories and files to watch.
    pub(super) watched: Vec<PathBuf>,
    resources: BTreeMap<(String, String), Origin>,
    patches: BTreeMap<(String, String), String>,
}

/// Follows resources, components and patches through local directories.
pub(super) fn closure(directory: &Path) -> Closure {
    let mut closure = Closure::default();
    closure.follow(directory);
    closure
}

impl Closure {
    fn follow(&mut self, directory: &Path) {
        // A kustomization that refers to itself is kustomize's to refuse; here it only must not loop.
        let directory = tidy(directory);
        if self.watched.contains(&directory) {
            return;
        }
        self.watched.push(directory.clone());
        let Some(kustomization) =
            file_in(&directory).and_then(|file| std::fs::read_to_string(file).ok()).and_then(|text| parse(&text))
        else {
            return;
        };
        for key in ["resources", "bases", "components", "transformers", "generators", "crds"] {
            for entry in strings(&kustomization, key) {
                let path = tidy(&directory.join(entry));
                if path.is_dir() {
                    self.follow(&path);
                } else if path.is_file() {
                    self.index(&path, false);
                }
            }
        }
        let patches = strings(&kustomization, "patchesStrategicMerge").into_iter().map(str::to_owned);
        let with_path = ["patches", "patchesJson6902", "replacements"].into_iter().flat_map(|key| {
            let list = kustomization.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            list.into_iter().filter_map(|patch| Some(patch.get("path")?.as_str()?.to_owned()))
        });
        for entry in patches.chain(with_path).collect::<Vec<_>>() {
            let path = tidy(&directory.join(entry));
            if path.is_file() {
                self.index(&path, true);
            }
        }
    }

    fn index(&mut self, path: &Path, patch: bool) {
        self.watched.push(path.to_owned());
        let shown = path.display().to_string();
        let Some(read) = std::fs::read(path).ok().and_then(|bytes| documents::parse(&shown, &bytes).ok()) else {
            return;
        };
        for document in read {
            let Some(key) = key(&document.value) else { continue };
            if patch {
                self.patches.entry(key).or_insert_with(|| shown.clone());
            } else {
                self.resources.entry(key).or_insert(document.origin);
            }
        }
    }

    /// The file that a built resource came from; the directory when a name prefix or a generator hides it.
    fn trace(&self, directory: &str, built: &Document) -> Origin {
        let resource = built.origin.resource.clone();
        let key = key(&built.value);
        let Some(source) = key.as_ref().and_then(|key| self.resources.get(key)) else {
            return Origin { file: format!("{directory} (kustomize)"), line: None, resource };
        };
        match key.as_ref().and_then(|key| self.patches.get(key)) {
            Some(patch) => Origin { file: format!("{} (patched by {patch})", source.file), line: None, resource },
            None => Origin { file: source.file.clone(), line: source.line, resource },
        }
    }
}

fn key(value: &Value) -> Option<(String, String)> {
    let kind = value.get("kind")?.as_str()?;
    let name = value.pointer("/metadata/name")?.as_str()?;
    Some((kind.to_owned(), name.to_owned()))
}

fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    let list = value.get(key).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn parse(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

/// `a/b/../c` as `a/c`, for paths that are shown to people. A leading `..` stays.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if tidy.file_name().is_some_and(|name| name != "..") => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    if tidy.as_os_str().is_empty() { PathBuf::from(".") } else { tidy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closure_holds_bases_components_and_patches() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("base/kustomization.yaml", "resources: [limit.yaml, ../base]\n");
        write("base/limit.yaml", "kind: WasmPlugin\nmetadata: {name: limit}\n");
        write("extra/kustomization.yaml", "kind: Component\n");
        write("over/patch.yaml", "kind: WasmPlugin\nmetadata: {name: limit}\n");
        write(
            "over/kustomization.yaml",
            "resources: [../base, https://example.com/x]\ncomponents: [../extra]\npatches: [{path: patch.yaml}]\n",
        );
        let closure = closure(&root.path().join("over"));
        let names: Vec<String> =
            closure.watched.iter().map(|path| path.strip_prefix(root.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["over", "base", "base/limit.yaml", "extra", "over/patch.yaml"]);
        let built = Document {
            origin: Origin { resource: "WasmPlugin prod/limit".into(), ..Origin::default() },
            value: serde_json::json!({"kind": "WasmPlugin", "metadata": {"name": "limit"}}),
        };
        let origin = closure.trace("over", &built).to_string();
        assert!(origin.ends_with("over/patch.yaml): WasmPlugin prod/limit"), "{origin}");
    }

    #[test]
    fn paths_are_shown_tidy() {
        assert_eq!(tidy(Path::new("a/./b/../c")), Path::new("a/c"));
        assert_eq!(tidy(Path::new("../a")), Path::new("../a"));
        assert_eq!(tidy(Path::new("a/..")), Path::new("."));
    }
}
