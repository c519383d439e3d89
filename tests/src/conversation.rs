//! Requests on one connection, sent as they are: a client library would mend unusual spellings.

mod http1;
mod http2;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};

use crate::client::{Failure, Identity, PATIENCE};

/// How a connection is made.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where to.
    pub address: SocketAddr,
    /// The client's own address, an IPv4 one of this machine.
    pub from: IpAddr,
    /// Where the connection was for, as the PROXY protocol says it.
    pub to: SocketAddr,
    /// As whom with TLS, and the server's name there; in plaintext without.
    pub tls: Option<(Identity, Option<String>)>,
    /// With HTTP/2 instead of HTTP/1.1, which the server has to expect without being told.
    pub is_http2: bool,
}

/// A request without a body.
#[derive(Debug, Clone)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The path as it is sent, with the query.
    pub target: String,
    /// The host as it is sent.
    pub authority: String,
    /// Further header lines.
    pub headers: Vec<(String, String)>,
}

impl Line {
    /// Sends the requests and waits until all are answered. Where the peer ends the connection behind an answer, the
    /// remaining requests go over another one.
    ///
    /// # Errors
    /// The connection can't be made, or ends before it has given any answer.
    pub async fn exchange(&self, messages: &[Message]) -> Result<(), Failure> {
        let mut rest = messages;
        while let Some(first) = rest.first() {
            let answered = timeout(PATIENCE, self.send(rest)).await??;
            if answered == 0 {
                return Err(format!("no answer to {first:?}").into());
            }
            rest = rest.get(answered..).unwrap_or_default();
        }
        Ok(())
    }

    async fn send(&self, messages: &[Message]) -> Result<usize, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (from, to) = (stream.local_addr()?, self.to);
        let preface = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
        stream.write_all(preface.as_bytes()).await?;
        match &self.tls {
            None => self.converse(stream, messages).await,
            Some((identity, name)) => {
                // An address is a name that the handshake does not mention.
                let name = match name {
                    Some(name) => ServerName::try_from(name.clone())?,
                    None => ServerName::IpAddress(self.address.ip().into()),
                };
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(&identity.0));
                self.converse(connector.connect(name, stream).await?, messages).await
            }
        }
    }

    /// How many of the messages were answered.
    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        messages: &[Message],
    ) -> Result<usize, Failure> {
        match self.is_http2 {
            false => http1::converse(stream, messages).await,
            true => http2::converse(stream, messages).await,
        }
    }
}
