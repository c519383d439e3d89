//! A new url and sha256 into the WasmPlugins that name a module, and not a byte else of the files.
//!
//! The text is edited line by line, which keeps comments and order; then it is read again, and must say what it said
//! before but for the two fields. Where that can't be done the file is left alone and the error says what to write.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::image::layout;
use crate::input::parse;
use crate::mesh::modules::module_name;
use crate::problem::{Origin, Problem, Problems};

/// A file's new content.
#[derive(Debug)]
pub struct Edit {
    path: PathBuf,
    text: String,
    resources: Vec<String>,
}

impl Edit {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The WasmPlugins in it that change.
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Replaces the file.
    pub fn write(&self) -> Result<(), Problem> {
        layout::replace(&self.path, self.text.as_bytes()).map_err(|error| unusable(&self.path, &error))
    }
}

/// What is to change below `directory` so that its WasmPlugins with the module that `url` names have this url and
/// sha256. Nothing is written.
pub fn plan(directory: &Path, url: &str, sha256: &str) -> Result<Vec<Edit>, Problems> {
    let name = module_name(url).unwrap_or_default();
    let mut edits = Vec::new();
    let mut problems = Problems::new();
    for path in files(directory)? {
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
        match edit(&path, &text, name, url, sha256) {
            Ok(None) => {}
            Ok(Some(edit)) => edits.push(edit),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if edits.is_empty() {
        let directory = directory.display();
        return Err(Problem::new(format!("{directory}: no WasmPlugin in its files has the module {name} in its url"))
            .cure(format!(
                "name the directory that has it; or, where it comes from elsewhere, patch it there:\n    spec:\n      \
                 url: {url}\n      sha256: {sha256}"
            ))
            .into());
    }
    Ok(edits)
}

/// All YAML files below a directory, in order.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error: io::Error| unusable(directory, &error))?;
    entries.sort();
    for path in entries {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path)?);
        } else if is_yaml && path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    Problem::at(&Origin::file(path.display().to_string()), "", error.to_string())
}

fn edit(path: &Path, text: &str, name: &str, url: &str, sha256: &str) -> Result<Option<Edit>, Problem> {
    let file = path.display().to_string();
    // A file of something else (values, a patch without kind) is none of ours, however it is written.
    let Ok(before) = parse(&file, text.as_bytes()) else { return Ok(None) };
    let resources: Vec<_> = before.iter().filter(|document| names(&document.value, name)).collect();
    let Some(first) = resources.first() else { return Ok(None) };
    let by_hand = || {
        Problem::at(&first.origin, "spec", "is written so that it can't be edited without touching more")
            .cure(format!("write url: {url} and sha256: {sha256} there by hand"))
    };
    let mut edited = String::with_capacity(text.len().saturating_add(128));
    for section in sections(text) {
        let has_it = parse(&file, section.as_bytes())
            .is_ok_and(|documents| documents.iter().any(|document| names(&document.value, name)));
        if has_it {
            edited.push_str(&rewrite(section, url, sha256).ok_or_else(by_hand)?);
        } else {
            edited.push_str(section);
        }
    }
    let wanted: Vec<Value> = before.iter().map(|document| with(&document.value, name, url, sha256)).collect();
    let after = parse(&file, edited.as_bytes()).map_err(|_| by_hand())?;
    if after.iter().map(|document| &document.value).ne(&wanted) {
        return Err(by_hand());
    }
    let resources = resources.iter().map(|document| document.origin.resource.clone()).collect();
    Ok(Some(Edit { path: path.to_owned(), text: edited, resources }))
}

fn names(resource: &Value, name: &str) -> bool {
    let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some("WasmPlugin") && text("/spec/url").and_then(module_name) == Some(name)
}

fn with(resource: &Value, name: &str, url: &str, sha256: &str) -> Value {
    let mut resource = resource.clone();
    if names(&resource, name)
        && let Some(spec) = resource.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.insert("url".to_owned(), url.into());
        spec.insert("sha256".to_owned(), sha256.into());
    }
    resource
}

/// The documents of a file, each with the `---` before it.
fn sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut rest, mut searched) = (text, 0);
    while let Some(found) = rest.get(searched..).and_then(|tail| tail.find("\n---")) {
        let end = searched.saturating_add(found).saturating_add(1);
        match rest.split_at_checked(end) {
            Some((section, after)) => {
                sections.push(section);
                rest = after;
                searched = 0;
            }
            None => searched = end,
        }
    }
    sections.push(rest);
    sections
}

