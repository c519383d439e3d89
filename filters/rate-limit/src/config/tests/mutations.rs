//! Whatever is done to a good configuration, it is read or refused, and never a panic.

use proptest::prelude::*;
use tollgate::{config::Node, time::Instant};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{super::*, parse};
use crate::{
    key::Seed,
    policy::{Policy, Scope},
    testing::{Store, call},
};

const EVERYTHING: &str = r#"{"replicas":2,"filterState":"all","exempt":[{"paths":["/health"]}],
    "overall":[{"name":"total","limits":[{"requests":1000,"per":"1s"}]}],
    "rules":[
        {"name":"login","match":[{"hosts":["*.a.com"],"paths":["/login/{id}"],"methods":["POST"],
                                  "headers":[{"name":"x","exact":"1"}],"query":[{"name":"q","present":true}]}],
         "key":["principal","host",{"clientAddress":{"ipv4":24,"ipv6":56,"trustedHops":1},"missing":"deny"},
                {"header":"x-api-key","missing":"skip"},{"cookie":"sid"},{"query":"t"},{"pathVariable":"id"},
                {"jwtClaim":{"name":"sub","payload":"p"}},{"attribute":["connection","id"]}],
         "limits":[{"requests":10,"per":"1m","burst":60},{"requests":100,"per":"1h30m"}],
         "enforcePercent":30,"cost":{"header":"x-cost","default":1,"min":1,"max":5},
         "overrides":[{"principal":"spiffe://td/a","limits":"unlimited"},
                      {"header":{"x-api-key":"a"},"clientAddress":"10.0.0.0/8","limits":[{"requests":50,"per":"1s"}]}],
         "reserve":{"percent":20,"for":[{"namespace":"monitoring"}]},"slots":64,"headers":"all","draft03":true,
         "whenLimited":{"status":503,"body":"no","headers":{"x-why":"limit"},
                        "cors":{"origins":["https://a.example.com"],"credentials":true}}},
        {"name":"failures","mode":"shadow","limits":[{"requests":9,"per":"1s"}],
         "cost":{"response":[{"status":["4xx",500],"cost":2}]}}]}"#;

/// A whole document, whatever it holds.
struct Document(Node);

impl FromNode for Document {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Ok(Self(node.clone()))
    }
}

/// What to put in a value's place.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(Node),
    /// By another value of the document.
    CopyFrom(usize),
    /// With its key, or its place in the list.
    Delete,
    Duplicate,
    /// Its key becomes another one.
    Rename(String),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let text = |text: &str| Node::Text(text.to_owned());
    let values = vec![
        Node::Null,
        Node::Bool(true),
        Node::Unsigned(0),
        Node::Unsigned(1),
        Node::Unsigned(1_000_000_000_000),
        Node::Unsigned(u64::MAX),
        Node::Signed(-1),
        Node::Signed(i64::MIN),
        Node::Float(0.5),
        Node::Float(1e300),
        Node::Float(-1e300),
        text(""),
        text("1ms"),
        text("366d"),
        text("unlimited"),
        text("*"),
        text("9xx"),
        text("a\r\nb\u{0}é"),
        text(&"x".repeat(3000)),
        Node::List(Vec::new()),
        Node::List(vec![Node::Null]),
        Node::Object(Vec::new()),
        Node::Object(vec![(String::new(), Node::Null)]),
    ];
    let names = ["", "x", "name", "header", "response", "principal", "limits", "missing", "pathVariable", "é\n"];
    prop_oneof![
        4 => prop::sample::select(values).prop_map(Mutation::Replace),
        2 => any::<prop::sample::Index>().prop_map(|index| Mutation::CopyFrom(index.index(1 << 16))),
        2 => Just(Mutation::Delete),
        1 => Just(Mutation::Duplicate),
        1 => prop::sample::select(names.to_vec()).prop_map(|name| Mutation::Rename(name.to_owned())),
    ]
}

fn nodes<'a>(node: &'a Node, all: &mut Vec<&'a Node>) {
    all.push(node);
    match node {
        Node::List(children) => children.iter().for_each(|child| nodes(child, all)),
        Node::Object(entries) => entries.iter().for_each(|(_, child)| nodes(child, all)),
        _ => {}
    }
}

