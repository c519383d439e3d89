//! Envoy's counters, gauges and histograms.

use tollgate::stats::stat_name;

use crate::{Root, abi};

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
        self.add(1);
    }

    /// Adds `number`.
    pub fn add(self, number: u32) {
        if let Some(id) = self.0
            && number > 0
        {
            abi::increment_metric(id, number.into());
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

    /// Adds `change`, which counts whoever else writes.
    pub fn add(self, change: i64) {
        if let Some(id) = self.0
            && change != 0
        {
            abi::increment_metric(id, change);
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
pub fn config_info(root: &Root, filter: &str, version: &str, configuration: &[u8]) -> Gauge {
    let hash = config_hash(configuration);
    let labels = [("filter", filter), ("plugin", &root.name), ("version", version), ("config_hash", &hash)];
    Gauge::define(&stat_name("tollgate_config_info", &labels))
}

/// The hash in that gauge: FNV-1a, which tells configurations apart for people, no more.
#[must_use]
pub fn config_hash(configuration: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", configuration.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
