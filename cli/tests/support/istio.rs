//! What Istio does with AuthorizationPolicies, written down from its translation to Envoy's RBAC filter: texts are
//! compared, and nothing is known of their parts.

use serde_json::Value;

/// A request and its connection.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: String,
    pub authority: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// The URI SAN; none in plaintext.
    pub peer: Option<String>,
    /// The connection's peer, and what it says of its own.
    pub address: String,
    pub forwarded_for: Option<String>,
    pub port: u16,
    pub sni: String,
    /// Claims by the names that lead to them.
    pub claims: Vec<(String, Vec<String>)>,
}

/// Whether the policies, all of one workload, let the call pass.
pub fn allows(policies: &[Value], call: &Call) -> bool {
    let of = |action: &str| -> Vec<&Value> {
        let is_of =
            |policy: &&Value| policy.pointer("/spec/action").map_or("ALLOW", |value| value.as_str().unwrap()) == action;
        policies.iter().filter(is_of).collect()
    };
    let any_matches = |policies: &[&Value]| {
        let rules = policies.iter().flat_map(|policy| list(policy, "/spec/rules"));
        rules.into_iter().any(|rule| rule_matches(rule, namespace(policies), call))
    };
    let allowing = of("ALLOW");
    !any_matches(&of("DENY")) && (allowing.is_empty() || any_matches(&allowing))
}

fn namespace<'a>(policies: &[&'a Value]) -> &'a str {
    policies.first().and_then(|policy| policy.pointer("/metadata/namespace")?.as_str()).unwrap_or("default")
}

fn list<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().collect()
}

fn rule_matches(rule: &Value, namespace: &str, call: &Call) -> bool {
    let (from, to) = (list(rule, "/from"), list(rule, "/to"));
    let source = |source: &&Value| {
        let source = &source["source"];
        let is_one = |name: &str, test: &dyn Fn(&str) -> bool| both(source, name, test);
        is_one("Principals", &|text| principal(text, call))
            && is_one("Namespaces", &|text| in_namespace(text, call))
            && is_one("ServiceAccounts", &|text| service_account(text, namespace, call))
            && is_one("TrustDomains", &|text| trust_domain(text, call))
            && is_one("RequestPrincipals", &|text| request_principal(text, call))
            && is_one("IpBlocks", &|text| in_network(text, &call.address))
            && is_one("RemoteIpBlocks", &|text| in_network(text, remote(call)))
    };
    let operation = |operation: &&Value| {
        let operation = &operation["operation"];
        let is_one = |name: &str, test: &dyn Fn(&str) -> bool| both(operation, name, test);
        is_one("Hosts", &|text| text == "*" || glob(&text.to_ascii_lowercase(), &call.authority.to_ascii_lowercase()))
            && is_one("Ports", &|text| text.parse() == Ok(call.port))
            && is_one("Methods", &|text| glob(text, &call.method))
            && is_one("Paths", &|text| path(text, &call.path))
    };
    (from.is_empty() || from.iter().any(source))
        && (to.is_empty() || to.iter().any(operation))
        && list(rule, "/when").iter().all(|condition| holds(condition, namespace, call))
}

/// Of the field one, and of its counterpart with `not` none.
fn both(object: &Value, name: &str, test: &dyn Fn(&str) -> bool) -> bool {
    let mut lower = name.to_owned();
    lower.replace_range(..1, &name[..1].to_ascii_lowercase());
    one_and_none(&object[lower], &object[format!("not{name}")], test)
}

fn one_and_none(one: &Value, none: &Value, test: &dyn Fn(&str) -> bool) -> bool {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let (one, none) = (texts(one), texts(none));
    (one.is_empty() || one.iter().any(|text| test(text))) && !none.iter().any(|text| test(text))
}

fn holds(condition: &Value, namespace: &str, call: &Call) -> bool {
    let key = condition["key"].as_str().unwrap();
    let in_brackets = |prefix: &str| key.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    let test: Box<dyn Fn(&str) -> bool> = match key {
        "source.ip" => Box::new(|text| in_network(text, &call.address)),
        "remote.ip" => Box::new(|text| in_network(text, remote(call))),
        "source.namespace" => Box::new(|text| in_namespace(text, call)),
        "source.principal" => Box::new(|text| principal(text, call)),
        "source.serviceAccount" => Box::new(|text| service_account(text, namespace, call)),
        "destination.port" => Box::new(|text| text.parse() == Ok(call.port)),
        "connection.sni" => Box::new(|text| glob(text, &call.sni)),
        "request.auth.principal" => Box::new(|text| request_principal(text, call)),
        "request.auth.audiences" => Box::new(|text| claim("aud", text, call)),
        _ => match (in_brackets("request.auth.claims"), in_brackets("request.headers")) {
            (Some(name), _) => Box::new(move |text| claim(&name.replace("][", "."), text, call)),
            (_, Some(name)) => Box::new(move |text| {
                let of_name = |header: &&(String, String)| header.0.eq_ignore_ascii_case(&name);
                call.headers.iter().filter(of_name).any(|(_, value)| text == "*" || glob(text, value))
            }),
            (None, None) => unreachable!("{key}"),
        },
    };
    one_and_none(&condition["values"], &condition["notValues"], &*test)
}

