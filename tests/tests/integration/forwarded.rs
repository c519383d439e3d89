//! Who called the gateway that calls: with gateways of every kind, both legs in mTLS, and callers that write what they
//! like into their headers and certificates.

use rcgen::{CertificateParams, DnType, SanType};
use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    application::Application,
    artifacts::{self, EnvoyBinary},
    certificates::Authority,
    client::Identity,
    config::{Listener, Plugin, bootstrap, cluster},
    envoy::Envoy,
    wire::Wire,
};

const OWN: &str = "spiffe://cluster.local/ns/shop/sa/own";
const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/gateway";
const EDGE: &str = "spiffe://cluster.local/ns/istio-system/sa/edge";
const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/caller";
const DIRECT: &str = "spiffe://cluster.local/ns/shop/sa/direct";
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

/// The gateway whose certificate has the name that the world knows it by and no URI, so that its element has no `By`.
const PUBLIC: &str = "sets, by a public name";

/// Room for ten thousand elements.
const HEADERS_KB: u32 = 4096;

fn config(more: Value) -> Value {
    let mut config = json!({
        "trustDomains": ["cluster.local"],
        "rules": [{"name": "callers", "allow": [{"principals": [CALLER, DIRECT]}]}],
        "handOver": {"header": "x-caller"},
    });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    config
}

fn listener(name: &str, filters: Vec<Value>, forward: &str, tls: Value, to: &str) -> Listener {
    Listener::new(name, filters).tls(tls).to_cluster(to).connection_manager(json!({
        "forward_client_cert_details": forward,
        "set_current_client_cert_details": {"subject": true, "uri": true, "dns": true},
        "max_request_headers_kb": HEADERS_KB,
        "delayed_close_timeout": "0.05s",
    }))
}

/// A sidecar, gateways before it, and an edge before one of them: each a process of its own.
struct Mesh {
    authority: Authority,
    sidecar: Envoy,
    gateways: Envoy,
    edge: Envoy,
    _application: Application,
}

/// What a gateway does with the header, and which of the sidecar's listeners is behind it.
const GATEWAYS: [(&str, &str, &str); 8] = [
    ("sets", "SANITIZE_SET", "forwarded"),
    (PUBLIC, "SANITIZE_SET", "forwarded"),
    ("appends", "APPEND_FORWARD", "forwarded"),
    ("removes", "SANITIZE", "forwarded"),
    ("forwards", "FORWARD_ONLY", "forwarded"),
    ("always forwards", "ALWAYS_FORWARD_ONLY", "forwarded"),
    ("sets, for both", "SANITIZE_SET", "both"),
    ("appends, for two", "APPEND_FORWARD", "two"),
];

impl Mesh {
    async fn start(binary: &EnvoyBinary) -> Self {
        let authority = Authority::default();
        let own = authority.issue(&[OWN]);
        let by = |by: &[&str], hops: u64| json!({"by": by, "hops": hops});
        let sidecar = |name: &str, config: Value| {
            let filter = Plugin::new("mtls-identity", config).filter();
            listener(name, vec![filter], "APPEND_FORWARD", authority.server(&own, true, true), "application")
        };
        let listeners = [
            sidecar("forwarded", config(json!({"source": "forwarded", "forwarded": by(&[GATEWAY], 1)}))),
            sidecar("both", config(json!({"source": ["forwarded", "tls"], "forwarded": by(&[GATEWAY], 1)}))),
            sidecar("two", config(json!({"source": "forwarded", "forwarded": by(&[GATEWAY, EDGE], 2)}))),
            sidecar("tls", config(json!({}))),
        ];
        let application = Application::start(|request| {
            let callers = request.values("x-caller");
            String::from_utf8_lossy(&callers.join(&b'|')).into_owned()
        })
        .await;
        let sidecar = Envoy::start(binary, 1, &bootstrap(&listeners, vec![application.cluster("application")])).await;

        let behind = |envoy: &Envoy, name: &str, leaf: &Leaf| {
            let mut behind = cluster(name, envoy.address(name));
            behind["transport_socket"] = authority.client(leaf);
            behind
        };
        let (gateway, edge) = (authority.issue(&[GATEWAY]), authority.issue(&[EDGE]));
        let public = authority.issue_so(&[], |params| {
            params.subject_alt_names.push(SanType::DnsName("shop.example.com".try_into().expect("ASCII")));
        });
        let listeners = GATEWAYS.map(|(name, forward, to)| {
            let own = if name == PUBLIC { &public } else { &gateway };
            listener(name, vec![], forward, authority.server(own, false, true), to)
        });
        let clusters = ["forwarded", "both", "two"].map(|name| behind(&sidecar, name, &gateway)).to_vec();
        let gateways = Envoy::start(binary, 1, &bootstrap(&listeners, clusters)).await;

        let to = "appends, for two";
        let listeners = [listener("edge", vec![], "SANITIZE_SET", authority.server(&edge, false, true), to)];
        let edge = Envoy::start(binary, 1, &bootstrap(&listeners, vec![behind(&gateways, to, &edge)])).await;
        Self { authority, sidecar, gateways, edge, _application: application }
    }

