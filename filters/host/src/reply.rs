//! Replies that the proxy gives in the application's place.

use crate::{Flow, abi, pairs};

/// A local reply. To a gRPC caller Envoy sends it as HTTP 200, trailers-only, with the gRPC status.
#[derive(Debug, Clone)]
pub struct LocalReply<'a> {
    /// HTTP status.
    pub status: u16,
    /// gRPC status, for gRPC callers.
    pub grpc_status: u8,
    /// Response code details, as Envoy's access log shows them.
    pub details: &'a str,
    /// Body, as text.
    pub body: &'a str,
    /// Headers beside Envoy's own.
    pub headers: Vec<(&'static str, String)>,
}

impl LocalReply<'_> {
    /// Hands the reply to the host. The request stops here even if the host should refuse.
    pub fn send(&self) -> Flow {
        let headers = pairs::encode(&self.headers).unwrap_or_default();
        let grpc_status = i32::from(self.grpc_status);
        // Envoy refuses only memory outside the VM.
        let _ = abi::local_response(u32::from(self.status), self.details, self.body, &headers, grpc_status);
        Flow::Stop
    }
}
