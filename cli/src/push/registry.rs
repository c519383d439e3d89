//! A registry: what it lacks is sent, with another try for what fails for a moment, and read back in the end.

use std::error::Error;
use std::time::Duration;

use futures_util::stream;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::credentials::Credentials;
use crate::args::image::RegistryArguments;
use crate::image::{Blob, Image, MANIFEST};
use crate::output;
use crate::problem::{Origin, Problem};

/// A connection, or an answer, that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the second try; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);
/// Who waits no longer than this needs no progress bar.
const UNNOTICED: Duration = Duration::from_secs(2);
/// What is sent at a time, and so the progress bar's step.
const CHUNK: usize = 16 * 1024;

/// Where an image is pushed to.
pub struct Registry {
    client: Client,
    reference: Reference,
    credentials: Credentials,
    retries: u32,
}

impl Registry {
    /// Prepares to talk to it; nothing is sent yet.
    pub fn new(reference: Reference, arguments: &RegistryArguments, credentials: Credentials) -> Result<Self, Problem> {
        // The one that was installed first stays, and is ring as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut extra_root_certificates = Vec::new();
        if let Some(path) = &arguments.ca_cert {
            let data = std::fs::read(path).map_err(|error| {
                Problem::at(&Origin::file(path.display().to_string()), "", format!("can't be read: {error}"))
            })?;
            extra_root_certificates.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
        let config = ClientConfig {
            protocol: if arguments.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            accept_invalid_certificates: arguments.insecure,
            extra_root_certificates,
            use_monolithic_push: true,
            read_timeout: Some(PATIENCE),
            connect_timeout: Some(PATIENCE),
            user_agent: concat!("tollgate/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config)
            .map_err(|error| Problem::new(format!("can't talk to registries: {}", last(&error))))?;
        Ok(Self { client, reference: for_urls(&reference), credentials, retries: arguments.retries })
    }

    /// Sends what the registry lacks, then the manifest; returns how many bytes that was.
    pub async fn push(&self, image: &Image) -> Result<u64, Problem> {
        let progress = Progress::start(image.size());
        let pushed = self.send(image, &progress.bar).await;
        progress.finish();
        pushed
    }

    async fn send(&self, image: &Image, bar: &ProgressBar) -> Result<u64, Problem> {
        self.retrying(async || {
            self.client.auth(&self.reference, &self.credentials.auth, RegistryOperation::Push).await.map(drop)
        })
        .await?;
        let mut sent = 0_u64;
        for blob in &image.blobs {
            let missing = self.retrying(async || self.send_blob(blob, bar).await).await?;
            if missing {
                sent = sent.saturating_add(length(blob));
            }
        }
        let body = image.manifest.bytes.clone();
        self.retrying(async || {
            let media_type = http::HeaderValue::from_static(MANIFEST);
            self.client.push_manifest_raw(&self.reference, body.clone(), media_type).await.map(drop)
        })
        .await?;
        bar.inc(length(&image.manifest));
        let kept =
            self.retrying(async || self.client.fetch_manifest_digest(&self.reference, &self.credentials.auth).await);
        let kept = kept.await?;
        if kept != image.digest() {
            return Err(Problem::new(format!("{}: the registry has {kept}, not what was pushed", self.reference))
                .cure("somebody else may have pushed the same tag; try again"));
        }
        Ok(sent.saturating_add(length(&image.manifest)))
    }

    /// True when it was sent, false when it was there.
    async fn send_blob(&self, blob: &Blob, bar: &ProgressBar) -> Result<bool, OciDistributionError> {
        let before = bar.position();
        if self.client.blob_exists(&self.reference, &blob.digest).await? {
            bar.inc(length(blob));
            return Ok(false);
        }
        let chunks: Vec<_> = blob.bytes.chunks(CHUNK).map(|chunk| blob.bytes.slice_ref(chunk)).collect();
        let counted = bar.clone();
        let stream = stream::iter(chunks.into_iter().map(move |chunk| {
            counted.inc(u64::try_from(chunk.len()).unwrap_or(0));
            Ok(chunk)
        }));
        let pushed = self.client.push_blob_stream(&self.reference, stream, &blob.digest, Some(length(blob))).await;
        if pushed.is_err() {
            bar.set_position(before);
        }
        pushed.map(|_| true)
    }

    async fn retrying<T>(&self, attempt: impl AsyncFn() -> Result<T, OciDistributionError>) -> Result<T, Problem> {
        let mut pause = PAUSE;
        let mut left = self.retries;
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if left > 0 && is_momentary(&error) => {
                    output::aside(format!(
                        "{} {}; trying again",
                        output::styled(output::DOUBTFUL, "warning:"),
                        self.reason(&error)
                    ));
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                    left = left.saturating_sub(1);
                }
                Err(error) => return Err(self.explain(&error)),
            }
        }
    }

    fn reason(&self, error: &OciDistributionError) -> String {
        format!("{}: {}", self.reference.resolve_registry(), last(error))
    }

    fn explain(&self, error: &OciDistributionError) -> Problem {
        let registry = self.reference.resolve_registry();
        let problem = Problem::new(self.reason(error));
        if tls_error(error).is_some() {
            return problem.cure(
                "name the authority to trust with --ca-cert FILE; or, where whoever is between may read all of it, \
                 --insecure, or --plain-http for a registry without TLS",
            );
        }
        match (status(error), &self.credentials.auth) {
            (Some(401 | 403), RegistryAuth::Anonymous) => {
                Problem::new(format!("{registry} wants to know who pushes, and no credentials were found"))
                    .cure(format!("docker login {registry}, or give --username NAME --password-stdin"))
            }
            (Some(401 | 403), _) => Problem::new(format!(
                "{registry} does not let the user of {} push to {}",
                self.credentials.origin,
                self.reference.repository()
            ))
            .cure(format!("check the password and what the user may do; docker login {registry}")),
            (None, _) if is_momentary(error) => {
                problem.cure("check the registry's name and port, and that it can be reached from here")
            }
            _ => problem,
        }
    }
}

/// The reference with its digest in the place of the tag: what the client makes URLs from.
fn for_urls(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => {
            Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), digest.to_owned())
        }
        None => reference.clone(),
    }
}

