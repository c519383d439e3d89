//! How many requests a request counts as.

use tollgate::{
    config::{ConfigError, Count, FromNode, Node},
    config_struct,
    route::header_name,
};

/// How many requests a request counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostConfig {
    /// Always so many.
    Fixed(Count),
    /// As many as a header says.
    Header(HeaderCost),
    /// That depends on the response. A request is admitted while the bucket has anything left, and charged when its
    /// response comes.
    Response(Vec<StatusCost>),
}

config_struct! {
    /// As many requests as a header says. Who writes that header must be trusted: it should be a proxy before this one.
    pub struct HeaderCost {
        /// The header.
        pub header: HeaderName = required("header"),
        /// When the header is absent or no number. 1 unless given.
        pub default: Option<Count> = optional("default"),
        /// What less counts as. 1 unless given.
        pub min: Option<Count> = optional("min"),
        /// What more counts as.
        pub max: Count = required("max"),
    }
}

config_struct! {
    /// What a response with one of these statuses costs; others cost nothing.
    pub struct StatusCost {
        /// Statuses, such as `401`, or classes of them, such as `4xx`.
        pub status: Vec<StatusPattern> = required("status"),
        /// How many requests it counts as.
        pub cost: Count = required("cost"),
    }
}

config_struct! {
    struct ResponseCost {
        response: Vec<StatusCost> = required("response"),
    }
}

/// A header's name, in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl FromNode for HeaderName {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        header_name(node.text()?).map(Self).map_err(ConfigError::here)
    }
}

/// A status such as `401`, or a class such as `4xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPattern {
    least: u16,
    most: u16,
}

impl StatusPattern {
    /// Whether `status` is the one, or of the class.
    #[must_use]
    pub const fn matches(self, status: u16) -> bool {
        self.least <= status && status <= self.most
    }
}

impl FromNode for StatusPattern {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        if let Node::Unsigned(_) | Node::Float(_) = node {
            let status = u16::try_from(node.whole(100..=599)?).unwrap_or(u16::MAX);
            return Ok(Self { least: status, most: status });
        }
        let text = node.text()?;
        let (class, digits) = text.strip_suffix("xx").map_or((1, text), |class| (100, class));
        match digits.parse::<u16>() {
            Ok(number) if (100..=599).contains(&number.saturating_mul(class)) && !digits.starts_with('+') => {
                let least = number.saturating_mul(class);
                Ok(Self { least, most: least.saturating_add(class).saturating_sub(1) })
            }
            _ => Err(ConfigError::here(format!(
                "invalid status `{text}`: write one such as 401, or a class such as 4xx"
            ))),
        }
    }
}

impl FromNode for CostConfig {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        match node {
            Node::Object(_) if node.has("response") => {
                ResponseCost::from_node(node).map(|cost| Self::Response(cost.response))
            }
            Node::Object(_) => {
                let cost = HeaderCost::from_node(node)?;
                cost.check()?;
                Ok(Self::Header(cost))
            }
            number => Count::from_node(number).map(Self::Fixed),
        }
    }
}

impl CostConfig {
    /// The most that one request can cost at its request.
    #[must_use]
    pub fn most(&self) -> u64 {
        match self {
            Self::Fixed(cost) => cost.get(),
            Self::Header(cost) => cost.max.get(),
            Self::Response(_) => 1,
        }
    }
}

impl HeaderCost {
    fn check(&self) -> Result<(), ConfigError> {
        for (field, value) in [("default", self.default), ("min", self.min)] {
            if let Some(value) = value.filter(|value| *value > self.max) {
                let reason = format!("must be at most `max`, {}, found {}", self.max.get(), value.get());
                return Err(ConfigError::at(field, reason));
            }
        }
        Ok(())
    }

    /// What the header's values come to: the largest, within the bounds. A list in one value is as good as several values
    /// (RFC 9110).
    #[must_use]
    pub fn of(&self, values: &[Vec<u8>]) -> u64 {
        let number = |value: &[u8]| {
            let text = core::str::from_utf8(value).ok()?.trim();
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (least, most) = (self.min.unwrap_or(Count::ONE).get(), self.max.get());
        let values = values.iter().flat_map(|value| value.split(|byte| *byte == b','));
        match values.filter_map(number).max() {
            Some(cost) => cost.max(least).min(most),
            None => self.default.unwrap_or(Count::ONE).get(),
        }
    }
}
