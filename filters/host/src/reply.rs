//! Replies that the proxy gives in the application's place.

use crate::{Flow, abi, pairs};

/// A local reply. To a gRPC caller Envoy sends it as HTTP 200, trailers-only, with the gRPC status.
#[derive(Debug, Clone, Copy)]
pub struct LocalReply<'a> {
    /// HTTP status.
    pub status: u16,
    /// gRPC status, for gRPC callers.
    pub grpc_status: u8,
    /// Response code details, as Envoy's access log shows them.
    pub details: &'a str,
    /// Body; `text/plain` unless a header says otherwise.
    pub body: &'a [u8],
    /// Headers beside Envoy's own.
    pub headers: &'a EncodedHeaders,
}

/// Headers as the host takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedHeaders(Vec<u8>);

impl EncodedHeaders {
    /// Encodes `headers`.
    #[must_use]
    pub fn new(headers: &[(String, String)]) -> Self {
        Self(pairs::encode(headers).unwrap_or_default())
    }
}

impl LocalReply<'_> {
    /// Hands the reply to the host. The request stops here even if the host should refuse.
    pub fn send(&self) -> Flow {
        let grpc_status = i32::from(self.grpc_status);
        // Envoy refuses only memory outside the VM.
        let _ = abi::local_response(u32::from(self.status), self.details, self.body, &self.headers.0, grpc_status);
        Flow::Stop
    }
}
