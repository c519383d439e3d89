//! Until when callers' certificates are valid, for an alert before they are not.

use std::collections::HashMap;

use host::Gauge;
use tollgate::stats::stat_name;

use crate::certificates::Expiring;

/// How many callers have a gauge of their own; the rest share one, as far as one worker knows.
const MOST: usize = 100;

/// A gauge for each caller.
#[derive(Default)]
pub(super) struct Expiry(HashMap<String, Gauge>);

impl Expiry {
    /// Several replicas of one caller, each with a certificate of its own, show in turns while they call.
    pub(super) fn say(&mut self, expiring: &Expiring) {
        let caller = match self.0.len() < MOST || self.0.contains_key(&expiring.uri_san) {
            true => expiring.uri_san.as_str(),
            false => "__other__",
        };
        let gauge = self.0.entry(caller.to_owned()).or_insert_with(|| {
            let labels = [("source_principal", caller)];
            Gauge::define(&stat_name("tollgate_peer_certificate_expiry_timestamp_seconds", &labels))
        });
        gauge.record(u64::try_from(expiring.not_after).unwrap_or(0));
    }
}