    /// Who the application hears that it was, or the status and the reason why it hears nothing.
    async fn call(&self, at: &str, leaf: Option<&Leaf>, headers: &[u8]) -> Result<String, (u16, String)> {
        let address = match at {
            "edge" => self.edge.address(at),
            _ if GATEWAYS.iter().any(|(name, ..)| *name == at) => self.gateways.address(at),
            _ => self.sidecar.address(at),
        };
        let before = self.denials().await;
        let request = [b"GET / HTTP/1.1\r\nhost: shop\r\nX-Caller: ", CALLER.as_bytes(), b"\r\n", headers, b"\r\n"];
        let reply = Wire::new(address, Some(Identity::new(leaf))).http1(&request.concat()).await;
        let reply = reply.unwrap_or_else(|| panic!("no answer at {at}"));
        if reply.status == 200 {
            return Ok(String::from_utf8(reply.body).expect("a name"));
        }
        let after = self.denials().await;
        let new = after.into_iter().find(|denial| !before.contains(denial));
        let reason = new.and_then(|(series, _)| Some(series.split_once("reason=\"")?.1.split_once('"')?.0.to_owned()));
        Err((reply.status, reason.unwrap_or_default()))
    }

    async fn denials(&self) -> Vec<(String, u64)> {
        self.sidecar.prometheus("tollgate_identity_total", &[("decision", "denied")]).await
    }

    async fn assert_sound(&mut self) {
        for envoy in [&mut self.sidecar, &mut self.gateways, &mut self.edge] {
            envoy.assert_sound().await;
        }
    }
}

fn denied(reason: &str) -> Result<String, (u16, String)> {
    Err((403, reason.to_owned()))
}

