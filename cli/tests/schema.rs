//! That the schemas say what the parsers do, and the reference what the schemas do.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_cli::mesh::modules::module_name;
use tollgate_cli::schema::Filter;

const FILTERS: [Filter; 3] = [Filter::RateLimit, Filter::MtlsIdentity, Filter::RouteMetrics];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn parse(filter: Filter, config: &Value) -> Result<(), String> {
    let bytes = config.to_string().into_bytes();
    let result = match filter {
        Filter::RateLimit => rate_limit::config::Config::parse(&bytes).map(drop),
        Filter::MtlsIdentity => mtls_identity::config::Config::parse(&bytes).map(drop),
        Filter::RouteMetrics => route_metrics::config::Config::parse(&bytes).map(drop),
    };
    result.map_err(|error| error.to_string())
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| ["md", "yaml", "yml"].iter().any(|e| extension == *e)) {
            found.push(path);
        }
    }
}

/// The YAML of a file: all of it, or of the code blocks of a page.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<String> = if path.extension().is_some_and(|extension| extension == "md") {
        let blocks = text.split("```yaml\n").skip(1);
        blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
    } else {
        vec![text]
    };
    let parts = blocks.iter().flat_map(|block| block.split("\n---\n"));
    parts.filter_map(|part| serde_saphyr::from_str(part).ok()).collect()
}

