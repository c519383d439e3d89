//! Label values, from what the proxy knows of a request. Nothing that a client can choose becomes one as it is.

use tollgate::{
    request::{Attribute, Request, attribute_u64},
    spiffe::SpiffeId,
};

/// What a label says when there is nothing to say.
pub const UNKNOWN: &str = "unknown";
/// What every label of the series says that takes the rest once there are too many.
pub const OTHER: &str = "__other__";

/// The values of one series of `tollgate_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The class of the request.
    pub route: String,
    /// The method, `OTHER` if it is not one of RFC 9110's or PATCH.
    pub method: &'static str,
    /// The status, `0` if the request ended without one.
    pub response_code: String,
    /// Envoy's short response flags, `-` for none.
    pub response_flags: String,
    /// The verified peer's service account.
    pub source_workload: String,
    /// The verified peer's SPIFFE ID.
    pub source_principal: String,
    /// The service's host, as Istio put it on the upstream cluster.
    pub destination_service: String,
    /// `inbound`, `outbound` or `unspecified`.
    pub direction: &'static str,
}

impl Labels {
    /// The series that exists from the start, at zero, for a route.
    #[must_use]
    pub fn at_start(route: &str, method: &'static str) -> Self {
        Self {
            route: route.to_owned(),
            method,
            response_code: "200".to_owned(),
            response_flags: "-".to_owned(),
            source_workload: UNKNOWN.to_owned(),
            source_principal: UNKNOWN.to_owned(),
            destination_service: UNKNOWN.to_owned(),
            direction: UNKNOWN,
        }
    }

    /// The series that takes what is over the cap.
    #[must_use]
    pub fn other() -> Self {
        let other = || OTHER.to_owned();
        Self {
            route: other(),
            method: OTHER,
            response_code: other(),
            response_flags: other(),
            source_workload: other(),
            source_principal: other(),
            destination_service: other(),
            direction: OTHER,
        }
    }

    /// Names and values for the request counter.
    #[must_use]
    pub fn of_requests(&self) -> [(&'static str, &str); 8] {
        [
            ("route", &self.route),
            ("method", self.method),
            ("response_code", &self.response_code),
            ("response_flags", &self.response_flags),
            ("source_workload", &self.source_workload),
            ("source_principal", &self.source_principal),
            ("destination_service", &self.destination_service),
            ("direction", self.direction),
        ]
    }

    /// Names and values for histograms.
    #[must_use]
    pub fn of_histograms(&self) -> [(&'static str, &str); 6] {
        [
            ("route", &self.route),
            ("method", self.method),
            ("response_code", &self.response_code),
            ("source_workload", &self.source_workload),
            ("destination_service", &self.destination_service),
            ("direction", self.direction),
        ]
    }
}

/// The label `method` for `:method`.
#[must_use]
pub fn method(method: Option<&[u8]>) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];
    let known = |method: &[u8]| KNOWN.into_iter().find(|known| known.as_bytes() == method);
    method.map_or(UNKNOWN, |method| known(method).unwrap_or("OTHER"))
}

/// The peer's SPIFFE ID. That the listener validates certificates is taken for granted: of a resumed TLS session Envoy
/// cannot say it (envoyproxy/envoy#21235).
#[must_use]
pub fn source(request: &impl Request) -> Option<SpiffeId<'_>> {
    SpiffeId::parse(request.attribute(Attribute::UriSanPeerCertificate)?).ok()
}

/// The response's status, 0 if there was none.
#[must_use]
pub fn response_code(request: &impl Request) -> u64 {
    request.attribute(Attribute::ResponseCode).and_then(attribute_u64).unwrap_or(0)
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
    if names.is_empty() { "-".to_owned() } else { names }
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
}
