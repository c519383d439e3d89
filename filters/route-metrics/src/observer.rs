//! What there is to say of a request.
//!
//! Reading is what costs: each call to the host that returns something costs more than everything else here. So nothing is
//! read that no label is for; what belongs to a connection is read once for it, what belongs to a cluster once for that, and
//! what explains a failure only when there is one.

use rustc_hash::FxHashMap;
use tollgate::{
    metadata::istio_service_host,
    request::{Attribute, Direction, Request, attribute_u64},
    route::RouteTable,
    time::Instant,
};

use crate::{
    config::{Config, Omit},
    labels::{self, Decision, Labels, NONE, OTHER, UNKNOWN},
    series::{Coarse, Numbers},
};

/// What is remembered of connections. A worker that has more forgets them all, and asks again.
const MOST_CONNECTIONS: usize = 4096;
/// The number of a text that got none.
const NO_NUMBER: u32 = u32::MAX;
/// The number for no text.
const NOTHING: u32 = u32::MAX - 1;

/// By what one request is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    route: u32,
    method: &'static str,
    code: u16,
    flags: u64,
    grpc_status: Option<u8>,
    decision: Decision,
    peer: Peer,
    destination: u32,
    coarse: bool,
}

/// Who is at the other end of a connection, and at which end the proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Peer {
    direction: Option<Direction>,
    source: u32,
}

impl Coarse for Key {
    /// Its route, its class of status, a gRPC status that is the server's fault, and what was decided.
    fn coarse(&self) -> Self {
        let class = self.code.checked_div(100).unwrap_or_default().saturating_mul(100);
        let peer = Peer { source: NO_NUMBER, ..self.peer };
        let grpc_status = self.grpc_status.filter(|status| labels::is_servers_fault(*status));
        let (method, flags) = (OTHER, 0);
        Self { code: class, method, flags, grpc_status, peer, destination: NO_NUMBER, coarse: true, ..*self }
    }
}

/// What is known when a request's headers have come, and must not be taken from what later filters make of them.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    route: u32,
    method: &'static str,
    peer: Peer,
    is_grpc: bool,
    at: Instant,
    /// All of the request's bytes, if it has no body.
    bytes: Option<u64>,
}

impl Arrival {
    /// The number of its route.
    #[must_use]
    pub const fn route(&self) -> u32 {
        self.route
    }

    /// Where the listener stands, unless that is left out.
    #[must_use]
    pub const fn direction(&self) -> Option<Direction> {
        self.peer.direction
    }
}

/// A request that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// By what it is counted.
    pub key: Key,
    /// From its arrival until now.
    pub milliseconds: u64,
    /// The bytes of the request and of the response, headers and all.
    pub bytes: Option<(u64, u64)>,
}

/// Tells requests apart.
#[derive(Debug)]
pub struct Observer {
    table: RouteTable,
    /// The configured ones first, then the proxy's own.
    routes: Numbers,
    /// By the peer's URI SAN.
    sources: Numbers,
    /// By the name of the upstream cluster.
    clusters: Numbers,
    /// The service that a cluster stands for, by the cluster's number.
    destinations: FxHashMap<u32, String>,
    connections: FxHashMap<u64, Peer>,
    omitted: Vec<Omit>,
}

