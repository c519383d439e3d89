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

config_struct! {
    /// By what requests are told apart in metrics.
    pub struct Config {
        /// Classes of requests: the first one that a request fits counts; at most 2000. What fits none goes by the proxy's
        /// own route name.
        pub routes: Vec<RouteConfig> = or_default("routes"),
        /// How labels reach Prometheus. `labels` unless given.
        pub output: Output = or_default("output"),
        /// How many different sets of label values are told apart, in each worker; the rest is counted as `__other__`. At
        /// least the number of routes. 500 unless given.
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
    /// How labels reach Prometheus.
    #[derive(Default)]
    pub enum Output {
        /// As labels of their own; the proxy's `extraStatTags` must have them.
        #[default]
        Labels = "labels",
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
        assert_eq!(config, Config { routes: vec![], output: Output::Labels, max_series: None });
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
            (r#"{"output":"csv"}"#, "output: unknown value `csv`, expected `labels`"),
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
