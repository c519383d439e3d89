//! Requests, about half of them aimed at a rule of the policies.

use rand::{RngExt as _, rngs::StdRng};
use tollgate_tests::conversation::Message;

use super::{
    policies::{Rule, Workload},
    words::{self, any, pick},
};

/// A request to that workload.
pub(super) fn request(random: &mut StdRng, workload: &Workload, is_http2: bool) -> Message {
    let paths = if random.random_bool(0.75) { &words::PLAIN_PATHS[..] } else { &words::ODD_PATHS };
    let headers = any(random, &words::HEADERS);
    let mut message = Message {
        method: any(random, &["GET", "GET", "POST", "DELETE", "PATCH", "PROPFIND"]).to_owned(),
        target: any(random, paths).to_owned(),
        authority: any(random, &words::AUTHORITIES).to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let rules: Vec<&Rule> = workload.rules().collect();
    if !rules.is_empty() && random.random_bool(0.6) {
        let rule = any(random, &rules);
        aim(random, &mut message, rule);
    }
    if random.random_ratio(1, 6) {
        message.target.push_str(any(random, &words::QUERIES));
    }
    if random.random_ratio(1, 4) {
        message.headers.push(("x-forwarded-for".to_owned(), any(random, &words::FORWARDED).to_owned()));
    }
    // With HTTP/1.1 Envoy refuses such a method.
    if is_http2 && random.random_ratio(1, 8) {
        message.method.make_ascii_lowercase();
    }
    message
}

/// Takes from one operation of the rule, and from its conditions, what the request can have of them.
fn aim(random: &mut StdRng, message: &mut Message, rule: &Rule) {
    const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "PUT", "PROPFIND"];
    if !rule.to.is_empty() {
        for (field, values) in &pick(random, &rule.to).operation {
            let value = pick(random, values);
            let value = fill(random, value);
            match field.as_str() {
                // `*` alone is any path at all.
                "paths" | "notPaths" if value.starts_with('/') => message.target = value,
                "paths" | "notPaths" => message.target = format!("/{value}"),
                "methods" | "notMethods" if METHODS.contains(&&*value) => message.method = value,
                "hosts" | "notHosts" => message.authority = value.replace('/', "."),
                _ => {}
            }
        }
    }
    for condition in &rule.when {
        let name = condition.key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']'));
        let values = if condition.values.is_empty() { &condition.not_values } else { &condition.values };
        if let Some(name) = name {
            message.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            let value = pick(random, values);
            let value = if random.random_ratio(1, 8) { String::new() } else { fill(random, value) };
            message.headers.push((name.to_owned(), value));
        }
    }
}

/// A value with words in the place of its wildcards.
fn fill(random: &mut StdRng, pattern: &str) -> String {
    let mut value = pattern.to_owned();
    while let Some(star) = value.find('*') {
        let filling = any(random, &words::FILLINGS);
        let braced = value[..star].ends_with('{');
        let end = value[star..].find('}').filter(|_| braced).map_or(star + 1, |at| star + at + 1);
        value.replace_range(if braced { star - 1 } else { star }..end, filling);
    }
    value
}
