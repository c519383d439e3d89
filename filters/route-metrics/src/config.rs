//! The `pluginConfig` of `route-metrics`.

use tollgate::{
    config::{self, ConfigError, Warning, Whole},
    config_enum, config_struct,
    name::Name,
    route::RouteMatch,
};

/// Fits a sidecar of 256 MiB many times over: a series is a counter and a share of a histogram.
const DEFAULT_SERIES: usize = 500;
const MOST_SERIES: u64 = 100_000;
/// Five classes of status, one for none, two of them turned away by Tollgate, and six statuses of gRPC.
const SERIES_OF_A_ROUTE: usize = 14;
const LEAST_COARSE_SERIES: usize = 64;

config_struct! {
    /// By what requests are told apart in metrics.
    pub struct Config {
        /// Classes of requests: the first one that a request fits counts; at most 2000. What fits none goes by the proxy's
        /// own route name.
        pub routes: Vec<RouteConfig> = or_default("routes"),
        /// How labels reach Prometheus. `labels` unless given.
        pub output: Output = or_default("output"),
        /// Labels and metrics to leave out. What is left out is not read either, and reading is most of what this filter costs.
        pub omit: Vec<Omit> = or_default("omit"),
        /// Whether the request's route is put into the filter state `wasm.tollgate_route` as well, for access logs and
        /// traces. Always with `output: filterState`.
        pub expose_route: bool = or_default("exposeRoute"),
        /// How many different sets of label values are told apart, in each worker. What comes then is counted by route, class
        /// of status and decision, with `__other__` for the rest. At least the number of routes. 500 unless given.
        pub max_series: Option<Whole<1, MOST_SERIES>> = optional("maxSeries"),
    }
}

config_struct! {
    /// A class of requests.
    pub struct RouteConfig {
        /// The value of the label `route`: 1 to 63 letters, digits, `-`, `_` and `.`, each name once.
        pub name: Name = required("name"),
        /// Alternatives, of which one must hold. Every request unless given.
        pub matches: Vec<RouteMatch> = or_default("match"),
    }
}

config_enum! {
    /// What can be left out.
    pub enum Omit {
        /// The label `method`.
        Method = "method",
        /// The label `response_flags`.
        ResponseFlags = "response_flags",
        /// The label `grpc_status`.
        GrpcStatus = "grpc_status",
        /// The label `decision`.
        Decision = "decision",
        /// The labels `source_workload` and `source_principal`.
        Source = "source",
        /// The label `destination_service`.
        DestinationService = "destination_service",
        /// The label `direction`.
        Direction = "direction",
        /// The histograms of sizes.
        Bytes = "bytes",
        /// The gauge of requests in flight.
        InFlight = "in_flight",
    }
}

config_enum! {
    /// How labels reach Prometheus.
    #[derive(Default)]
    pub enum Output {
        /// As labels of their own; the proxy's `extraStatTags` must have them.
        #[default]
        Labels = "labels",
        /// As the few labels that Istio's proxies know without `extraStatTags`: `component` is the route, `tag` the direction,
        /// the decision and the caller's workload, `response_code` the status; no sizes.
        Compact = "compact",
        /// Not as metrics of Tollgate's: the route goes to the filter state `wasm.tollgate_route`, from where Istio's Telemetry
        /// can make it a label of Istio's own metrics.
        FilterState = "filterState",
    }
}

impl Omit {
    /// The labels that go.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Method => &["method"],
            Self::ResponseFlags => &["response_flags"],
            Self::GrpcStatus => &["grpc_status"],
            Self::Decision => &["decision"],
            Self::Source => &["source_workload", "source_principal"],
            Self::DestinationService => &["destination_service"],
            Self::Direction => &["direction"],
            Self::Bytes | Self::InFlight => &[],
        }
    }
}

impl Output {
    /// As a configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Compact => "compact",
            Self::FilterState => "filterState",
        }
    }
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. The empty one goes by the proxy's own route names.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = config::parse(bytes)?;
        let (routes, max_series) = (config.routes.len(), config.max_series());
        if routes > max_series {
            let reason = format!("must be at least the number of routes, {routes}, found {max_series}");
            return Err(ConfigError::at("maxSeries", reason));
        }
        config::check_rules("routes", &config.named())?;
        Ok(config)
    }

    /// Routes that no request can reach.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        config::unreachable_rules("routes", &self.named())
    }

    /// How many different sets of label values are told apart.
    #[must_use]
    pub fn max_series(&self) -> usize {
        self.max_series.map_or(DEFAULT_SERIES, |most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }

    /// What is left out: by the user, or by the output.
    #[must_use]
    pub fn omitted(&self) -> Vec<Omit> {
        let by_output: &[Omit] = match self.output {
            Output::Compact => {
                &[Omit::Method, Omit::ResponseFlags, Omit::GrpcStatus, Omit::DestinationService, Omit::Bytes]
            }
            Output::Labels | Output::FilterState => &[],
        };
        self.omit.iter().chain(by_output).copied().collect()
    }

    /// For how many sets of a route, a class of status and a decision there is room when that is used up.
    #[must_use]
    pub fn coarse_series(&self) -> usize {
        self.routes.len().saturating_add(1).saturating_mul(SERIES_OF_A_ROUTE).max(LEAST_COARSE_SERIES)
    }

    fn named(&self) -> Vec<(&Name, &[RouteMatch])> {
        self.routes.iter().map(|route| (&route.name, route.matches.as_slice())).collect()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn nothing_means_the_proxys_own_routes() {
        let config = Config::parse(b"").unwrap();
        assert_eq!(
            config,
            Config { routes: vec![], output: Output::Labels, omit: vec![], expose_route: false, max_series: None }
        );
        assert_eq!(config.max_series(), 500);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (json, message) in [
            (r#"{"routes":[{"name":"a"},{"name":"a"}]}"#, "routes[1].name: `a` is the name of an earlier one"),
            (r#"{"maxSeries":100001}"#, "maxSeries: must be at most 100000, found 100001"),
            (
                r#"{"maxSeries":1,"routes":[{"name":"a"},{"name":"b"}]}"#,
                "maxSeries: must be at least the number of routes, 2, found 1",
            ),
            (r#"{"output":"csv"}"#, "output: unknown value `csv`, expected one of `labels`, `compact`, `filterState`"),
            (
                r#"{"routes":[{"name":"__other__"}]}"#,
                "routes[0].name: invalid name `__other__`: use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit",
            ),
        ] {
            assert_eq!(Config::parse(json.as_bytes()).unwrap_err().to_string(), message, "{json}");
        }
    }
    #[test]
    fn a_route_that_no_request_can_reach_is_a_warning() {
        let json =
            r#"{"routes":[{"name":"a","match":[{"paths":["/a/*"]}]},{"name":"b","match":[{"paths":["/a/b"]}]}]}"#;
        let warnings = Config::parse(json.as_bytes()).unwrap().warnings();
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(warning.path, "routes[1]");
        assert_eq!(warning.reason, "can never match: route `a` before it takes all that it would");
    }
}
