//! One request and its connection, as the policies see them.

/// What a policy may ask of one request. An implementation reads each thing from the proxy at most once.
///
/// Values are bytes: what a client sends need not be UTF-8.
pub trait Request {
    /// `:path` as the proxy has it, with the query. `None` when the request has none (CONNECT).
    fn path(&self) -> Option<&[u8]>;

    /// `:method`.
    fn method(&self) -> Option<&[u8]>;

    /// `:authority`, or `Host` in HTTP/1.1.
    fn authority(&self) -> Option<&[u8]>;

    /// Every value of the header `name` (lowercase), in order; empty when it is absent.
    fn header(&self, name: &str) -> Vec<Vec<u8>>;

    /// The first value of the header `name` (lowercase). Cheaper than all of them, and not for what a decision depends on:
    /// of a repeated header the application may take another one.
    fn first_header(&self, name: &str) -> Option<Vec<u8>> {
        self.header(name).into_iter().next()
    }

    /// The value of an attribute, in Proxy-Wasm's encoding. `None` when the proxy does not know it or it is empty.
    fn attribute(&self, attribute: Attribute) -> Option<&[u8]>;

    /// The value of any attribute by its path, such as `["connection", "requested_server_name"]`. `None` when the proxy
    /// does not know it, it is empty, or (by default) nobody can be asked.
    fn property(&self, _path: &[&str]) -> Option<Vec<u8>> {
        None
    }

    /// The elements of an attribute that is a list, or its one value if it is none, or nothing if the proxy does not know
    /// it. `None` when it can't be read.
    fn values(&self, path: &[&str]) -> Option<Vec<Vec<u8>>> {
        Some(self.property(path).into_iter().collect())
    }
}

macro_rules! attributes {
    (@join $first:literal $(, $rest:literal)*) => {
        concat!($first $(, "\0", $rest)*)
    };
    ($($(#[$doc:meta])* $name:ident = [$($segment:literal),+];)+) => {
        /// The attributes in use. See Envoy's "Attributes" for their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Attribute {
            $($(#[$doc])* $name,)+
        }

        impl Attribute {
            /// All of them, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The attribute's path, such as `["connection", "mtls"]`.
            #[must_use]
            pub const fn path(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($segment),+],)+
                }
            }

            /// The path as the Proxy-Wasm ABI wants it: a zero byte between two segments.
            #[must_use]
            pub const fn joined(self) -> &'static str {
                match self {
                    $(Self::$name => attributes!(@join $($segment),+),)+
                }
            }
        }
    };
}

attributes! {
    /// The client's address and port, as Envoy sees it by its settings for `X-Forwarded-For`.
    SourceAddress = ["source", "address"];
    /// Whether the peer presented a certificate; one byte. Says nothing about its validity.
    Mtls = ["connection", "mtls"];
    /// Whether the peer's certificate was validated; one byte. Unknown to Envoys that are older than the attribute.
    PeerCertificateValid = ["connection", "peer_certificate_valid"];
    /// The first URI SAN of the peer's certificate.
    UriSanPeerCertificate = ["connection", "uri_san_peer_certificate"];
    /// The digest of the peer's certificate: SHA-256, in lowercase hexadecimal. Absent if none was presented.
    PeerCertificateDigest = ["connection", "sha256_peer_certificate_digest"];
    /// The peer's certificate, PEM in URL encoding. Unknown to Envoys that are older than the attribute.
    PeerCertificate = ["connection", "peer_certificate"];
    /// The caller's URI SANs as the tunnel of an ambient mesh has proved them, joined by commas.
    PeerPrincipal = ["filter_state", "io.istio.peer_principal"];
    /// The server name that the client asked for in TLS.
    RequestedServerName = ["connection", "requested_server_name"];
    /// The port that the connection came to; eight bytes.
    DestinationPort = ["destination", "port"];
    /// The first URI SAN of the proxy's own certificate.
    UriSanLocalCertificate = ["connection", "uri_san_local_certificate"];
    /// The response's status; eight bytes, zero or absent when there was none.
    ResponseCode = ["response", "code"];
    /// Envoy's response flags as a bit set; eight bytes.
    ResponseFlags = ["response", "flags"];
    /// The request's duration until now; eight bytes of nanoseconds.
    RequestDuration = ["request", "duration"];
    /// The request's method.
    RequestMethod = ["request", "method"];
    /// The bytes of the request's headers and body; eight bytes.
    RequestTotalSize = ["request", "total_size"];
    /// The bytes of the response's headers, body and trailers; eight bytes.
    ResponseTotalSize = ["response", "total_size"];
    /// How a gRPC call ended; eight bytes. Of other requests it is what their status would mean.
    ResponseGrpcStatus = ["response", "grpc_status"];
    /// Why the response is what it is, such as `via_upstream`.
    ResponseCodeDetails = ["response", "code_details"];
    /// The connection's number in this proxy; eight bytes.
    ConnectionId = ["connection", "id"];
    /// Where the listener stands: an `envoy.config.core.v3.TrafficDirection`; eight bytes. Gateways are outbound.
    ListenerDirection = ["xds", "listener_direction"];
    /// The route's name.
    RouteName = ["xds", "route_name"];
    /// The upstream cluster's name.
    ClusterName = ["xds", "cluster_name"];
    /// The upstream cluster's metadata, an `envoy.config.core.v3.Metadata`.
    ClusterMetadata = ["xds", "cluster_metadata"];
}

/// Where a listener stands, as seen from the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not said: a plain Envoy.
    Unspecified,
    /// Traffic to the workload.
    Inbound,
    /// Traffic from the workload, and gateways.
    Outbound,
}

impl Direction {
    /// The direction of the listener that `request` came in by.
    #[must_use]
    pub fn of(request: &impl Request) -> Self {
        match request.attribute(Attribute::ListenerDirection).and_then(attribute_u64) {
            Some(1) => Self::Inbound,
            Some(2) => Self::Outbound,
            _ => Self::Unspecified,
        }
    }

    /// As metric labels spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Reads an attribute of type int, uint, duration or timestamp: eight bytes, little-endian.
#[must_use]
pub fn attribute_u64(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

/// Reads an attribute of type bool: one byte.
#[must_use]
pub fn attribute_bool(value: &[u8]) -> Option<bool> {
    match value {
        [value] => Some(*value != 0),
        _ => None,
    }
}
