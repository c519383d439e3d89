//! Who gets in, with real certificates.

use rcgen::{CertificateParams, KeyUsagePurpose, SanType, date_time_ymd};
use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    artifacts::{self, EnvoyBinary},
    certificates::{Authority, self_signed},
    client::{Connection, Identity, get},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";
const GATEWAY: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";
const SCRAPER: &str = "spiffe://cluster.local/ns/monitoring/sa/prometheus";

fn policy(more: Value) -> Value {
    let mut policy = json!({
        "trustDomains": ["cluster.local"],
        "exempt": [{"paths": ["/health"]}],
        "rules": [
            {"name": "admin", "match": [{"paths": ["/admin/*"]}], "deny": [{"principals": [GATEWAY]}]},
            {"name": "callers", "allow": [{"principals": [GATEWAY]}, {"namespaces": ["monitoring"]}]},
        ],
    });
    policy.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    policy
}

/// As Istio's sidecars do it inbound.
fn forwards_certificates() -> Value {
    json!({
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": true, "uri": true, "dns": true},
    })
}

/// A caller, and what becomes of it.
struct Case<'a> {
    listener: &'static str,
    who: &'static str,
    leaf: Option<&'a Leaf>,
    path: &'static str,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Passes,
    Denied(&'static str),
    /// Envoy does not make the connection.
    NoTls,
}

use Expected::{Denied, NoTls, Passes};

const fn case<'a>(listener: &'static str, who: &'static str, leaf: Option<&'a Leaf>, expected: Expected) -> Case<'a> {
    Case { listener, who, leaf, path: "/", expected }
}

/// One certificate of each kind.
struct Leaves {
    gateway: Leaf,
    scraper: Leaf,
    stranger: Leaf,
    other_domain: Leaf,
    other_scheme: Leaf,
    no_san: Leaf,
    dns_only: Leaf,
    empty: Leaf,
    two: Leaf,
    signing: Leaf,
    expired: Leaf,
    future: Leaf,
    forged: Leaf,
    self_signed: Leaf,
}

