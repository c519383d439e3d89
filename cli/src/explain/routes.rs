//! Why a list of matches does not take a request: of each, the first condition that does not hold.

use serde::Serialize;
use serde_json::Value;
use tollgate::path::NormalizedPath;
use tollgate::request::Request;
use tollgate::route::{self, Doubt, HeaderMatch, QueryMatch, RouteMatch, RouteTable};

use super::request::describe;

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Miss {
    /// Its path into the configuration: `rules[0].match[1].methods`.
    pub(super) at: String,
    /// What it asks for.
    pub(super) wanted: String,
    /// What the request has.
    pub(super) found: String,
}

impl Miss {
    pub(super) fn text(&self) -> String {
        format!("{} wants {}, found {}", self.at, self.wanted, self.found)
    }
}

/// Whether one of the matches holds, as the filters find out.
pub(super) fn holds(matches: &[RouteMatch], request: &impl Request) -> bool {
    RouteTable::new([matches]).find(request).rule.is_some()
}

/// For each of `matches`, whose place is `place`, what does not hold; `written` is what the user wrote there.
pub(super) fn misses(
    matches: &[RouteMatch],
    written: Option<&Value>,
    place: &str,
    request: &impl Request,
) -> Vec<Miss> {
    let mut misses = Vec::new();
    for (index, one) in matches.iter().enumerate() {
        let written = written.and_then(|written| written.get(index));
        misses.extend(first_miss(one, written, &format!("{place}[{index}]"), request));
    }
    misses
}

fn first_miss(matches: &RouteMatch, written: Option<&Value>, place: &str, request: &impl Request) -> Option<Miss> {
    let fails = |one: RouteMatch| !holds(&[one], request);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let miss = |condition: String, found: String| {
        let pointer = format!("/{}", condition.replace('[', "/").replace(']', ""));
        let wanted = written.and_then(|written| written.pointer(&pointer)).map(wanted).unwrap_or_default();
        Some(Miss { at: format!("{place}.{condition}"), wanted, found })
    };
    if fails(RouteMatch { hosts: matches.hosts.clone(), ..RouteMatch::default() }) {
        let host = request.authority().map(|authority| text(&route::host(authority)));
        return miss("hosts".into(), host.unwrap_or_else(|| "no host".into()));
    }
    if fails(RouteMatch { paths: matches.paths.clone(), ..RouteMatch::default() }) {
        let path = request.path().map(|path| NormalizedPath::new(path).as_str().to_owned());
        return miss("paths".into(), path.unwrap_or_else(|| "no path".into()));
    }
    if fails(RouteMatch { methods: matches.methods.clone(), ..RouteMatch::default() }) {
        return miss("methods".into(), request.method().map(text).unwrap_or_else(|| "no method".into()));
    }
    let header = |one: &HeaderMatch| fails(RouteMatch { headers: vec![one.clone()], ..RouteMatch::default() });
    if let Some((index, failed)) = matches.headers.iter().enumerate().find(|(_, one)| header(one)) {
        let values: Vec<String> = request.header(failed.name()).iter().map(|value| text(value)).collect();
        return miss(format!("headers[{index}]"), values_of(&values));
    }
    let query = |one: &QueryMatch| fails(RouteMatch { query: vec![one.clone()], ..RouteMatch::default() });
    if let Some((index, _)) = matches.query.iter().enumerate().find(|(_, one)| query(one)) {
        let condition = format!("query[{index}]");
        let name = written.and_then(|written| written.pointer(&format!("/query/{index}/name"))?.as_str());
        let parameters = route::query_parameters(request).into_iter();
        let values: Vec<String> =
            parameters.filter(|(there, _)| Some(there.as_str()) == name).map(|(_, value)| value).collect();
        return miss(condition, values_of(&values));
    }
    None
}

fn values_of(values: &[String]) -> String {
    if values.is_empty() {
        return "none".to_owned();
    }
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" and ")
}

/// A condition as it was written, in words.
fn wanted(condition: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match condition {
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::Object(fields) => {
            let name = fields.get("name").map(text).unwrap_or_default();
            let said = |field: &str, verb: &str| fields.get(field).map(|value| format!("{name} {verb} {value}"));
            let exact = said("exact", "to be").or_else(|| said("prefix", "to start with"));
            exact.unwrap_or_else(|| format!("{name} to be there"))
        }
        other => text(other),
    }
}

/// What makes a match doubtful.
pub(super) fn doubt(doubt: Doubt) -> String {
    match doubt {
        Doubt::Path(ambiguity) => format!("the path is ambiguous: it {}", describe(ambiguity)),
        Doubt::Host => "the host is no plain host name".to_owned(),
        Doubt::Header => "a header is repeated with values that disagree".to_owned(),
        Doubt::Query => "a parameter of the query is repeated with values that disagree".to_owned(),
    }
}