/// Does `mutation` to the child of `node` that `left` counts down to. Whether it was found.
fn mutate(node: &mut Node, left: &mut usize, mutation: &Mutation) -> bool {
    let mut children: Vec<(Option<String>, Node)> = match std::mem::replace(node, Node::Null) {
        Node::List(children) => children.into_iter().map(|child| (None, child)).collect(),
        Node::Object(entries) => entries.into_iter().map(|(key, child)| (Some(key), child)).collect(),
        other => {
            *node = other;
            return false;
        }
    };
    let is_object = children.iter().any(|(key, _)| key.is_some());
    let mut found = false;
    for index in 0..children.len() {
        if *left == 0 {
            match mutation {
                Mutation::Replace(value) => children[index].1 = value.clone(),
                Mutation::CopyFrom(_) => {}
                Mutation::Delete => drop(children.remove(index)),
                Mutation::Duplicate => children.insert(index, children[index].clone()),
                Mutation::Rename(name) => children[index].0 = children[index].0.as_ref().map(|_| name.clone()),
            }
            found = true;
            break;
        }
        *left -= 1;
        if mutate(&mut children[index].1, left, mutation) {
            found = true;
            break;
        }
    }
    *node = if is_object {
        Node::Object(children.into_iter().map(|(key, child)| (key.unwrap(), child)).collect())
    } else {
        Node::List(children.into_iter().map(|(_, child)| child).collect())
    };
    found
}

fn print(node: &Node, json: &mut String) {
    let quoted = |text: &str| {
        let escaped = text.chars().map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    match node {
        Node::Null => json.push_str("null"),
        Node::Bool(value) => json.push_str(&value.to_string()),
        Node::Unsigned(number) => json.push_str(&number.to_string()),
        Node::Signed(number) => json.push_str(&number.to_string()),
        Node::Float(number) => json.push_str(&format!("{number:e}")),
        Node::Text(text) => json.push_str(&quoted(text)),
        Node::List(nodes) => {
            json.push('[');
            for (index, node) in nodes.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                print(node, json);
            }
            json.push(']');
        }
        Node::Object(entries) => {
            json.push('{');
            for (index, (key, node)) in entries.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                json.push_str(&format!("{}:", quoted(key)));
                print(node, json);
            }
            json.push('}');
        }
    }
}

/// Everything that is done with a configuration before the first request, and one.
fn use_it(config: &Config) {
    assert!(!config.rules.is_empty() || !config.overall.is_empty());
    let _ = (config.summary(), config.warnings(), config.needs_response());
    let mut policy = Policy::new(config, &Scope { plugin: "p", root_id: "" }, Seed::default());
    let request = call("/login/1?t=a").with_method("POST").with_authority("b.a.com").with_header("x-cost", "3");
    for now in 0..3 {
        policy.decide(&request, &mut Store::default(), Instant::from_nanos(now));
    }
}

#[test]
fn the_document_that_is_mutated_is_a_good_one() {
    let config = parse(EVERYTHING);
    use_it(&config);
    let Document(document) = tollgate::config::parse(EVERYTHING.as_bytes()).unwrap();
    let mut json = String::new();
    print(&document, &mut json);
    assert_eq!(parse(&json), config, "printed and read again it is the same");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_configurations_are_read_or_refused(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), mutation()), 1..4),
    ) {
        let Document(mut document) = tollgate::config::parse(EVERYTHING.as_bytes()).unwrap();
        for (place, mutation) in mutations {
            let mut all = Vec::new();
            nodes(&document, &mut all);
            let mutation = match mutation {
                Mutation::CopyFrom(index) => Mutation::Replace(all[index % all.len()].clone()),
                other => other,
            };
            let mut left = place.index(all.len());
            mutate(&mut document, &mut left, &mutation);
        }
        let mut json = String::new();
        print(&document, &mut json);
        match Config::parse(json.as_bytes()) {
            Ok(config) => use_it(&config),
            Err(error) => {
                let error = error.to_string();
                prop_assert!(!error.is_empty() && error.len() < 8192, "{}", error);
            }
        }
    }
}
