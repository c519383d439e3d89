//! Small applications that answer every request with what came in: what stands behind workloads without `--upstream`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::mesh::Mesh;
use crate::problem::Problem;

/// The echo servers that run, by the key of the listener before them.
#[derive(Default)]
pub struct EchoServers {
    running: BTreeMap<String, (SocketAddr, JoinHandle<()>)>,
}

impl EchoServers {
    /// Where each workload's application is: the user's, or an echo server, started if need be.
    pub async fn upstreams(&mut self, mesh: &Mesh) -> Result<BTreeMap<String, String>, Problem> {
        let mut upstreams = BTreeMap::new();
        for inbound in &mesh.inbound {
            let key = inbound.key();
            let address = match &inbound.upstream {
                Some(address) => address.clone(),
                None => self.address(&key, &inbound.workload.name).await?.to_string(),
            };
            upstreams.insert(key, address);
        }
        Ok(upstreams)
    }

    async fn address(&mut self, key: &str, service: &str) -> Result<SocketAddr, Problem> {
        if let Some((address, _)) = self.running.get(key) {
            return Ok(*address);
        }
        let (address, task) = serve(service)
            .await
            .map_err(|error| Problem::new(format!("can't start the echo server {service}: {error}")))?;
        self.running.insert(key.to_owned(), (address, task));
        Ok(address)
    }
}

impl Drop for EchoServers {
    fn drop(&mut self) {
        self.running.values().for_each(|(_, task)| task.abort());
    }
}

/// Starts an echo server on a free port.
async fn serve(service: &str) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service: Bytes = Bytes::copy_from_slice(service.as_bytes());
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, mostly: others must end before more can begin.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let service = service.clone();
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http1().timer(TokioTimer::new()).max_headers(4096).max_buf_size(1 << 20);
                server.http2().timer(TokioTimer::new()).max_header_list_size(1 << 20);
                let answer = service_fn(move |request| echo(service.clone(), request));
                // A connection that breaks is the caller's affair.
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    Ok((address, task))
}

async fn echo(service: Bytes, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut bytes: u64 = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes = bytes.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
    }
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let answer = json!({
        "service": String::from_utf8_lossy(&service),
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
        "headers": headers,
        "bodyBytes": bytes,
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{answer}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(name) = HeaderValue::from_bytes(&service) {
        response.headers_mut().insert("x-echo-service", name);
    }
    Ok(response)
}
