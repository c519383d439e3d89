//! Clock, log and filter state.

use tollgate::{
    config::Warning,
    logfmt::Line,
    store::{SharedStore as _, Swap},
    time::Instant,
};

use crate::{Root, SharedData, abi, pairs};

/// How many warnings of one configuration are logged: each worker says them again.
const MOST_WARNINGS: usize = 10;

/// Levels of Envoy's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For decisions that somebody may look for.
    Info = 2,
    /// For what somebody should mend.
    Warn = 3,
    /// For a configuration refused.
    Error = 4,
}

/// Writes one line to Envoy's log.
pub fn log(level: LogLevel, line: &Line) {
    abi::write_log(level as u32, line.as_str());
}

/// Logs the first of a configuration's rules that no request can reach.
pub fn log_unreachable_rules(root: &Root, filter: &str, warnings: Vec<Warning>) {
    for warning in warnings.iter().take(MOST_WARNINGS) {
        let line = Line::new("unreachable_rule", filter).field("plugin", &root.name);
        log(LogLevel::Warn, &line.field("path", &warning.path).field("reason", &warning.reason));
    }
}

/// The host's monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(abi::monotonic_nanos())
}

/// Seconds since 1970, by the host's wall clock.
#[must_use]
pub fn unix_seconds() -> u64 {
    abi::unix_nanos() / 1_000_000_000
}

/// Puts `value` into the request's filter state as `wasm.<name>`, for access logs and Istio's Telemetry.
pub fn set_property(name: &str, value: &str) {
    // A failure leaves the log without the value; the reply and the counters say the same.
    let _ = abi::write_property(name, value);
}

/// Whether nobody in this proxy has said `news` under `key` before: whoever asks first is told so.
///
/// Of a host without shared data every worker is the first.
#[must_use]
pub fn is_news(key: &[u8], news: &[u8]) -> bool {
    let mut store = SharedData::default();
    let said = match store.get(key) {
        Ok(Some((value, _))) if value == news => return false,
        Ok(Some((_, version))) => store.compare_and_swap(key, news, version),
        Ok(None) => store.insert(key, news),
        Err(error) => Err(error),
    };
    !matches!(said, Ok(Swap::Conflict))
}

/// The stats tags that an Istio proxy has beside its own, by what its node metadata says. `None` of a proxy that is not
/// Istio's: what its bootstrap has, a filter cannot see.
#[must_use]
pub fn istio_stat_tags() -> Option<Vec<Vec<u8>>> {
    let metadata = |path: &str| abi::property(&["xds\0node\0metadata\0", path].concat());
    metadata("ISTIO_VERSION").ok()?;
    let list = metadata("PROXY_CONFIG\0extraStatTags").unwrap_or_default();
    let elements = pairs::decode(&list).unwrap_or_default().into_iter().map(|(tag, _)| tag.to_vec());
    let annotation = metadata("ANNOTATIONS\0sidecar.istio.io/extraStatTags").unwrap_or_default();
    let annotated = annotation.split(|byte| *byte == b',').map(|tag| tag.trim_ascii().to_vec());
    Some(elements.chain(annotated).collect())
}

/// Random bytes from the host's generator; `None` if it refuses.
#[must_use]
pub fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    (abi::random(&mut bytes) == abi::OK).then_some(bytes)
}
