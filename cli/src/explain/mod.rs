//! `tollgate explain`: what the filters do with one request, and why. The policies decide; what they decided by is then
//! looked up in the configuration. There is no state: all buckets are full.

mod curl;
mod identity;
mod metrics;
mod parts;
mod rate_limit;
mod request;
mod routes;
mod show;
mod store;

use serde::Serialize;
use serde_json::Value;

pub use self::request::Call;
use self::request::Path;
use crate::args::{ExplainArguments, ReportFormat};
use crate::input::Inputs;
use crate::mesh::modules;
use crate::mesh::plugins::{self, Side};
use crate::mesh::workload::{self, TRUST_DOMAIN, Workload};
use crate::output;
use crate::problem::{Notices, Origin, Problem, Problems};
use crate::resources::wasm_plugin::{TrafficMode, WasmPluginSpec};
use crate::resources::{Resource, Resources};
use crate::schema::Filter;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    request: String,
    path: Path,
    /// Of a curl command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    plugins: Vec<Plugin>,
}

/// The answer of one plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plugin {
    name: String,
    filter: &'static str,
    file: String,
    /// Why this one does not get to see the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_reached: Option<String>,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    RateLimit(rate_limit::Explained),
    Identity(identity::Identity),
    Metrics(metrics::Metrics),
    /// The filter does nothing here.
    Inactive(String),
}

/// Prints the answer; true when there is one.
pub fn explain(arguments: &ExplainArguments, call: &Call) -> Result<bool, Problems> {
    let mut notices = Notices::default();
    let documents = Inputs::open(&arguments.input.files)?.read()?;
    // What is not carried out elsewhere is no matter here.
    let resources = Resources::from_documents(documents, &mut Notices::default())?;
    let problems = plugins::validate(&resources.wasm_plugins, &mut Notices::default());
    if !problems.is_empty() {
        return Err(problems);
    }
    let scope = Scope::of(arguments.workload.as_deref(), &resources)?;
    let mut chosen = scope.choose(arguments.plugin.as_deref(), &resources, &mut notices)?;
    plugins::sort(&mut chosen);
    let mut explanation =
        Explanation { request: call.line(), path: Path::of(call), ignored: call.ignored.clone(), plugins: Vec::new() };
    let mut denied_by: Option<String> = None;
    for plugin in chosen {
        let Some(filter) = plugins::filter_of(&plugin.spec) else {
            notices.note(format!("{}: not one of Tollgate's filters, and not explained", plugin.origin));
            continue;
        };
        modules::check_build(plugin, &mut notices);
        let answer = scope.ask(filter, plugin, call)?;
        // Without a workload nobody knows which of them stand in one chain.
        let not_reached = denied_by.clone().filter(|_| scope.workload.is_some());
        if denied_by.is_none() && answer.denies() {
            denied_by = Some(plugin.meta.id());
        }
        explanation.plugins.push(Plugin {
            name: plugin.meta.id(),
            filter: filter.name(),
            file: place(&plugin.origin),
            not_reached,
            answer,
        });
    }
    output::notices(notices.iter());
    match arguments.output {
        ReportFormat::Json => {
            let text = serde_json::to_string_pretty(&explanation)
                .map_err(|error| Problem::new(format!("can't print the answer: {error}")))?;
            output::line(text);
        }
        ReportFormat::Text => output::write(&show::text(&explanation)),
    }
    Ok(true)
}

fn place(origin: &Origin) -> String {
    Origin { resource: String::new(), ..origin.clone() }.to_string()
}

/// Whose plugins are asked.
struct Scope {
    workload: Option<(Workload, Vec<Side>)>,
}

