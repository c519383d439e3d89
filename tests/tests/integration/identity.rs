//! Who gets in, with real certificates.

use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    artifacts,
    certificates::Authority,
    client::{Connection, Identity, get},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";
const GATEWAY: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";
const SCRAPER: &str = "spiffe://cluster.local/ns/monitoring/sa/prometheus";

fn policy() -> Value {
    json!({
        "trustDomains": ["cluster.local"],
        "exempt": [{"paths": ["/health"]}],
        "rules": [
            {"name": "admin", "match": [{"paths": ["/admin/*"]}], "deny": [{"principals": [GATEWAY]}]},
            {"name": "callers", "allow": [{"principals": [GATEWAY]}, {"namespaces": ["monitoring"]}]},
        ],
    })
}

/// Listener, caller and its certificate, path; the status, or that TLS fails; the reason for a denial.
type Case<'a> = (&'a str, &'a str, Option<&'a Leaf>, &'a str, Result<u16, ()>, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verified_caller_that_a_rule_allows_gets_in_and_nobody_else() {
    let (mesh, foreign) = (Authority::default(), Authority::default());
    let own = mesh.issue(&[OWN]);
    let mut validating = policy();
    validating["requireValidated"] = json!(true);
    let filter = || [Plugin::new("mtls-identity", policy()).filter()];
    let listeners = [
        Listener::new("strict", filter()).tls(mesh.server(&own, true, true)),
        Listener::new("permissive", filter()).tls(mesh.server(&own, false, true)),
        Listener::new("untrusting", [Plugin::new("mtls-identity", validating).filter()])
            .tls(mesh.server(&own, false, false)),
        Listener::new("plaintext", filter()),
        Listener::new("empty", [Plugin::new("mtls-identity", "").filter()]).tls(mesh.server(&own, false, true)),
        Listener::new("outbound", filter()).direction("OUTBOUND"),
    ];
    let gateway = mesh.issue(&[GATEWAY]);
    let scraper = mesh.issue(&[SCRAPER]);
    let stranger = mesh.issue(&["spiffe://cluster.local/ns/titanium-prod/sa/stranger"]);
    let other_domain = mesh.issue(&["spiffe://evil.example/ns/titanium-prod/sa/api-gateway"]);
    let no_spiffe = mesh.issue(&["https://cluster.local/ns/titanium-prod/sa/api-gateway"]);
    let no_san = mesh.issue(&[]);
    let forged = foreign.issue(&[GATEWAY]);

    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners, vec![])).await;
        let mut cases: Vec<Case<'_>> = vec![
            ("strict", "the gateway", Some(&gateway), "/", Ok(200), ""),
            ("strict", "a namespace's", Some(&scraper), "/", Ok(200), ""),
            ("strict", "a stranger", Some(&stranger), "/", Ok(403), "not_allowed"),
            ("strict", "the gateway at /admin", Some(&gateway), "/admin/x", Ok(403), "denied_by_rule"),
            (
                "strict",
                "the gateway at an odd spelling",
                Some(&gateway),
                "/x/%2e%2e%2fadmin/x",
                Ok(403),
                "ambiguous_path",
            ),
            ("strict", "of another trust domain", Some(&other_domain), "/", Ok(403), "foreign_trust_domain"),
            ("strict", "without SPIFFE ID", Some(&no_spiffe), "/", Ok(403), "bad_spiffe_id"),
            ("strict", "without SAN", Some(&no_san), "/", Ok(403), "no_san"),
            ("strict", "forged", Some(&forged), "/", Err(()), ""),
            ("strict", "without certificate", None, "/", Err(()), ""),
            ("permissive", "the gateway", Some(&gateway), "/", Ok(200), ""),
            ("permissive", "without certificate", None, "/", Ok(403), "no_mtls"),
            ("permissive", "without certificate at /health", None, "/health", Ok(200), ""),
            ("permissive", "without certificate near /health", None, "/health/..%2f", Ok(403), "no_mtls"),
            ("permissive", "forged", Some(&forged), "/", Err(()), ""),
            ("empty", "anybody of the mesh", Some(&stranger), "/", Ok(200), ""),
            ("empty", "of another trust domain", Some(&other_domain), "/", Ok(403), "foreign_trust_domain"),
            ("empty", "without certificate", None, "/", Ok(403), "no_mtls"),
        ];
        cases.push(("untrusting", "forged", Some(&forged), "/", Ok(403), "unverified_certificate"));
        // The oldest Envoy cannot tell, so there everybody is turned away.
        let tells = binary.version == artifacts::newest_envoy().version;
        let (status, reason) = if tells { (200, "") } else { (403, "unverified_certificate") };
        cases.push(("untrusting", "the gateway", Some(&gateway), "/", Ok(status), reason));
        for (listener, who, leaf, path, expected, reason) in cases {
            let denied =
                async || envoy.total("tollgate_identity_total", &[("decision", "denied"), ("reason", reason)]).await;
            let before = denied().await;
            let status = async {
                let mut connection =
                    Connection::open_tls(envoy.address(listener), &Identity::new(leaf)).await.map_err(drop)?;
                connection.get(path).await.map(|answer| answer.status).map_err(drop)
            };
            assert_eq!(status.await, expected, "{who} at {listener} of Envoy {}", binary.version);
            let counted = if reason.is_empty() { 0 } else { 1 };
            assert_eq!(denied().await - before, counted, "{who} at {listener} of Envoy {}", binary.version);
            assert!(reason.is_empty() || envoy.log().contains(&format!("reason={reason}")), "{who}: {}", envoy.log());
        }
        // A resumed TLS session is as good as the one that it resumes.
        let identity = Identity::new(Some(&gateway));
        for _ in 0..4 {
            let mut connection = Connection::open_tls(envoy.address("strict"), &identity).await.expect("connects");
            assert_eq!(connection.get("/").await.expect("answers").status, 200);
        }
        let resumed = envoy.admin_text("/stats?filter=ssl.session_reused").await;
        assert!(resumed.lines().any(|line| line.contains("session_reused") && !line.ends_with(": 0")), "{resumed}");
        assert_eq!(get(envoy.address("plaintext"), "/").await.expect("answers").status, 403);
        assert_eq!(get(envoy.address("outbound"), "/").await.expect("answers").status, 200, "{}", envoy.log());
        let inactive = "event=inactive filter=mtls_identity";
        assert!(envoy.log().contains(inactive), "{}", envoy.log());
        envoy.assert_sound().await;
    }
}
