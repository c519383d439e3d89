//! Policies that are always among those that are tried: what people write, and what was once carried over wrongly.

use serde_json::{Value, json};

use super::policies::{Policy, Workload};

/// All of them.
pub(super) fn workloads() -> Vec<Workload> {
    let paths = |paths: &[&str]| json!([{"operation": {"paths": paths}}]);
    let principals = |principals: &[&str]| json!([{"source": {"principals": principals}}]);
    let groups = |list: &str, values: &[&str]| json!([{"key": "request.auth.claims[groups]", list: values}]);
    vec![
        // Nobody without mTLS, also where an ALLOW rule asks for no peer.
        workload(
            &["cluster.local"],
            &[
                ("DENY", json!([{"from": [{"source": {"notPrincipals": ["*"]}}]}])),
                ("ALLOW", json!([{"to": paths(&["/api", "/files/{**}"])}, {"from": principals(&["*/sa/web"])}])),
            ],
        ),
        // cluster.local is the local trust domain here, and there another one's name.
        workload(
            &["td.new", "td.old"],
            &[(
                "ALLOW",
                json!([
                    {"from": principals(&["cluster.local/ns/billing/sa/web"])},
                    {"from": principals(&["cluster.local/ns/shop/*"]), "to": paths(&["/admin/*"])},
                ]),
            )],
        ),
        workload(&["cluster.local"], &[("DENY", json!([{"when": groups("values", &["admin", "adm"])}]))]),
        workload(&["cluster.local"], &[("ALLOW", json!([{"when": groups("notValues", &["ad*"])}]))]),
        workload(
            &["cluster.local"],
            &[("DENY", json!([{"when": [{"key": "request.headers[x-team]", "notValues": ["*"]}]}]))],
        ),
        workload(
            &["td.new", "cluster.local"],
            &[
                ("ALLOW", json!([{}])),
                (
                    "DENY",
                    json!([{"from": [{"source": {"notNamespaces": ["shop"]}}], "to": paths(&["/admin", "/admin/*"])}]),
                ),
            ],
        ),
        workload(
            &["cluster.local"],
            &[("ALLOW", json!([{"from": [{"source": {"remoteIpBlocks": ["192.0.2.0/24", "127.0.2.7"]}}]}]))],
        ),
    ]
}

fn workload(domains: &[&str], policies: &[(&'static str, Value)]) -> Workload {
    let policies = policies.iter().enumerate().map(|(index, (action, rules))| {
        let rules = serde_json::from_value(rules.clone()).expect("rules of a policy");
        Policy::enforced(index, action, rules)
    });
    Workload { domains: domains.iter().map(|domain| (*domain).to_owned()).collect(), policies: policies.collect() }
}