impl Observer {
    /// For the routes of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let room = config.max_series();
        let mut routes = Numbers::new(room.saturating_add(config.routes.len()));
        for route in &config.routes {
            let _ = routes.number(route.name.as_str().as_bytes());
        }
        Self {
            table: RouteTable::new(config.routes.iter().map(|route| route.matches.as_slice())),
            routes,
            sources: Numbers::new(room),
            clusters: Numbers::new(room),
            destinations: FxHashMap::default(),
            connections: FxHashMap::default(),
            omitted: config.omitted(),
        }
    }

    fn wants(&self, what: Omit) -> bool {
        !self.omitted.contains(&what)
    }

    /// Headers have come. `bytes` are all that the request has, if that is known.
    pub fn arrive(&mut self, request: &impl Request, bytes: Option<u64>, now: Instant) -> Arrival {
        let class = self.table.find(request).rule.and_then(|route| u32::try_from(route).ok());
        Arrival {
            route: class.unwrap_or_else(|| self.proxy_route(request)),
            method: if self.wants(Omit::Method) { labels::method(request.method()) } else { NONE },
            peer: self.peer(request),
            is_grpc: labels::is_grpc(request),
            at: now,
            bytes,
        }
    }

    /// The request is over. It has no arrival if it was over before its headers were complete.
    pub fn end(&mut self, request: &impl Request, arrival: Option<&Arrival>, now: Instant) -> Ending {
        let number = |attribute| request.attribute(attribute).and_then(attribute_u64);
        let code = number(Attribute::ResponseCode).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
        let (route, method, peer) = match arrival {
            Some(arrival) => (arrival.route, arrival.method, arrival.peer),
            None => {
                let method = || labels::method(request.attribute(Attribute::RequestMethod));
                let method = if self.wants(Omit::Method) { method() } else { NONE };
                (self.proxy_route(request), method, self.peer(request))
            }
        };
        // A decision is in how gRPC ended, too, where the status is 200.
        let reads_grpc = arrival.is_some_and(|arrival| arrival.is_grpc);
        let grpc_status = reads_grpc.then(|| number(Attribute::ResponseGrpcStatus)).flatten();
        let grpc_status = grpc_status.map(|status| u8::try_from(status).unwrap_or(u8::MAX));
        let failed = code >= 400 || grpc_status.is_some_and(|status| status != 0);
        let decision = if failed && self.wants(Omit::Decision) {
            Decision::of_details(request.attribute(Attribute::ResponseCodeDetails).unwrap_or_default())
        } else {
            Decision::Allowed
        };
        let key = Key {
            route,
            method,
            code,
            flags: self.wants(Omit::ResponseFlags).then(|| number(Attribute::ResponseFlags)).flatten().unwrap_or(0),
            grpc_status: grpc_status.filter(|_| self.wants(Omit::GrpcStatus)),
            decision,
            peer,
            destination: self.destination(request),
            coarse: false,
        };
        let nanoseconds = match arrival {
            Some(arrival) => now.since(arrival.at).as_nanos(),
            None => number(Attribute::RequestDuration).unwrap_or(0),
        };
        let size = |attribute| number(attribute).unwrap_or(0);
        let of_request = arrival.and_then(|arrival| arrival.bytes);
        let bytes =
            || (of_request.unwrap_or_else(|| size(Attribute::RequestTotalSize)), size(Attribute::ResponseTotalSize));
        Ending { key, milliseconds: nanoseconds / 1_000_000, bytes: self.wants(Omit::Bytes).then(bytes) }
    }

    /// Hands the label values of `key` to `with`.
    pub fn labels<T>(&self, key: &Key, with: impl FnOnce(&Labels<'_>) -> T) -> T {
        let (workload, principal) = match self.sources.text(key.peer.source) {
            Some(uri_san) => labels::source(uri_san),
            None => (missing(key.peer.source).to_owned(), missing(key.peer.source).to_owned()),
        };
        let other_if_coarse = |value: String| if key.coarse { OTHER.to_owned() } else { value };
        with(&Labels {
            route: self.route(key.route),
            method: key.method,
            response_code: &labels::response_code(key.code, key.coarse),
            response_flags: &other_if_coarse(labels::response_flags(key.flags)),
            grpc_status: &key.grpc_status.map_or_else(|| other_if_coarse(NONE.to_owned()), |status| status.to_string()),
            decision: key.decision.as_str(),
            source_workload: &workload,
            source_principal: &principal,
            destination_service: self
                .destinations
                .get(&key.destination)
                .map_or(missing(key.destination), String::as_str),
            direction: key.peer.direction.map_or(UNKNOWN, Direction::as_str),
        })
    }

    /// The name of a route.
    #[must_use]
    pub fn route(&self, number: u32) -> &str {
        let name = self.routes.text(number).and_then(|name| core::str::from_utf8(name).ok());
        name.unwrap_or(missing(number))
    }

    /// The number of the proxy's own route, `default` where it has none.
    fn proxy_route(&mut self, request: &impl Request) -> u32 {
        self.routes.number(request.attribute(Attribute::RouteName).unwrap_or(b"default")).unwrap_or(NO_NUMBER)
    }

    fn peer(&mut self, request: &impl Request) -> Peer {
        let (wants_direction, wants_source) = (self.wants(Omit::Direction), self.wants(Omit::Source));
        if !wants_direction && !wants_source {
            return Peer { direction: None, source: NOTHING };
        }
        let connection = request.attribute(Attribute::ConnectionId).and_then(attribute_u64);
        if let Some(peer) = connection.and_then(|connection| self.connections.get(&connection)) {
            return *peer;
        }
        let uri_san = if wants_source { request.attribute(Attribute::UriSanPeerCertificate) } else { None };
        let source = uri_san.map_or(NOTHING, |uri_san| self.sources.number(uri_san).unwrap_or(NO_NUMBER));
        let peer = Peer { direction: wants_direction.then(|| Direction::of(request)), source };
        if let Some(connection) = connection {
            if self.connections.len() >= MOST_CONNECTIONS {
                self.connections.clear();
            }
            self.connections.insert(connection, peer);
        }
        peer
    }

    fn destination(&mut self, request: &impl Request) -> u32 {
        let cluster =
            if self.wants(Omit::DestinationService) { request.attribute(Attribute::ClusterName) } else { None };
        let Some(cluster) = cluster else { return NOTHING };
        let Some(number) = self.clusters.number(cluster) else { return NO_NUMBER };
        self.destinations.entry(number).or_insert_with(|| {
            let host = request.attribute(Attribute::ClusterMetadata).and_then(istio_service_host);
            host.unwrap_or_else(|| UNKNOWN.to_owned())
        });
        number
    }
}

const fn missing(number: u32) -> &'static str {
    if number == NO_NUMBER { OTHER } else { UNKNOWN }
}
