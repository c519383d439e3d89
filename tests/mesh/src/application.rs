//! What a workload's container would be: an application that answers every request, and a server of files.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// A server of this process, ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// An application that answers with the request's path and headers; `/status/503` with that status.
    pub async fn echo() -> Self {
        Self::serve(|request| {
            let headers: BTreeMap<&str, String> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            let path = request.uri().path();
            let body = json!({ "path": path, "headers": headers });
            let status = path.strip_prefix("/status/").and_then(|status| status.parse().ok());
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = status.unwrap_or(StatusCode::OK);
            response
        })
        .await
    }

    async fn serve<A>(answer: A) -> Self
    where
        A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let response = answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                // A client that breaks off is its own affair.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, task }
    }
}

/// Files over HTTP, by path.
#[derive(Debug)]
pub struct Files {
    server: Server,
    content: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Files {
    /// A server that has none yet.
    pub async fn start() -> Self {
        let content = Arc::new(Mutex::new(BTreeMap::<String, Bytes>::new()));
        let served = Arc::clone(&content);
        let server = Server::serve(move |request| {
            let found = served.lock().expect("no panic while held").get(request.uri().path()).cloned();
            let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let mut response = Response::new(Full::new(found.unwrap_or_default()));
            *response.status_mut() = status;
            response
        })
        .await;
        Self { server, content }
    }

    /// Puts a file there, and returns its URL.
    pub fn put(&self, path: &str, content: Vec<u8>) -> String {
        self.content.lock().expect("no panic while held").insert(path.to_owned(), content.into());
        format!("http://{}{path}", self.server.address())
    }
}
