//! How series are named, so that Prometheus sees labels.

use tollgate::stats::{label_value, stat_name};

use crate::{
    config::{Omit, Output},
    labels::Labels,
};

/// The names of one series' metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesNames {
    /// The counter of requests.
    pub requests: String,
    /// The histogram of their durations.
    pub duration: String,
    /// The histograms of the requests' and the responses' sizes.
    pub bytes: Option<(String, String)>,
}

impl SeriesNames {
    /// By `output`. `None` where there are no series.
    #[must_use]
    pub fn new(output: Output, omitted: &[Omit], labels: &Labels<'_>) -> Option<Self> {
        match output {
            Output::Labels => {
                let of_histograms = kept(&labels.of_histograms(), omitted);
                let has_bytes = !omitted.contains(&Omit::Bytes);
                Some(Self {
                    requests: stat_name("tollgate_requests_total", &kept(&labels.of_requests(), omitted)),
                    duration: stat_name("tollgate_request_duration_milliseconds", &of_histograms),
                    bytes: has_bytes.then(|| {
                        let name = |metric| stat_name(metric, &of_histograms);
                        (name("tollgate_request_bytes"), name("tollgate_response_bytes"))
                    }),
                })
            }
            Output::Compact => Some(Self {
                requests: compact(
                    labels.route,
                    Some(&[labels.direction, labels.decision, labels.source_workload].join(":")),
                    &["tollgate_rq_", three_digits(labels.response_code)].concat(),
                ),
                duration: compact(labels.route, Some(labels.direction), "tollgate_rq_time"),
                bytes: None,
            }),
            Output::FilterState => None,
        }
    }
}

/// The name of the gauge of requests in flight. `None` if it is left out.
#[must_use]
pub fn in_flight(output: Output, omitted: &[Omit], route: &str, direction: &str) -> Option<String> {
    if omitted.contains(&Omit::InFlight) {
        return None;
    }
    match output {
        Output::Labels => {
            let labels = kept(&[("route", route), ("direction", direction)], omitted);
            Some(stat_name("tollgate_requests_in_flight", &labels))
        }
        Output::Compact => Some(compact(route, Some(direction), "tollgate_rq_in_flight")),
        Output::FilterState => None,
    }
}

/// The name of the counter of requests that had to share a series.
#[must_use]
pub fn dropped(output: Output, filter: &str) -> String {
    match output {
        Output::Compact => ["wasm_filter.", filter, ".tollgate_series_dropped_total"].concat(),
        Output::Labels | Output::FilterState => stat_name("tollgate_series_dropped_total", &[("filter", filter)]),
    }
}

/// Those labels that are not left out.
fn kept<'a>(labels: &[(&'static str, &'a str)], omitted: &[Omit]) -> Vec<(&'static str, &'a str)> {
    let is_kept = |label: &str| !omitted.iter().any(|omit| omit.labels().contains(&label));
    labels.iter().copied().filter(|(label, _)| is_kept(label)).collect()
}

/// A status as Istio's expression for it wants it, `0` included.
fn three_digits(status: &str) -> &str {
    if status == "0" { "000" } else { status }
}

/// With what Istio's bootstrap makes labels of always: `wasm_filter.V.`, `component.V.`, `tag.V;.` and, at the end,
/// `_rq_200`.
fn compact(route: &str, tag: Option<&str>, metric: &str) -> String {
    let component = label_value(route).replace('.', "_");
    let tag = tag.map(|tag| ["tag.", &label_value(tag), ";."].concat()).unwrap_or_default();
    ["wasm_filter.route_metrics.component.", &component, ".", &tag, metric].concat()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn full_names_have_every_label() {
        let names = SeriesNames::new(Output::Labels, &[], &Labels::at_start("posts", "GET")).unwrap();
        assert_eq!(
            names.requests,
            "route=.=posts;.;method=.=GET;.;response_code=.=200;.;response_flags=.=-;.;grpc_status=.=-;.;\
             decision=.=allowed;.;source_workload=.=unknown;.;source_principal=.=unknown;.;\
             destination_service=.=unknown;.;direction=.=unknown;.;tollgate_requests_total"
        );
        assert_eq!(
            names.duration,
            "route=.=posts;.;method=.=GET;.;response_code=.=200;.;source_workload=.=unknown;.;\
             destination_service=.=unknown;.;direction=.=unknown;.;tollgate_request_duration_milliseconds"
        );
    }

    #[test]
    fn what_is_left_out_is_in_no_name() {
        let omitted = [Omit::Source, Omit::Direction, Omit::Bytes, Omit::InFlight, Omit::DestinationService];
        let names = SeriesNames::new(Output::Labels, &omitted, &Labels::at_start("posts", "GET")).unwrap();
        let duration = "route=.=posts;.;method=.=GET;.;response_code=.=200;.;tollgate_request_duration_milliseconds";
        assert_eq!((names.duration.as_str(), names.bytes), (duration, None));
        assert!(!names.requests.contains("source_"), "{}", names.requests);
        assert_eq!(in_flight(Output::Labels, &omitted, "posts", "inbound"), None);
        let labels = in_flight(Output::Labels, &[Omit::Direction], "posts", "inbound");
        assert_eq!(labels.as_deref(), Some("route=.=posts;.;tollgate_requests_in_flight"));
    }

    #[test]
    fn compact_names_have_what_istio_takes_for_labels() {
        let labels = Labels { response_code: "0", direction: "inbound", ..Labels::at_start("v1.posts", "GET") };
        let names = SeriesNames::new(Output::Compact, &[], &labels).unwrap();
        let prefix = "wasm_filter.route_metrics.component.v1_posts.tag.inbound";
        assert_eq!(names.requests, format!("{prefix}:allowed:unknown;.tollgate_rq_000"));
        assert_eq!(names.duration, format!("{prefix};.tollgate_rq_time"));
        assert_eq!(names.bytes, None);
        assert_eq!(
            in_flight(Output::Compact, &[], "v1.posts", "inbound"),
            Some(format!("{prefix};.tollgate_rq_in_flight"))
        );
    }

    #[test]
    fn filter_state_has_no_series() {
        assert_eq!(SeriesNames::new(Output::FilterState, &[], &Labels::other()), None);
        assert_eq!(in_flight(Output::FilterState, &[], "r", "inbound"), None);
    }
}