impl Scope {
    fn of(name: Option<&str>, resources: &Resources) -> Result<Self, Problem> {
        let Some(name) = name else { return Ok(Self { workload: None }) };
        let workloads = workload::discover(resources, &[], &mut Notices::default());
        let is_it = |workload: &&Workload| workload.id() == name || workload.name == name;
        let Some(found) = workloads.iter().find(is_it).cloned() else {
            let known: Vec<String> = workloads.iter().map(Workload::id).collect();
            return Err(Problem::new(format!("there is no workload {name}"))
                .cure(format!("name one of those that were read: {}", known.join(", "))));
        };
        let is_gateway = |gateway: &Resource<_>| {
            let gateway: &Resource<crate::resources::networking::GatewaySpec> = gateway;
            !gateway.spec.selector.is_empty() && crate::resources::is_subset(&gateway.spec.selector, &found.labels)
        };
        let sides = if resources.gateways.iter().any(is_gateway) {
            let of_workload = resources.gateways.iter().filter(|gateway| is_gateway(gateway));
            of_workload
                .flat_map(|gateway| &gateway.spec.servers)
                .map(|server| Side::Gateway(server.port.number))
                .collect()
        } else {
            found.http_ports().map(|port| Side::Inbound(port.target)).collect()
        };
        Ok(Self { workload: Some((found, sides)) })
    }

    /// The plugins that are asked.
    fn choose<'a>(
        &self,
        name: Option<&str>,
        resources: &'a Resources,
        notices: &mut Notices,
    ) -> Result<Vec<&'a Resource<WasmPluginSpec>>, Problem> {
        let all = &resources.wasm_plugins;
        let named = |plugin: &&Resource<WasmPluginSpec>| {
            name.is_none_or(|name| plugin.meta.name == name || plugin.meta.id() == name)
        };
        let found: Vec<_> = all.iter().filter(named).collect();
        if found.is_empty() {
            let known: Vec<String> = all.iter().map(|plugin| plugin.meta.id()).collect();
            return Err(match name {
                Some(name) => Problem::new(format!("there is no WasmPlugin {name}"))
                    .cure(format!("name one of those that were read: {}", known.join(", "))),
                None => Problem::new("what was read has no WasmPlugin").cure("name the file that has it: -f FILE"),
            });
        }
        let Some((workload, sides)) = &self.workload else { return Ok(found) };
        let (applying, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|plugin| {
            sides.iter().any(|side| plugins::applies(plugin, &workload.namespace, &workload.labels, *side))
        });
        for plugin in others {
            let reason = "see its namespace, selector and match";
            notices.note(format!("{} does not apply to {}: {reason}", plugin.origin, workload.id()));
        }
        Ok(applying)
    }

    fn ask(&self, filter: Filter, plugin: &Resource<WasmPluginSpec>, call: &Call) -> Result<Answer, Problem> {
        let is_gateway = match &self.workload {
            Some((_, sides)) => sides.iter().any(|side| matches!(side, Side::Gateway(_))),
            None => false,
        };
        let traffic = &plugin.spec.traffic;
        let serves_alone = !traffic.is_empty() && traffic.iter().all(|one| one.mode == TrafficMode::Server);
        let is_inbound = if self.workload.is_some() { !is_gateway } else { serves_alone };
        let local = match &self.workload {
            Some((workload, _)) => workload.identity().spiffe_id(),
            None => format!("spiffe://{TRUST_DOMAIN}/ns/{}/sa/explained", plugin.meta.namespace()),
        };
        let seen = call.at(is_inbound, &local);
        let configuration = plugins::handed_over(plugin);
        let answer = match filter {
            Filter::RateLimit => rate_limit::explain(&configuration, &plugin.meta.id(), &seen).map(Answer::RateLimit),
            Filter::MtlsIdentity
                if is_gateway && configuration.get("checkOutbound").and_then(Value::as_bool) != Some(true) =>
            {
                let why = "a gateway's listeners are outbound, and there mtls-identity needs checkOutbound: true";
                Ok(Answer::Inactive(why.into()))
            }
            Filter::MtlsIdentity => identity::identity(&configuration, &seen).map(Answer::Identity),
            Filter::RouteMetrics => metrics::metrics(&configuration, &seen).map(Answer::Metrics),
        };
        answer.map_err(|error| Problem::at(&plugin.origin, plugins::in_resource(&error.path), error.reason))
    }
}

impl Answer {
    fn denies(&self) -> bool {
        match self {
            Self::RateLimit(explained) => explained.decision == "limited",
            Self::Identity(identity) => identity.decision == "denied",
            Self::Metrics(_) | Self::Inactive(_) => false,
        }
    }
}
