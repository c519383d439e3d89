//! HTTP clients: one connection each, over TCP or TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tollgate_cli::certificates::Leaf;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, with trailers among them.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Any failure to get an answer.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One HTTP/1.1 connection.
pub struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
}

impl Connection {
    /// In plaintext.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        Self::over(TcpStream::connect(address).await?).await
    }

    /// With TLS.
    pub async fn open_tls(address: SocketAddr, identity: &Identity) -> Result<Self, Failure> {
        Self::over(identity.connect(address).await?).await
    }

    /// Over any stream.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Gets a path.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let request = Request::get(path).header("host", "tollgate.test");
        self.send(request.body(Empty::new())?).await
    }

    /// Sends a request.
    pub async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<Answer, Failure> {
        let answer = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?;
            let mut headers = head.headers;
            headers.extend(body.trailers().cloned().unwrap_or_default());
            Ok::<_, Failure>(Answer { status: head.status.as_u16(), headers, body: body.to_bytes() })
        };
        timeout(PATIENCE, answer).await?
    }
}

/// Gets a path on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, Failure> {
    Connection::open(address).await?.get(path).await
}

/// Sends bytes as they are, closes its own side if `ends`, and returns what comes back until the peer closes, or `None`
/// if it never does.
pub async fn raw(address: SocketAddr, bytes: &[u8], ends: bool) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(address).await?;
    // The peer may have closed before it has read everything.
    let _ = stream.write_all(bytes).await;
    if ends {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    match timeout(PATIENCE, stream.read_to_end(&mut answer)).await {
        Err(_) => Ok(None),
        // A reset after the answer.
        Ok(Ok(_) | Err(_)) => Ok(Some(answer)),
    }
}

/// A TLS client: whom it trusts, and its certificate.
#[derive(Debug, Clone)]
pub struct Identity(pub(crate) Arc<ClientConfig>);

impl Identity {
    /// A client that presents `leaf`, or nothing. It takes any server for what it says it is: these tests are about the
    /// client's certificate.
    pub fn new(leaf: Option<&Leaf>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring has safe versions")
            .with_root_certificates(RootCertStore::empty());
        let mut config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).map(|der| der.expect("PEM"));
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain.collect(), key).expect("a certificate and its key")
            }
        };
        config.dangerous().set_certificate_verifier(Arc::new(any_server::Verifier(provider)));
        Self(Arc::new(config))
    }

    /// A connection. Sessions are resumed where the server lets them.
    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, Failure> {
        self.connect_to(address, "tollgate.test").await
    }

    /// The same, asking for a server name.
    pub async fn connect_to(&self, address: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, Failure> {
        self.connect_over(TcpStream::connect(address).await?, name).await
    }

    /// The same, on a connection that is open.
    pub async fn connect_over(&self, stream: TcpStream, name: &str) -> Result<TlsStream<TcpStream>, Failure> {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        let name = ServerName::try_from(name.to_owned())?;
        Ok(timeout(PATIENCE, connector.connect(name, stream)).await??)
    }
}

mod any_server {
    use std::sync::Arc;

    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    /// Takes every certificate, but checks that the server has its key.
    #[derive(Debug)]
    pub(super) struct Verifier(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Verifier {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