fn length(blob: &Blob) -> u64 {
    u64::try_from(blob.bytes.len()).unwrap_or(u64::MAX)
}

/// Whether another try may well succeed: nobody answers, or the answer is the registry's own trouble.
fn is_momentary(error: &OciDistributionError) -> bool {
    if tls_error(error).is_some() {
        return false;
    }
    match (status(error), error) {
        (Some(status), _) => status == 429 || status >= 500,
        (None, OciDistributionError::RequestError(error)) => {
            error.is_connect() || error.is_timeout() || error.is_request() || error.is_body()
        }
        _ => false,
    }
}

/// What the registry answered, where it did.
fn status(error: &OciDistributionError) -> Option<u16> {
    use oci_client::errors::OciErrorCode;
    match error {
        OciDistributionError::RequestError(error) => error.status().map(|status| status.as_u16()),
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => Some(401),
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().find_map(|error| match error.code {
                OciErrorCode::Unauthorized => Some(401),
                OciErrorCode::Denied => Some(403),
                OciErrorCode::Toomanyrequests => Some(429),
                _ => None,
            })
        }
        _ => None,
    }
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // An I/O error's source is that of the error in it, which would be passed over.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => tls_error(error.source()?),
    }
}

fn chain(error: &OciDistributionError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
}

/// The innermost cause, which says most: what is around it says that a request failed.
fn last(error: &OciDistributionError) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// A progress bar that shows itself to a person who has begun to wait.
struct Progress {
    bar: ProgressBar,
    shows: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("pushing {wide_bar} {bytes} of {total_bytes}") {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let shows = tokio::spawn(async move {
            tokio::time::sleep(UNNOTICED).await;
            shown.set_draw_target(ProgressDrawTarget::stderr());
            shown.tick();
        });
        Self { bar, shows }
    }

    fn finish(self) {
        self.shows.abort();
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> OciDistributionError {
        OciDistributionError::ServerError { code, url: String::new(), message: String::new() }
    }

    #[test]
    fn only_the_trouble_of_a_moment_is_worth_another_try() {
        assert!(is_momentary(&server(503)));
        assert!(is_momentary(&server(429)));
        assert!(!is_momentary(&server(404)));
        assert!(!is_momentary(&OciDistributionError::UnauthorizedError { url: String::new() }));
        let io = std::io::Error::other(std::io::Error::other(rustls::Error::General("x".into())));
        assert!(tls_error(&io).is_some());
    }

    #[test]
    fn a_digest_goes_where_a_tag_would() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference: Reference = format!("ghcr.io/a/b@{digest}").parse().unwrap();
        assert_eq!(for_urls(&reference).tag(), Some(digest.as_str()));
    }
}
