//! The glue between the labels and Envoy's metrics.

use host::{Counter, Flow, Gauge, Histogram, HostRequest, Plugin, Root};
use tollgate::{
    config::ConfigError,
    metadata::istio_service_host,
    request::{Attribute, Direction, Request, attribute_u64},
    route::RouteTable,
    stats::stat_name,
};

use crate::{
    config::Config,
    labels::{self, Labels, UNKNOWN},
    series::{Found, SeriesTable},
};

host::export!(RouteMetrics: on_request_headers, on_log);

struct RouteMetrics {
    routes: RouteTable,
    names: Vec<String>,
    series: SeriesTable<Series>,
    dropped: Counter,
    info: Gauge,
}

#[derive(Clone, Copy)]
struct Series {
    requests: Counter,
    duration: Histogram,
}

impl Series {
    fn define(labels: &Labels) -> Self {
        Self {
            requests: Counter::define(&stat_name("tollgate_requests_total", &labels.of_requests())),
            duration: Histogram::define(&stat_name("tollgate_request_duration_milliseconds", &labels.of_histograms())),
        }
    }
}

/// What is known at a request's start and must not be taken from what later filters made of it.
struct Stream {
    route: Option<usize>,
    method: &'static str,
}

impl Plugin for RouteMetrics {
    type Stream = Stream;

    const NAME: &str = "route_metrics";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        host::log_unreachable_rules(root, Self::NAME, config.warnings());
        for route in &config.routes {
            // So that a dashboard has something to show before the first request.
            let method = route.matches.iter().flat_map(|route| &route.methods).next();
            let method = method.map_or("GET", |method| labels::method(Some(method.as_str().as_bytes())));
            let _ = Series::define(&Labels::at_start(route.name.as_str(), method));
        }
        Ok(Self {
            routes: RouteTable::new(config.routes.iter().map(|route| route.matches.as_slice())),
            names: config.routes.iter().map(|route| route.name.as_str().to_owned()).collect(),
            series: SeriesTable::new(config.max_series(), Series::define(&Labels::other())),
            dropped: Counter::define(&stat_name("tollgate_series_dropped_total", &[("filter", Self::NAME)])),
            info: host::config_info(Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<Stream>) {
        let stream = Stream { route: self.routes.find(request).rule, method: labels::method(request.method()) };
        (Flow::Continue, Some(stream))
    }

    fn on_log(&mut self, request: &HostRequest, stream: Option<Stream>) {
        let duration = request.attribute(Attribute::RequestDuration).and_then(attribute_u64).unwrap_or(0) / 1_000_000;
        let series = self.find(request, stream);
        series.requests.increment();
        series.duration.record(duration);
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    fn on_unconfigured() -> Flow {
        Flow::Continue
    }
}

impl RouteMetrics {
    fn find(&mut self, request: &HostRequest, stream: Option<Stream>) -> Series {
        // A request that ended before its headers were complete has no stream.
        let method = stream
            .as_ref()
            .map_or_else(|| labels::method(request.attribute(Attribute::RequestMethod)), |stream| stream.method);
        let class = stream.and_then(|stream| stream.route).and_then(|route| self.names.get(route));
        let route = class.map(String::as_str).unwrap_or_else(|| proxy_route(request));
        let code = labels::response_code(request);
        let flags = request.attribute(Attribute::ResponseFlags).and_then(attribute_u64).unwrap_or(0);
        let source = labels::source(request);
        let direction = Direction::of(request).as_str();
        let cluster = request.attribute(Attribute::ClusterName).unwrap_or_default();

        // Parts that could run into each other are last or of fixed length; a route's name has no zero byte.
        let mut key = Vec::with_capacity(160);
        key.extend(code.to_le_bytes());
        key.extend(flags.to_le_bytes());
        let (trust_domain, path) = source.map_or(("", ""), |id| (id.trust_domain(), id.path()));
        for part in [route, method, direction, trust_domain, path] {
            key.extend(part.as_bytes());
            key.push(0);
        }
        key.extend(cluster);

        let found = self.series.find(&key, || {
            let destination = request.attribute(Attribute::ClusterMetadata).and_then(istio_service_host);
            Series::define(&Labels {
                route: route.to_owned(),
                method,
                response_code: code.to_string(),
                response_flags: labels::response_flags(flags),
                source_workload: source
                    .and_then(|id| id.kubernetes())
                    .map_or(UNKNOWN, |(_, account)| account)
                    .to_owned(),
                source_principal: source.map_or_else(|| UNKNOWN.to_owned(), |id| id.to_string()),
                destination_service: destination.unwrap_or_else(|| UNKNOWN.to_owned()),
                direction,
            })
        });
        match found {
            Found::Own(series) => series,
            Found::Other(series) => {
                self.dropped.increment();
                series
            }
        }
    }
}

/// The name of the proxy's own route, where it has one that says anything.
fn proxy_route(request: &HostRequest) -> &str {
    let name = request.attribute(Attribute::RouteName).and_then(|name| core::str::from_utf8(name).ok());
    name.unwrap_or("default")
}