/// One document with the two fields of its `spec` replaced, or none where its lines are not as expected.
fn rewrite(section: &str, url: &str, sha256: &str) -> Option<String> {
    let lines: Vec<&str> = section.split_inclusive('\n').collect();
    let start = lines.iter().position(|line| without_comment(line) == "spec:")?.checked_add(1)?;
    let body = lines.get(start..)?;
    let is_content = |line: &&str| !without_comment(line).trim().is_empty();
    let depth = indent(body.iter().copied().find(|line| is_content(line))?);
    if depth == 0 {
        return None;
    }
    let length = body.iter().position(|line| is_content(line) && indent(line) < depth).unwrap_or(body.len());
    let spec = body.get(..length)?;
    let field = |name: &str| {
        spec.iter().position(|line| indent(line) == depth && line.trim_start().starts_with(&format!("{name}:")))
    };
    let (url_at, sha256_at) = (field("url")?, field("sha256"));
    let mut edited: String = lines.get(..start)?.concat();
    for (at, line) in body.iter().enumerate() {
        if at == url_at {
            edited.push_str(&replaced(line, url)?);
            if sha256_at.is_none() {
                let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
                if !line.ends_with('\n') {
                    edited.push('\n');
                }
                edited.push_str(&format!("{}sha256: {sha256}{end}", " ".repeat(depth)));
            }
        } else if Some(at) == sha256_at {
            edited.push_str(&replaced(line, sha256)?);
        } else {
            edited.push_str(line);
        }
    }
    Some(edited)
}

/// `key: value # comment` with another value.
fn replaced(line: &str, value: &str) -> Option<String> {
    let (key, rest) = line.split_once(": ")?;
    let content = without_comment(rest);
    let (_, tail) = rest.split_at_checked(content.len())?;
    Some(format!("{key}: {value}{tail}"))
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

/// A line without its comment and the white space before that. Neither a url nor a digest has ` #` in it.
fn without_comment(line: &str) -> &str {
    let line = if line.trim_start().starts_with('#') { "" } else { line };
    line.split_once(" #").map_or(line, |(content, _)| content).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "oci://registry.example.com/team/rate-limit:2";
    const SHA256: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

    fn edited(text: &str) -> Result<Option<String>, Problem> {
        edit(Path::new("a.yaml"), text, "rate-limit", URL, SHA256).map(|edit| edit.map(|edit| edit.text))
    }

    #[test]
    fn only_the_two_fields_change() {
        let text = "# Why.\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  name: a\nspec: # here\n  \
                    selector: {matchLabels: {app: a}}\n  # Pinned.\n  url: oci://ghcr.io/x/rate-limit:1   # by tag\n  phase: AUTHZ\n  \
                    pluginConfig:\n    url: untouched\n---\nkind: Service\nmetadata: {name: b}\n";
        let wanted = text
            .replace("oci://ghcr.io/x/rate-limit:1   # by tag\n", &format!("{URL}   # by tag\n  sha256: {SHA256}\n"));
        assert_eq!(edited(text).unwrap().unwrap(), wanted);
        let again = wanted.replace(SHA256, &"1".repeat(64));
        assert_eq!(edited(&again).unwrap().unwrap(), wanted);
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        let text = "kind: WasmPlugin\nspec:\n  url: 'oci://x/rate-limit:1'";
        let wanted = format!("kind: WasmPlugin\nspec:\n  url: {URL}\n  sha256: {SHA256}\n");
        assert_eq!(edited(text).unwrap().unwrap(), wanted);
    }

    #[test]
    fn other_modules_and_other_kinds_are_left_alone() {
        assert!(edited("kind: WasmPlugin\nspec:\n  url: oci://x/mtls-identity:1\n").unwrap().is_none());
        assert!(edited("kind: Other\nspec:\n  url: oci://x/rate-limit:1\n").unwrap().is_none());
        assert!(edited("values: [a\n").unwrap().is_none());
    }

    #[test]
    fn what_can_not_be_edited_in_place_is_said() {
        let error = edited("kind: WasmPlugin\nspec: {url: oci://x/rate-limit:1, phase: AUTHZ}\n").unwrap_err();
        assert!(error.cure.unwrap().contains(SHA256));
    }

    #[test]
    fn a_document_marker_inside_of_a_line_is_none() {
        let text = "kind: ConfigMap\ndata: {a: 'x --- y'}\n---\nkind: WasmPlugin\nspec:\n  url: oci://x/rate-limit:1\n";
        assert_eq!(sections(text).len(), 2);
        assert_eq!(sections(text).concat(), text);
    }

    #[test]
    fn nothing_found_names_what_to_write() {
        let home = tempfile::tempdir().unwrap();
        let problems = plan(home.path(), URL, SHA256).unwrap_err();
        assert!(problems[0].to_string().contains(&format!("sha256: {SHA256}")), "{problems:?}");
    }
}
