//! A sidecar with all filters, and requests of whose outcome nothing is left to chance.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use serde_json::{Value, json};
use tollgate_tests::{
    application::Application,
    artifacts::EnvoyBinary,
    certificates::Authority,
    client::{Connection, Identity},
    config::{self, Discovered, Listener, Plugin, bootstrap},
    envoy::Envoy,
    registry::free_address,
    wire::Wire,
};

/// Who may call.
pub(crate) const FRIEND: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";
/// Who may call as well, but not everything.
pub(crate) const OTHER: &str = "spiffe://cluster.local/ns/titanium-prod/sa/user-service";
/// Who may not.
pub(crate) const STRANGER: &str = "spiffe://cluster.local/ns/titanium-prod/sa/blog-service";
/// Who is of another mesh.
pub(crate) const FOREIGNER: &str = "spiffe://elsewhere.example/ns/titanium-prod/sa/api-gateway";
/// What must not arrive anywhere. Clients put it into queries, fragments, cookies and credentials.
pub(crate) const SECRET: &str = "S3CRET";
/// The label `destination_service` of what reaches the application.
pub(crate) const SERVICE: &str = "load-balancer.titanium-prod.svc.cluster.local";
/// How long the slow request takes at least.
pub(crate) const DELAY: Duration = Duration::from_millis(400);

const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";
/// How Istio has its proxies write their own log.
const LOG_FORMAT: &str = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t";

/// A running sidecar and its application.
pub(crate) struct Sidecar {
    pub(crate) envoy: Envoy,
    mesh: Authority,
    rate_limit: Discovered,
    _application: Application,
}

impl Sidecar {
    /// Starts one whose connection manager has more fields, with further clusters.
    pub(crate) async fn start(binary: &EnvoyBinary, manager: Value, mut clusters: Vec<Value>) -> Self {
        let mesh = Authority::default();
        let application = Application::start(|_| "ok".to_owned()).await;
        let principals = |ids: &[&str]| json!([{"principals": ids}]);
        let identity = json!({"trustDomains": ["cluster.local"], "rules": [
            {"name": "search", "match": [{"paths": ["/search"]}], "mode": "shadow", "allow": principals(&[FRIEND])},
            {"name": "callers", "allow": principals(&[FRIEND, OTHER])},
            {"name": "late", "match": [{"paths": ["/late"]}], "allow": principals(&[FRIEND])},
        ]});
        let rate_limit = Discovered::new(&limits(3));
        let fault = json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": {"header_delay": {}, "percentage": {"numerator": 100}},
            },
        });
        let route = |name: &str| json!({"name": name, "match": [{"paths": [format!("/{name}")]}]});
        let routes = ["login", "users", "search", "down", "slow"].map(route);
        let metrics = json!({"exposeRoute": true, "routes": routes});
        let chain = [
            Plugin::new("route-metrics", metrics).named("titanium-prod.route-metrics").filter(),
            Plugin::new("mtls-identity", identity).named("titanium-prod.mtls-identity").filter(),
            rate_limit.filter(),
            fault,
        ];
        let to = |path: &str, cluster: &str| json!({"name": "default", "match": {"prefix": path}, "route": {"cluster": cluster}});
        let mut fields = json!({"route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [to("/down", "nobody"), to("/", "application")],
        }]}});
        fields.as_object_mut().expect("an object").extend(manager.as_object().cloned().unwrap_or_default());
        let listener = Listener::new("inbound", chain).tls(mesh.server(&mesh.issue(&[OWN]), true, true));
        clusters.push(of_service(application.cluster("application")));
        clusters.push(of_service(config::cluster("nobody", free_address())));
        let mut bootstrap = bootstrap(&[listener.connection_manager(fields)], clusters);
        bootstrap["application_log_config"] = json!({"log_format": {"text_format": LOG_FORMAT}});
        let envoy = Envoy::start(binary, 2, &bootstrap).await;
        Self { envoy, mesh, rate_limit, _application: application }
    }

    fn identity(&self, id: &str) -> Identity {
        Identity::new(Some(&self.mesh.issue(&[id])))
    }

    /// Sends requests of a caller on one connection; returns their statuses.
    pub(crate) async fn send(&self, caller: &str, requests: &[Request<Empty<Bytes>>]) -> Vec<u16> {
        let identity = self.identity(caller);
        let mut connection =
            Connection::open_tls(self.envoy.address("inbound"), &identity).await.expect("it may connect");
        let mut statuses = Vec::new();
        for request in requests {
            let answer = connection.send(request.clone()).await.expect("an answer");
            statuses.push(answer.status);
        }
        statuses
    }

    /// A client that sends what no library would.
    pub(crate) fn wire(&self, caller: &str) -> Wire {
        Wire::new(self.envoy.address("inbound"), Some(self.identity(caller)))
    }

    /// Pushes a configuration that rate-limit refuses, and waits until it did.
    pub(crate) async fn push_mistake(&self) {
        self.rate_limit.push(&limits(0));
        let refused = async || self.envoy.log().contains("event=configuration_refused");
        self.envoy.wait_until("the configuration is refused", refused).await;
    }
}

/// rate-limit: so many logins, and one call of a gRPC service.
fn limits(logins: u64) -> Plugin {
    let configuration = json!({"rules": [
        {"name": "login", "match": [{"paths": ["/login"]}], "limits": [{"requests": logins, "per": "1h"}]},
        {"name": "audit", "match": [{"paths": ["/titanium.Audit/*"]}], "limits": [{"requests": 1, "per": "1h"}]},
    ]});
    Plugin::new("rate-limit", configuration).named("titanium-prod.rate-limit")
}

/// A cluster as Istio describes it: whose service it is stands in its metadata.
fn of_service(mut cluster: Value) -> Value {
    cluster["metadata"] = json!({"filter_metadata": {"istio": {"services": [{"host": SERVICE}]}}});
    cluster
}

/// A request as a careless client sends it.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let path = format!("{path}?token={SECRET}&q=%22");
    let request = Request::builder().method(method).uri(path).header("host", "load-balancer");
    let request = request.header("cookie", format!("session={SECRET}")).header("authorization", SECRET);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(Empty::new())
        .expect("valid")
}

/// So many of them.
pub(crate) fn times(number: usize, method: &str, path: &str) -> Vec<Request<Empty<Bytes>>> {
    vec![request(method, path, &[]); number]
}
