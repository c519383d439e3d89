//! The glue between the observer and Envoy's metrics.

use host::{Counter, Flow, Gauge, Histogram, HostRequest, LogLevel, Plugin, Root};
use rustc_hash::FxHashMap;
use tollgate::{config::ConfigError, logfmt::Line, request::Direction, stats};

use crate::{
    config::{Config, Omit, Output},
    labels::{self, Labels},
    names::{self, SeriesNames},
    observer::{Arrival, Key, Observer},
    series::{Found, SeriesTable},
};

host::export!(RouteMetrics: on_request_headers, on_log);

struct RouteMetrics {
    output: Output,
    omitted: Vec<Omit>,
    exposes_route: bool,
    observer: Observer,
    series: SeriesTable<Key, Option<Series>>,
    in_flight: FxHashMap<(u32, Option<Direction>), Option<Gauge>>,
    dropped: Counter,
    info: Gauge,
}

#[derive(Clone, Copy)]
struct Series {
    requests: Counter,
    duration: Histogram,
    bytes: Option<(Histogram, Histogram)>,
}

impl Series {
    fn define(output: Output, omitted: &[Omit], labels: &Labels<'_>) -> Option<Self> {
        let names = SeriesNames::new(output, omitted, labels)?;
        let bytes =
            names.bytes.map(|(requests, responses)| (Histogram::define(&requests), Histogram::define(&responses)));
        Some(Self { requests: Counter::define(&names.requests), duration: Histogram::define(&names.duration), bytes })
    }
}

/// A request that is under way.
struct Stream {
    arrival: Arrival,
    in_flight: Option<Gauge>,
}

impl Plugin for RouteMetrics {
    type Stream = Stream;

    const NAME: &str = "route_metrics";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        host::log_unreachable_rules(root, Self::NAME, config.warnings());
        announce(root, config.output, configuration);
        let omitted = config.omitted();
        for route in &config.routes {
            // So that a dashboard has something to show before the first request.
            let method = route.matches.iter().flat_map(|route| &route.methods).next();
            let method = method.map_or("GET", |method| labels::method(Some(method.as_str().as_bytes())));
            let _ = Series::define(config.output, &omitted, &Labels::at_start(route.name.as_str(), method));
        }
        Ok(Self {
            output: config.output,
            exposes_route: config.expose_route || config.output == Output::FilterState,
            observer: Observer::new(&config),
            series: SeriesTable::new(
                config.max_series(),
                config.coarse_series(),
                Series::define(config.output, &omitted, &Labels::other()),
            ),
            in_flight: FxHashMap::default(),
            dropped: Counter::define(&names::dropped(config.output, Self::NAME)),
            omitted,
            info: host::config_info(root, Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<Stream>) {
        request.read_headers();
        let bytes = request.has_no_body().then(|| request.header_bytes()).and_then(|bytes| u64::try_from(bytes).ok());
        let arrival = self.observer.arrive(request, bytes, host::now());
        if self.exposes_route {
            host::set_property("tollgate_route", self.observer.route(arrival.route()));
        }
        if self.output == Output::FilterState {
            return (Flow::Continue, None);
        }
        let in_flight = self.in_flight(arrival.route(), arrival.direction());
        if let Some(in_flight) = in_flight {
            in_flight.add(1);
        }
        (Flow::Continue, Some(Stream { arrival, in_flight }))
    }

    fn on_log(&mut self, request: &HostRequest, stream: Option<Stream>) {
        if self.output == Output::FilterState {
            return;
        }
        if let Some(in_flight) = stream.as_ref().and_then(|stream| stream.in_flight) {
            in_flight.add(-1);
        }
        let arrival = stream.as_ref().map(|stream| &stream.arrival);
        let ending = self.observer.end(request, arrival, host::now());
        let define = |key: Key| self.observer.labels(&key, |labels| Series::define(self.output, &self.omitted, labels));
        let series = match self.series.find(ending.key, define) {
            Found::Own(series) => series,
            Found::Shared(series) => {
                self.dropped.increment();
                series
            }
        };
        let Some(series) = series else { return };
        series.requests.increment();
        series.duration.record(ending.milliseconds);
        if let (Some((requests, responses)), Some((request, response))) = (series.bytes, ending.bytes) {
            requests.record(request);
            responses.record(response);
        }
    }

    fn on_abandoned(&mut self, stream: Stream) {
        if let Some(in_flight) = stream.in_flight {
            in_flight.add(-1);
        }
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    fn on_unconfigured() -> Flow {
        Flow::Continue
    }
}

impl RouteMetrics {
    /// The gauge of requests in flight on a route.
    fn in_flight(&mut self, route: u32, direction: Option<Direction>) -> Option<Gauge> {
        *self.in_flight.entry((route, direction)).or_insert_with(|| {
            let direction = direction.map_or(labels::UNKNOWN, Direction::as_str);
            names::in_flight(self.output, &self.omitted, self.observer.route(route), direction)
                .map(|name| Gauge::define(&name))
        })
    }
}

/// Says, once in a proxy for each configuration, how the labels will come out, and what is missing for that.
fn announce(root: &Root, output: Output, configuration: &[u8]) {
    let tags = host::istio_stat_tags();
    let missing = match &tags {
        Some(tags) if output == Output::Labels => {
            stats::labels_without_tag(&tags.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        _ => Vec::new(),
    };
    if tags.is_some() {
        // Without labels of its own, so that it can be seen whatever is missing.
        Gauge::define("tollgate_stats_tags_missing").record(u64::try_from(missing.len()).unwrap_or(u64::MAX));
    }
    let key = ["tollgate/route-metrics/1/announced/", &root.name, "/", &root.root_id].concat();
    if !host::is_news(key.as_bytes(), host::config_hash(configuration).as_bytes()) {
        return;
    }
    let known = match (&tags, missing.is_empty()) {
        (None, _) => "unknown",
        (Some(_), true) => "complete",
        (Some(_), false) => "incomplete",
    };
    let line = Line::new("in_force", RouteMetrics::NAME).field("plugin", &root.name).field("output", output.as_str());
    host::log(LogLevel::Info, &line.field("stats_tags", known));
    if !missing.is_empty() {
        let line = Line::new("stats_tags_missing", RouteMetrics::NAME).field("plugin", &root.name);
        let cure = "list them under extraStatTags in the annotation proxy.istio.io/config and restart the pod, or set output: compact";
        host::log(LogLevel::Warn, &line.field("missing", missing.join(",")).field("cure", cure));
    }
}
