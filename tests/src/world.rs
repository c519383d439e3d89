//! A small mesh that a real Prometheus scrapes: pods of one workload, each a real Envoy with the shipped modules in one
//! chain, an application behind them, and callers with certificates.
//!
//! The load is known to the last request: [`World::load`] says what was sent and what came back, so that whatever a query
//! says can be held against it. Usable from tests and from programs alike.

pub mod application;
pub mod caller;
pub mod load;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    artifacts::{self, EnvoyBinary},
    certificates::Authority,
    config::{Discovered, Listener, Plugin, bootstrap},
    envoy::Envoy,
    monitoring,
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
/// The shipped modules, in the order of the chain.
pub const MODULES: [&str; 3] = ["route-metrics", "mtls-identity", "rate-limit"];
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
    /// Whether rate-limit is the build that a response of status 418 crashes, and lets requests pass from then on.
    pub rate_limit_crashes: bool,
}

impl Chain {
    /// Limits that nobody reaches, and rules that all have something to do: nobody needs to be woken.
    pub fn healthy() -> Self {
        Self {
            rate_limit: Some(json!({"rules": [{"name": "all", "limits": [{"requests": 1_000_000, "per": "1m"}]}]})),
            mtls_identity: Some(json!({
                "trustDomains": ["cluster.local"],
                "rules": [{"name": "callers", "allow": [{"namespaces": [NAMESPACE]}]}],
            })),
            ..Self::default()
        }
    }

    fn plugin(&self, module: &'static str) -> Option<Plugin> {
        let configuration = match module {
            "route-metrics" => self.route_metrics.as_ref()?,
            "mtls-identity" => self.mtls_identity.as_ref()?,
            _ => self.rate_limit.as_ref()?,
        };
        // As Istio names them.
        let name = format!("{NAMESPACE}.{module}");
        Some(match module == "rate-limit" && self.rate_limit_crashes {
            true => Plugin::of(artifacts::crash(), &name, configuration).failing_open(),
            false => Plugin::new(module, configuration).named(&name),
        })
    }
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
            rate_limit_crashes: false,
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
    /// How many more whose Envoys have no stats tags, and get no load.
    pub untagged_pods: usize,
    /// For how much longer the callers' certificates are valid.
    pub certificates_last: Duration,
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
            untagged_pods: 0,
            certificates_last: Duration::from_secs(24 * 3600),
            chain: Chain::default(),
            prometheus: prometheus::Options::default(),
        }
    }
}

/// The running world; its parts end when it is dropped.
pub struct World {
    /// What scrapes the pods.
    pub prometheus: Prometheus,
    /// The pods' Envoys; those without stats tags come last.
    pub pods: Vec<Envoy>,
    loaded: usize,
    filters: BTreeMap<&'static str, Discovered>,
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
        let filters: BTreeMap<_, _> = MODULES
            .into_iter()
            .filter_map(|module| Some((module, Discovered::named(module, &options.chain.plugin(module)?))))
            .collect();
        let chain = MODULES.into_iter().filter_map(|module| Some(filters.get(module)?.filter()));
        let own = mesh.issue(&[&principal(APP)]);
        let listener = Listener::new("inbound", chain).tls(mesh.server(&own, true, true)).to_cluster("inbound|8080||");
        let mut configuration = bootstrap(&[listener], vec![cluster(application.address())]);
        let mut pods = Vec::new();
        for _ in 0..options.pods {
            pods.push(Envoy::start(&options.envoy, 2, &configuration).await);
        }
        configuration["stats_config"] = json!({});
        for _ in 0..options.untagged_pods {
            pods.push(Envoy::start(&options.envoy, 1, &configuration).await);
        }
        let mut scraping = options.prometheus;
        let target = |(number, pod): (usize, &Envoy)| {
            (pod.admin(), monitoring::discovered_sidecar(NAMESPACE, &pod_name(number), APP))
        };
        let targets: Vec<_> = pods.iter().enumerate().map(target).collect();
        scraping.scrapes.push(monitoring::scrape_job(JOB, &targets));
        let prometheus = Prometheus::start(&scraping).await;
        let expires = SystemTime::now() + options.certificates_last;
        let callers = CALLERS.map(|name| {
            let leaf = mesh.issue_so(&[&principal(name)], |params| params.not_after = expires.into());
            Arc::new(Caller::new(name, &leaf))
        });
        let loaded = options.pods;
        let world = Self { prometheus, pods, loaded, filters, callers: callers.into(), application };
        let up = format!("sum(up{{job=\"{JOB}\"}}) == {}", world.pods.len());
        let scraped = async || !world.prometheus.query(&up).await.is_empty();
        world.prometheus.wait_until("every pod is scraped", Duration::from_secs(10), scraped).await;
        world
    }

    /// Sends the calls, several at once, and says what became of them. Prometheus knows of it one scrape later: see
    /// [`Self::settle`].
    pub async fn load(&self, calls: &[Call]) -> Load {
        let addresses = self.pods.iter().take(self.loaded).map(|pod| pod.address("inbound")).collect();
        load::run(addresses, &self.callers, &self.application, calls).await
    }

    /// Gives a module another configuration in every pod, as istiod does when a WasmPlugin is changed. Pods take it soon
    /// after, or refuse it.
    ///
    /// # Panics
    /// The module is in no chain.
    pub fn push(&self, module: &'static str, configuration: &Value) {
        let plugin = Plugin::new(module, configuration).named(&format!("{NAMESPACE}.{module}"));
        self.filters.get(module).expect("a module of the chain").push(&plugin);
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
