//! A workload that calls: its certificate, and connections to pods as who it is.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tollgate_cli::certificates::Leaf;

use crate::client::{Failure, Identity, PATIENCE};

/// A caller.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: &'static str,
    identity: Identity,
}

impl Caller {
    pub(super) fn new(name: &'static str, leaf: &Leaf) -> Self {
        Self { name, identity: Identity::new(Some(leaf)) }
    }

    /// Opens a connection, with HTTP/2 for gRPC.
    pub(super) async fn open(&self, address: SocketAddr, grpc: bool) -> Result<Connection, Failure> {
        let stream = TokioIo::new(self.identity.connect(address).await?);
        if grpc {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }
}

/// One connection.
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer, trailers among its headers.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) size: usize,
    pub(super) took: Duration,
}

impl Connection {
    /// Sends a request and waits for all of the answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let start = Instant::now();
        let answer = async {
            let response = match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?;
            let mut headers = head.headers;
            headers.extend(body.trailers().cloned().unwrap_or_default());
            let size = body.to_bytes().len();
            Ok::<_, Failure>(Answer { status: head.status.as_u16(), headers, size, took: start.elapsed() })
        };
        timeout(PATIENCE, answer).await?
    }
}
