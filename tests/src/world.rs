//! A small mesh that a real Prometheus scrapes: pods of one workload, each a real Envoy with the shipped modules in one
//! chain, an application behind them, and callers with certificates.
//!
//! The load is known to the last request: [`World::load`] says what was sent and what came back, so that whatever a query
//! says can be held against it. Usable from tests and from programs alike.

pub mod application;
pub mod caller;
pub mod load;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    artifacts::{self, EnvoyBinary},
    certificates::Authority,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    prometheus::{self, Prometheus},
    world::{
        application::Application,
        caller::Caller,
        load::{Call, Load},
    },
};

/// Where the workload lives.
pub const NAMESPACE: &str = "titanium-prod";
/// The workload.
pub const APP: &str = "load-balancer";
/// The label `destination_service` of what reaches the application.
pub const SERVICE: &str = "load-balancer.titanium-prod.svc.cluster.local";
/// The label `job` of everything that is scraped from sidecars.
pub const JOB: &str = "tollgate-sidecars";
/// Those who call, by service account. The last is one that nobody allowed to.
pub const CALLERS: [&str; 5] = ["api-gateway", "load-generator", "user-service", "blog-service", "batch"];
/// The classes of requests that route-metrics tells apart.
pub const ROUTES: [&str; 10] =
    ["login", "register", "users", "user", "posts", "post", "health", "home", "search", "audit"];

/// The configurations of the filters; what is `None` is not in the chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Of route-metrics.
    pub route_metrics: Option<Value>,
    /// Of mtls-identity.
    pub mtls_identity: Option<Value>,
    /// Of rate-limit.
    pub rate_limit: Option<Value>,
}

impl Default for Chain {
    /// Ten routes; callers of whom one is denied, and one more would be by a rule in shadow mode; limits that are reached,
    /// in shadow mode too, one by caller in a small table, and requests that no rule is for.
    fn default() -> Self {
        let on = |paths: &[&str]| json!([{"paths": paths}]);
        let route = |name: &str| {
            let paths = load::paths(name);
            json!({"name": name, "match": [{"paths": paths}]})
        };
        let principals = |names: &[&str]| -> Vec<String> { names.iter().map(|name| principal(name)).collect() };
        let hourly = |requests: u64| json!([{"requests": requests, "per": "1h"}]);
        Self {
            route_metrics: Some(json!({"routes": ROUTES.map(route)})),
            mtls_identity: Some(json!({
                "trustDomains": ["cluster.local"],
                "exempt": [{"paths": ["/health"]}],
                "rules": [
                    {"name": "search", "match": on(&["/search"]), "mode": "shadow",
                        "allow": [{"principals": principals(&CALLERS[..1])}]},
                    {"name": "callers", "allow": [{"principals": principals(&CALLERS[..4])}]},
                ],
            })),
            rate_limit: Some(json!({
                "exempt": [{"paths": ["/health"]}],
                "rules": [
                    {"name": "login", "match": on(&["/login"]), "limits": hourly(12)},
                    {"name": "search", "match": on(&["/search"]), "mode": "shadow", "limits": hourly(10)},
                    {"name": "audit", "match": on(&["/titanium.Audit/*"]), "limits": hourly(6)},
                    {"name": "api-keys", "match": on(&["/posts"]), "key": [{"header": "x-api-key"}], "slots": 16,
                        "limits": [{"requests": 1000, "per": "1d"}]},
                    {"name": "users", "match": on(&["/users", "/users/{id}"]), "limits": [{"requests": 100_000, "per": "1m"}]},
                ],
            })),
        }
    }
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Envoy in every pod.
    pub envoy: EnvoyBinary,
    /// How many pods.
    pub pods: usize,
    /// The filters in every pod.
    pub chain: Chain,
    /// Everything that Prometheus is told beside the pods.
    pub prometheus: prometheus::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            envoy: artifacts::newest_envoy(),
            pods: 1,
            chain: Chain::default(),
            prometheus: prometheus::Options::default(),
        }
    }
}

/// The running world; its parts end when it is dropped.
pub struct World {
    /// What scrapes the pods.
    pub prometheus: Prometheus,
    /// The pods' Envoys.
    pub pods: Vec<Envoy>,
    callers: Vec<Arc<Caller>>,
    application: Arc<Application>,
}

