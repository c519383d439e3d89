//! `tollgate convert`: Istio's and Envoy's own resources to Tollgate's, with an account of every field.
//!
//! Nothing is carried over in part: a resource of which something can't be is refused, and named with the place. What
//! did nothing before comes out in shadow mode, so that a conversion never turns away whom nobody was turned away by.

mod cluster;
mod envoy_filter;
mod field;
mod plugin;
mod report;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::cluster::Cluster;
use self::field::Field;
pub use self::plugin::WasmPlugin;
pub use self::report::{Note, Report};
use crate::args::{ConvertArguments, DocumentFormat};
use crate::input::{Document, Inputs};
use crate::output;
use crate::problem::{Origin, Problem, Problems};

/// What came out.
#[derive(Debug, Default)]
pub struct Conversion {
    /// The new resources, each with the place of the one that it stands for.
    pub resources: Vec<(Origin, WasmPlugin)>,
    /// What became of every field, and what could not be carried over.
    pub report: Report,
}

/// Prints the new resources and the account; true when everything was carried over.
pub fn convert(arguments: &ConvertArguments) -> Result<bool, Problems> {
    let files = if arguments.files.is_empty() { vec![PathBuf::from("-")] } else { arguments.files.clone() };
    if files.iter().any(|file| file == Path::new("-")) && std::io::stdin().is_terminal() {
        output::aside("reading standard input; -f names a file, Ctrl-D ends the input");
    }
    let read = match Inputs::open(&files).map_err(Problems::from).and_then(|inputs| inputs.read()) {
        Ok(read) => read,
        Err(problems) => {
            if arguments.output == DocumentFormat::Json {
                let mut nothing = Conversion::default();
                nothing.report.problems = problems;
                print_json(&nothing);
                return Ok(false);
            }
            return Err(problems);
        }
    };
    let mut conversion = convert_documents(read);
    conversion.check();
    match arguments.output {
        DocumentFormat::Json => print_json(&conversion),
        DocumentFormat::Yaml => {
            conversion.report.print();
            for (index, (origin, resource)) in conversion.resources.iter().enumerate() {
                let text = serde_saphyr::to_string(resource)
                    .map_err(|error| Problem::at(origin, "", format!("can't print the result: {error}")))?;
                let separator = if index == 0 { "" } else { "---\n" };
                output::write(&format!("{separator}# Converted from {origin}\n{text}"));
            }
        }
    }
    Ok(conversion.report.problems.is_empty())
}

/// Converts the resources among the documents that can be, and says of the others that they are not.
pub fn convert_documents(documents: Vec<Document>) -> Conversion {
    let mut conversion = Conversion::default();
    let (known, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_convertible);
    let (workloads, others): (Vec<_>, Vec<_>) = others.into_iter().partition(Cluster::takes);
    let report = &mut conversion.report;
    for (document, reason) in workloads
        .iter()
        .map(|document| (document, "read for the pods' labels and ports"))
        .chain(others.iter().map(|document| (document, "is none of the kinds that are converted: EnvoyFilter")))
    {
        report.turn_to(&document.origin);
        report.dropped(&Field::new(&document.value, ""), reason);
    }
    let cluster = Cluster::new(workloads).unwrap_or_else(|problems| {
        report.problems.extend(problems);
        Cluster::default()
    });
    let filters = envoy_filter::Filters::of(&known);
    for document in &known {
        report.turn_to(&document.origin);
        let before = report.problems.len();
        let plugins = envoy_filter::convert(document, &filters, &cluster, report);
        if report.problems.len() == before {
            let placed = plugins.into_iter().map(|plugin| (document.origin.clone(), plugin));
            conversion.resources.extend(placed);
        }
    }
    if conversion.resources.is_empty() && report.problems.is_empty() {
        let problem = Problem::new("nothing to convert: what was read has no EnvoyFilter with a local rate limit");
        report.problems.push(problem.cure("name the file that has it: -f FILE"));
    }
    conversion
}

/// Whether documents of this kind are converted.
fn is_convertible(document: &Document) -> bool {
    let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
    text("kind") == "EnvoyFilter" && text("apiVersion").starts_with("networking.istio.io/")
}

impl Conversion {
    /// Has the filter's own parser read every new configuration, and takes out those that it refuses.
    pub fn check(&mut self) {
        for (origin, resource) in std::mem::take(&mut self.resources) {
            match resource.check(&origin) {
                Ok(()) => self.resources.push((origin, resource)),
                Err(problem) => self.report.problems.push(problem),
            }
        }
    }
}

fn print_json(conversion: &Conversion) {
    let resources: Vec<_> = conversion.resources.iter().map(|(_, resource)| resource).collect();
    output::line(json!({
        "resources": resources,
        "notes": conversion.report.notes,
        "problems": conversion.report.problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
    }));
}
