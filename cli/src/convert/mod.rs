//! `tollgate convert`: Istio's and Envoy's own resources to Tollgate's, with an account of every field.
//!
//! Nothing is carried over in part: a resource of which something can't be is refused, and named with the place. A limit
//! that did nothing before comes out in shadow mode, so that a conversion never turns away whom nobody was turned away by.

pub mod authorization;
mod cluster;
mod envoy_filter;
mod field;
mod plugin;
mod report;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::authorization::Options;
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
    /// The new resources, each with the places of those that it stands for.
    pub resources: Vec<(Vec<Origin>, WasmPlugin)>,
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
    let trust_domains = Some(arguments.trust_domains.clone()).filter(|domains| !domains.is_empty());
    let options = Options {
        trust_domains: trust_domains.unwrap_or_else(|| Options::default().trust_domains),
        trusted_proxies: arguments.trusted_proxies,
    };
    let mut conversion = convert_documents(read, &options);
    conversion.check();
    match arguments.output {
        DocumentFormat::Json => print_json(&conversion),
        DocumentFormat::Yaml => {
            conversion.report.print();
            for (index, (origins, resource)) in conversion.resources.iter().enumerate() {
                let text = serde_saphyr::to_string(resource)
                    .map_err(|error| Problem::at(&first(origins), "", format!("can't print the result: {error}")))?;
                let separator = if index == 0 { "" } else { "---\n" };
                let from: String = origins.iter().map(|origin| format!("# Converted from {origin}\n")).collect();
                output::write(&format!("{separator}{from}{text}"));
            }
        }
    }
    Ok(conversion.report.problems.is_empty())
}

/// Converts the resources among the documents that can be, and says of the others that they are not.
pub fn convert_documents(documents: Vec<Document>, options: &Options) -> Conversion {
    let mut conversion = Conversion::default();
    let (filters, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(|document| is(document, FILTER));
    let (policies, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|document| is(document, POLICY));
    let (workloads, others): (Vec<_>, Vec<_>) = others.into_iter().partition(Cluster::takes);
    let report = &mut conversion.report;
    let unknown = "is none of the kinds that are converted: EnvoyFilter, AuthorizationPolicy";
    for (document, reason) in workloads
        .iter()
        .map(|document| (document, "read for the pods' labels and ports"))
        .chain(others.iter().map(|document| (document, unknown)))
    {
        report.turn_to(&document.origin);
        report.dropped(&Field::new(&document.value, ""), reason);
    }
    let cluster = Cluster::new(workloads).unwrap_or_else(|problems| {
        report.problems.extend(problems);
        Cluster::default()
    });
    let known = envoy_filter::Filters::of(&filters);
    for document in &filters {
        report.turn_to(&document.origin);
        let before = report.problems.len();
        let plugins = envoy_filter::convert(document, &known, &cluster, report);
        if report.problems.len() == before {
            let placed = plugins.into_iter().map(|plugin| (vec![document.origin.clone()], plugin));
            conversion.resources.extend(placed);
        }
    }
    let policies: Vec<&Document> = policies.iter().collect();
    conversion.resources.extend(authorization::convert(&policies, &cluster, options, report));
    if conversion.resources.is_empty() && report.problems.is_empty() {
        let reason = "nothing to convert: what was read has no EnvoyFilter with a local rate limit, and no \
                      AuthorizationPolicy";
        report.problems.push(Problem::new(reason).cure("name the file that has it: -f FILE"));
    }
    conversion
}

/// Kinds that are converted, each with the beginning of its apiVersion.
const FILTER: (&str, &str) = ("EnvoyFilter", "networking.istio.io/");
const POLICY: (&str, &str) = ("AuthorizationPolicy", "security.istio.io/");

fn is(document: &Document, (kind, group): (&str, &str)) -> bool {
    let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
    text("kind") == kind && text("apiVersion").starts_with(group)
}

impl Conversion {
    /// Has the filter's own parser read every new configuration, and takes out those that it refuses.
    pub fn check(&mut self) {
        for (origins, resource) in std::mem::take(&mut self.resources) {
            match resource.check(&first(&origins)) {
                Ok(()) => self.resources.push((origins, resource)),
                Err(problem) => self.report.problems.push(problem),
            }
        }
    }
}

fn first(origins: &[Origin]) -> Origin {
    origins.first().cloned().unwrap_or_default()
}

fn print_json(conversion: &Conversion) {
    let resources: Vec<_> = conversion.resources.iter().map(|(_, resource)| resource).collect();
    output::line(json!({
        "resources": resources,
        "notes": conversion.report.notes,
        "problems": conversion.report.problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
    }));
}
