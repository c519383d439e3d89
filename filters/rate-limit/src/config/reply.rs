//! What a caller is sent that is turned away.

use tollgate::{
    config::{ConfigError, FromNode, Node, Whole},
    config_struct,
    route::header_name,
};

config_struct! {
    /// What a caller is sent that is turned away, beside the headers that say when to come back.
    #[derive(Default)]
    pub struct WhenLimited {
        /// HTTP status, 400 to 599. 429 unless given. gRPC callers get RESOURCE_EXHAUSTED whatever it is.
        pub status: Option<Whole<400, 599>> = optional("status"),
        /// The body, as text; `content-type` is `text/plain` unless `headers` has one. gRPC callers get it as message.
        pub body: Option<String> = optional("body"),
        /// Headers by name.
        pub headers: Headers = or_default("headers"),
        /// Lets scripts of web pages read the reply.
        pub cors: Option<Cors> = optional("cors"),
    }
}

config_struct! {
    /// Lets scripts of web pages read the reply. Envoy's own CORS filter stands behind Wasm filters, so it never sees a
    /// request that they turn away.
    pub struct Cors {
        /// Origins such as `https://app.example.com`, or `*`.
        pub origins: Vec<String> = required("origins"),
        /// Whether they may send cookies.
        pub credentials: bool = or_default("credentials"),
    }
}

/// Headers of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, HeaderValue)>);

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderValue(pub String);

impl FromNode for HeaderValue {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(ConfigError::here("must not have control characters".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What the reply has anyway, or the proxy alone may set.
const TAKEN: &[&str] = &[
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "x-envoy-ratelimited",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "grpc-status",
    "grpc-message",
    "grpc-retry-pushback-ms",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
];

impl FromNode for Headers {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let Node::Object(entries) = node else { return Err(node.refuse("an object of names and values")) };
        let mut headers: Vec<(String, HeaderValue)> = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let lowercase = header_name(name).map_err(ConfigError::here)?;
            if TAKEN.contains(&lowercase.as_str()) {
                return Err(ConfigError::here("is set by the proxy".to_owned()).under(name));
            }
            if headers.iter().any(|(earlier, _)| *earlier == lowercase) {
                return Err(ConfigError::here("is there already".to_owned()).under(name));
            }
            headers.push((lowercase, HeaderValue::from_node(value).map_err(|error| error.under(name))?));
        }
        Ok(Self(headers))
    }
}
