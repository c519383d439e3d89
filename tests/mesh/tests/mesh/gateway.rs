//! At the mesh's edge: `istio/gateway` and `istio/components/client-certificates`, as `istio/overlays/gateway` puts them
//! together, with a client that has a certificate and tells lies.

use std::{net::SocketAddr, time::Duration};

use http_body_util::Empty;
use hyper::Request;
use rcgen::SanType;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tollgate_mesh::{
    Mesh,
    istio::{self, GATEWAY_HTTP, GATEWAY_HTTPS},
    mesh::{HOST, MODULES},
    wait::until,
};
use tollgate_tests::{
    certificates::Authority,
    client::{self, Answer, Connection, Failure, Identity},
};

use crate::{doctor, request::value};

const PATIENCE: Duration = Duration::from_secs(30);
const PARTNER: &str = "spiffe://partner.example/ns/orders/sa/importer";
const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";
const FRIEND: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";

/// A connection to the gateway, as somebody, from an address of this machine.
async fn open(mesh: &Mesh, identity: &Identity, from: [u8; 4]) -> Result<Connection, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(mesh.gateway.listener(GATEWAY_HTTPS)).await?;
    Connection::over(identity.connect_over(stream, "shop.example").await?).await
}

async fn get(connection: &mut Connection, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Failure> {
    let request = headers.iter().fold(Request::get(path).header("host", "shop.example"), |request, (name, value)| {
        request.header(*name, *value)
    });
    connection.send(request.body(Empty::new())?).await
}

/// What the application saw of who calls.
fn forwarded(answer: &Answer) -> String {
    let seen: Value = serde_json::from_slice(&answer.body).expect("the application answers with JSON");
    seen["headers"]["x-forwarded-client-cert"].as_str().unwrap_or_default().to_owned()
}

/// In the chain in order; who has no right stays outside; one bucket for each client; the server judges the client by
/// what the gateway says, and never by what the client says.
pub async fn a_gateway_checks_limits_and_counts_its_clients_and_tells_the_server_who_they_are(mesh: &mut Mesh) {
    let (authority, foreign) = (Authority::default(), Authority::default());
    // As a gateway has one for browsers: with a name, and without a URI to say who it is.
    let own = authority.issue_so(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("shop.example".try_into().expect("a name"))];
    });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "titanium-clients", "namespace": istio::NAMESPACE },
        "stringData": { "tls.crt": own.certificate, "tls.key": own.key, "ca.crt": authority.certificate() },
    });
    mesh.kubectl().apply(&secret.to_string());
    mesh.apply_overlay("gateway");
    // Of the server's limit is nothing to be seen here.
    let wide = json!({ "rules": [{ "name": "wide", "limits": [{ "requests": 1_000_000, "per": "1s" }] }] });
    mesh.patch("rate-limit", &json!({ "pluginConfig": wide }));

    let partner = Identity::new(Some(&authority.issue(&[PARTNER])));
    until("a partner comes through", PATIENCE, async || {
        // From an address that is used for nothing else.
        let mut connection = open(mesh, &partner, [127, 0, 0, 90]).await.ok()?;
        let answer = get(&mut connection, "/posts/7", &[]).await.ok()?;
        (answer.status == 200 && forwarded(&answer).contains(PARTNER)).then_some(())
    })
    .await;
    let order = [&MODULES[..], &["envoy.filters.http.router"]].concat();
    mesh.gateway.assert_order(GATEWAY_HTTPS, &order).await;

    // Who has no certificate does not get in, nor who has one of somebody else's; nor in plaintext.
    for identity in [Identity::new(None), Identity::new(Some(&foreign.issue(&[PARTNER])))] {
        let answer = async { get(&mut open(mesh, &identity, [127, 0, 0, 1]).await?, "/posts/7", &[]).await }.await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let answer = client::get(mesh.gateway.listener(GATEWAY_HTTP), "/posts/7").await;
    assert!(answer.is_err(), "{answer:?}");
    // A genuine certificate of a domain that is not a partner's, and one that claims to be of the mesh.
    for (uri, reason) in [("spiffe://other.example/ns/a/sa/b", "foreign_trust_domain"), (FRIEND, "not_allowed")] {
        let identity = Identity::new(Some(&authority.issue(&[uri])));
        let mut connection = open(mesh, &identity, [127, 0, 0, 1]).await.expect("the handshake succeeds");
        assert_eq!(get(&mut connection, "/posts/7", &[]).await.expect("an answer").status, 403, "{uri}");
        let labels = [("decision", "denied"), ("reason", reason)];
        assert_eq!(value(&mesh.gateway.metrics().await, "tollgate_identity_total", &labels), Some(1), "{uri}");
    }

    let mut connection = open(mesh, &partner, [127, 0, 0, 91]).await.expect("the handshake succeeds");
    let forgery = format!("By={GATEWAY};Hash=00;URI={FRIEND}");
    let lies = [("x-forwarded-client-cert", forgery.as_str()), ("x-forwarded-for", "10.1.2.3")];
    // Where partners may go: the server hears of the partner alone.
    let answer = get(&mut connection, "/posts/7", &lies).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = forwarded(&answer);
    assert!(seen.contains(PARTNER) && seen.contains(GATEWAY) && !seen.contains(FRIEND), "{seen}");
    // Where only callers of the mesh may: neither the lie helps, nor that the gateway itself is of the mesh.
    let before = value(
        &mesh.server.metrics().await,
        "tollgate_identity_total",
        &[("rule", "callers"), ("decision", "denied"), ("reason", "not_allowed")],
    );
    for headers in [&lies[..], &[]] {
        assert_eq!(get(&mut connection, "/users", headers).await.expect("an answer").status, 403, "{headers:?}");
    }
    let denied = value(
        &mesh.server.metrics().await,
        "tollgate_identity_total",
        &[("rule", "callers"), ("decision", "denied"), ("reason", "not_allowed")],
    );
    assert_eq!(denied, Some(before.unwrap_or(0) + 2));
    // A caller of the mesh, who comes without the gateway, is judged by its own certificate.
    assert_eq!(tollgate_mesh::mesh::call(&mesh.friend, "/users").await.expect("an answer").status, 200);

    let allowed_before = limited_by_clients(mesh, "allowed").await;
    let (mut statuses, start) = ([0_u64; 2], std::time::Instant::now());
    for round in 0..4 {
        // Another address in X-Forwarded-For is no other client.
        let mut connection = open(mesh, &partner, [127, 0, 0, 92]).await.expect("the handshake succeeds");
        for request in 0..50 {
            let lie = format!("10.0.{round}.{request}");
            let answer = get(&mut connection, "/posts/7", &[("x-forwarded-for", &lie)]).await.expect("an answer");
            assert!(matches!(answer.status, 200 | 429), "{answer:?}");
            statuses[usize::from(answer.status == 429)] += 1;
        }
    }
    let refilled = u64::try_from(start.elapsed().as_millis() * 100 / 60_000).expect("seconds");
    let [admitted, limited] = statuses;
    assert!((100..=100 + refilled + 1).contains(&admitted), "{admitted} admitted, {refilled} came back");
    // Another client has a bucket of its own.
    let mut connection = open(mesh, &partner, [127, 0, 0, 93]).await.expect("the handshake succeeds");
    assert_eq!(get(&mut connection, "/posts/7", &[]).await.expect("an answer").status, 200);

    assert_eq!(limited_by_clients(mesh, "limited").await, limited);
    assert_eq!(limited_by_clients(mesh, "allowed").await, allowed_before + admitted + 1);
    let labels = [
        ("route", "load-balancer"),
        ("method", "GET"),
        ("response_code", "429"),
        ("decision", "limited"),
        ("source_principal", PARTNER),
        ("direction", "outbound"),
    ];
    let metrics = mesh.gateway.metrics().await;
    assert_eq!(value(&metrics, "tollgate_requests_total", &labels), Some(limited), "{}", ours(&metrics));
    let admitted_by = [("response_code", "200"), ("source_principal", PARTNER), ("destination_service", HOST)];
    assert!(value(&metrics, "tollgate_requests_total", &admitted_by) > Some(admitted), "{}", ours(&metrics));

    doctor::until_the_gateway_is_healthy(mesh).await;
    // The mistake that is easily made: SERVER, which a gateway is not.
    let server = json!({ "spec": { "match": [{ "mode": "SERVER" }] } }).to_string();
    let patch = ["patch", "wasmplugin", "rate-limit", "-n", istio::NAMESPACE, "--type=merge", "-p", &server];
    mesh.kubectl().run(&patch);
    doctor::until_the_gateway_has_trouble(mesh, "direction", "rate-limit").await;

    mesh.kubectl().run(&["delete", "wasmplugins", "--all", "-n", istio::NAMESPACE]);
    mesh.kubectl().run(&["delete", "secret", "titanium-clients", "-n", istio::NAMESPACE]);
    mesh.apply_overlay("local");
    mesh.restore("mtls-identity").await;
    mesh.restore("rate-limit").await;
    until("everybody comes in again", PATIENCE, async || {
        let answer = client::get(mesh.gateway.listener(GATEWAY_HTTP), "/health").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn limited_by_clients(mesh: &Mesh, decision: &str) -> u64 {
    let labels = [("rule", "clients"), ("decision", decision)];
    value(&mesh.gateway.metrics().await, "tollgate_rate_limit_total", &labels).unwrap_or(0)
}

fn ours(metrics: &str) -> String {
    metrics.lines().filter(|line| line.starts_with("tollgate_requests_total")).collect::<Vec<_>>().join("\n")
}
