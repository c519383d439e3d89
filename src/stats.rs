//! Names of stats that carry labels through Envoy's tag extraction.
//!
//! Envoy's stats have no labels of their own; regular expressions cut them out of the name. Tollgate's names are
//! `key=.=value;.;` for each label and then the metric's name; with Istio's `extraStatTags` (or Envoy's
//! `stats_tags`) for each key, Prometheus sees a metric with labels. Those expressions, and Istio's own, look anywhere
//! in the name, so a value must not contain what they look for.

/// Every label that a metric of Tollgate's may have: what `extraStatTags` must list.
pub const LABELS: [&str; 16] = [
    "rule",
    "decision",
    "reason",
    "route",
    "method",
    "response_code",
    "response_flags",
    "grpc_status",
    "source_workload",
    "source_principal",
    "destination_service",
    "direction",
    "filter",
    "plugin",
    "version",
    "config_hash",
];

/// Substrings that some tag expression of Istio's default bootstrap takes for its own.
const BAIT: &[&str] = &[
    "=.=",
    "tag.",
    "cache.",
    "component.",
    "wasm_filter.",
    "rbac.allowed",
    "rbac.denied",
    ".shadow_",
    ".istio_dry_run_",
];

/// The longest value of a label, in bytes; longer ones are cut.
const LONGEST_VALUE: usize = 256;

/// The name of the stat `metric` with `labels`, in order.
#[must_use]
pub fn stat_name(metric: &str, labels: &[(&str, &str)]) -> String {
    let mut name = String::with_capacity(128);
    for (key, value) in labels {
        name.push_str(key);
        name.push_str("=.=");
        name.push_str(&label_value(value));
        name.push_str(";.;");
    }
    name.push_str(metric);
    name
}

/// The labels that no tag of these is for.
#[must_use]
pub fn labels_without_tag(tags: &[&[u8]]) -> Vec<&'static str> {
    LABELS.into_iter().filter(|label| !tags.contains(&label.as_bytes())).collect()
}

/// The hash in the label `config_hash`: FNV-1a of the configuration's bytes as Envoy hands them over. It tells
/// configurations apart for people and for `tollgate doctor`, no more.
#[must_use]
pub fn config_hash(configuration: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", configuration.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// `value` as it may stand in a name: without control characters and `;`, and without what a tag expression would bite.
#[must_use]
pub fn label_value(value: &str) -> String {
    let mut safe = String::with_capacity(value.len());
    for c in value.chars() {
        if safe.len() >= LONGEST_VALUE {
            break;
        }
        safe.push(if c.is_control() || c == ';' { '_' } else { c });
    }
    let mut safe = safe.into_bytes();
    for bait in BAIT {
        // Each round takes a dot away, so there is a last one.
        while let Some(at) = safe.windows(bait.len()).position(|window| window == bait.as_bytes()) {
            for byte in safe.iter_mut().skip(at).take(bait.len()).filter(|byte| **byte == b'.') {
                *byte = b'_';
            }
        }
    }
    if safe.is_empty() { "unknown".to_owned() } else { String::from_utf8_lossy(&safe).into_owned() }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn puts_labels_first_and_the_metric_last() {
        assert_eq!(
            stat_name("tollgate_requests_total", &[("response_code", "200"), ("route", "posts")]),
            "response_code=.=200;.;route=.=posts;.;tollgate_requests_total"
        );
    }

    #[test]
    fn no_label_ends_in_another() {
        // The expression for the shorter one would find it inside of the longer one.
        for (one, other) in LABELS.iter().flat_map(|one| LABELS.iter().map(move |other| (one, other))) {
            assert!(one == other || !one.ends_with(other), "{one} {other}");
        }
    }

    #[test]
    fn says_which_labels_have_no_tag() {
        let all = LABELS.map(str::as_bytes);
        assert_eq!(labels_without_tag(&all), Vec::<&str>::new());
        let missing = labels_without_tag(&[&b"route"[..], b"other"]);
        assert!(missing.len() == 15 && !missing.contains(&"route"), "{missing:?}");
    }

    #[test]
    fn a_configuration_has_the_hash_that_was_seen_in_a_proxy() {
        let seen = r#"{"rules":[{"limits":[{"per":"1m","requests":100}],"name":"load-balancer"}]}"#;
        assert_eq!(config_hash(seen.as_bytes()), "1c139ac948768f3c");
        assert_eq!(config_hash(b""), "cbf29ce484222325");
    }

    #[test]
    fn a_value_cannot_pass_for_another_label() {
        for (value, safe) in [
            ("", "unknown"),
            ("a;.;route=.=x", "a_._route=_=x"),
            ("stag.example.com", "stag_example.com"),
            ("x.wasm_filter.y", "x.wasm_filter_y"),
            ("rbac.allowed", "rbac_allowed"),
            ("line\nfeed", "line_feed"),
            ("=.=.=", "=_=_="),
        ] {
            assert_eq!(stat_name("m", &[("k", value)]), format!("k=.={safe};.;m"), "{value}");
        }
        assert!(stat_name("m", &[("k", &"é".repeat(10_000))]).len() < 300);
    }
}