fn xfcc(value: &str) -> Vec<u8> {
    format!("x-forwarded-client-cert: {value}\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_of_a_listed_gateway_is_who_the_gateway_verified() {
    for binary in artifacts::envoys() {
        let mut mesh = Mesh::start(&binary).await;
        let leaf = |uri| mesh.authority.issue(&[uri]);
        let (caller, direct, stranger) = (leaf(CALLER), leaf(DIRECT), leaf(STRANGER));
        let (gateway, edge) = (leaf(GATEWAY), leaf(EDGE));
        let foreign = leaf("spiffe://other.example/ns/shop/sa/caller");
        let claim = format!("By={GATEWAY};Hash={};URI={CALLER}", "a".repeat(64));
        let caller_is_known = || Ok(CALLER.to_owned());
        for (at, leaf, headers, expected) in [
            ("sets", Some(&caller), "", caller_is_known()),
            ("appends", Some(&caller), "", caller_is_known()),
            ("sets", Some(&direct), "", Ok(DIRECT.to_owned())),
            (PUBLIC, Some(&caller), "", caller_is_known()),
            (PUBLIC, Some(&caller), &claim, caller_is_known()),
            (PUBLIC, Some(&stranger), &claim, denied("not_allowed")),
            (PUBLIC, Some(&gateway), &claim, denied("not_allowed")),
            (PUBLIC, None, &claim, denied("no_forwarded_identity")),
            ("sets", Some(&stranger), "", denied("not_allowed")),
            ("appends", Some(&stranger), "", denied("not_allowed")),
            ("sets", Some(&foreign), "", denied("foreign_trust_domain")),
            // The gateway's own identity is not its caller's.
            ("sets", Some(&gateway), "", denied("not_allowed")),
            ("sets", None, "", denied("no_forwarded_identity")),
            ("appends", None, "", denied("no_forwarded_identity")),
            // What is set does away with what was written, and what is appended to is too long.
            ("sets", Some(&caller), claim.as_str(), caller_is_known()),
            ("sets", Some(&stranger), &claim, denied("not_allowed")),
            ("appends", Some(&caller), &claim, denied("bad_forwarded_identity")),
            ("appends", Some(&stranger), &claim, denied("bad_forwarded_identity")),
            ("appends", None, &claim, denied("no_forwarded_identity")),
            ("removes", Some(&caller), "", denied("no_forwarded_identity")),
            ("removes", Some(&stranger), &claim, denied("no_forwarded_identity")),
            // A gateway that only forwards says nothing of its own, so nobody gets in who does not lie.
            ("forwards", Some(&caller), "", denied("no_forwarded_identity")),
            ("forwards", None, &claim, denied("no_forwarded_identity")),
            ("always forwards", Some(&caller), "", denied("no_forwarded_identity")),
            // Who comes without a gateway.
            ("forwarded", Some(&caller), "", denied("untrusted_forwarder")),
            ("forwarded", Some(&stranger), &claim, denied("untrusted_forwarder")),
            ("forwarded", Some(&gateway), "", denied("no_forwarded_identity")),
            ("both", Some(&direct), "", Ok(DIRECT.to_owned())),
            ("both", Some(&direct), &claim, Ok(DIRECT.to_owned())),
            ("both", Some(&stranger), &claim, denied("not_allowed")),
            ("both", Some(&gateway), "", denied("no_forwarded_identity")),
            ("sets, for both", Some(&caller), "", caller_is_known()),
            ("sets, for both", Some(&stranger), &claim, denied("not_allowed")),
            ("sets, for both", None, "", denied("no_forwarded_identity")),
            // Two hops, and callers that leave one out.
            ("edge", Some(&caller), "", caller_is_known()),
            ("edge", Some(&caller), &claim, caller_is_known()),
            ("edge", Some(&stranger), &claim, denied("not_allowed")),
            ("edge", None, "", denied("bad_forwarded_identity")),
            ("appends, for two", Some(&caller), "", denied("bad_forwarded_identity")),
            ("appends, for two", Some(&caller), &claim, denied("bad_forwarded_identity")),
            ("appends, for two", Some(&stranger), &format!("By={EDGE};URI={CALLER}"), denied("bad_forwarded_identity")),
            ("appends, for two", Some(&edge), "", denied("bad_forwarded_identity")),
            ("two", Some(&gateway), "", denied("no_forwarded_identity")),
        ] {
            let headers = if headers.is_empty() { Vec::new() } else { xfcc(headers) };
            let called = mesh.call(at, leaf, &headers).await;
            assert_eq!(called, expected, "Envoy {} {at} {}", binary.version, headers.escape_ascii());
        }
        mesh.assert_sound().await;
    }
}

/// What a client may write to be taken for the caller, behind a gateway that appends to it.
fn forgeries() -> Vec<Vec<u8>> {
    let hash = "0123456789abcdef".repeat(4);
    let good = format!("By={GATEWAY};Hash={hash};URI={CALLER}");
    let ours = format!("By={OWN};Hash={hash};URI={GATEWAY}");
    let many = |element: &str| vec![element; 10_000].join(",");
    let lines = [
        good.clone(),
        format!("{good},{ours}"),
        format!("{ours},{good}"),
        format!("{good},{good}"),
        format!("{good},"),
        format!(",{good}"),
        format!("{good},,"),
        format!("{good};"),
        format!("{good},By={OWN};URI="),
        format!("URI={CALLER}"),
        format!("uri={CALLER};by={GATEWAY}"),
        format!("BY={GATEWAY};HASH={hash};URI={CALLER};Dns=x"),
        format!("By={GATEWAY};URI={CALLER};URI={STRANGER}"),
        format!("By={GATEWAY};By={OWN};URI={CALLER}"),
        // Quotes that swallow what comes behind, were they closed there.
        format!("By={GATEWAY};Hash={hash};URI={CALLER};DNS=\""),
        format!("{good},By={GATEWAY};Subject=\""),
        format!("{good},By={OWN};Hash={hash};Subject=\"x"),
        format!("{good};Subject=\"\\"),
        format!("By={GATEWAY};Hash={hash};Subject=\"x\\\",\";URI={CALLER}"),
        format!("\"{good}\""),
        format!("By={GATEWAY};URI=\"{CALLER}\""),
        format!("By = {GATEWAY}; URI = {CALLER}"),
        format!("By={GATEWAY} ;URI={CALLER}"),
        format!("{good} "),
        format!("By={GATEWAY};\tURI={CALLER}"),
        format!("Key=x;{good}"),
        format!("By={GATEWAY};Hash={hash};Cert=x;URI={CALLER}"),
        many("By=a;URI=b"),
        many(";"),
        many(""),
    ];
    let mut all: Vec<Vec<u8>> = lines.iter().map(|line| xfcc(line)).collect();
    all.push([xfcc(&good), xfcc(&ours)].concat());
    all.push(xfcc(&good).repeat(3));
    all.push(xfcc(&good).to_ascii_uppercase());
    all.push(format!("X-Forwarded-Client-Cert:{good}\r\nx_forwarded_client_cert: {good}\r\n").into_bytes());
    all.push([b"x-forwarded-client-cert: \xff", good.as_bytes(), b"\r\n"].concat());
    all.push([b"x-forwarded-client-cert: ", good.as_bytes(), b"\x01\r\n"].concat());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_itself_another_name() {
    for binary in artifacts::envoys() {
        let mut mesh = Mesh::start(&binary).await;
        let (stranger, gateway) = (mesh.authority.issue(&[STRANGER]), mesh.authority.issue(&[GATEWAY]));
        for forgery in forgeries() {
            let what = || format!("Envoy {}: {}", binary.version, forgery[..forgery.len().min(300)].escape_ascii());
            // Envoy itself answers 400 to some.
            let is_refused = |called: Result<String, (u16, String)>, reason: &str| match called {
                Err((400, _)) => true,
                called => called == denied(reason),
            };
            for (at, leaf, reason) in [
                ("sets", &stranger, "not_allowed"),
                (PUBLIC, &stranger, "not_allowed"),
                ("appends", &stranger, "bad_forwarded_identity"),
                ("removes", &stranger, "no_forwarded_identity"),
                ("edge", &stranger, "not_allowed"),
                ("both", &stranger, "not_allowed"),
            ] {
                let called = mesh.call(at, Some(leaf), &forgery).await;
                // The oldest Envoy is told by this header alone how many names a peer has.
                let is_unreadable = at == "both" && called == denied("bad_forwarded_identity");
                assert!(is_unreadable || is_refused(called.clone(), reason), "{at}: {called:?}\n{}", what());
            }
            // A gateway that appends is not believed either where the header was not its own at first.
            let called = mesh.call("two", Some(&gateway), &forgery).await;
            assert!(called.is_err(), "two: {called:?}\n{}", what());
        }
        mesh.assert_sound().await;
    }
}

/// Certificates of the mesh's own authority that say more than a name.
fn hostile(authority: &Authority) -> Vec<(String, Leaf)> {
    let more = format!("By={GATEWAY};Hash={};URI={CALLER}", "a".repeat(64));
    let uris: Vec<Vec<String>> = vec![
        vec![format!("{CALLER},By={GATEWAY}")],
        vec![format!("{CALLER},{more}")],
        vec![format!("{STRANGER},{more}")],
        vec![format!("x,{more}")],
        vec![format!("{CALLER};URI={CALLER}")],
        vec![format!("{STRANGER};URI={CALLER}")],
        vec![format!(";URI={CALLER}")],
        vec![format!("{CALLER};By={GATEWAY}")],
        vec![format!("{CALLER};")],
        vec![format!("{CALLER},")],
        vec![format!("{CALLER}\"")],
        vec![format!("\"{CALLER}\"")],
        vec![format!("{CALLER}=")],
        vec![format!("{CALLER}/")],
        vec![format!("{CALLER}?x")],
        vec![format!("{CALLER}#x")],
        vec![format!("{CALLER}%00")],
        // CVE-2026-47778
        vec![format!("{CALLER}\0")],
        vec![format!("{CALLER}\0.{STRANGER}")],
        vec![format!("{CALLER}\r\nx-caller: {CALLER}")],
        vec![CALLER.to_owned(), STRANGER.to_owned()],
        vec![STRANGER.to_owned(), CALLER.to_owned()],
        vec![CALLER.to_owned(), String::new()],
        vec![String::new(), CALLER.to_owned()],
        vec![CALLER.to_owned(), CALLER.to_owned()],
        // What hides that there is more than one name.
        vec![CALLER.to_owned(), format!("x,{more}")],
        vec![CALLER.to_owned(), format!("x\",{more}")],
        vec![CALLER.to_owned(), ",".to_owned()],
    ];
    let mut all: Vec<_> = uris
        .into_iter()
        .map(|uris| {
            let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
            (format!("URIs {uris:?}"), authority.issue(&uris))
        })
        .collect();
    for name in [format!("x;URI={CALLER}"), format!("x,{more}"), format!("x\",{more}")] {
        let dns = |params: &mut CertificateParams| {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().expect("ASCII")));
        };
        all.push((format!("DNS {name:?}"), authority.issue_so(&[STRANGER], dns)));
        let subject = |params: &mut CertificateParams| {
            params.distinguished_name.push(DnType::CommonName, format!("\";{name};Subject=\""));
        };
        all.push((format!("subject {name:?}"), authority.issue_so(&[STRANGER], subject)));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_certificate_says_more_than_one_name() {
    for binary in artifacts::envoys() {
        let mut mesh = Mesh::start(&binary).await;
        // A quote that a client leaves open may be closed by its own certificate.
        let open = xfcc(&format!("By={GATEWAY};Hash={};Subject=\"", "a".repeat(64)));
        for (what, leaf) in hostile(&mesh.authority) {
            for at in ["sets", PUBLIC, "appends", "sets, for both", "edge", "tls", "both", "forwarded"] {
                for headers in [&b""[..], &open] {
                    let called = mesh.call(at, Some(&leaf), headers).await;
                    let Err((status, reason)) = called else {
                        panic!("Envoy {} at {at}, {what}, {}: {called:?}", binary.version, headers.escape_ascii());
                    };
                    // Some names make a header that no Envoy writes or takes.
                    let is_refused = matches!(status, 400 | 503) && at != "tls" && at != "both" && at != "forwarded";
                    assert!(is_refused || status == 403 && !reason.is_empty(), "{at} {what}: {status} {reason}");
                }
            }
        }
        // What a header cannot tell from the caller's name. A certificate can.
        for uri in [format!("{CALLER} "), format!("{CALLER};DNS=x")] {
            let leaf = mesh.authority.issue(&[&uri]);
            for (at, reason) in [("tls", "bad_spiffe_id"), ("both", "bad_spiffe_id"), ("forwarded", "bad_spiffe_id")] {
                assert_eq!(mesh.call(at, Some(&leaf), b"").await, denied(reason), "Envoy {} {uri}", binary.version);
            }
        }
        mesh.assert_sound().await;
    }
}
