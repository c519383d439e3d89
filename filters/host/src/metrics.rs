//! Envoy's counters, gauges and histograms.

use tollgate::stats::stat_name;

use crate::abi;

macro_rules! metric {
    ($(#[$doc:meta])* $name:ident = $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(Option<u32>);

        impl $name {
            /// Defines the metric, or finds the one of that name. If the host refuses, nothing will be recorded.
            #[must_use]
            pub fn define(name: &str) -> Self {
                Self(abi::define_metric($kind, name).ok())
            }
        }
    };
}

metric! {
    /// Only grows.
    Counter = 0
}

metric! {
    /// Goes up and down.
    Gauge = 1
}

metric! {
    /// A distribution of whole numbers.
    Histogram = 2
}

impl Counter {
    /// Adds one.
    pub fn increment(self) {
        if let Some(id) = self.0 {
            abi::increment_metric(id, 1);
        }
    }
}

impl Gauge {
    /// Sets the value; the last writer among the workers wins.
    pub fn record(self, value: u64) {
        if let Some(id) = self.0 {
            abi::record_metric(id, value);
        }
    }
}

impl Histogram {
    /// Adds one observation.
    pub fn record(self, value: u64) {
        if let Some(id) = self.0 {
            abi::record_metric(id, value);
        }
    }
}

/// The gauge that says which configuration is in force: 1 while it is, 0 afterwards.
#[must_use]
pub fn config_info(filter: &str, version: &str, configuration: &[u8]) -> Gauge {
    // FNV-1a: tells configurations apart for people, no more.
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = format!("{:016x}", configuration.iter().fold(0xcbf2_9ce4_8422_2325, fold));
    let labels = [("filter", filter), ("version", version), ("config_hash", &hash)];
    Gauge::define(&stat_name("tollgate_config_info", &labels))
}
