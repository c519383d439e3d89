//! `to.operation`: hosts, paths, methods and ports.

use super::super::field::Field;
use super::super::plugin::matching::Match;
use super::super::report::Report;
use super::bound::{Bound, Refusal, Side, Translated, list, texts, translate_list};
use super::condition::Condition;
use super::difference::Difference;
use super::{host, path};

/// What a request is for: `matches` has what alternatives may differ in, `condition` the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Operation {
    pub(super) matches: Match,
    pub(super) condition: Condition,
}

/// The fields of an operation.
const FIELDS: [&str; 8] = ["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];

/// Reads one. What can't be carried over is in the report.
pub(super) fn read(field: &Field<'_>, bound: Bound, report: &mut Report) -> Operation {
    field.only(&FIELDS, "an operation", report);
    let is_none = |list: Field<'_>| list.value.as_array().is_some_and(Vec::is_empty);
    if FIELDS.iter().all(|name| field.get(name).is_none_or(is_none)) {
        report.refuse(field, "has no condition", "give it one, or take it out: Istio refuses this");
    }
    let mut operation = Operation::default();
    operation.matches.hosts = hosts(field, "hosts", "match.hosts", bound, report);
    operation.condition.not_hosts = hosts(field, "notHosts", "when.notHosts", bound.inverted(), report);
    operation.matches.paths = paths(field, "paths", "match.paths", bound, report);
    operation.condition.not_paths = paths(field, "notPaths", "when.notPaths", bound.inverted(), report);
    operation.matches.methods = methods(field, "methods", "match.methods", bound, report);
    operation.condition.not_methods = methods(field, "notMethods", "when.notMethods", bound.inverted(), report);
    operation.condition.ports = ports(field, "ports", "when.ports", report);
    operation.condition.not_ports = ports(field, "notPorts", "when.notPorts", report).unwrap_or_default();
    operation
}

fn hosts(object: &Field<'_>, name: &str, target: &str, bound: Bound, report: &mut Report) -> Vec<String> {
    let Some(field) = list(object, name, report) else { return Vec::new() };
    let items = field.items();
    let all: Vec<&str> = items.iter().filter_map(Field::text).collect();
    let translated = translate_list(&field, bound, report, |text, side| host::translate(text, &all, side));
    let Some(hosts) = carried(&field, target, translated, report) else { return Vec::new() };
    if hosts.iter().any(|host| host != "*") {
        report.announce(&field, Difference::HostSpelling);
    }
    report.announce(&field, Difference::AmbiguousHost);
    hosts
}

fn paths(object: &Field<'_>, name: &str, target: &str, bound: Bound, report: &mut Report) -> Vec<String> {
    let Some(field) = list(object, name, report) else { return Vec::new() };
    let translated = translate_list(&field, bound, report, path::translate);
    let Some(paths) = carried(&field, target, translated, report) else { return Vec::new() };
    if paths.iter().any(|path| !matches!(path.as_str(), "*" | "/*")) {
        report.announce(&field, Difference::TrailingSlash);
        report.announce(&field, Difference::PathSpelling);
    }
    if field.items().iter().filter_map(Field::text).any(|text| text.contains("{*")) {
        report.announce(&field, Difference::TemplateCharacters);
    }
    report.announce(&field, Difference::AmbiguousPath);
    paths
}

fn methods(object: &Field<'_>, name: &str, target: &str, bound: Bound, report: &mut Report) -> Vec<String> {
    let Some(field) = list(object, name, report) else { return Vec::new() };
    if !name.starts_with("not") && field.items().iter().any(|item| item.text() == Some("*")) {
        report.became_so(&field, "no condition", "every request has a method");
        return Vec::new();
    }
    let translated = translate_list(&field, bound, report, method);
    let Some(methods) = carried(&field, target, translated, report) else { return Vec::new() };
    report.announce(&field, Difference::MethodCase);
    methods
}

/// The methods of RFC 9110 and RFC 5789, for patterns.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn method(pattern: &str, side: Side) -> Result<Translated<String>, Refusal> {
    let cure = "name the methods, in capitals";
    let known = |fits: &dyn Fn(&str) -> bool| {
        let fitting: Vec<_> = METHODS.iter().filter(|method| fits(method)).map(|method| (*method).to_owned()).collect();
        if side == Side::Outer || fitting.is_empty() {
            return Err(Refusal::new(format!("`{pattern}` stands for methods that nobody has named"), cure));
        }
        let how = format!("becomes {}, without methods that are not HTTP's own", fitting.join(", "));
        Ok(Translated::but(fitting, Difference::PartialSegment, how))
    };
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => Err(Refusal::new("`*` is every method, so that nothing is left", "take the rule out")),
        (Some(end), _) => known(&|method| method.ends_with(end)),
        (None, Some(begin)) => known(&|method| method.starts_with(begin)),
        (None, None) if pattern.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => {
            Ok(Translated::exact(vec![pattern.to_owned()]))
        }
        (None, None) => {
            let why = "methods are told apart by case, and are in capitals";
            Err(Refusal::nothing_is(pattern, why, "write it in capitals, such as GET"))
        }
    }
}

