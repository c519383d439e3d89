//! Envoy's admin interface: readiness, statistics.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::problem::Problem;

/// The admin interface at an address.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Admin {
    /// Fetches a page: status and text.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Problem> {
        let fetch = tokio::time::timeout(Duration::from_secs(10), self.fetch(path));
        let failed = |reason: String| Problem::new(format!("Envoy's admin interface, {path}: {reason}"));
        match fetch.await {
            Ok(result) => result.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("no answer within 10 s".into())),
        }
    }

    async fn fetch(&self, path: &str) -> Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", self.address.to_string()).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The statistics whose names match a regular expression.
    pub async fn stats(&self, filter: &str) -> Result<Stats, Problem> {
        let escaped = filter.replace('|', "%7C").replace('^', "%5E").replace('\\', "%5C");
        let (_, text) = self.get(&format!("/stats?format=json&filter={escaped}")).await?;
        let parsed: Value = serde_json::from_str(&text)
            .map_err(|error| Problem::new(format!("Envoy's statistics can't be read: {error}")))?;
        Ok(Stats(parsed.get("stats").and_then(Value::as_array).cloned().unwrap_or_default()))
    }
}

/// Statistics, as Envoy lists them.
#[derive(Debug, Default)]
pub struct Stats(Vec<Value>);

impl Stats {
    /// A number.
    pub fn number(&self, name: &str) -> u64 {
        self.value(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(Value::as_str)
    }

    /// All names and numbers.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|stat| Some((stat.get("name")?.as_str()?, stat.get("value")?.as_u64()?)))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|stat| stat.get("name").and_then(Value::as_str) == Some(name))?.get("value")
    }
}
