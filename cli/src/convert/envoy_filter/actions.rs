//! The route's `rate_limits`: which requests produce which descriptor entries.

use serde_json::{Value, json};

use super::super::field::Field;
use super::super::plugin::matching::ValueCondition;
use super::super::report::Report;
use super::matching::{self, Conditions, Refusal};

/// One entry of `rate_limits`: it produces a descriptor if every action produces its entry.
#[derive(Debug, Clone)]
pub(super) struct RateLimit<'a> {
    pub(super) field: Field<'a>,
    pub(super) stage: u64,
    actions: Vec<Action<'a>>,
}

#[derive(Debug, Clone)]
struct Action<'a> {
    kind: String,
    /// The descriptor key that it produces.
    key: String,
    field: Field<'a>,
}

/// What a descriptor asks of a request, and what its buckets are kept by.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) conditions: Conditions,
    pub(super) key: Vec<Value>,
}

const BY_HAND: &str = "take it out here and write the rule by hand: docs/configuration.md";

/// The entries of a list of `rate_limits`.
pub(super) fn read<'a>(list: &Field<'a>, report: &mut Report) -> Vec<RateLimit<'a>> {
    let mut entries = Vec::new();
    for field in list.items() {
        field.only(&["stage", "actions", "disable_key"], "RateLimit", report);
        if let Some(disable_key) = field.get("disable_key") {
            report.dropped(&disable_key, "Envoy's local rate limit ignores an entry that has one, and so does this");
            continue;
        }
        let stage = field.get("stage").and_then(|stage| stage.need_number(report)).unwrap_or_default();
        let actions = field.get("actions").map(|actions| actions.items()).unwrap_or_default();
        let actions = actions.iter().filter_map(action).collect();
        entries.push(RateLimit { field, stage, actions });
    }
    entries
}

fn action<'a>(field: &Field<'a>) -> Option<Action<'a>> {
    let (kind, inner) = field.members().into_iter().next()?;
    let kind = kind.chars().fold(String::new(), |mut kind, letter| {
        if letter.is_ascii_uppercase() {
            kind.push('_');
        }
        kind.push(letter.to_ascii_lowercase());
        kind
    });
    let given = inner.text_of("descriptor_key");
    let key = match kind.as_str() {
        "header_value_match" if given.is_empty() => "header_match",
        "query_parameter_value_match" if given.is_empty() => "query_match",
        _ if given.is_empty() => kind.as_str(),
        _ => given,
    };
    Some(Action { key: key.to_owned(), kind, field: inner })
}

impl<'a> RateLimit<'a> {
    /// Whether its descriptors can be the one with these entries, and for which requests they are.
    pub(super) fn select(&self, entries: &[(&str, &str)]) -> Option<Result<Selection, Refusal<'a>>> {
        let fits = self.actions.len() == entries.len()
            && self.actions.iter().zip(entries).all(|(action, (key, value))| action.can_be(key, value));
        if !fits || entries.is_empty() {
            return None;
        }
        let mut selection = Selection::default();
        for (action, (_, value)) in self.actions.iter().zip(entries) {
            if let Err(refusal) = action.select(value, &mut selection) {
                return Some(Err(refusal));
            }
        }
        Some(Ok(selection))
    }
}

impl<'a> Action<'a> {
    fn can_be(&self, key: &str, value: &str) -> bool {
        let fixed = self.field.text_of("descriptor_value");
        self.key == key && (fixed.is_empty() || value.is_empty() || fixed == value)
    }

    /// An empty `value` stands for any, with a bucket for each.
    fn select(&self, value: &str, selection: &mut Selection) -> Result<(), Refusal<'a>> {
        let field = &self.field;
        let refused = |reason: &str| Err((field.clone(), reason.to_owned(), BY_HAND));
        match (self.kind.as_str(), value) {
            ("generic_key", _) => {}
            ("header_value_match", _) => {
                if field.get("expect_match").is_some_and(|expect| expect.value.as_bool() == Some(false)) {
                    return refused("produces its entry where the headers do not match, which a match can't say");
                }
                let headers = field.get("headers").unwrap_or_else(|| field.clone());
                selection.require(&matching::headers(&headers)?, field)?;
            }
            ("request_headers", "") => match field.text_of("header_name").to_ascii_lowercase().as_str() {
                ":method" => selection.key.push(json!("method")),
                ":authority" | "host" => selection.key.push(json!("host")),
                ":path" => {
                    return refused("a bucket for each path is a fresh one for whoever sends another path");
                }
                name => {
                    let mut present = Conditions::default();
                    let header = ValueCondition { name: name.into(), present: Some(true), ..Default::default() };
                    present.matches.headers.push(header);
                    selection.require(&present, field)?;
                    selection.key.push(json!({"header": name}));
                }
            },
            ("request_headers", value) => {
                selection.require(&matching::exact(field.text_of("header_name"), value, field)?, field)?;
            }
            ("query_parameter_value_match", _) => {
                if field.get("expect_match").is_some_and(|expect| expect.value.as_bool() == Some(false)) {
                    return refused("produces its entry where the query does not match, which a match can't say");
                }
                let parameters = field.get("query_parameters").unwrap_or_else(|| field.clone());
                selection.require(&matching::query(&parameters)?, field)?;
            }
            ("query_parameters", value) if !value.is_empty() => {
                let name = field.text_of("query_parameter_name");
                selection.require(&matching::exact_parameter(name, value, field)?, field)?;
            }
            ("query_parameters", _) => {
                let name = field.text_of("query_parameter_name");
                selection.key.push(json!({"query": name, "missing": "skip"}));
            }
            ("remote_address", "") => selection.by_address(json!("clientAddress")),
            ("masked_remote_address", "") => {
                let mask = |name: &str, most: u64| field.get(name).and_then(|mask| mask.number()).unwrap_or(most);
                let (ipv4, ipv6) = (mask("v4_prefix_mask_len", 32), mask("v6_prefix_mask_len", 128));
                selection.by_address(json!({"clientAddress": {"ipv4": ipv4, "ipv6": ipv6}}));
            }
            ("remote_address" | "masked_remote_address", _) => {
                return refused("is for one address, and a match has no addresses");
            }
            ("source_cluster" | "destination_cluster", _) => {
                return refused("goes by Envoy's cluster, which a match does not know");
            }
            (kind, _) => return refused(&format!("{kind} has no counterpart")),
        }
        Ok(())
    }
}

impl Selection {
    fn require<'a>(&mut self, conditions: &Conditions, at: &Field<'a>) -> Result<(), Refusal<'a>> {
        self.conditions = std::mem::take(&mut self.conditions).and(conditions, at)?;
        Ok(())
    }

    fn by_address(&mut self, key: Value) {
        self.key.push(key);
        let remark = "Envoy goes by the address that it trusts of x-forwarded-for; here clientAddress is the \
                      connection's own peer. Behind proxies that write x-forwarded-for, and on every sidecar, say how \
                      many: trustedHops, 1 behind one gateway";
        self.conditions.remarks.push(remark.into());
    }
}
