//! The `pluginConfig` of `route-metrics`.

use serde::Deserialize;
use tollgate::{
    config::{self, ConfigError, Count},
    name::Name,
    route::RouteMatch,
};

/// Fits a sidecar of 256 MiB many times over: a series is a counter and a share of a histogram.
const DEFAULT_SERIES: u64 = 500;
const MOST_SERIES: u64 = 100_000;

/// The parsed `pluginConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Classes of requests; first match wins. What matches none goes by the proxy's own route name.
    pub routes: Vec<RouteConfig>,
    /// How labels reach Prometheus.
    pub output: Output,
    /// How many different sets of label values are told apart.
    pub max_series: usize,
}

/// A class of requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteConfig {
    /// The value of the label `route`.
    pub name: Name,
    /// Alternatives, of which one must hold; none means every request.
    #[serde(default, rename = "match")]
    pub matches: Vec<RouteMatch>,
}

/// How labels reach Prometheus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// As labels of their own; the proxy's `extraStatTags` must have them.
    #[default]
    Labels,
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. The empty one goes by the proxy's own route names.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Config {
            #[serde(default)]
            routes: Vec<RouteConfig>,
            #[serde(default)]
            output: Output,
            max_series: Option<Count>,
        }

        let Config { routes, output, max_series } = config::parse(bytes)?;
        let max_series = max_series.map_or(DEFAULT_SERIES, Count::get);
        if max_series > MOST_SERIES {
            return Err(ConfigError::at("maxSeries", format!("must be at most {MOST_SERIES}, found {max_series}")));
        }
        let max_series = usize::try_from(max_series).unwrap_or(usize::MAX);
        if routes.len() > max_series {
            let reason = format!("must be at least the number of routes, {}, found {max_series}", routes.len());
            return Err(ConfigError::at("maxSeries", reason));
        }
        let named: Vec<_> = routes.iter().map(|route| (&route.name, route.matches.as_slice())).collect();
        config::check_rules("routes", &named)?;
        Ok(Self { routes, output, max_series })
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
        assert_eq!(config, Config { routes: vec![], output: Output::Labels, max_series: 500 });
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
            (r#"{"output":"csv"}"#, "output: unknown variant `csv`, expected `labels`"),
            (
                r#"{"routes":[{"name":"__other__"}]}"#,
                "routes[0].name: invalid name `__other__`: use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit",
            ),
        ] {
            assert_eq!(Config::parse(json.as_bytes()).unwrap_err().to_string(), message, "{json}");
        }
    }
}
