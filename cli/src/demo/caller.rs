//! A caller: over mutual TLS as somebody, over TLS as nobody, or in plaintext; and what it was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::Leaf;
use crate::problem::Problem;

/// Long for a proxy on the same machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who calls one address.
#[derive(Clone)]
pub(super) struct Caller {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

/// What came of one request.
enum Answer {
    Http(u16, Vec<(String, String)>),
    /// The connection was made, and ended without an answer.
    Refused,
    /// Anything else: nobody listens, no answer in time.
    Failed(String),
}

/// What came of all requests of one caller.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) ok: u64,
    pub(super) forbidden: u64,
    pub(super) limited: u64,
    pub(super) refused: u64,
    /// Anything that should not be, by what it was.
    pub(super) others: Vec<String>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// Headers of one 429.
    pub(super) limited_headers: Vec<(String, String)>,
}

impl Caller {
    /// One over TLS, with a certificate or without. The server must show exactly the certificate that was issued to it.
    pub(super) fn new(
        address: SocketAddr,
        authority: &str,
        server: &Leaf,
        client: Option<Leaf>,
    ) -> Result<Self, Problem> {
        let failed = |error: &dyn std::fmt::Display| Problem::new(format!("can't set up TLS: {error}"));
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate(authority)?).map_err(|error| failed(&error))?;
        let verifier =
            IssuedServer { roots, server: certificate(&server.certificate)?, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match client {
            Some(leaf) => {
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).map_err(|error| failed(&error))?;
                config
                    .with_client_auth_cert(vec![certificate(&leaf.certificate)?], key)
                    .map_err(|error| failed(&error))?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// One that knows nothing of TLS.
    pub(super) fn plaintext(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Sends so many requests over each of so many connections, all connections at once.
    pub(super) async fn call(&self, path: &str, connections: u32, requests_each: u32) -> Tally {
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (caller, path) = (self.clone(), path.to_owned());
            tasks.spawn(async move { caller.call_on_one_connection(&path, requests_each).await });
        }
        let mut tally = Tally::default();
        while let Some(answers) = tasks.join_next().await {
            match answers {
                Ok(answers) => answers.into_iter().for_each(|answer| tally.count(answer)),
                Err(error) => tally.others.push(error.to_string()),
            }
        }
        tally.elapsed = started.elapsed();
        tally
    }

    async fn call_on_one_connection(&self, path: &str, requests: u32) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut connection: Option<SendRequest<Empty<Bytes>>> = None;
        for _ in 0..requests {
            let one = tokio::time::timeout(PATIENCE, self.call_once(&mut connection, path));
            answers.push(one.await.unwrap_or_else(|_| Answer::Failed("no answer in time".into())));
        }
        answers
    }

    async fn call_once(&self, connection: &mut Option<SendRequest<Empty<Bytes>>>, path: &str) -> Answer {
        let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => match self.connect().await {
                Ok(sender) => sender,
                Err(answer) => return answer,
            },
        };
        let request = Request::get(path).header("host", "load-balancer").body(Empty::<Bytes>::new());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        if sender.ready().await.is_err() {
            return Answer::Refused;
        }
        match sender.send_request(request).await {
            Ok(response) => {
                let answer = read(response).await;
                *connection = Some(sender);
                answer
            }
            // The connection was up; TLS alerts come when the first request is sent, since TLS 1.3.
            Err(_) => Answer::Refused,
        }
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, Answer> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| Answer::Failed(error.to_string()))?;
        // Requests are small and wait for one another.
        stream.set_nodelay(true).map_err(|error| Answer::Failed(error.to_string()))?;
        let Some(tls) = &self.tls else { return speak(stream).await };
        let name = ServerName::IpAddress(self.address.ip().into());
        match tls.connect(name, stream).await {
            Ok(stream) => speak(stream).await,
            // The server showing a wrong certificate is not a refusal of the caller.
            Err(error) if is_our_refusal(&error) => Err(Answer::Failed(error.to_string())),
            Err(_) => Err(Answer::Refused),
        }
    }
}

fn is_our_refusal(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

async fn speak<S>(stream: S) -> Result<SendRequest<Empty<Bytes>>, Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok((sender, connection)) => {
            tokio::spawn(connection);
            Ok(sender)
        }
        Err(error) => Err(Answer::Failed(error.to_string())),
    }
}

async fn read(response: Response<Incoming>) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let headers = headers.collect();
    match response.into_body().collect().await {
        Ok(_) => Answer::Http(status, headers),
        Err(error) => Answer::Failed(format!("{status}, and then: {error}")),
    }
}

impl Tally {
    fn count(&mut self, answer: Answer) {
        self.sent = self.sent.saturating_add(1);
        let counter = match answer {
            Answer::Http(200, _) => &mut self.ok,
            Answer::Http(403, _) => &mut self.forbidden,
            Answer::Http(429, headers) => {
                if self.limited_headers.is_empty() {
                    self.limited_headers = headers;
                }
                &mut self.limited
            }
            Answer::Refused => &mut self.refused,
            Answer::Http(status, _) => return self.others.push(status.to_string()),
            Answer::Failed(reason) => return self.others.push(reason),
        };
        *counter = counter.saturating_add(1);
    }

    /// In a few words.
    pub(super) fn summary(&self) -> String {
        let counts = [
            (self.ok, "answered 200"),
            (self.forbidden, "denied 403"),
            (self.limited, "limited 429"),
            (self.refused, "refused by TLS"),
            (self.others.len() as u64, "something else"),
        ];
        let told: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        format!("{} in {:.2} s", told.join(", "), self.elapsed.as_secs_f64())
    }
}

/// Accepts one server only: the one that holds the certificate issued to the workload. Names can't be compared, since
/// workloads have SPIFFE IDs in place of host names.
#[derive(Debug)]
struct IssuedServer {
    roots: RootCertStore,
    server: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for IssuedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity != self.server {
            return Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure));
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, Problem> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Problem::new(format!("can't read a certificate: {error}")))
}
