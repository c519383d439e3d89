#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn refusal(json: &str) -> String {
    Config::parse(json.as_bytes()).unwrap_err().to_string()
}

fn rule(fields: &str) -> String {
    format!(r#"{{"trustDomains":["td"],"rules":[{{"name":"a",{fields}}}]}}"#)
}

#[test]
fn reads_every_field() {
    let config = Config::parse(
        br#"{
            "source": ["forwarded", "tls", "peerPrincipal"],
            "forwarded": {"by": ["td/ns/istio-system/sa/gateway"], "hops": 2},
            "trustDomains": ["td", "old"],
            "federatedTrustDomains": ["partner.example"],
            "requireValidated": true,
            "requireUnexpired": true,
            "checkOutbound": true,
            "handOver": {"header": "X-Client-Identity", "filterState": true},
            "mode": "shadow",
            "rules": [{
                "name": "a",
                "match": [{"paths": ["/a/*"], "hosts": ["a.example"], "methods": ["GET"]}],
                "when": {
                    "notHosts": ["b.example"], "notPaths": ["/a/b"], "notMethods": ["PUT"],
                    "ports": [80], "notPorts": [81], "sni": ["a.example"], "notSni": ["b.*"],
                    "clientAddresses": ["10.0.0.0/8"], "notClientAddresses": ["10.1.2.3"], "trustedHops": 1,
                    "headers": [{"name": "X-Env", "values": ["prod"], "notValues": ["test*"]}],
                    "jwtClaims": [{"name": ["realm_access", "roles"], "payload": "p", "values": ["admin"]},
                                  {"name": "aud", "notValues": ["*x"]}],
                    "requestPrincipals": ["iss/sub"], "notRequestPrincipals": ["iss/other"]
                },
                "deny": [{"namespaces": ["x"], "notServiceAccounts": ["x/good"]}],
                "allow": [{"principals": ["td/a", "spiffe://partner.example/b"], "notPrincipals": ["td/c"],
                           "notNamespaces": ["y"], "serviceAccounts": ["*/s"],
                           "trustDomains": ["td"], "notTrustDomains": ["partner.example"]}],
                "otherwise": "next",
                "mode": "shadow"
            }],
            "exempt": [{"paths": ["/health"]}],
            "default": "allow"
        }"#,
    )
    .unwrap();
    assert_eq!(config.sources.as_slice(), [Source::Forwarded, Source::Tls, Source::PeerPrincipal]);
    assert_eq!(config.forwarded.as_ref().unwrap().hops.unwrap().get(), 2);
    assert_eq!(config.hand_over.as_ref().unwrap().header.as_ref().unwrap().as_str(), "x-client-identity");
    let [rule] = &config.rules[..] else { panic!("{:?}", config.rules) };
    let when = rule.when.as_ref().unwrap();
    assert_eq!(when.headers[0].name.as_str(), "x-env");
    assert_eq!(when.jwt_claims[0].name.names(), ["realm_access", "roles"]);
    assert_eq!(when.jwt_claims[1].name.names(), ["aud"]);
    assert_eq!(rule.otherwise(), Otherwise::Next);
}

