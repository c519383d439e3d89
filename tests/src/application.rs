//! An application behind Envoy: takes HTTP/1.1 byte by byte, as lax as any, and answers what it is told to.

use std::{net::SocketAddr, sync::Arc};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::config::cluster;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// What is before the first space.
    pub method: Vec<u8>,
    /// What is between the first space and the last one.
    pub target: Vec<u8>,
    /// Names as they came, and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Received {
    /// The values of a header, in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = lines.next()?;
        let first = line.iter().position(|byte| *byte == b' ')?;
        let last = line.iter().rposition(|byte| *byte == b' ')?;
        let header = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
        };
        Some(Self {
            method: line[..first].to_vec(),
            target: line.get(first + 1..last)?.to_vec(),
            headers: lines.filter_map(header).collect(),
        })
    }
}

/// A running application, ended when this is dropped.
#[derive(Debug)]
pub struct Application {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Application {
    /// Starts one that answers every request with 200 and what `answer` says.
    pub async fn start(answer: impl Fn(&Received) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        Self { address, task }
    }

    /// A cluster of it.
    pub fn cluster(&self, name: &str) -> Value {
        cluster(name, self.address)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. Bodies are not for this: what follows a head is the next one.
async fn serve(mut stream: TcpStream, answer: &(dyn Fn(&Received) -> String + Send + Sync)) {
    const END: &[u8] = b"\r\n\r\n";
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = buffer.windows(END.len()).position(|window| window == END) {
            let Some(request) = Received::parse(&buffer[..end]) else { return };
            buffer.drain(..end + END.len());
            let body = answer(&request);
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
        if !stream.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
            return;
        }
    }
}
