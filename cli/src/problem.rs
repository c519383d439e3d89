//! What is wrong with an input, and what of it is not carried out: always with the file, the resource and the path.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// Where a resource came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file as the user named it, `standard input`, or the file that kustomize took it from.
    pub file: String,
    /// Line at which the document starts, where it is known.
    pub line: Option<u64>,
    /// Kind and name, such as `WasmPlugin titanium-prod/rate-limit`; empty for a file that could not be read at all.
    pub resource: String,
}

impl Origin {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.resource.is_empty() {
            write!(f, ": {}", self.resource)?;
        }
        Ok(())
    }
}

/// An error that stops what was asked for.
///
/// Displays as `base/limit.yaml:3: WasmPlugin prod/limit: spec.pluginConfig.rules[0]: reason`, and the cure on a line
/// of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file and resource; none for a problem of the machine.
    pub origin: Option<Box<Origin>>,
    /// Path into the resource, such as `spec.mtls.mode`; empty for the whole of it.
    pub path: String,
    /// What is wrong there: lowercase, without a full stop.
    pub reason: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Problem {
    /// A problem that no resource is to blame for.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { origin: None, path: String::new(), reason: reason.into(), cure: None }
    }

    /// A problem at `path` of the resource at `origin`.
    pub fn at(origin: &Origin, path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { origin: Some(Box::new(origin.clone())), path: path.into(), reason: reason.into(), cure: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// The form that programs read.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let origin = self.origin.as_deref().cloned().unwrap_or_default();
        serde_json::json!({
            "file": origin.file,
            "line": origin.line,
            "resource": origin.resource,
            "path": self.path,
            "reason": self.reason,
            "cure": self.cure,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)?;
        if let Some(cure) = &self.cure {
            write!(f, "\n  to mend it: {cure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// All that is wrong at once, so that nobody has to mend errors one run at a time.
pub type Problems = Vec<Problem>;

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        vec![problem]
    }
}

/// Whether a notice says that something asked for is not done or should be mended, or only how it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something in the input is not carried out, or should be mended.
    Warning,
    /// How something is carried out where a mesh would do it by other means.
    Note,
}

/// One thing that the user should know; none of them stops anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Warning or note.
    pub severity: Severity,
    /// The whole sentence, with origin, path and cure.
    pub text: String,
    /// The same in its parts.
    pub problem: Problem,
}

/// The notices so far, each kept once, in the order in which they came up.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    seen: BTreeSet<Notice>,
    list: Vec<Notice>,
}

impl Notices {
    /// Something at `path` of the resource at `origin` is not carried out.
    pub fn warn_at(&mut self, origin: &Origin, path: &str, text: impl fmt::Display) {
        self.warn_of(Problem::at(origin, path, text.to_string()));
    }

    /// Something is not carried out.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warn_of(Problem::new(text));
    }

    /// Something should be mended, but stops nothing.
    pub fn warn_of(&mut self, problem: Problem) {
        self.add(Severity::Warning, problem);
    }

    /// How something is carried out.
    pub fn note(&mut self, text: impl Into<String>) {
        self.add(Severity::Note, Problem::new(text));
    }

    fn add(&mut self, severity: Severity, problem: Problem) {
        let notice = Notice { severity, text: problem.to_string(), problem };
        if self.seen.insert(notice.clone()) {
            self.list.push(notice);
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Notice> {
        self.list.iter()
    }

    /// The texts of one severity.
    pub fn texts(&self, severity: Severity) -> Vec<&str> {
        self.list.iter().filter(|notice| notice.severity == severity).map(|notice| notice.text.as_str()).collect()
    }

    /// The warnings, in their parts.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        let warnings = self.list.iter().filter(|notice| notice.severity == Severity::Warning);
        warnings.map(|notice| &notice.problem)
    }

    /// Those that `before` did not have.
    pub fn news<'a>(&'a self, before: &Self) -> Vec<&'a Notice> {
        self.list.iter().filter(|notice| !before.seen.contains(notice)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_document_path_and_cure() {
        let origin = Origin { file: "a.yaml".into(), line: Some(3), resource: "WasmPlugin prod/limit".into() };
        let problem = Problem::at(&origin, "spec.phase", "unknown phase").cure("write AUTHN");
        assert_eq!(
            problem.to_string(),
            "a.yaml:3: WasmPlugin prod/limit: spec.phase: unknown phase\n  to mend it: write AUTHN"
        );
    }

    #[test]
    fn a_notice_is_kept_once() {
        let mut notices = Notices::default();
        notices.warn("x");
        notices.warn("x");
        notices.note("x");
        assert_eq!(notices.iter().count(), 2);
    }
}
