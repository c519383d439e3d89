//! What callers are told: `Retry-After` (RFC 9110), `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10), Envoy's `x-envoy-ratelimited` and `x-ratelimit-*`, and for gRPC
//! `grpc-retry-pushback-ms` (gRFC A6).

use tollgate::{name::Name, time::Duration, time::Instant};

use crate::{
    bucket::Limit,
    config::LimitConfig,
    table::{Charge, Levels},
};

/// Headers, in order.
pub type Headers = Vec<(String, String)>;

/// What is said of one rule's limits, as configured: the share of one proxy is nothing that a caller could use.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    name: String,
    limits: Vec<LimitConfig>,
    /// `RateLimit-Policy`, which never changes.
    policy: String,
    draft03: bool,
}

impl Policy {
    pub(crate) fn new(name: &Name, limits: &[LimitConfig], draft03: bool) -> Self {
        let name = name.as_str().to_owned();
        let items = limits.iter().enumerate().map(|(index, limit)| {
            let window = limit.per.0.as_whole_seconds().map(|seconds| format!(";w={seconds}")).unwrap_or_default();
            format!("{};q={}{window}", item_name(&name, index), limit.requests.get())
        });
        let policy = items.collect::<Vec<_>>().join(", ");
        Self { name, limits: limits.to_vec(), policy, draft03 }
    }

    /// What a caller is told that is turned away because of the limit of this index, and may come back after `seconds`.
    pub(crate) fn limited(&self, limit: usize, seconds: u64, headers: &mut Headers) {
        push(headers, "ratelimit-policy", self.policy.clone());
        push(headers, "ratelimit", format!("{};r=0;t={seconds}", item_name(&self.name, limit)));
        self.draft03(limit, 0, seconds, headers);
    }

    /// What a caller is told that was admitted, which left the buckets at `levels`; of others like `charge`.
    pub(crate) fn admitted(
        &self,
        levels: &Levels,
        limits: &[Limit],
        charge: Charge,
        now: Instant,
        headers: &mut Headers,
    ) {
        let mut items = Vec::with_capacity(limits.len());
        let mut scarcest: Option<(usize, u64, u64)> = None;
        for (index, (level, limit)) in levels.iter().zip(limits).enumerate() {
            let kept = charge.kept(limit);
            let remaining = level.remaining(limit, now, kept);
            let wait = level.until_one_more(limit, now, kept);
            let seconds = wait.map_or(0, |wait| wait.as_seconds_rounded_up());
            items.push(format!("{};r={remaining};t={seconds}", item_name(&self.name, index)));
            if scarcest.is_none_or(|(_, least, _)| remaining < least) {
                scarcest = Some((index, remaining, seconds));
            }
        }
        push(headers, "ratelimit-policy", self.policy.clone());
        push(headers, "ratelimit", items.join(", "));
        if let Some((index, remaining, seconds)) = scarcest {
            self.draft03(index, remaining, seconds, headers);
        }
    }

    fn draft03(&self, limit: usize, remaining: u64, seconds: u64, headers: &mut Headers) {
        if !self.draft03 {
            return;
        }
        let mut quota = self.limits.get(limit).map_or(0, |limit| limit.requests.get()).to_string();
        for limit in &self.limits {
            quota.push_str(&format!(", {};w={}", limit.requests.get(), limit.per.0.as_seconds_rounded_up()));
        }
        push(headers, "x-ratelimit-limit", quota);
        push(headers, "x-ratelimit-remaining", remaining.to_string());
        push(headers, "x-ratelimit-reset", seconds.to_string());
    }
}

/// Whole seconds to wait: never too few.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_seconds_rounded_up().max(1)
}

/// `grpc-retry-pushback-ms`: whole milliseconds in 31 bits.
pub(crate) fn pushback(wait: Duration) -> String {
    wait.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX.unsigned_abs().into()).to_string()
}

pub(crate) fn push(headers: &mut Headers, name: &str, value: impl Into<String>) {
    headers.push((name.to_owned(), value.into()));
}

/// A string of RFC 9651: a rule's name has no character that would need escaping.
fn item_name(rule: &str, index: usize) -> String {
    match index {
        0 => format!("\"{rule}\""),
        index => format!("\"{rule}.{index}\""),
    }
}

#[cfg(test)]
mod tests;
