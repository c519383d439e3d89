//! Whatever a `pluginConfig` holds, parsing it neither panics nor makes a long error, and what is accepted can be used.
#![no_main]

use fuzz::{Call, Store};
use libfuzzer_sys::fuzz_target;
use mtls_identity::{
    certificates::Moment,
    policy::{
        Allowed::{Exempt, Rule},
        Verdict::{Allowed, Denied},
    },
};
use rate_limit::{
    key::Seed,
    policy::{Scope, Verdict},
    reply::Protocol,
};
use tollgate::{
    config::{ConfigError, Warning},
    request::{Attribute, Request},
    route::RouteTable,
    time::Instant,
};

fn check_error(error: &ConfigError) {
    assert!(!error.reason.is_empty());
    assert!(error.path.chars().count() <= 515 && error.reason.chars().count() <= 515, "{error}");
}

fn check_warnings(warnings: &[Warning]) {
    for warning in warnings {
        assert!(!warning.path.is_empty() && !warning.cure().is_empty());
    }
}

fn calls() -> [Call; 4] {
    [
        Call::default(),
        Call::get(b"/api/users/7?api_key=k&x", b"shop.example.com:8443")
            .with_header("x-forwarded-for", b"192.0.2.7, 10.0.0.1")
            .with_header("x-api-key", b"k")
            .with_header("cookie", b"session=s")
            .with_header("x-cost", b"3")
            .with_attribute(Attribute::SourceAddress, b"10.0.0.1:4711")
            .with_attribute(Attribute::Mtls, &[1])
            .with_attribute(Attribute::PeerCertificateValid, &[1])
            .with_attribute(Attribute::UriSanPeerCertificate, b"spiffe://cluster.local/ns/shop/sa/web")
            .with_attribute(Attribute::PeerCertificateDigest, b"00")
            .with_attribute(Attribute::UriSanLocalCertificate, b"spiffe://cluster.local/ns/api/sa/users"),
        Call::get(b"/api/users/7", b"shop.example.com")
            .with_header("x-forwarded-for", b"192.0.2.7")
            .with_header(
                "x-forwarded-client-cert",
                b"By=spiffe://cluster.local/ns/edge/sa/gateway;URI=spiffe://partner.example/ns/shop/sa/web,\
                By=spiffe://cluster.local/ns/api/sa/users;Hash=01;URI=spiffe://cluster.local/ns/edge/sa/gateway",
            )
            .with_header("x-env", b"prod")
            .with_header("x-env", b"test")
            .with_attribute(Attribute::SourceAddress, b"10.0.0.1:4711")
            .with_attribute(Attribute::Mtls, &[1])
            .with_attribute(Attribute::PeerCertificateDigest, b"01")
            .with_attribute(Attribute::UriSanPeerCertificate, b"spiffe://cluster.local/ns/edge/sa/gateway")
            .with_attribute(Attribute::UriSanLocalCertificate, b"spiffe://cluster.local/ns/api/sa/users")
            .with_attribute(Attribute::RequestedServerName, b"a.example")
            .with_attribute(Attribute::DestinationPort, &8080_u64.to_le_bytes())
            .with_property(&["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload", "iss"], b"i"),
        Call::get(b"/login//%2e%2e\\;x", b"?"),
    ]
}

fn rate_limit(data: &[u8]) {
    let config = match rate_limit::config::Config::parse(data) {
        Ok(config) => config,
        Err(error) => return check_error(&error),
    };
    check_warnings(&config.warnings());
    assert!(!config.summary().is_empty());
    let response = config.needs_response().is_some();
    let scope = Scope { plugin: "tollgate", root_id: "fuzz" };
    let mut policy = rate_limit::policy::Policy::new(&config, &scope, Seed([7; 16]));
    let mut store = Store::default();
    let exempt = RouteTable::of_exemptions(&config.exempt);
    for nanos in [0, 1, 1_000_000_000, u64::MAX] {
        let now = Instant::from_nanos(nanos);
        for call in calls() {
            let verdict = policy.decide(&call, &mut store, now);
            assert_eq!(verdict == Verdict::Exempt, exempt.takes_for_certain(&call));
            for decision in policy.decisions() {
                assert!(decision.rule < config.all_rules().count());
            }
            match verdict {
                Verdict::Exempt => {}
                Verdict::Admitted(admitted) => {
                    if let Some(afterwards) = admitted.afterwards {
                        assert!(response);
                        let charged = policy.charge(&afterwards, Some(401), &mut store, now);
                        assert!(charged.iter().all(|(_, charged)| charged.is_ok()), "{charged:?}");
                    }
                }
                Verdict::Limited(limited) => {
                    for protocol in [Protocol::Http, Protocol::Grpc, Protocol::ConnectUnary, Protocol::ConnectStream] {
                        let reply = policy.reply(&limited, protocol, &call).expect("the rule that limited has a reply");
                        assert!((200..600).contains(&reply.status));
                        for (name, value) in &reply.headers {
                            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'), "{name:?}");
                            assert!(!value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
                        }
                    }
                }
            }
        }
    }
}

fn mtls_identity(data: &[u8]) {
    let config = match mtls_identity::config::Config::parse(data) {
        Ok(config) => config,
        Err(error) => return check_error(&error),
    };
    check_warnings(&config.warnings());
    let policy = mtls_identity::policy::Policy::new(&config);
    let identification = mtls_identity::identity::Identification::new(&config);
    let exempt = RouteTable::of_exemptions(&config.exempt);
    let mut evidence = mtls_identity::identity::Evidence::default();
    for seconds in [0, 1_800_000_000] {
        let now = Moment { monotonic: Instant::from_nanos(seconds), unix_seconds: seconds as i64 };
        for call in calls() {
            let mut decide = || policy.decide(&call, || identification.caller(&call, &mut evidence, now));
            let decision = decide();
            assert_eq!(decision, decide(), "what is remembered of a certificate changes nothing");
            assert_eq!(decision.verdict == Allowed(Exempt), exempt.takes_for_certain(&call));
            let rules = decision.shadowed.iter().map(|(rule, _)| *rule).chain(match decision.verdict {
                Allowed(Rule(rule)) => Some(rule),
                Allowed(_) => None,
                Denied { rule, .. } => rule,
            });
            for rule in rules {
                assert!(rule < config.rules.len());
            }
        }
    }
}

fn route_metrics(data: &[u8]) {
    let config = match route_metrics::config::Config::parse(data) {
        Ok(config) => config,
        Err(error) => return check_error(&error),
    };
    check_warnings(&config.warnings());
    assert!(config.max_series() >= config.routes.len());
    let routes = RouteTable::new(config.routes.iter().map(|route| route.matches.as_slice()));
    for call in calls() {
        let found = routes.find(&call);
        assert!(found.rule.is_none_or(|rule| rule < config.routes.len()));
        assert!(call.path().is_some() || found.doubt.is_none());
    }
}

fuzz_target!(|data: &[u8]| {
    rate_limit(data);
    mtls_identity(data);
    route_metrics(data);
});