/// The ports of a list.
pub(super) fn ports(object: &Field<'_>, name: &str, target: &str, report: &mut Report) -> Option<Vec<u16>> {
    let field = list(object, name, report)?;
    let mut ports = Some(Vec::new());
    for (item, text) in texts(&field, report)? {
        match text.parse::<u16>().ok().filter(|port| *port > 0) {
            Some(port) => {
                if let Some(ports) = ports.as_mut().filter(|ports| !ports.contains(&port)) {
                    ports.push(port);
                }
            }
            None => {
                report.refuse(&item, format!("`{text}` is no port"), "write a number from 1 to 65535, in quotes");
                ports = None;
            }
        }
    }
    let ports = ports?;
    report.became(&field, format!("{target}: {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")));
    Some(ports)
}

/// Says what a list became; without what is there twice.
pub(super) fn carried(
    field: &Field<'_>,
    target: &str,
    values: Option<Vec<String>>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let mut once: Vec<String> = Vec::new();
    for value in values? {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    let shown = if once.len() > MOST_SHOWN { format!("{} values", once.len()) } else { once.join(", ") };
    report.became(field, format!("{target}: {shown}"));
    Some(once)
}

/// How many values of a list a report shows.
const MOST_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn operation(value: &Value, bound: Bound) -> (Operation, Vec<&'static str>, Vec<String>) {
        let mut report = Report::default();
        let operation = read(&Field::new(value, "to"), bound, &mut report);
        let differences = report.notes.iter().filter_map(|note| note.difference).map(Difference::code).collect();
        (operation, differences, report.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_asked_for_is_matched_and_what_is_excluded_is_a_condition() {
        let value = json!({
            "hosts": ["a.example"], "notHosts": ["*.b.example"], "ports": ["8080", "8080"], "notPorts": ["9090"],
            "methods": ["GET", "GET"], "notMethods": ["PUT"], "paths": ["/a"], "notPaths": ["/a/b"],
        });
        let (operation, differences, problems) = operation(&value, Bound::Inner);
        assert_eq!(problems, [""; 0]);
        assert_eq!(operation.matches.hosts, ["a.example"]);
        assert_eq!(operation.matches.methods, ["GET"]);
        assert_eq!(operation.matches.paths, ["/a"]);
        let condition = operation.condition;
        assert_eq!((condition.ports, condition.not_ports), (Some(vec![8080]), vec![9090]));
        assert_eq!((condition.not_hosts, condition.not_methods), (vec!["*.b.example".into()], vec!["PUT".into()]));
        assert_eq!(condition.not_paths, ["/a/b"]);
        for code in
            ["host_spelling", "ambiguous_host", "trailing_slash", "path_spelling", "ambiguous_path", "method_case"]
        {
            assert_eq!(differences.iter().filter(|difference| **difference == code).count(), 1, "{code}");
        }
    }

    #[test]
    fn what_is_excluded_lies_on_the_other_side_of_what_is_asked_for() {
        let value = json!({"paths": ["/a/*"], "notPaths": ["/a/b/*"]});
        let (allow, ..) = operation(&value, Bound::Inner);
        assert_eq!(
            (&allow.matches.paths, &allow.condition.not_paths),
            (&vec!["/a/{*}/*".into()], &vec!["/a/b/*".into()])
        );
        let (deny, ..) = operation(&value, Bound::Outer);
        assert_eq!(
            (&deny.matches.paths, &deny.condition.not_paths),
            (&vec!["/a/*".into()], &vec!["/a/b/{*}/*".into()])
        );
    }

    #[test]
    fn patterns_of_methods_become_those_that_http_has_where_that_is_narrower() {
        let (allow, differences, _) = operation(&json!({"methods": ["P*"]}), Bound::Inner);
        assert_eq!(allow.matches.methods, ["POST", "PUT", "PATCH"]);
        assert!(differences.contains(&"partial_segment"));
        assert_eq!(
            operation(&json!({"methods": ["*T"]}), Bound::Inner).0.matches.methods,
            ["GET", "POST", "PUT", "CONNECT"]
        );
        let (_, _, problems) = operation(&json!({"methods": ["P*"]}), Bound::Outer);
        assert!(problems[0].contains("to.methods[0]: `P*` stands for methods"), "{}", problems[0]);
        let (any, _, problems) = operation(&json!({"methods": ["*", "GET"]}), Bound::Inner);
        assert!(any.matches.methods.is_empty() && problems.is_empty());
    }

    #[test]
    fn what_istio_refuses_is_refused_with_its_place() {
        for (value, message) in [
            (json!({}), "to: has no condition"),
            (json!({"ports": [80]}), "to.ports[0]: must be a text that is not empty, found 80"),
            (json!({"ports": ["http"]}), "to.ports[0]: `http` is no port"),
            (json!({"ports": ["0"]}), "to.ports[0]: `0` is no port"),
            (json!({"methods": "GET"}), "to.methods: must be a list, found \"GET\""),
            (json!({"methods": ["get"]}), "to.methods[0]: MATCHES NOTHING: `get`"),
            (json!({"methods": [""]}), "to.methods[0]: must be a text that is not empty"),
            (json!({"notMethods": ["*"]}), "to.notMethods[0]: `*` is every method"),
            (json!({"path": ["/a"]}), "to.path: is not a field of an operation"),
        ] {
            let (_, _, problems) = operation(&value, Bound::Inner);
            assert!(problems.iter().any(|problem| problem.contains(message)), "{value}: {problems:?}");
        }
    }

    #[test]
    fn an_empty_list_is_no_condition() {
        let (operation, _, problems) = operation(&json!({"paths": [], "methods": ["GET"]}), Bound::Inner);
        assert!(problems.is_empty() && operation.matches.paths.is_empty());
    }
}
