//! What the application and the logs hear of the caller, and the conditions that go by more than its certificate.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, date_time_ymd};
use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    application::{Application, Received},
    artifacts,
    certificates::Authority,
    client::{Connection, Identity, raw},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    tokens::signed,
    wire::{Reply, Wire},
};

use super::callers::jwt_authn;

const OWN: &str = "spiffe://cluster.local/ns/shop/sa/own";
const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/caller";
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

fn filter(mut config: Value) -> Value {
    config["trustDomains"] = json!(["cluster.local"]);
    Plugin::new("mtls-identity", config).filter()
}

fn rules() -> Value {
    json!([{"name": "callers", "allow": [{"principals": [CALLER]}]}])
}

/// All that a CGI program finds in `HTTP_X_CALLER_ID`, and in what else may be taken for that.
fn cgi(request: &Received) -> String {
    let variable = |name: &[u8]| -> Vec<u8> {
        name.iter().map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }).collect()
    };
    let found = request.headers.iter().filter(|(name, _)| variable(name) == b"X_CALLER_ID");
    let values: Vec<_> = found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    json!(values).to_string()
}

async fn get(address: SocketAddr, leaf: Option<&Leaf>, path: &str, headers: &[u8]) -> Reply {
    let head = format!("GET {path} HTTP/1.1\r\nhost: shop\r\n");
    let request = [head.as_bytes(), headers, b"\r\n"].concat();
    let reply = Wire::new(address, Some(Identity::new(leaf))).http1(&request).await;
    reply.unwrap_or_else(|| panic!("no answer to {}", request.escape_ascii()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_hears_who_calls_and_never_what_the_client_says_it_is() {
    let hand_over = |more: Value| {
        let mut config = json!({
            "rules": rules(),
            "exempt": [{"paths": ["/health"]}],
            "handOver": {"header": "X-Caller-Id"},
        });
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        filter(config)
    };
    let authority = Authority::default();
    let tls = || authority.server(&authority.issue(&[OWN]), false, true);
    let listeners = [
        Listener::new("enforcing", [hand_over(json!({}))]).tls(tls()).to_cluster("application"),
        Listener::new("shadow", [hand_over(json!({"mode": "shadow"}))]).tls(tls()).to_cluster("application"),
    ];
    let application = Application::start(cgi).await;
    let (caller, stranger) = (authority.issue(&[CALLER]), authority.issue(&[STRANGER]));
    let names = [
        "x-caller-id",
        "X-CALLER-ID",
        "x_caller_id",
        "X_CALLER-ID",
        "x.caller.id",
        "x~caller^id",
        "x!caller#id",
        "x'caller`id",
        "x|caller+id",
        "x$caller%id",
        "x&caller*id",
    ];
    let mut forged: Vec<Vec<u8>> = names.iter().map(|name| format!("{name}: {STRANGER}\r\n").into_bytes()).collect();
    forged.push(forged.concat());
    forged.push(forged[0].repeat(3));
    forged.push(b"x-caller-id:\r\nx_caller_id: \xff\xfe\r\n".to_vec());
    forged.push(Vec::new());
    for binary in artifacts::envoys() {
        let mut envoy =
            Envoy::start(&binary, 1, &bootstrap(&listeners, vec![application.cluster("application")])).await;
        for headers in &forged {
            for (at, leaf, path, heard) in [
                ("enforcing", Some(&caller), "/", Some(vec![CALLER])),
                ("enforcing", Some(&caller), "/health", Some(vec![])),
                ("enforcing", None, "/health", Some(vec![])),
                ("enforcing", Some(&stranger), "/", None),
                ("enforcing", None, "/", None),
                ("shadow", Some(&caller), "/", Some(vec![CALLER])),
                ("shadow", Some(&stranger), "/", Some(vec![STRANGER])),
                ("shadow", None, "/", Some(vec![])),
                ("shadow", None, "/health", Some(vec![])),
            ] {
                let reply = get(envoy.address(at), leaf, path, headers).await;
                let what = format!("Envoy {} {at} {path} {}: {reply:?}", binary.version, headers.escape_ascii());
                match heard {
                    None => assert_eq!(reply.status, 403, "{what}"),
                    Some(heard) => {
                        assert_eq!((reply.status, reply.body), (200, json!(heard).to_string().into()), "{what}")
                    }
                }
            }
        }
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_prints_who_calls_and_a_resumed_session_is_still_the_same_caller() {
    let authority = Authority::default();
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let log = directory.path().join("access.log");
    let format = "%REQ(:PATH)% %FILTER_STATE(wasm.tollgate_identity:PLAIN)%\n";
    let config = json!({
        "rules": rules(),
        "exempt": [{"paths": ["/health"]}],
        "handOver": {"header": "x-caller-id", "filterState": true},
    });
    let listener = Listener::new("in", [filter(config)])
        .tls(authority.server(&authority.issue(&[OWN]), false, true))
        .to_cluster("application")
        .connection_manager(json!({"access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log,
                "log_format": {"text_format_source": {"inline_string": format}},
            },
        }]}));
    let application = Application::start(cgi).await;
    let leaves = [CALLER, STRANGER].map(|uri| authority.issue(&[uri]));
    for binary in artifacts::envoys() {
        let bootstrap = bootstrap(std::slice::from_ref(&listener), vec![application.cluster("application")]);
        let mut envoy = Envoy::start(&binary, 1, &bootstrap).await;
        // In turns, each with sessions of its own.
        let [caller, stranger] = [&leaves[0], &leaves[1]].map(|leaf| Identity::new(Some(leaf)));
        for _ in 0..3 {
            for (identity, status) in [(&caller, 200), (&stranger, 403)] {
                let mut connection = Connection::open_tls(envoy.address("in"), identity).await.expect("connects");
                let answer = connection.get("/asked").await.expect("answers");
                assert_eq!(answer.status, status, "Envoy {}", binary.version);
                assert!(status == 403 || answer.body == json!([CALLER]).to_string(), "{answer:?}");
            }
        }
        assert_eq!(get(envoy.address("in"), Some(&leaves[1]), "/health", b"").await.status, 200);
        let reused = envoy.stat("listener.127.0.0.1_0.ssl.session_reused").await;
        assert!(reused.is_some_and(|reused| reused >= 2), "Envoy {}: {reused:?}", binary.version);
        let reopened = Wire::new(envoy.admin(), None).http1(b"POST /reopen_logs HTTP/1.1\r\nhost: admin\r\n\r\n").await;
        assert_eq!(reopened.map(|reply| reply.status), Some(200));
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        envoy.wait_until("the log is written", async || lines().lines().count() >= 7).await;
        let count = |line: &str| lines().lines().filter(|other| *other == line).count();
        assert_eq!(count(&format!("/asked {CALLER}")), 3, "{}", lines());
        assert_eq!(count("/health -"), 1, "{}", lines());
        envoy.assert_sound().await;
        std::fs::write(&log, "").expect("writable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_go_by_tokens_that_envoy_has_verified() {
    let rule = |name: &str, when: Value| {
        json!({
            "name": name, "match": [{"paths": [format!("/{name}")]}], "when": when,
            "allow": [{"principals": [CALLER]}],
        })
    };
    let claim = |name: Value, values: Value| json!({"jwtClaims": [{"name": name, "values": values}]});
    let config = json!({"rules": [
        rule("text", claim(json!("role"), json!(["admin"]))),
        rule("list", claim(json!("groups"), json!(["ops"]))),
        rule("nested", claim(json!(["realm", "team"]), json!(["x*"]))),
        rule("number", claim(json!("level"), json!(["7"]))),
        rule("any", claim(json!("role"), json!(["*"]))),
        rule("not", json!({"jwtClaims": [{"name": "groups", "notValues": ["ops"]}]})),
        rule("principal", json!({"requestPrincipals": ["https://issuer.test/alice"]})),
        rule("not-principal", json!({"notRequestPrincipals": ["https://issuer.test/alice"]})),
    ]});
    let authority = Authority::default();
    let requires = json!({"requires_any": {"requirements": [{"provider_name": "test"}, {"allow_missing": {}}]}});
    let listener = Listener::new("in", [jwt_authn(requires), filter(config)]).tls(authority.server(
        &authority.issue(&[OWN]),
        true,
        true,
    ));
    let caller = authority.issue(&[CALLER]);
    let alice = json!({
        "iss": "https://issuer.test", "sub": "alice", "role": "admin", "groups": ["dev", "ops"],
        "realm": {"team": "x1"}, "level": 7,
    });
    let bob = json!({
        "iss": "https://issuer.test", "sub": "bob", "role": "administrator", "groups": ["dev"],
        "realm": {"team": "y"}, "level": "7",
    });
    let odd = json!({
        "iss": "https://issuer.test", "sub": "", "role": ["admin"], "groups": "ops", "realm": "x1", "level": [7],
    });
    // Of alice, bob, an odd token, and nobody.
    let cases = [
        ("/text", [200, 403, 200, 403]),
        ("/list", [200, 403, 200, 403]),
        ("/nested", [200, 403, 403, 403]),
        // A number is no text.
        ("/number", [403, 200, 403, 403]),
        ("/any", [200, 200, 200, 403]),
        ("/not", [403, 200, 403, 200]),
        ("/principal", [200, 403, 403, 403]),
        ("/not-principal", [403, 200, 200, 200]),
    ];
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 1, &bootstrap(std::slice::from_ref(&listener), vec![])).await;
        for (path, statuses) in &cases {
            for (claims, status) in [Some(&alice), Some(&bob), Some(&odd), None].into_iter().zip(statuses) {
                let header = claims.map(|claims| format!("authorization: Bearer {}\r\n", signed(claims)));
                let reply = get(envoy.address("in"), Some(&caller), path, header.unwrap_or_default().as_bytes()).await;
                assert_eq!(reply.status, *status, "Envoy {} {path} {claims:?}", binary.version);
            }
        }
        let forged = format!("authorization: Bearer {}x\r\n", signed(&alice));
        assert_eq!(get(envoy.address("in"), Some(&caller), "/text", forged.as_bytes()).await.status, 401);
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_go_by_port_address_and_server_name() {
    let guarded = |source: &str, when: Value| {
        filter(json!({
            "source": source,
            "rules": [{"name": "r", "when": when, "allow": [{"principals": [CALLER]}]}],
        }))
    };
    // Of a connection of which the PROXY protocol tells the ends: the caller's name is set for it.
    let known = json!({
        "name": "envoy.filters.network.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
            "on_new_connection": [{
                "object_key": "io.istio.peer_principal",
                "factory_key": "envoy.string",
                "format_string": {"text_format_source": {"inline_string": CALLER}},
            }],
        },
    });
    let proxied = |name: &str, when: Value| {
        Listener::new(name, [guarded("peerPrincipal", when)]).network_filter(known.clone()).proxy_protocol()
    };
    let authority = Authority::default();
    let tls = || authority.server(&authority.issue(&[OWN]), true, true);
    let named = |name: &str, when: Value| Listener::new(name, [guarded("tls", when)]).tls(tls()).inspects_tls();
    let listeners = [
        proxied("port", json!({"ports": [8080]})),
        proxied("other port", json!({"notPorts": [8080]})),
        proxied("address", json!({"clientAddresses": ["192.0.2.0/24"]})),
        proxied("other address", json!({"notClientAddresses": ["192.0.2.0/24"]})),
        proxied("hops", json!({"clientAddresses": ["203.0.113.0/24"], "trustedHops": 1})),
        named("name", json!({"sni": ["*.shop.example"]})),
        named("other name", json!({"notSni": ["*.shop.example"]})),
    ];
    let caller = Identity::new(Some(&authority.issue(&[CALLER])));
    let forwarded = |entries: &str| format!("x-forwarded-for: {entries}\r\n");
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 1, &bootstrap(&listeners, vec![])).await;
        for (at, from, port, headers, status) in [
            ("port", "192.0.2.1", 8080, String::new(), 200),
            ("port", "192.0.2.1", 80, "x-forwarded-port: 8080\r\n".to_owned(), 403),
            ("other port", "192.0.2.1", 8080, String::new(), 403),
            ("other port", "192.0.2.1", 80, String::new(), 200),
            ("address", "192.0.2.1", 80, String::new(), 200),
            ("address", "198.51.100.1", 80, String::new(), 403),
            // Without trusted hops nobody's word counts, and what is not known passes neither way.
            ("address", "198.51.100.1", 80, forwarded("192.0.2.1"), 403),
            ("other address", "192.0.2.1", 80, String::new(), 403),
            ("other address", "198.51.100.1", 80, String::new(), 200),
            ("other address", "192.0.2.1", 80, forwarded("198.51.100.1"), 403),
            ("hops", "192.0.2.1", 80, forwarded("203.0.113.1"), 200),
            ("hops", "192.0.2.1", 80, forwarded("203.0.113.1, 198.51.100.1"), 403),
            ("hops", "192.0.2.1", 80, forwarded("198.51.100.1, 203.0.113.1"), 200),
            ("hops", "203.0.113.1", 80, forwarded("198.51.100.1"), 403),
        ] {
            let request = format!(
                "PROXY TCP4 {from} 192.0.2.2 4321 {port}\r\nGET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
                 {headers}\r\n"
            );
            let answer = raw(envoy.address(at), request.as_bytes(), false).await.expect("connects").expect("answers");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "Envoy {} {at}: {request}{answer}", binary.version);
        }
        for (at, name, status) in [
            ("name", "admin.shop.example", 200),
            ("name", "ADMIN.Shop.Example", 200),
            ("name", "shop.example", 403),
            ("name", "admin.shop.example.org", 403),
            ("name", "127.0.0.1", 403),
            ("other name", "admin.shop.example", 403),
            ("other name", "public.example", 200),
        ] {
            let stream = caller.connect_to(envoy.address(at), name).await.expect("connects");
            let mut connection = Connection::over(stream).await.expect("connects");
            let answer = connection.get("/").await.expect("answers");
            assert_eq!(answer.status, status, "Envoy {} {at} {name}", binary.version);
        }
        assert!(envoy.total("tollgate_identity_total", &[("reason", "unknown_address")]).await >= 2);
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_caller_is_denied_by_trailers_alone() {
    let authority = Authority::default();
    let listener = Listener::new("in", [filter(json!({"rules": rules()}))]).tls(authority.server(
        &authority.issue(&[OWN]),
        true,
        true,
    ));
    let stranger = Identity::new(Some(&authority.issue(&[STRANGER])));
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 1, &bootstrap(std::slice::from_ref(&listener), vec![])).await;
        let stream = stranger.connect(envoy.address("in")).await.expect("connects");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
        let connection = tokio::spawn(connection);
        let request = Request::post("https://shop/shop.Orders/Cancel").header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(Empty::<Bytes>::new()).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        assert_eq!((answer.status().as_u16(), header("grpc-status").as_deref()), (200, Some("7")), "{answer:?}");
        assert_eq!(header("content-type").as_deref(), Some("application/grpc"), "{answer:?}");
        let body = answer.into_body().collect().await.expect("an end");
        assert!(body.trailers().is_none() && body.to_bytes().is_empty(), "trailers only");
        connection.abort();
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gauge_says_until_when_callers_certificates_are_valid_of_a_hundred_of_them() {
    const GAUGE: &str = "tollgate_peer_certificate_expiry_timestamp_seconds";
    const FIRST_OF_2040: u64 = 2_208_988_800;
    let authority = Authority::default();
    let listener = Listener::new("in", [filter(json!({}))]).tls(authority.server(&authority.issue(&[OWN]), true, true));
    let until_2040 = |params: &mut CertificateParams| params.not_after = date_time_ymd(2040, 1, 1);
    let callers: Vec<_> = (0..300)
        .map(|number| authority.issue_so(&[&format!("spiffe://cluster.local/ns/shop/sa/caller-{number}")], until_2040))
        .collect();
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 1, &bootstrap(std::slice::from_ref(&listener), vec![])).await;
        for (number, caller) in callers.iter().enumerate() {
            assert_eq!(get(envoy.address("in"), Some(caller), "/", b"").await.status, 200, "{number}");
        }
        let gauges = envoy.prometheus(GAUGE, &[]).await;
        // Older Envoys do not tell.
        let tells = binary.version == artifacts::newest_envoy().version;
        assert_eq!(gauges.len(), if tells { 101 } else { 0 }, "Envoy {}", binary.version);
        assert!(gauges.iter().all(|(_, value)| *value == FIRST_OF_2040), "{gauges:?}");
        for (principal, number) in [("spiffe://cluster.local/ns/shop/sa/caller-0", 1), ("__other__", 1)] {
            let of_it = envoy.prometheus(GAUGE, &[("source_principal", principal)]).await;
            assert_eq!(of_it.len(), if tells { number } else { 0 }, "{principal}");
        }
        envoy.assert_sound().await;
    }
}
