//! Label values, from what the proxy knows of a request. Nothing that a client can choose becomes one as it is.

use tollgate::{request::Request, spiffe::SpiffeId};

/// What a label says when there is nothing to say.
pub const UNKNOWN: &str = "unknown";
/// What a label says in a series that others share, once there are too many.
pub const OTHER: &str = "__other__";
/// What a label says that does not apply.
pub const NONE: &str = "-";

/// Whether a gRPC status says that the server failed: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS. What else is not OK is the caller's doing, or a refusal.
#[must_use]
pub const fn is_servers_fault(grpc_status: u8) -> bool {
    matches!(grpc_status, 2 | 4 | 12 | 13 | 14 | 15)
}

/// The values of one series of `tollgate_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels<'a> {
    /// The class of the request.
    pub route: &'a str,
    /// The method, or `OTHER` if it is not one of [`method`]'s.
    pub method: &'a str,
    /// The status, `0` if the request ended without one.
    pub response_code: &'a str,
    /// Envoy's short response flags, `-` for none.
    pub response_flags: &'a str,
    /// The number of the gRPC status, `-` if the request is not gRPC.
    pub grpc_status: &'a str,
    /// What Tollgate's filters decided.
    pub decision: &'a str,
    /// The verified peer's service account.
    pub source_workload: &'a str,
    /// The verified peer's SPIFFE ID.
    pub source_principal: &'a str,
    /// The service's host, as Istio put it on the upstream cluster.
    pub destination_service: &'a str,
    /// `inbound`, `outbound` or `unspecified`.
    pub direction: &'a str,
}

impl<'a> Labels<'a> {
    /// The series that exists from the start, at zero, for a route.
    #[must_use]
    pub const fn at_start(route: &'a str, method: &'static str) -> Self {
        Self {
            route,
            method,
            response_code: "200",
            response_flags: NONE,
            grpc_status: NONE,
            decision: Decision::Allowed.as_str(),
            source_workload: UNKNOWN,
            source_principal: UNKNOWN,
            destination_service: UNKNOWN,
            direction: UNKNOWN,
        }
    }

    /// The series that takes what no other has room for.
    #[must_use]
    pub const fn other() -> Self {
        Self {
            route: OTHER,
            method: OTHER,
            response_code: OTHER,
            response_flags: OTHER,
            grpc_status: OTHER,
            decision: OTHER,
            source_workload: OTHER,
            source_principal: OTHER,
            destination_service: OTHER,
            direction: OTHER,
        }
    }

    /// Names and values for the request counter.
    #[must_use]
    pub const fn of_requests(&self) -> [(&'static str, &'a str); 10] {
        [
            ("route", self.route),
            ("method", self.method),
            ("response_code", self.response_code),
            ("response_flags", self.response_flags),
            ("grpc_status", self.grpc_status),
            ("decision", self.decision),
            ("source_workload", self.source_workload),
            ("source_principal", self.source_principal),
            ("destination_service", self.destination_service),
            ("direction", self.direction),
        ]
    }

    /// Names and values for histograms.
    #[must_use]
    pub const fn of_histograms(&self) -> [(&'static str, &'a str); 6] {
        [
            ("route", self.route),
            ("method", self.method),
            ("response_code", self.response_code),
            ("source_workload", self.source_workload),
            ("destination_service", self.destination_service),
            ("direction", self.direction),
        ]
    }
}

/// What Tollgate's filters decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// None of them turned it away.
    Allowed,
    /// rate-limit did.
    Limited,
    /// mtls-identity did.
    Denied,
}

impl Decision {
    /// From Envoy's response code details, which a filter gives with a reply of its own.
    #[must_use]
    pub fn of_details(details: &[u8]) -> Self {
        match details {
            b"tollgate_rate_limited" => Self::Limited,
            b"tollgate_identity_denied" => Self::Denied,
            _ => Self::Allowed,
        }
    }

    /// The value of the label `decision`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Limited => "limited",
            Self::Denied => "denied",
        }
    }
}

/// The label `method` for `:method`: those of RFC 9110 and PATCH.
#[must_use]
pub fn method(method: Option<&[u8]>) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];
    let known = |method: &[u8]| KNOWN.into_iter().find(|known| known.as_bytes() == method);
    method.map_or(UNKNOWN, |method| known(method).unwrap_or("OTHER"))
}

/// Whether the request is a gRPC call, by its content type.
#[must_use]
pub fn is_grpc(request: &impl Request) -> bool {
    let content_type = request.first_header("content-type").unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The workload and the principal of a caller with this URI SAN. That the listener validates certificates is taken for
/// granted: of a resumed TLS session Envoy cannot say it (envoyproxy/envoy#21235).
#[must_use]
pub fn source(uri_san: &[u8]) -> (String, String) {
    let Ok(id) = SpiffeId::parse(uri_san) else { return (UNKNOWN.to_owned(), UNKNOWN.to_owned()) };
    (id.kubernetes().map_or(UNKNOWN, |(_, account)| account).to_owned(), id.to_string())
}

/// The label `response_code`: the status, or in a coarse series its class as `5xx`, which `response_code=~"5.."` finds too.
#[must_use]
pub fn response_code(code: u16, coarse: bool) -> String {
    if coarse && code != 0 { format!("{}xx", code.checked_div(100).unwrap_or_default()) } else { code.to_string() }
}

/// Envoy's short names of the response flags in `bits`, in the order of Envoy's `CoreResponseFlag`.
#[must_use]
pub fn response_flags(bits: u64) -> String {
    const NAMES: [&str; 30] = [
        "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI",
        "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
    ];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name);
    let names = set.collect::<Vec<_>>().join(",");
    if names.is_empty() { NONE.to_owned() } else { names }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn methods_are_a_closed_set() {
        assert_eq!(method(Some(b"GET")), "GET");
        assert_eq!(method(Some(b"get")), "OTHER");
        assert_eq!(method(Some(b"X-\xff")), "OTHER");
        assert_eq!(method(None), "unknown");
    }

    #[test]
    fn flags_have_envoys_short_names() {
        assert_eq!(response_flags(0), "-");
        assert_eq!(response_flags(1 << 8), "NR");
        assert_eq!(response_flags(1 << 1 | 1 << 14 | 1 << 29), "UH,DC,UDO");
        assert_eq!(response_flags(1 << 63), "-");
    }

    #[test]
    fn a_caller_is_who_its_certificate_says() {
        let both = |workload: &str, principal: &str| (workload.to_owned(), principal.to_owned());
        let id = "spiffe://cluster.local/ns/shop/sa/cart";
        assert_eq!(source(id.as_bytes()), both("cart", id));
        assert_eq!(source(b"spiffe://other.org/cart"), both("unknown", "spiffe://other.org/cart"));
        assert_eq!(source(b"https://cart"), both("unknown", "unknown"));
        assert_eq!(source(b""), both("unknown", "unknown"));
    }

    #[test]
    fn only_tollgates_own_replies_are_its_decisions() {
        let decision = |details: &str| Decision::of_details(details.as_bytes()).as_str();
        assert_eq!(decision("tollgate_rate_limited"), "limited");
        assert_eq!(decision("tollgate_identity_denied"), "denied");
        for details in
            ["", "via_upstream", "rbac_access_denied_matched_policy[none]", "tollgate_rate_limited_by_others"]
        {
            assert_eq!(decision(details), "allowed", "{details}");
        }
    }

    #[test]
    fn a_class_of_statuses_looks_like_one_to_a_query() {
        assert_eq!(response_code(503, true), "5xx");
        assert_eq!(response_code(503, false), "503");
        assert_eq!(response_code(0, true), "0");
    }
}
