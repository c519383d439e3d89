//! Who calls through the tunnel of an ambient mesh, by what another filter has proved.

use serde_json::json;
use tollgate_tests::{
    application::Application,
    artifacts,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    wire::Wire,
};

const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/caller";
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

fn denied(reason: &str) -> Result<String, (u16, String)> {
    Err((403, reason.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_says_who_calls_and_no_header_does() {
    let object = |value: &str| {
        json!([{
            "object_key": "io.istio.peer_principal",
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": value}, "omit_empty_values": true},
            "skip_if_empty": true,
        }])
    };
    let of_http = |value: &str| {
        json!({
            "name": "envoy.filters.http.set_filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": object(value),
            },
        })
    };
    let of_network = |value: &str| {
        json!({
            "name": "envoy.filters.network.set_filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
                "on_new_connection": object(value),
            },
        })
    };
    let config = json!({
        "source": "peerPrincipal",
        "trustDomains": ["cluster.local"],
        "rules": [{"name": "callers", "allow": [{"principals": [CALLER]}]}],
        "handOver": {"header": "x-caller"},
    });
    let filter = || Plugin::new("mtls-identity", &config).filter();
    let listeners = [
        // Says of each request what the test wants said.
        Listener::new("request", [of_http("%REQ(x-tunnel)%"), filter()]).to_cluster("application"),
        Listener::new("connection", [filter()]).network_filter(of_network(CALLER)).to_cluster("application"),
        Listener::new("nothing", [filter()]).to_cluster("application"),
    ];
    let application =
        Application::start(|request| String::from_utf8_lossy(&request.values("x-caller").join(&b'|')).into_owned())
            .await;
    let caller = || Ok(CALLER.to_owned());
    let cases = [
        ("request", format!("x-tunnel: {CALLER}"), caller()),
        ("request", format!("x-tunnel: {STRANGER}"), denied("not_allowed")),
        ("request", format!("x-tunnel: {CALLER},{CALLER}"), denied("several_sans")),
        ("request", format!("x-tunnel: {STRANGER},{CALLER}"), denied("several_sans")),
        ("request", format!("x-tunnel: {CALLER},"), denied("several_sans")),
        ("request", "x-tunnel: https://cluster.local/ns/shop/sa/caller".to_owned(), denied("other_scheme")),
        ("request", "x-tunnel: spiffe://other.example/ns/shop/sa/caller".to_owned(), denied("foreign_trust_domain")),
        ("request", format!("x-tunnel: {CALLER}/"), denied("bad_spiffe_id")),
        ("request", "x-tunnel:".to_owned(), denied("no_mtls")),
        ("connection", String::from("x: y"), caller()),
        ("connection", format!("io.istio.peer_principal: {STRANGER}"), caller()),
        ("nothing", format!("io.istio.peer_principal: {CALLER}"), denied("no_mtls")),
        ("nothing", format!("x-envoy-peer-metadata: {CALLER}\r\nbaggage: principal={CALLER}"), denied("no_mtls")),
        ("nothing", format!("x-forwarded-client-cert: By={STRANGER};URI={CALLER}"), denied("no_mtls")),
    ];
    for binary in artifacts::envoys() {
        let mut envoy =
            Envoy::start(&binary, 1, &bootstrap(&listeners, vec![application.cluster("application")])).await;
        for (at, header, expected) in &cases {
            let reason = expected.as_ref().err().map_or("-", |(_, reason)| reason);
            let decision = if expected.is_ok() { "allowed" } else { "denied" };
            let labels = [("decision", decision), ("reason", reason)];
            let before = envoy.total("tollgate_identity_total", &labels).await;
            let request = format!("GET / HTTP/1.1\r\nhost: shop\r\n{header}\r\n\r\n");
            let reply = Wire::new(envoy.address(at), None).http1(request.as_bytes()).await.expect("an answer");
            let called = match reply.status {
                200 => Ok(String::from_utf8(reply.body).expect("a name")),
                status => Err((status, reason.to_owned())),
            };
            assert_eq!(called, *expected, "Envoy {} at {at}: {header}", binary.version);
            assert_eq!(envoy.total("tollgate_identity_total", &labels).await, before + 1, "at {at}: {header}");
        }
        envoy.assert_sound().await;
    }
}
