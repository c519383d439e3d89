//! What a limited caller is told: `Retry-After` (RFC 9110), `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers), and Envoy's `x-envoy-ratelimited`.

use tollgate::time::Duration;

use crate::bucket::Limit;

/// `RateLimit-Policy` of a rule: for each limit a name, the quota `q` and, where it is whole seconds, the window `w`.
#[must_use]
pub fn policy(rule: &str, limits: &[Limit]) -> String {
    let items = limits.iter().enumerate().map(|(index, limit)| {
        let window = limit.per.as_whole_seconds().map(|seconds| format!(";w={seconds}")).unwrap_or_default();
        format!("{};q={}{window}", item_name(rule, index), limit.requests.get())
    });
    items.collect::<Vec<_>>().join(", ")
}

/// The headers of a reply that turns a request away because of the limit of this index; it may come back after `wait`.
#[must_use]
pub fn limited(rule: &str, limit: usize, policy: &str, wait: Duration) -> Vec<(&'static str, String)> {
    let seconds = wait.as_seconds_rounded_up().max(1);
    vec![
        ("retry-after", seconds.to_string()),
        ("ratelimit-policy", policy.to_owned()),
        ("ratelimit", format!("{};r=0;t={seconds}", item_name(rule, limit))),
        ("x-envoy-ratelimited", "true".to_owned()),
    ]
}

/// A string of RFC 9651: a rule's name has no character that would need escaping.
fn item_name(rule: &str, index: usize) -> String {
    match index {
        0 => format!("\"{rule}\""),
        index => format!("\"{rule}.{index}\""),
    }
}

#[cfg(test)]
mod tests {
    use tollgate::config::Count;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn limit(requests: u64, nanos: u64) -> Limit {
        let requests = Count::new(requests).unwrap();
        Limit { requests, per: Duration::from_nanos(nanos), burst: requests }
    }

    #[test]
    fn names_each_limit() {
        let limits = [limit(10, 250_000_000), limit(100, 3_600_000_000_000)];
        assert_eq!(policy("login", &limits), r#""login";q=10, "login.1";q=100;w=3600"#);
    }

    #[test]
    fn waits_are_whole_seconds_and_at_least_one() {
        for (nanos, seconds) in [(1, "1"), (1_000_000_000, "1"), (1_000_000_001, "2"), (0, "1")] {
            let headers = limited("login", 0, r#""login";q=1;w=1"#, Duration::from_nanos(nanos));
            let expected = vec![
                ("retry-after", seconds.to_owned()),
                ("ratelimit-policy", r#""login";q=1;w=1"#.to_owned()),
                ("ratelimit", format!(r#""login";r=0;t={seconds}"#)),
                ("x-envoy-ratelimited", "true".to_owned()),
            ];
            assert_eq!(headers, expected);
        }
    }
}
