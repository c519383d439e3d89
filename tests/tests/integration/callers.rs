//! How callers are told apart, with what a real Envoy says of them; and what needs the response.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use serde_json::{Value, json};
use tollgate_tests::{
    artifacts,
    certificates::Authority,
    client::{Answer, Connection, Identity, raw},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    tokens::{self, signed},
};

fn once(key: Value) -> Value {
    json!({"rules": [{
        "name": "once", "match": [{"paths": ["/{tenant}/*", "/"]}], "key": [key],
        "limits": [{"requests": 1, "per": "1h"}],
    }]})
}

async fn send(connection: &mut Connection, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("host", "tollgate.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    connection.send(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("answers")
}

/// Listener, path, headers; the status.
type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, u16);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_caller_has_a_bucket_by_what_the_proxy_knows_of_it() {
    let jwt = jwt_authn(json!({"provider_name": "test"}));
    let token = |subject: &str| format!("Bearer {}", signed(&json!({"iss": tokens::ISSUER, "sub": subject})));
    let (alice, bob) = (token("alice"), token("bob"));
    let filter = |name: &str, key: Value| Plugin::new("rate-limit", once(key)).named(name).filter();
    let trusting = json!({"clientAddress": {"trustedHops": 1, "ipv4": 24}});
    let denying = json!({"header": "x-api-key", "missing": "deny"});
    let listeners = [
        Listener::new("header", [filter("header", json!({"header": "x-api-key"}))]),
        Listener::new("denying", [filter("denying", denying)]),
        Listener::new("cookie", [filter("cookie", json!({"cookie": "sid"}))]),
        Listener::new("query", [filter("query", json!({"query": "tenant"}))]),
        Listener::new("path", [filter("path", json!({"pathVariable": "tenant"}))]),
        Listener::new("jwt", [jwt, filter("jwt", json!({"jwtClaim": "sub"}))]),
        // As sidecars have it: the address is what the peer wrote.
        Listener::new("sidecar", [filter("sidecar", json!("clientAddress"))]),
        Listener::new("hops", [filter("hops", trusting.clone())]),
        // As gateways have it: the proxy writes down its peer itself.
        Listener::new("gateway", [filter("gateway", json!("clientAddress"))])
            .connection_manager(json!({"use_remote_address": true})),
        Listener::new("behind", [filter("behind", trusting)])
            .connection_manager(json!({"use_remote_address": true}))
            .proxy_protocol(),
    ];
    let forwarded = |value: &'static str| vec![("x-forwarded-for", value)];
    let cases: Vec<Case<'_>> = vec![
        ("header", "/", vec![("x-api-key", "a")], 200),
        ("header", "/", vec![("x-api-key", "a")], 429),
        ("header", "/", vec![("x-api-key", "b")], 200),
        ("header", "/", vec![("x-api-key", "b"), ("x-api-key", "a")], 200),
        ("header", "/", vec![("x-api-key", "b"), ("x-api-key", "a")], 429),
        ("header", "/", vec![], 200),
        ("header", "/", vec![], 429),
        ("denying", "/", vec![], 429),
        ("denying", "/", vec![("x-api-key", "a")], 200),
        ("cookie", "/", vec![("cookie", "a=b; sid=1")], 200),
        ("cookie", "/", vec![("cookie", "sid=1; c=d")], 429),
        ("cookie", "/", vec![("cookie", "sid=2")], 200),
        ("query", "/?tenant=acme", vec![], 200),
        ("query", "/?x=1&tenant=%61cme", vec![], 429),
        ("query", "/?tenant=other", vec![], 200),
        ("path", "/acme/users", vec![], 200),
        ("path", "/acme/posts", vec![], 429),
        ("path", "/other/posts", vec![], 200),
        ("jwt", "/", vec![("authorization", &alice)], 200),
        ("jwt", "/", vec![("authorization", &alice)], 429),
        ("jwt", "/", vec![("authorization", &bob)], 200),
        ("jwt", "/", vec![], 401),
        // The connection's own address.
        ("sidecar", "/", vec![], 200),
        ("sidecar", "/", vec![], 429),
        // The peer's word is not an address: all who say something share one bucket.
        ("sidecar", "/", forwarded("203.0.113.1"), 200),
        ("sidecar", "/", forwarded("203.0.113.2"), 429),
        // One hop is trusted: its entry is the last one, and what stands left of it does not count.
        ("hops", "/", forwarded("203.0.113.1"), 200),
        ("hops", "/", forwarded("203.0.113.1"), 429),
        ("hops", "/", forwarded("198.51.100.7, 203.0.113.99"), 429),
        ("hops", "/", forwarded("198.51.100.7, 203.0.114.1"), 200),
        ("gateway", "/", forwarded("203.0.113.1"), 200),
        ("gateway", "/", forwarded("203.0.113.2"), 429),
    ];
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners, vec![])).await;
        for (listener, path, headers, status) in &cases {
            let mut connection = Connection::open(envoy.address(listener)).await.expect("connects");
            let answer = send(&mut connection, path, headers).await;
            assert_eq!(answer.status, *status, "{} {listener} {path} {headers:?}: {answer:?}", binary.version);
        }
        for (entries, status) in
            [("198.51.100.7, 203.0.113.1", 200), ("198.51.100.8, 203.0.113.1", 429), ("198.51.100.8, 203.0.114.1", 200)]
        {
            // A proxy on this host would not be written down: Envoy takes its own address for that of a loopback peer.
            let request = format!(
                "PROXY TCP4 192.0.2.1 192.0.2.2 4321 80\r\nGET / HTTP/1.1\r\nhost: tollgate.test\r\n\
                 x-forwarded-for: {entries}\r\nconnection: close\r\n\r\n"
            );
            let answer = raw(envoy.address("behind"), request.as_bytes(), false).await.expect("answers");
            let answer = String::from_utf8(answer.expect("ends")).expect("text");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{} {entries}: {answer}", binary.version);
        }
        let lacking = send(&mut Connection::open(envoy.address("denying")).await.expect("connects"), "/", &[]).await;
        assert_eq!(lacking.header("retry-after"), None, "waiting does not help: {lacking:?}");
        assert!(envoy.log().contains("rule=once reason=key_missing"), "{}", envoy.log());
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_known_by_its_certificate() {
    let mesh = Authority::default();
    let own = mesh.issue(&["spiffe://cluster.local/ns/prod/sa/own"]);
    let [gateway, batch] =
        ["api-gateway", "batch"].map(|name| mesh.issue(&[&format!("spiffe://cluster.local/ns/prod/sa/{name}")]));
    let config = json!({"rules": [{
        "name": "r", "key": ["principal"], "limits": [{"requests": 2, "per": "1h"}],
        "overrides": [{"principal": "cluster.local/ns/prod/sa/batch", "limits": "unlimited"}],
    }]});
    let listener =
        Listener::new("in", [Plugin::new("rate-limit", config).filter()]).tls(mesh.server(&own, false, true));
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(std::slice::from_ref(&listener), vec![])).await;
        for (caller, expected) in [(Some(&gateway), 2), (Some(&batch), 9), (None, 2)] {
            let identity = Identity::new(caller);
            let mut admitted = 0;
            for _ in 0..9 {
                let mut connection = Connection::open_tls(envoy.address("in"), &identity).await.expect("connects");
                admitted += u32::from(connection.get("/").await.expect("answers").status == 200);
            }
            assert_eq!(admitted, expected, "{}", binary.version);
        }
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_module_that_sees_responses_says_what_is_left_and_charges_failures_alone() {
    let route = |prefix, status| json!({"match": {"prefix": prefix}, "direct_response": {"status": status}});
    let routes = json!({"virtual_hosts": [{
        "name": "all", "domains": ["*"], "routes": [route("/wrong", 401), route("/broken", 500), route("/", 200)],
    }]});
    let told = json!({"rules": [{
        "name": "told", "headers": "all", "draft03": true,
        "limits": [{"requests": 3, "per": "1h"}, {"requests": 100, "per": "1d"}],
    }]});
    let guarded = json!({"rules": [{
        "name": "guarded", "key": [{"header": "x-user"}], "limits": [{"requests": 3, "per": "1h"}],
        "cost": {"response": [{"status": [401, "5xx"], "cost": 1}]},
    }]});
    let plugin = |name: &str, config: &Value| Plugin::new("rate-limit-response", config).named(name).filter();
    let listeners = [
        Listener::new("told", [plugin("told", &told)]),
        Listener::new("guarded", [plugin("guarded", &guarded)]).connection_manager(json!({"route_config": routes})),
    ];
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners, vec![])).await;
        let mut connection = Connection::open(envoy.address("told")).await.expect("connects");
        for remaining in [2, 1, 0] {
            let answer = connection.get("/").await.expect("answers");
            assert_eq!(answer.status, 200);
            let policy = r#""told";q=3;w=3600, "told.1";q=100;w=86400"#;
            assert_eq!(answer.header("ratelimit-policy"), Some(policy), "{answer:?}");
            let told = answer.header("ratelimit").unwrap_or_default().to_owned();
            assert!(told.starts_with(&format!(r#""told";r={remaining};t=1"#)), "{told}");
            assert!(told.contains(&format!(r#""told.1";r={};t="#, 97 + remaining)), "{told}");
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining.to_string().as_str()), "{answer:?}");
        }
        let limited = connection.get("/").await.expect("answers");
        assert_eq!((limited.status, limited.headers.get_all("ratelimit").iter().count()), (429, 1), "{limited:?}");

        // Good requests cost nothing; failures do, whoever makes them for himself.
        let mut connection = Connection::open(envoy.address("guarded")).await.expect("connects");
        for (user, path, status) in [
            ("mallory", "/", 200),
            ("mallory", "/wrong", 401),
            ("mallory", "/broken", 500),
            ("mallory", "/", 200),
            ("mallory", "/wrong", 401),
            ("mallory", "/wrong", 429),
            ("mallory", "/", 429),
            ("alice", "/", 200),
            ("alice", "/wrong", 401),
            ("alice", "/", 200),
        ] {
            let answer = send(&mut connection, path, &[("x-user", user)]).await;
            assert_eq!(answer.status, status, "{user} {path}: {answer:?}");
        }
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_module_refuses_what_it_would_never_do() {
    let config = json!({"rules": [{"name": "r", "headers": "all", "limits": [{"requests": 1, "per": "1h"}]}]});
    let listener = Listener::new("in", [Plugin::new("rate-limit", config).filter()]);
    let Err(failed) = Envoy::try_start(&artifacts::newest_envoy(), 1, &bootstrap(&[listener], vec![])).await else {
        panic!("it started");
    };
    let line = failed.log.lines().find(|line| line.contains("event=configuration_refused"));
    let line = line.unwrap_or_else(|| panic!("{}", failed.log));
    assert!(line.contains("path=rules[0]") && line.contains("rate-limit-response.wasm"), "{line}");
}

/// Envoy's own filter, which verifies tokens of `signed` and demands what `requires` says.
pub fn jwt_authn(requires: Value) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"test": {
                "issuer": tokens::ISSUER,
                "payload_in_metadata": "payload",
                "local_jwks": {"inline_string": tokens::key_set()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        },
    })
}