impl Leaves {
    fn new(mesh: &Authority) -> Self {
        let dns = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![SanType::DnsName("api-gateway".try_into().expect("ASCII"))];
        };
        let signs = |params: &mut CertificateParams| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        };
        Self {
            gateway: mesh.issue(&[GATEWAY]),
            scraper: mesh.issue(&[SCRAPER]),
            stranger: mesh.issue(&["spiffe://cluster.local/ns/titanium-prod/sa/stranger"]),
            other_domain: mesh.issue(&["spiffe://evil.example/ns/titanium-prod/sa/api-gateway"]),
            other_scheme: mesh.issue(&["https://cluster.local/ns/titanium-prod/sa/api-gateway"]),
            no_san: mesh.issue(&[]),
            dns_only: mesh.issue_so(&[], dns),
            empty: mesh.issue(&[""]),
            two: mesh.issue(&[GATEWAY, "spiffe://cluster.local/ns/titanium-prod/sa/stranger"]),
            signing: mesh.issue_so(&[GATEWAY], signs),
            expired: mesh.issue_so(&[GATEWAY], |params| params.not_after = date_time_ymd(2020, 1, 1)),
            future: mesh.issue_so(&[GATEWAY], |params| params.not_before = date_time_ymd(2999, 1, 1)),
            forged: Authority::default().issue(&[GATEWAY]),
            self_signed: self_signed(&[GATEWAY]),
        }
    }

    /// `tells`: the Envoy knows `connection.peer_certificate` and `connection.peer_certificate_valid`.
    fn cases(&self, tells: bool) -> Vec<Case<'_>> {
        let if_told = |expected, otherwise| if tells { expected } else { otherwise };
        let unverified = Denied("unverified_certificate");
        let unreadable = Denied("unreadable_certificate");
        let (gateway, stranger) = (Some(&self.gateway), Some(&self.stranger));
        let at = |path, case| Case { path, ..case };
        vec![
            case("strict", "right", gateway, Passes),
            case("strict", "right, by its namespace", Some(&self.scraper), Passes),
            case("strict", "another service", stranger, Denied("not_allowed")),
            at("/admin/x", case("strict", "right, where it may not", gateway, Denied("denied_by_rule"))),
            at("/x/%2e%2e%2fadmin/x", case("strict", "right, oddly spelled", gateway, Denied("ambiguous_path"))),
            case("strict", "foreign domain", Some(&self.other_domain), Denied("foreign_trust_domain")),
            case("strict", "other scheme", Some(&self.other_scheme), Denied("other_scheme")),
            case("strict", "no SAN", Some(&self.no_san), Denied("no_san")),
            case("strict", "DNS only", Some(&self.dns_only), Denied("no_san")),
            case("strict", "two SANs", Some(&self.two), Denied("several_sans")),
            // Older Envoys write the same for an empty URI as for none.
            case("strict", "empty URI", Some(&self.empty), if_told(Denied("empty_san"), Denied("no_san"))),
            // Older Envoys don't say what a certificate is for.
            case("strict", "signing", Some(&self.signing), if_told(Denied("signing_certificate"), Passes)),
            case("strict", "expired", Some(&self.expired), NoTls),
            case("strict", "not yet valid", Some(&self.future), NoTls),
            case("strict", "self-signed", Some(&self.self_signed), NoTls),
            case("strict", "forged", Some(&self.forged), NoTls),
            case("strict", "no certificate", None, NoTls),
            case("permissive", "right", gateway, Passes),
            case("permissive", "no certificate", None, Denied("no_mtls")),
            at("/health", case("permissive", "no certificate, exempt", None, Passes)),
            at("/health/..%2f", case("permissive", "no certificate, nearly exempt", None, Denied("no_mtls"))),
            case("permissive", "forged", Some(&self.forged), NoTls),
            case("empty", "anybody of the mesh", stranger, Passes),
            case("empty", "foreign domain", Some(&self.other_domain), Denied("foreign_trust_domain")),
            case("empty", "no certificate", None, Denied("no_mtls")),
            case("untrusting", "forged", Some(&self.forged), unverified),
            case("untrusting", "self-signed", Some(&self.self_signed), unverified),
            case("untrusting", "expired", Some(&self.expired), unverified),
            // The oldest Envoy cannot tell, so there everybody is turned away.
            case("untrusting", "right", gateway, if_told(Passes, unverified)),
            case("unexpired", "right", gateway, if_told(Passes, unreadable)),
            case("unexpired", "expired", Some(&self.expired), if_told(Denied("expired_certificate"), unreadable)),
            case(
                "unexpired",
                "not yet valid",
                Some(&self.future),
                if_told(Denied("not_yet_valid_certificate"), unreadable),
            ),
            case("shadow", "another service", stranger, Passes),
            case("outbound-checked", "no certificate", None, Denied("no_mtls")),
            case("outbound-checked", "right", gateway, Passes),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verified_caller_that_a_rule_allows_gets_in_and_nobody_else() {
    let mesh = Authority::default();
    let own = mesh.issue(&[OWN]);
    let leaves = Leaves::new(&mesh);
    let filter = |more| [Plugin::new("mtls-identity", policy(more)).filter()];
    let listener = |name, more, required, verified| {
        Listener::new(name, filter(more))
            .tls(mesh.server(&own, required, verified))
            .connection_manager(forwards_certificates())
    };
    let listeners = [
        listener("strict", json!({}), true, true),
        listener("permissive", json!({}), false, true),
        listener("untrusting", json!({"requireValidated": true}), false, false),
        listener("unexpired", json!({"requireUnexpired": true}), false, false),
        listener("shadow", json!({"mode": "shadow"}), false, true),
        listener("outbound-checked", json!({"checkOutbound": true}), false, true).direction("OUTBOUND"),
        Listener::new("empty", [Plugin::new("mtls-identity", "").filter()]).tls(mesh.server(&own, false, true)),
        Listener::new("plaintext", filter(json!({}))),
        Listener::new("outbound", filter(json!({}))).direction("OUTBOUND"),
    ];
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners, vec![])).await;
        for case in leaves.cases(is_newest(&binary)) {
            case.check(&envoy, &binary).await;
        }
        // A resumed TLS session is as good as the one that it resumes.
        let identity = Identity::new(Some(&leaves.gateway));
        for _ in 0..4 {
            let mut connection = Connection::open_tls(envoy.address("strict"), &identity).await.expect("connects");
            assert_eq!(connection.get("/").await.expect("answers").status, 200);
        }
        let resumed = envoy.admin_text("/stats?filter=ssl.session_reused").await;
        assert!(resumed.lines().any(|line| line.contains("session_reused") && !line.ends_with(": 0")), "{resumed}");
        let denied = get(envoy.address("plaintext"), "/").await.expect("answers");
        assert_eq!((denied.status, &denied.body[..]), (403, &b"forbidden\n"[..]));
        assert_eq!(get(envoy.address("outbound"), "/").await.expect("answers").status, 200, "{}", envoy.log());
        for line in ["event=inactive filter=mtls_identity", "event=shadow_denied filter=mtls_identity rule=callers"] {
            assert!(envoy.log().contains(line), "{}", envoy.log());
        }
        envoy.assert_sound().await;
    }
}

fn is_newest(binary: &EnvoyBinary) -> bool {
    binary.version == artifacts::newest_envoy().version
}

impl Case<'_> {
    async fn check(&self, envoy: &Envoy, binary: &EnvoyBinary) {
        let what = format!("{} at {} of Envoy {}", self.who, self.listener, binary.version);
        let reason = if let Denied(reason) = self.expected { reason } else { "" };
        let denied = async || {
            let labels = [("decision", "denied"), ("reason", reason)];
            envoy.total("tollgate_identity_total", &labels).await
        };
        let before = denied().await;
        let status = async {
            let identity = Identity::new(self.leaf);
            let mut connection = Connection::open_tls(envoy.address(self.listener), &identity).await.map_err(drop)?;
            connection.get(self.path).await.map(|answer| answer.status).map_err(drop)
        };
        let expected = match self.expected {
            Passes => Ok(200),
            Denied(_) => Ok(403),
            NoTls => Err(()),
        };
        assert_eq!(status.await, expected, "{what}\n{}", envoy.log());
        assert_eq!(denied().await - before, u64::from(!reason.is_empty()), "{what}");
        assert!(reason.is_empty() || envoy.log().contains(&format!("reason={reason}")), "{what}: {}", envoy.log());
    }
}
