//! The application behind the sidecars: over HTTP/2 in plaintext, it answers what a request's headers ask for.
//!
//! | header | |
//! |---|---|
//! | `x-answer` | the status, 200 unless given |
//! | `x-delay-ms` | how long the answer takes |
//! | `x-size` | bytes of the answer's body, 16 unless given |
//! | `x-grpc-status` | answers as gRPC does, with this status in a trailer |
//! | `x-reset` | resets the stream instead |
//! | `x-hold` | never answers |
//!
//! Every answer has the header `x-application`, by which one of a proxy's own is told apart.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{HeaderMap, Request, Response, body::Incoming, header::HeaderValue, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A running application, ended when this is dropped.
#[derive(Debug)]
pub struct Application {
    address: SocketAddr,
    held: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Application {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (holds, held) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let holds = holds.clone();
                let service = service_fn(move |request| answer(request, holds.clone()));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, held, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests with `x-hold` have come so far, to wait for the next one.
    pub(crate) fn held(&self) -> watch::Receiver<u64> {
        self.held.clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a stream is reset.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request asked for it")
    }
}

impl std::error::Error for Reset {}

async fn answer(
    request: Request<Incoming>,
    holds: watch::Sender<u64>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Reset> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let received = body.collect().await.map_err(|_| Reset)?;
    drop(received);
    if header("x-hold").is_some() {
        holds.send_modify(|held| *held += 1);
        std::future::pending::<()>().await;
    }
    if let Some(delay) = header("x-delay-ms") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if header("x-reset").is_some() {
        return Err(Reset);
    }
    let size = usize::try_from(header("x-size").unwrap_or(16)).expect("small");
    let body = Full::new(Bytes::from(vec![b'.'; size]));
    let mut response = Response::builder().header("x-application", "1");
    let body = match header("x-grpc-status") {
        Some(status) => {
            response = response.header("content-type", "application/grpc");
            let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from(status))]);
            body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
        }
        None => body.boxed(),
    };
    let status = u16::try_from(header("x-answer").unwrap_or(200)).expect("a status");
    Ok(response.status(status).body(body).expect("a response"))
}