/// The SPIFFE ID of a service account of the workload's namespace.
pub fn principal(account: &str) -> String {
    format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/{account}")
}

/// The name of a pod.
pub fn pod_name(number: usize) -> String {
    format!("{APP}-6d4cf56db6-{number}")
}

impl World {
    /// Starts all of it, and waits until Prometheus has scraped every pod once.
    ///
    /// # Panics
    /// A part did not start: with its log.
    pub async fn start(options: Options) -> Self {
        let mesh = Authority::default();
        let application = Arc::new(Application::start().await);
        let bootstrap = pod(&mesh, &options.chain, application.address());
        let mut pods = Vec::new();
        for _ in 0..options.pods {
            pods.push(Envoy::start(&options.envoy, 2, &bootstrap).await);
        }
        let mut configuration = options.prometheus;
        configuration.scrapes.push(scrape(pods.iter().map(Envoy::admin)));
        let prometheus = Prometheus::start(&configuration).await;
        let callers = CALLERS.map(|name| Arc::new(Caller::new(name, &mesh.issue(&[&principal(name)]))));
        let world = Self { prometheus, pods, callers: callers.into(), application };
        let up = format!("sum(up{{job=\"{JOB}\"}}) == {}", options.pods);
        let scraped = async || !world.prometheus.query(&up).await.is_empty();
        world.prometheus.wait_until("every pod is scraped", Duration::from_secs(10), scraped).await;
        world
    }

    /// Sends the calls, several at once, and says what became of them. Prometheus knows of it one scrape later: see
    /// [`Self::settle`].
    pub async fn load(&self, calls: &[Call]) -> Load {
        let addresses = self.pods.iter().map(|pod| pod.address("inbound")).collect();
        load::run(addresses, &self.callers, &self.application, calls).await
    }

    /// Waits until Prometheus has as many requests as were sent in all since the start.
    ///
    /// # Panics
    /// It never does.
    pub async fn settle(&self, requests: u64) {
        let counted = async || {
            let counted = self.prometheus.value("sum(tollgate_requests_total)").await;
            let measured = self.prometheus.value("sum(tollgate_request_duration_milliseconds_count)").await;
            [counted, measured].map(|number| number.round() as u64) == [requests; 2]
        };
        let what = format!("{requests} requests are in Prometheus");
        self.prometheus.wait_until(&what, Duration::from_secs(10), counted).await;
    }
}

/// The bootstrap of a pod's Envoy.
fn pod(mesh: &Authority, chain: &Chain, application: SocketAddr) -> Value {
    let own = mesh.issue(&[&principal(APP)]);
    let filters = [
        ("route-metrics", &chain.route_metrics),
        ("mtls-identity", &chain.mtls_identity),
        ("rate-limit", &chain.rate_limit),
    ];
    let filters = filters.into_iter().filter_map(|(module, configuration)| {
        // As Istio names them, each in a VM of its own.
        Some(Plugin::new(module, configuration.as_ref()?).named(&format!("{NAMESPACE}.{module}")).filter())
    });
    let listener = Listener::new("inbound", filters).tls(mesh.server(&own, true, true)).to_cluster("inbound|8080||");
    bootstrap(&[listener], vec![cluster(application)])
}

/// The application's cluster as Istio describes it: whose service it is stands in its metadata.
fn cluster(application: SocketAddr) -> Value {
    let mut cluster = crate::config::cluster("inbound|8080||", application);
    cluster["metadata"] = json!({"filter_metadata": {"istio": {"services": [{"host": SERVICE, "name": APP}]}}});
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    cluster
}

/// The pods as scrape targets, with the labels that the shipped PodMonitor gives them.
fn scrape(admins: impl Iterator<Item = SocketAddr>) -> Value {
    let target = |(number, address): (usize, SocketAddr)| {
        json!({
            "targets": [address.to_string()],
            "labels": {"namespace": NAMESPACE, "pod": pod_name(number), "app": APP},
        })
    };
    json!({
        "job_name": JOB,
        "metrics_path": "/stats/prometheus",
        "static_configs": admins.enumerate().map(target).collect::<Vec<_>>(),
    })
}
