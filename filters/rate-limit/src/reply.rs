//! The reply to a request that is turned away, in the form that its caller understands.

use tollgate::{request::Request, time::Duration};

use crate::{
    config::{Cors, WhenLimited, Which},
    headers::{self, Headers, Policy},
};

const DEFAULT_BODY: &str = "rate limit exceeded\n";

/// What scripts of web pages may read of the reply.
const EXPOSED: &str = "retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, \
                       x-ratelimit-reset, x-envoy-ratelimited";

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A limit does not admit it.
    BucketEmpty {
        /// The index of the limit that keeps it waiting longest.
        limit: usize,
        /// How long until it would be admitted if nobody else came.
        wait: Duration,
    },
    /// It lacks a part of the rule's key. Waiting does not help.
    KeyMissing,
}

impl Reason {
    /// As logs and metrics spell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::BucketEmpty { .. } => "bucket_empty",
            Self::KeyMissing => "key_missing",
        }
    }

    /// The whole seconds after which the caller may come back.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        match self {
            Self::BucketEmpty { wait, .. } => Some(headers::seconds(*wait)),
            Self::KeyMissing => None,
        }
    }
}

/// A reply, to be sent in the application's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
    /// Headers.
    pub headers: Headers,
}

/// By what protocol a caller speaks, which decides what it retries on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, whatever is in it.
    Http,
    /// gRPC: Envoy makes status and message of the reply's.
    Grpc,
    /// Connect, one message each way.
    ConnectUnary,
    /// Connect with streams, of messages in this encoding.
    ConnectStream,
}

impl Protocol {
    /// Goes by the content type.
    #[must_use]
    pub fn of(request: &impl Request) -> Self {
        let Some(content_type) = request.first_header("content-type") else { return Self::Http };
        // As Envoy tells them: not grpc-web, whose callers get the HTTP status.
        if let Some(rest) = content_type.strip_prefix(b"application/grpc")
            && matches!(rest.first(), None | Some(b'+' | b';'))
        {
            return Self::Grpc;
        }
        if content_type.starts_with(b"application/connect+") {
            return Self::ConnectStream;
        }
        match request.first_header("connect-protocol-version") {
            Some(_) => Self::ConnectUnary,
            None => Self::Http,
        }
    }
}

impl Reply {
    pub(crate) fn new(
        told: &WhenLimited,
        policy: &Policy,
        which: Which,
        reason: &Reason,
        protocol: Protocol,
        request: &impl Request,
    ) -> Self {
        let mut headers = Headers::with_capacity(8);
        if let Reason::BucketEmpty { limit, wait } = reason {
            let seconds = headers::seconds(*wait);
            headers::push(&mut headers, "retry-after", seconds.to_string());
            if which != Which::Off {
                policy.limited(*limit, seconds, &mut headers);
            }
            if protocol == Protocol::Grpc {
                headers::push(&mut headers, "grpc-retry-pushback-ms", headers::pushback(*wait));
            }
        }
        headers::push(&mut headers, "x-envoy-ratelimited", "true");
        let of_protocol = |(name, _): &&(String, _)| protocol == Protocol::Http || *name != "content-type";
        headers.extend(told.headers.0.iter().filter(of_protocol).map(|(name, value)| (name.clone(), value.0.clone())));
        if let Some(cors) = &told.cors {
            allow_origin(cors, request, &mut headers);
        }
        let status = told.status.and_then(|status| u16::try_from(status.get()).ok()).unwrap_or(429);
        let message = told.body.as_deref().unwrap_or(DEFAULT_BODY);
        match protocol {
            Protocol::Http => Self { status, body: message.as_bytes().to_vec(), headers },
            Protocol::Grpc => Self { status, body: message.trim_ascii_end().as_bytes().to_vec(), headers },
            Protocol::ConnectUnary => {
                headers::push(&mut headers, "content-type", "application/json");
                Self { status: 429, body: connect_error().into_bytes(), headers }
            }
            Protocol::ConnectStream => {
                let content_type = request.first_header("content-type").unwrap_or_default();
                let content_type = header_value(&content_type).unwrap_or("application/connect+json");
                headers::push(&mut headers, "content-type", content_type);
                // The last message of a stream: a flag, the length, and how it ended.
                let end = format!("{{\"error\":{}}}", connect_error());
                let length = u32::try_from(end.len()).unwrap_or(u32::MAX).to_be_bytes();
                let body = [&[2][..], &length, end.as_bytes()].concat();
                Self { status: 200, body, headers }
            }
        }
    }
}

fn connect_error() -> String {
    r#"{"code":"resource_exhausted","message":"rate limit exceeded"}"#.to_owned()
}

/// What a caller sent, if it may stand in a header of the reply.
fn header_value(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// The headers by which a browser lets a script of `Origin` read the reply (Fetch standard).
fn allow_origin(cors: &Cors, request: &impl Request, headers: &mut Headers) {
    headers::push(headers, "vary", "origin");
    let origin = request.header("origin");
    let [origin] = &origin[..] else { return };
    let Some(origin) = header_value(origin) else { return };
    if !cors.origins.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return;
    }
    headers::push(headers, "access-control-allow-origin", origin);
    headers::push(headers, "access-control-expose-headers", EXPOSED);
    if cors.credentials {
        headers::push(headers, "access-control-allow-credentials", "true");
    }
}

#[cfg(test)]
mod tests;