/// Every `pluginConfig` below `value`, with the filter that it is for where that is said.
fn plugin_configs(value: &Value, url: Option<&str>, found: &mut Vec<(Option<Filter>, Value)>) {
    match value {
        Value::Object(object) => {
            let url = object.get("url").and_then(Value::as_str).or(url);
            for (key, inner) in object {
                let known = url.and_then(module_name).and_then(Filter::of_module);
                // A resource of another maker's filter is no matter here.
                if key == "pluginConfig" && known.is_some() == url.is_some() {
                    found.push((known, inner.clone()));
                }
                plugin_configs(inner, url, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| plugin_configs(item, url, found)),
        _ => {}
    }
}

#[test]
fn what_the_repository_configures_and_the_parsers_take_is_valid() {
    let mut paths = Vec::new();
    for directory in ["istio", "docs", "cli/tests/fixtures"] {
        files(&repository().join(directory), &mut paths);
    }
    let mut checked = 0;
    for path in paths {
        let mut configs = Vec::new();
        documents(&path).iter().for_each(|document| plugin_configs(document, None, &mut configs));
        for (known, config) in configs {
            let filters = known.map_or(FILTERS.to_vec(), |filter| vec![filter]);
            let taken: Vec<Filter> = filters.into_iter().filter(|filter| parse(*filter, &config).is_ok()).collect();
            assert!(!taken.is_empty(), "{}: {config}", path.display());
            for filter in taken {
                let validator = jsonschema::validator_for(&filter.schema()).unwrap();
                let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{}: {config}: {errors:?}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "only {checked} configurations were found");
}

fn rule(field: &str, value: Value) -> Value {
    let mut rule = json!({"name": "a", "match": [{"paths": ["/u/{id}"]}], "limits": [{"requests": 10, "per": "1m"}]});
    rule[field] = value;
    json!({"rules": [rule]})
}

fn identity_rule(field: &str, value: Value) -> Value {
    let mut rule = json!({"name": "a"});
    rule[field] = value;
    json!({"trustDomains": ["td"], "federatedTrustDomains": ["other"], "rules": [rule]})
}

#[test]
fn every_form_of_an_identity_policy_that_the_parser_takes_is_valid() {
    let peers = json!([
        {"principals": ["spiffe://td/ns/*/sa/a"], "notPrincipals": ["other/b"]},
        {"namespaces": ["*", "a"], "notNamespaces": ["b"], "serviceAccounts": ["a/*"], "notServiceAccounts": ["a/b.c"]},
        {"trustDomains": ["other"], "notTrustDomains": ["td"]},
    ]);
    let when = json!({
        "notHosts": ["*.a"], "notPaths": ["/a/{b}"], "notMethods": ["GET"], "ports": [1], "notPorts": [65535],
        "sni": ["*"], "notSni": ["a*"], "clientAddresses": ["10.0.0.0/8", "::1"], "notClientAddresses": ["1.2.3.4"],
        "trustedHops": 0, "headers": [{"name": "X-A", "values": ["a"], "notValues": ["*b"]}],
        "jwtClaims": [{"name": "a", "values": ["b"]}, {"name": ["a", "b"], "payload": "p", "notValues": ["c"]}],
        "requestPrincipals": ["a/*"], "notRequestPrincipals": ["*"],
    });
    let configs = [
        json!({"source": "tls"}),
        json!({"source": ["forwarded", "tls"], "forwarded": {"by": ["td/a"]}}),
        json!({"source": "forwarded", "forwarded": {"by": ["td/a"], "hops": 16}}),
        json!({"requireValidated": true, "requireUnexpired": true, "checkOutbound": true, "mode": "shadow"}),
        json!({"handOver": {"header": "X-Client"}}),
        json!({"handOver": {"header": "X-Client", "filterState": true}, "default": "allow"}),
        identity_rule("allow", peers.clone()),
        identity_rule("deny", peers),
        identity_rule("when", when),
        identity_rule("otherwise", json!("deny")),
        identity_rule("mode", json!("shadow")),
    ];
    let validator = jsonschema::validator_for(&Filter::MtlsIdentity.schema()).unwrap();
    for config in configs {
        assert_eq!(parse(Filter::MtlsIdentity, &config), Ok(()), "{config}");
        let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{config}: {errors:?}");
    }
}

#[test]
fn every_form_that_the_parser_takes_is_valid() {
    let limit = json!({"requests": 5, "per": "1s", "burst": 5});
    let key = |part: Value| rule("key", json!([part]));
    let mut configs = vec![
        json!({}),
        json!({"replicas": 500, "filterState": "all", "overall": [{"name": "all", "limits": [limit]}]}),
        json!({"exempt": [{"headers": [{"name": "X-A", "present": true}], "query": [{"name": "q", "prefix": "a"}]}]}),
        rule("cost", json!(10)),
        rule("cost", json!({"header": "X-Cost", "max": 10, "min": 2, "default": 3})),
        rule("cost", json!({"response": [{"status": ["4xx", "503", 500], "cost": 2}]})),
        rule("reserve", json!({"percent": 20, "for": [{"principal": "td/ns/a/sa/b", "header": {"x-a": "b"}}]})),
        rule("overrides", json!([{"clientAddress": "10.0.0.0/8", "limits": "unlimited"}])),
        rule("overrides", json!([{"jwtClaim": {"sub": "x"}, "pathVariable": {"id": "7"}, "limits": [limit]}])),
        rule("mode", json!("off")),
        rule("enforcePercent", json!(0)),
        rule("headers", json!("all")),
        rule("draft03", json!(true)),
        rule(
            "whenLimited",
            json!({"status": 503, "body": "", "headers": {"X-A": "b"}, "cors": {"origins": ["*"], "credentials": true}}),
        ),
    ];
    for plain in ["principal", "namespace", "host", "method", "clientAddress"] {
        configs.push(key(json!(plain)));
        configs.push(key(json!({plain: {}, "missing": "skip"})));
    }
    for part in [
        json!({"clientAddress": {"ipv4": 24, "ipv6": 56, "trustedHops": 1}}),
        json!({"header": "X-Api-Key", "missing": "deny"}),
        json!({"cookie": "sid"}),
        json!({"query": "tenant"}),
        json!({"pathVariable": "id"}),
        json!({"jwtClaim": "sub"}),
        json!({"jwtClaim": {"name": "sub", "payload": "https://issuer"}}),
        json!({"attribute": ["connection", "requested_server_name"]}),
    ] {
        configs.push(key(part));
    }
    let validator = jsonschema::validator_for(&Filter::RateLimit.schema()).unwrap();
    for config in configs {
        assert_eq!(parse(Filter::RateLimit, &config), Ok(()), "{config}");
        let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{config}: {errors:?}");
    }
}

#[test]
fn what_has_the_wrong_form_is_neither_taken_nor_valid() {
    let refused = [
        (Filter::RateLimit, json!({"rules": []})),
        (Filter::RateLimit, json!({"rule": []})),
        (Filter::RateLimit, json!({"rules": [{"name": "a"}]})),
        (Filter::RateLimit, json!({"rules": [{"limits": [{"requests": 1, "per": "1s"}]}]})),
        (Filter::RateLimit, json!({"replicas": 501})),
        (Filter::RateLimit, json!({"filterState": "some"})),
        (Filter::RateLimit, json!({"exempt": [{"paths": "/health"}]})),
        (Filter::RateLimit, json!({"exempt": [{"query": [{"name": "a"}]}]})),
        (Filter::RateLimit, json!({"exempt": [{"query": [{"name": "a", "exact": "b", "prefix": "c"}]}]})),
        (Filter::RateLimit, rule("limits", json!([{"requests": 0, "per": "1m"}]))),
        (Filter::RateLimit, rule("limits", json!([{"requests": "1", "per": "1m"}]))),
        (Filter::RateLimit, rule("limits", json!([{"requests": 1.5, "per": "1m"}]))),
        (Filter::RateLimit, rule("limits", json!([{"requests": 1, "per": "1 minute"}]))),
        (Filter::RateLimit, rule("limits", json!([{"requests": 1, "per": 60}]))),
        (Filter::RateLimit, rule("limits", json!([{"requests": 1, "per": "1m", "unit": "m"}]))),
        (Filter::RateLimit, rule("name", json!("log in"))),
        (Filter::RateLimit, rule("mode", json!("Shadow"))),
        (Filter::RateLimit, rule("key", json!("principal"))),
        (Filter::RateLimit, rule("key", json!(["header"]))),
        (Filter::RateLimit, rule("key", json!([{"missing": "skip"}]))),
        (Filter::RateLimit, rule("key", json!([{"header": "a", "cookie": "b"}]))),
        (Filter::RateLimit, rule("key", json!([{"header": ""}]))),
        (Filter::RateLimit, rule("key", json!([{"cookie": ""}]))),
        (Filter::RateLimit, rule("key", json!([{"header": "a", "missing": "reject"}]))),
        (Filter::RateLimit, rule("key", json!([{"principal": {"x": 1}}]))),
        (Filter::RateLimit, rule("key", json!([{"clientAddress": {"ipv4": 33}}]))),
        (Filter::RateLimit, rule("key", json!([{"attribute": []}]))),
        (Filter::RateLimit, rule("key", json!([{"attribute": [""]}]))),
        (Filter::RateLimit, rule("key", json!([{"jwtClaim": {"payload": "x"}}]))),
        (Filter::RateLimit, rule("key", json!([{"jwtClaim": {"name": ""}}]))),
        (Filter::RateLimit, rule("overrides", json!([{"method": "get", "limits": "unlimited"}]))),
        (Filter::RateLimit, rule("overrides", json!([{"limits": "unlimited"}]))),
        (Filter::RateLimit, rule("overrides", json!([{"principal": "td/a"}]))),
        (Filter::RateLimit, rule("overrides", json!([{"principal": "td/a", "limits": "none"}]))),
        (Filter::RateLimit, rule("overrides", json!([{"header": "x-a", "limits": "unlimited"}]))),
        (Filter::RateLimit, rule("overrides", json!([{"header": {"x-a": 1}, "limits": "unlimited"}]))),
        (Filter::RateLimit, rule("reserve", json!({"percent": 100, "for": [{"host": "a"}]}))),
        (Filter::RateLimit, rule("reserve", json!({"percent": 10, "for": [{}]}))),
        (Filter::RateLimit, rule("reserve", json!({"percent": 10}))),
        (Filter::RateLimit, rule("cost", json!(0))),
        (Filter::RateLimit, rule("cost", json!("10"))),
        (Filter::RateLimit, rule("cost", json!({"header": "x-cost"}))),
        (Filter::RateLimit, rule("cost", json!({"response": [{"status": ["6xx"], "cost": 1}]}))),
        (Filter::RateLimit, rule("cost", json!({"response": [], "max": 1}))),
        (Filter::RateLimit, rule("enforcePercent", json!(101))),
        (Filter::RateLimit, rule("slots", json!(8))),
        (Filter::RateLimit, rule("headers", json!(true))),
        (Filter::RateLimit, rule("whenLimited", json!({"status": 200}))),
        (Filter::RateLimit, rule("whenLimited", json!({"headers": {"retry-after": "1"}}))),
        (Filter::RateLimit, rule("whenLimited", json!({"headers": {"x-a": "b\r\nc: d"}}))),
        (Filter::RateLimit, rule("whenLimited", json!({"cors": {}}))),
        (Filter::MtlsIdentity, json!({"source": "xfcc"})),
        (Filter::MtlsIdentity, json!({"rules": [{"name": "a", "allow": []}]})),
        (Filter::MtlsIdentity, json!({"rules": [{"name": "a", "allow": [{"namespaces": ["Blog"]}]}]})),
        (Filter::MtlsIdentity, json!({"default": true})),
        (Filter::MtlsIdentity, json!({"source": []})),
        (Filter::MtlsIdentity, json!({"source": ["tls", "xfcc"]})),
        (Filter::MtlsIdentity, json!({"forwarded": {"by": ["td/a"], "hops": 0}})),
        (Filter::MtlsIdentity, json!({"handOver": {"header": "a b"}})),
        (Filter::MtlsIdentity, identity_rule("when", json!({"ports": [0]}))),
        (Filter::MtlsIdentity, identity_rule("when", json!({"headers": [{"values": ["a"]}]}))),
        (Filter::MtlsIdentity, identity_rule("when", json!({"jwtClaims": [{"name": [], "values": ["a"]}]}))),
        (Filter::MtlsIdentity, identity_rule("when", json!({"clientAddresses": ["ten"]}))),
        (Filter::MtlsIdentity, identity_rule("allow", json!([{"serviceAccounts": ["a"]}]))),
        (Filter::MtlsIdentity, identity_rule("otherwise", json!("pass"))),
        (Filter::RouteMetrics, json!({"routes": [{"match": [{}]}]})),
        (Filter::RouteMetrics, json!({"maxSeries": 0})),
        (Filter::RouteMetrics, json!([])),
    ];
    for (filter, config) in refused {
        assert!(parse(filter, &config).is_err(), "the parser takes {config}");
        let validator = jsonschema::validator_for(&filter.schema()).unwrap();
        assert!(!validator.is_valid(&config), "the schema takes {config}");
    }
}

/// For each object that the schema has: a configuration with an unknown field in one, and the place of its properties.
fn unknown_fields() -> Vec<(Filter, &'static str, Value)> {
    let odd = || json!({"odd": 1});
    let limits = "/$defs/LimitConfig";
    vec![
        (Filter::RateLimit, "", odd()),
        (Filter::RateLimit, "/$defs/RuleConfig", json!({"rules": [odd()]})),
        (Filter::RateLimit, "/$defs/RouteMatch", json!({"exempt": [odd()]})),
        (Filter::RateLimit, "/$defs/HeaderMatch", json!({"exempt": [{"headers": [odd()]}]})),
        (Filter::RateLimit, "/$defs/QueryMatch", json!({"exempt": [{"query": [odd()]}]})),
        (Filter::RateLimit, limits, rule("limits", json!([odd()]))),
        (Filter::RateLimit, "/$defs/KeyPart/oneOf/1", rule("key", json!([odd()]))),
        (Filter::RateLimit, "/$defs/ClientAddress", rule("key", json!([{"clientAddress": odd()}]))),
        (Filter::RateLimit, "/$defs/JwtClaim", rule("key", json!([{"jwtClaim": odd()}]))),
        (Filter::RateLimit, "/$defs/Override", rule("overrides", json!([odd()]))),
        (Filter::RateLimit, "/$defs/Reserve", rule("reserve", odd())),
        (Filter::RateLimit, "/$defs/Selector", rule("reserve", json!({"percent": 1, "for": [odd()]}))),
        (Filter::RateLimit, "/$defs/HeaderCost", rule("cost", odd())),
        (Filter::RateLimit, "/$defs/ResponseCost", rule("cost", json!({"response": 1, "odd": 1}))),
        (Filter::RateLimit, "/$defs/StatusCost", rule("cost", json!({"response": [odd()]}))),
        (Filter::RateLimit, "/$defs/WhenLimited", rule("whenLimited", odd())),
        (Filter::RateLimit, "/$defs/Cors", rule("whenLimited", json!({"cors": odd()}))),
        (Filter::MtlsIdentity, "", odd()),
        (Filter::MtlsIdentity, "/$defs/RuleConfig", json!({"rules": [odd()]})),
        (Filter::MtlsIdentity, "/$defs/Peer", json!({"rules": [{"name": "a", "allow": [odd()]}]})),
        (Filter::MtlsIdentity, "/$defs/When", identity_rule("when", odd())),
        (Filter::MtlsIdentity, "/$defs/HeaderValues", identity_rule("when", json!({"headers": [odd()]}))),
        (Filter::MtlsIdentity, "/$defs/Claim", identity_rule("when", json!({"jwtClaims": [odd()]}))),
        (Filter::MtlsIdentity, "/$defs/Forwarded", json!({"forwarded": odd()})),
        (Filter::MtlsIdentity, "/$defs/HandOver", json!({"handOver": odd()})),
        (Filter::MtlsIdentity, "/$defs/RouteMatch", json!({"exempt": [odd()]})),
        (Filter::MtlsIdentity, "/$defs/HeaderMatch", json!({"exempt": [{"headers": [odd()]}]})),
        (Filter::MtlsIdentity, "/$defs/QueryMatch", json!({"exempt": [{"query": [odd()]}]})),
        (Filter::RouteMetrics, "", odd()),
        (Filter::RouteMetrics, "/$defs/RouteConfig", json!({"routes": [odd()]})),
        (Filter::RouteMetrics, "/$defs/RouteMatch", json!({"routes": [{"name": "a", "match": [odd()]}]})),
        (
            Filter::RouteMetrics,
            "/$defs/HeaderMatch",
            json!({"routes": [{"name": "a", "match": [{"headers": [odd()]}]}]}),
        ),
        (Filter::RouteMetrics, "/$defs/QueryMatch", json!({"routes": [{"name": "a", "match": [{"query": [odd()]}]}]})),
    ]
}

#[test]
fn an_objects_properties_are_the_fields_that_the_parser_knows() {
    let all = unknown_fields();
    for (filter, place, config) in &all {
        let error = parse(*filter, config).unwrap_err();
        let (_, expected) = error.split_once("unknown field `odd`, expected ").unwrap_or_else(|| panic!("{error}"));
        let known: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        let schema = filter.schema();
        let object = schema.pointer(place).unwrap_or_else(|| panic!("{place} is not in the schema of {filter:?}"));
        let properties: BTreeSet<&str> = object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(properties, known, "{filter:?} {place}");
        assert_eq!(object["additionalProperties"], false, "{filter:?} {place}");
    }
    for filter in FILTERS {
        for (name, definition) in filter.schema()["$defs"].as_object().unwrap() {
            let is_checked = all
                .iter()
                .any(|(of, place, _)| *of == filter && place.split('/').nth(2).is_some_and(|checked| checked == name));
            let has_fields = definition.to_string().contains("\"properties\"");
            assert!(is_checked || !has_fields, "{filter:?} {name} is not compared");
        }
    }
}

#[test]
fn the_reference_is_what_the_schema_says() {
    for filter in FILTERS {
        let path = repository().join("docs/reference").join(format!("{}.md", filter.name()));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == filter.reference(),
            "docs/reference/{}.md is not what the types say: run `make reference` and commit it",
            filter.name()
        );
    }
}

#[test]
fn every_field_of_the_reference_says_what_it_is() {
    for filter in FILTERS {
        for line in filter.reference().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "{filter:?}: {line}");
            assert!(!line.contains("anything"), "{filter:?}: {line}");
        }
    }
}
