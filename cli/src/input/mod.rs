//! The resources' documents, from files, directories, kustomizations and standard input.

mod documents;
mod kustomization;

pub(crate) use documents::parse;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::problem::{Origin, Problem, Problems};

/// One resource as it was written.
#[derive(Debug, Clone)]
pub struct Document {
    /// Where it came from.
    pub origin: Origin,
    /// Its content.
    pub value: Value,
}

/// Where documents are read from, as often as asked.
#[derive(Debug, Clone)]
pub struct Inputs {
    sources: Vec<Source>,
}

#[derive(Debug, Clone)]
enum Source {
    /// Standard input, which can be read only once.
    Stdin(Vec<u8>),
    File(PathBuf),
    Directory(PathBuf),
    Kustomization(PathBuf),
}

/// What `tollgate` reads when it is told nothing.
pub const DEFAULT_INPUT: &str = "istio/overlays/local";

impl Inputs {
    /// Takes what `-f` named, or the default.
    pub fn open(files: &[PathBuf]) -> Result<Self, Problem> {
        if files.is_empty() {
            let default = Path::new(DEFAULT_INPUT);
            if !default.is_dir() {
                return Err(Problem::new(format!("nothing to read: there is no {DEFAULT_INPUT} here and no -f")).cure(
                    "name the manifests: -f FILE, -f DIRECTORY (a kustomization or a folder of YAML files), or -f - \
                     for standard input; or change to the directory that has istio/overlays/local",
                ));
            }
            return Ok(Self { sources: vec![Source::Kustomization(default.to_owned())] });
        }
        let mut sources = Vec::new();
        for file in files {
            sources.push(Source::open(file)?);
        }
        Ok(Self { sources })
    }

    /// Reads everything anew.
    pub fn read(&self) -> Result<Vec<Document>, Problems> {
        let mut documents = Vec::new();
        let mut problems = Vec::new();
        for source in &self.sources {
            match source.read() {
                Ok(read) => documents.extend(read),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(documents) } else { Err(problems) }
    }

    /// The files and directories whose change changes what is read.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for source in &self.sources {
            match source {
                Source::Stdin(_) => {}
                Source::File(path) | Source::Directory(path) => paths.push(path.clone()),
                Source::Kustomization(path) => paths.extend(kustomization::closure(path).watched),
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Whether standard input is among them, which can't be watched.
    pub fn has_stdin(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Stdin(_)))
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self, Problem> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Problem::new(format!("can't read standard input: {error}")))?;
            return Ok(Self::Stdin(bytes));
        }
        if path.is_dir() {
            let owned = path.to_owned();
            let kustomization = kustomization::file_in(path).is_some();
            return Ok(if kustomization { Self::Kustomization(owned) } else { Self::Directory(owned) });
        }
        if path.file_name().is_some_and(kustomization::is_file_name) && path.is_file() {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Ok(Self::Kustomization(parent.to_owned()));
        }
        match std::fs::metadata(path) {
            Ok(_) => Ok(Self::File(path.to_owned())),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn read(&self) -> Result<Vec<Document>, Problems> {
        match self {
            Self::Stdin(bytes) => documents::parse("standard input", bytes),
            Self::File(path) => read_file(path),
            Self::Directory(path) => read_directory(path),
            Self::Kustomization(path) => kustomization::build(path),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<Document>, Problems> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    documents::parse(&path.display().to_string(), &bytes)
}

fn read_directory(directory: &Path) -> Result<Vec<Document>, Problems> {
    let entries = std::fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        let known = path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
        if known && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Problem::at(
            &Origin::file(directory.display().to_string()),
            "",
            "neither a kustomization.yaml nor any *.yaml, *.yml or *.json file in this directory",
        )
        .into());
    }
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        match read_file(&file) {
            Ok(read) => documents.extend(read),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::at(&Origin::file(path.display().to_string()), "", format!("can't be read: {error}"))
}