/// `x`, `x*`, `*x`, and `*` for what is not empty.
fn glob(pattern: &str, value: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !value.is_empty(),
        (Some(end), _) => value.ends_with(end),
        (None, Some(start)) => value.starts_with(start),
        (None, None) => value == pattern,
    }
}

fn principal(pattern: &str, call: &Call) -> bool {
    let Some(uri) = &call.peer else { return false };
    let id = uri.strip_prefix("spiffe://");
    pattern == "*" || id.is_some_and(|id| glob(pattern, id))
}

/// Of a regular expression `.*TEXT.*TEXT.*`: all texts in their order.
fn contains_in_order(texts: &[&str], value: &str) -> bool {
    let mut rest = value;
    texts.iter().all(|text| match rest.find(text) {
        Some(at) => {
            rest = &rest[at + text.len()..];
            true
        }
        None => false,
    })
}

fn in_namespace(pattern: &str, call: &Call) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let whole = format!("/ns/{}/", parts.join("\0"));
    let parts: Vec<&str> = whole.split('\0').collect();
    call.peer.as_ref().is_some_and(|uri| contains_in_order(&parts, uri))
}

fn service_account(text: &str, own: &str, call: &Call) -> bool {
    let (namespace, account) = text.split_once('/').unwrap_or((own, text));
    let Some(id) = call.peer.as_ref().and_then(|uri| uri.strip_prefix("spiffe://")) else { return false };
    let after = format!("/ns/{namespace}/");
    id.match_indices(&after).filter(|(at, _)| *at > 0).any(|(at, _)| {
        let rest = &id[at + after.len()..];
        let named = format!("sa/{account}");
        let ends = |tail: &str| tail.is_empty() || tail.len() > 1 && tail.starts_with('/');
        let at_once = rest.strip_prefix(&*named).is_some_and(ends);
        let deeper = format!("/{named}");
        at_once || rest.match_indices(&deeper).any(|(at, _)| at > 0 && ends(&rest[at + deeper.len()..]))
    })
}

fn trust_domain(pattern: &str, call: &Call) -> bool {
    let domain = call.peer.as_ref().and_then(|uri| uri.strip_prefix("spiffe://")?.split_once('/'));
    domain.is_some_and(|(domain, _)| glob(pattern, domain))
}

fn claim(name: &str, pattern: &str, call: &Call) -> bool {
    let values = call.claims.iter().filter(|(known, _)| known == name).flat_map(|(_, values)| values);
    values.into_iter().any(|value| glob(pattern, value))
}

fn request_principal(pattern: &str, call: &Call) -> bool {
    let (issuer, subject) = match pattern.rsplit_once('/') {
        _ if pattern == "*" => ("*", "*"),
        Some((issuer, subject)) => (issuer, subject),
        None if pattern.starts_with('*') => ("*", pattern),
        None => (pattern, "*"),
    };
    claim("iss", issuer, call) && claim("sub", subject, call)
}

fn remote(call: &Call) -> &str {
    let last = call.forwarded_for.as_deref().map(|entries| entries.rsplit(',').next().unwrap().trim());
    last.filter(|last| last.parse::<std::net::IpAddr>().is_ok()).unwrap_or(&call.address)
}

fn in_network(text: &str, address: &str) -> bool {
    let network = text.parse::<ipnet::IpNet>().unwrap_or_else(|_| text.parse::<std::net::IpAddr>().unwrap().into());
    network.contains(&address.parse::<std::net::IpAddr>().unwrap())
}

fn path(pattern: &str, path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap();
    match pattern.contains("{*") {
        true => template(&pattern.replace("{**}", "\u{1}").replace("{*}", "\u{2}"), path),
        false => glob(pattern, path),
    }
}

fn template(pattern: &str, path: &str) -> bool {
    let of_a_segment = |letter: char| letter.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@*".contains(letter);
    let mut letters = pattern.chars();
    let rest = |letters: &std::str::Chars<'_>| letters.as_str().to_owned();
    match letters.next() {
        None => path.is_empty(),
        Some('\u{1}') => {
            let fits = path.find(|letter| !of_a_segment(letter) && letter != '/').unwrap_or(path.len());
            (0..=fits).any(|end| template(&rest(&letters), &path[end..]))
        }
        Some('\u{2}') => {
            let fits = path.find(|letter| !of_a_segment(letter)).unwrap_or(path.len());
            (1..=fits).any(|end| template(&rest(&letters), &path[end..]))
        }
        Some(letter) => path.strip_prefix(letter).is_some_and(|path| template(&rest(&letters), path)),
    }
}