#[test]
fn what_is_not_given_is_as_documented() {
    let config = Config::parse(b"").unwrap();
    assert_eq!(config.sources.as_slice(), [Source::Tls]);
    assert_eq!((config.mode, config.require_validated, config.check_outbound), (Mode::Enforce, false, false));
    let otherwise = |fields: &str| Config::parse(rule(fields).as_bytes()).unwrap().rules[0].otherwise();
    assert_eq!(otherwise(r#""deny":[{"namespaces":["a"]}]"#), Otherwise::Allow);
    assert_eq!(otherwise(r#""allow":[{"namespaces":["a"]}]"#), Otherwise::Deny);
}

#[test]
fn says_what_is_wrong_and_where() {
    let nothing = "must not be empty: leave it out instead";
    for (json, message) in [
        (rule(r#""allow":[{}]"#), "rules[0].allow[0]: must have `principals`, `namespaces` or another condition"),
        (r#"{"rules":[]}"#.to_owned(), &format!("rules: {nothing}")),
        (r#"{"source":[]}"#.to_owned(), &format!("source: {nothing}")),
        (rule(r#""allow":[]"#), &format!("rules[0].allow: {nothing}")),
        (r#"{"exempt":[{}]}"#.to_owned(), "exempt[0]: must have a condition: it would exempt everything"),
        (r#"{"exempt":[{"paths":[]}]}"#.to_owned(), &format!("exempt[0].paths: {nothing}")),
        (
            rule(r#""deny":[{"principals":["td/a","other/a"]}]"#),
            "rules[0].deny[0].principals[1]: can never match: `other` is not one of `trustDomains` or `federatedTrustDomains`",
        ),
        (
            rule(r#""deny":[{"notTrustDomains":["other"]}]"#),
            "rules[0].deny[0].notTrustDomains[0]: can never match: `other` is not one of `trustDomains` or `federatedTrustDomains`",
        ),
        (r#"{"rules":[{"name":"a"},{"name":"a"}]}"#.to_owned(), "rules[1].name: `a` is the name of an earlier one"),
        (
            rule(r#""deny":[{"principals":["td/ns/a*/sa/b"]}]"#),
            "rules[0].deny[0].principals[0]: invalid principal `td/ns/a*/sa/b`: a path segment must be characters of A-Z, a-z, 0-9, `.`, `_`, `-`, and not `.` or `..`",
        ),
        (
            rule(r#""allow":[{"principals":["*/ns/a"]}]"#),
            "rules[0].allow[0].principals[0]: invalid principal `*/ns/a`: the trust domain cannot be `*`",
        ),
        (
            rule(r#""allow":[{"namespaces":["Blog"]}]"#),
            "rules[0].allow[0].namespaces[0]: invalid namespace `Blog`: use 1 to 63 of a-z, 0-9 and `-`, not at an end, or `*` for any",
        ),
        (
            rule(r#""allow":[{"serviceAccounts":["blog"]}]"#),
            "rules[0].allow[0].serviceAccounts[0]: invalid service account `blog`: write `<namespace>/<account>`, with `*` for any",
        ),
        (rule(r#""when":{}"#), "rules[0].when: must have a condition: leave it out instead"),
        (
            rule(r#""when":{"trustedHops":1,"ports":[1]}"#),
            "rules[0].when.trustedHops: has no effect without `clientAddresses` or `notClientAddresses`",
        ),
        (rule(r#""when":{"ports":[0]}"#), "rules[0].when.ports[0]: must be greater than zero, found 0"),
        (rule(r#""when":{"ports":[65536]}"#), "rules[0].when.ports[0]: must be at most 65535, found 65536"),
        (rule(r#""when":{"headers":[{"name":"a"}]}"#), "rules[0].when.headers[0]: must have `values` or `notValues`"),
        (
            rule(r#""when":{"jwtClaims":[{"name":"a"}]}"#),
            "rules[0].when.jwtClaims[0]: must have `values` or `notValues`",
        ),
        (
            rule(r#""when":{"jwtClaims":[{"name":"","values":["a"]}]}"#),
            "rules[0].when.jwtClaims[0].name: must not be empty",
        ),
        (
            rule(r#""allow":[{"namespaces":["a"]}],"otherwise":"allow""#),
            "rules[0].allow: has no effect: `otherwise: allow` lets everybody pass",
        ),
        (
            rule(r#""deny":[{"namespaces":["a"]}],"otherwise":"deny""#),
            "rules[0].deny: has no effect: `otherwise: deny` without `allow` lets nobody pass",
        ),
        (rule(r#""otherwise":"next""#), "rules[0].otherwise: `next` without `allow` and `deny` decides nothing"),
        (
            r#"{"source":"xfcc"}"#.to_owned(),
            "source: unknown value `xfcc`, expected one of `tls`, `forwarded`, `peerPrincipal`",
        ),
        (r#"{"source":["tls","tls"]}"#.to_owned(), "source[1]: is there already"),
        (r#"{"source":"forwarded"}"#.to_owned(), "forwarded: missing: `by` must say whom source `forwarded` believes"),
        (r#"{"forwarded":{"by":["td/a"]}}"#.to_owned(), "forwarded: has no effect: `source` does not have `forwarded`"),
        (
            r#"{"source":["tls","forwarded"],"forwarded":{"by":["td/a"]}}"#.to_owned(),
            "source[1]: can never count behind `tls`, which every forwarder has: put `forwarded` first",
        ),
        (
            r#"{"trustDomains":["td"],"source":"forwarded","forwarded":{"by":["other/a"]}}"#.to_owned(),
            "forwarded.by[0]: can never match: `other` is not one of `trustDomains` or `federatedTrustDomains`",
        ),
        (r#"{"handOver":{}}"#.to_owned(), "handOver: must have `header`, `filterState: true` or both"),
        (
            r#"{"handOver":{"header":"Host"}}"#.to_owned(),
            "handOver.header: `host` has a meaning in HTTP: take another name",
        ),
        (
            r#"{"trustDomains":["a"],"federatedTrustDomains":["b","a"]}"#.to_owned(),
            "federatedTrustDomains[1]: `a` is one of `trustDomains`, whose peers are ours",
        ),
        (r#"{"default":"maybe"}"#.to_owned(), "default: unknown value `maybe`, expected `deny` or `allow`"),
        (
            r#"{"trustDomains":["Cluster.Local"]}"#.to_owned(),
            "trustDomains[0]: invalid trust domain `Cluster.Local`: the trust domain must be 1 to 255 characters of a-z, 0-9, `.`, `_`, `-`",
        ),
    ] {
        assert_eq!(refusal(&json), message, "{json}");
    }
}

#[test]
fn names_are_those_that_kubernetes_has() {
    let (label, subdomain) = ("a".repeat(63), ["a"; 127].join("."));
    for (account, taken) in [
        ("a/b".to_owned(), true),
        ("a-1/b-2.c".to_owned(), true),
        (format!("{label}/{label}.b"), true),
        (format!("a/{subdomain}"), true),
        ("*/*".to_owned(), true),
        ("a/".to_owned(), false),
        ("/a".to_owned(), false),
        ("-a/b".to_owned(), false),
        ("a-/b".to_owned(), false),
        ("a.b/c".to_owned(), false),
        ("a/b..c".to_owned(), false),
        ("a/-b".to_owned(), false),
        ("a/b-".to_owned(), false),
        ("a/B".to_owned(), false),
        ("a/b_c".to_owned(), false),
        ("a/b/c".to_owned(), false),
        (format!("{label}a/b"), false),
        (format!("a/{label}a"), false),
        (format!("a/a.{subdomain}"), false),
    ] {
        let json = rule(&format!(r#""allow":[{{"serviceAccounts":["{account}"]}}]"#));
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), taken, "{account}");
    }
}

#[test]
fn a_rule_that_no_request_can_reach_is_a_warning() {
    let deny = r#""deny":[{"namespaces":["x"]}]"#;
    let json = format!(r#"{{"rules":[{{"name":"a"}},{{"name":"b",{deny}}}]}}"#);
    let warnings = Config::parse(json.as_bytes()).unwrap().warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.path, "rules[1]");
    assert_eq!(warning.reason, "can never match: rule `a` before it takes all that it would");
    for passes_on in [r#""otherwise":"next""#, r#""mode":"shadow""#, r#""when":{"ports":[80]}"#] {
        let json = format!(r#"{{"rules":[{{"name":"a",{deny},{passes_on}}},{{"name":"b",{deny}}}]}}"#);
        assert_eq!(Config::parse(json.as_bytes()).unwrap().warnings(), [], "{passes_on}");
    }
}
