//! The `pluginConfig` of `mtls-identity`.

use tollgate::{
    config::{self, ConfigError, FromNode, Node, Warning},
    config_enum, config_struct,
    name::Name,
    route::RouteMatch,
    spiffe::{SpiffeId, TrustDomain},
};

config_struct! {
    /// Who may call, by the SPIFFE ID of the peer's certificate. Without any field every verified peer of the proxy's own
    /// trust domain may.
    pub struct Config {
        /// Where the identity comes from. `tls` unless given.
        pub source: Source = or_default("source"),
        /// Demands that Envoy says of each certificate that it was validated. `false` unless given. For listeners that
        /// accept others too, which Istio never makes; they must not resume TLS sessions, and Envoy must know
        /// `connection.peer_certificate_valid`.
        pub require_validated: bool = or_default("requireValidated"),
        /// Trust domains whose peers count as ours; all of them are taken for one. The proxy's own unless given.
        pub trust_domains: Vec<TrustDomain> = or_default("trustDomains"),
        /// The first rule whose `match` a request fits decides, and no other; at most 2000.
        pub rules: Vec<RuleConfig> = or_default("rules"),
        /// Requests that need no identity at all: one entry must hold. An ambiguous path or host is never exempt.
        pub exempt: Vec<RouteMatch> = or_default("exempt"),
        /// What becomes of a verified peer where no rule is for its request. `deny` unless given; without `rules`
        /// `allow`.
        pub default: Option<Default> = optional("default"),
    }
}

config_enum! {
    /// Where the identity comes from.
    #[derive(Default)]
    pub enum Source {
        /// The connection's own client certificate.
        #[default]
        Tls = "tls",
    }
}

config_enum! {
    /// What becomes of a verified peer that no rule is for.
    pub enum Default {
        /// It is turned away.
        Deny = "deny",
        /// It passes.
        Allow = "allow",
    }
}

config_struct! {
    /// A rule: which requests, and whose.
    pub struct RuleConfig {
        /// Its name in metrics and logs: 1 to 63 letters, digits, `-`, `_` and `.`, each name once.
        pub name: Name = required("name"),
        /// Alternatives, of which one must hold. Every request unless given.
        pub matches: Vec<RouteMatch> = or_default("match"),
        /// Who may pass: one entry must fit. Every verified peer unless given.
        pub allow: Option<Vec<PeerMatch>> = optional("allow"),
        /// Who may not, even if `allow` has them. Nobody unless given.
        pub deny: Vec<PeerMatch> = or_default("deny"),
    }
}

config_struct! {
    /// A peer, by `principals`, `namespaces` or both. Both must hold; of the entries of one list one is enough.
    pub struct PeerMatch {
        /// SPIFFE IDs.
        pub principals: Vec<Principal> = or_default("principals"),
        /// Kubernetes namespaces: of peers whose SPIFFE ID is of the form `ns/<namespace>/sa/<account>`.
        pub namespaces: Vec<Segment> = or_default("namespaces"),
    }
}

#[cfg(feature = "schema")]
tollgate::text_schema! {
    Principal = "principal", "", "a SPIFFE ID with or without `spiffe://`; `*` stands for one segment of its path";
    Segment = "namespace", "^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$", "a Kubernetes namespace, or `*` for any";
}

/// A SPIFFE ID, with or without `spiffe://`. `*` stands for one whole segment of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    trust_domain: String,
    path: Vec<Segment>,
}

/// One segment of a SPIFFE ID's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Any one.
    Any,
    /// This one.
    Exact(String),
}

impl Segment {
    /// Whether `segment` is what this stands for.
    #[must_use]
    pub fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == segment,
        }
    }
}

impl Principal {
    /// Whether `id` is this principal. A trust domain that is an alias of ours counts as the one written here.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId<'_>, trust_domains: &[TrustDomain]) -> bool {
        let alias = |name: &str| trust_domains.iter().any(|domain| domain.as_str() == name);
        let same_domain =
            self.trust_domain == id.trust_domain() || (alias(&self.trust_domain) && alias(id.trust_domain()));
        let mut segments = id.path().split('/');
        same_domain
            && self.path.iter().all(|pattern| segments.next().is_some_and(|segment| pattern.matches(segment)))
            && segments.next().is_none()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let principal = text.strip_prefix("spiffe://").unwrap_or(text);
        // Nothing but `*` may deviate from the standard.
        let concrete = principal.split('/').map(|segment| if segment == "*" { "x" } else { segment });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        SpiffeId::parse_schemeless(&concrete).map_err(|error| format!("invalid principal `{text}`: {error}"))?;
        let (trust_domain, path) = principal.split_once('/').unwrap_or((principal, ""));
        if trust_domain == "*" {
            return Err(format!("invalid principal `{text}`: the trust domain cannot be `*`"));
        }
        let segment = |segment: &str| if segment == "*" { Segment::Any } else { Segment::Exact(segment.to_owned()) };
        Ok(Self { trust_domain: trust_domain.to_owned(), path: path.split('/').map(segment).collect() })
    }
}

impl FromNode for Principal {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Self::parse(node.text()?).map_err(ConfigError::here)
    }
}

impl FromNode for Segment {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let name = node.text()?;
        if name == "*" {
            return Ok(Self::Any);
        }
        // RFC 1123 label
        let of_a_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good_ends = !name.starts_with('-') && !name.ends_with('-');
        if !(1..=63).contains(&name.len()) || !good_ends || !name.bytes().all(of_a_label) {
            let rule = "use 1 to 63 of a-z, 0-9 and `-`, not at an end, or `*` for any";
            return Err(ConfigError::here(format!("invalid namespace `{name}`: {rule}")));
        }
        Ok(Self::Exact(name.to_owned()))
    }
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. The empty one allows every verified SPIFFE identity of the
    /// proxy's own trust domain.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = config::parse(bytes)?;
        config::check_rules("rules", &config.named())?;
        config::check_exempt(&config.exempt)?;
        for (index, rule) in config.rules.iter().enumerate() {
            for (list, peers) in [("allow", rule.allow.as_deref().unwrap_or_default()), ("deny", &rule.deny)] {
                for (entry, peer) in peers.iter().enumerate() {
                    let path = format!("rules[{index}].{list}[{entry}]");
                    peer.check(&config.trust_domains)
                        .map_err(|error| ConfigError::at(path + &error.path, error.reason))?;
                }
            }
        }
        Ok(config)
    }

    /// Rules that no request can reach.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        config::unreachable_rules("rules", &self.named())
    }

    fn named(&self) -> Vec<(&Name, &[RouteMatch])> {
        self.rules.iter().map(|rule| (&rule.name, rule.matches.as_slice())).collect()
    }
}

impl PeerMatch {
    /// Refuses what would match everybody, or could match nobody.
    fn check(&self, trust_domains: &[TrustDomain]) -> Result<(), ConfigError> {
        if self.principals.is_empty() && self.namespaces.is_empty() {
            return Err(ConfigError::at("", "must have `principals` or `namespaces`"));
        }
        let foreign = |principal: &Principal| {
            !trust_domains.is_empty() && trust_domains.iter().all(|domain| domain.as_str() != principal.trust_domain)
        };
        if let Some(index) = self.principals.iter().position(foreign) {
            return Err(ConfigError::at(
                format!(".principals[{index}]"),
                "can never match: not of one of `trustDomains`",
            ));
        }
        Ok(())
    }

    /// Whether all conditions hold for `id`.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId<'_>, trust_domains: &[TrustDomain]) -> bool {
        (self.principals.is_empty() || self.principals.iter().any(|principal| principal.matches(id, trust_domains)))
            && (self.namespaces.is_empty()
                || id.kubernetes().is_some_and(|(namespace, _)| self.namespaces.iter().any(|n| n.matches(namespace))))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn refusal(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err().to_string()
    }

    fn matches(principal: &str, id: &str, aliases: &str) -> bool {
        let json = format!(r#"{{{aliases}"rules":[{{"name":"a","allow":[{{"principals":["{principal}"]}}]}}]}}"#);
        let config = Config::parse(json.as_bytes()).unwrap();
        let id = SpiffeId::parse(id.as_bytes()).unwrap();
        config.rules[0].allow.as_ref().unwrap()[0].matches(&id, &config.trust_domains)
    }

    #[test]
    fn a_wildcard_never_crosses_a_slash() {
        for (principal, expected) in [
            ("td/ns/a/sa/b", true),
            ("spiffe://td/ns/a/sa/b", true),
            ("td/ns/*/sa/b", true),
            ("td/ns/a/sa/*", true),
            ("td/*/*/*/*", true),
            ("td/*", false),
            ("td/ns/*", false),
            ("td/ns/a/sa/b/*", false),
            ("td/ns/a/sa", false),
            ("other/ns/a/sa/b", false),
        ] {
            assert_eq!(matches(principal, "spiffe://td/ns/a/sa/b", ""), expected, "{principal}");
        }
    }

    #[test]
    fn aliases_of_our_trust_domain_are_one() {
        let aliases = r#""trustDomains":["new","old"],"#;
        assert!(matches("new/ns/a/sa/b", "spiffe://old/ns/a/sa/b", aliases));
        assert!(matches("old/ns/a/sa/b", "spiffe://new/ns/a/sa/b", aliases));
        assert!(!matches("new/ns/a/sa/b", "spiffe://other/ns/a/sa/b", aliases));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (json, message) in [
            (r#"{"rules":[{"name":"a","allow":[{}]}]}"#, "rules[0].allow[0]: must have `principals` or `namespaces`"),
            (r#"{"rules":[]}"#, "rules: must not be empty: leave it out instead"),
            (r#"{"exempt":[{}]}"#, "exempt[0]: must have a condition: it would exempt everything"),
            (r#"{"exempt":[{"paths":[]}]}"#, "exempt[0].paths: must not be empty: leave it out instead"),
            (r#"{"rules":[{"name":"a","allow":[]}]}"#, "rules[0].allow: must not be empty: leave it out instead"),
            (
                r#"{"trustDomains":["td"],"rules":[{"name":"a","deny":[{"principals":["td/a","other/a"]}]}]}"#,
                "rules[0].deny[0].principals[1]: can never match: not of one of `trustDomains`",
            ),
            (r#"{"rules":[{"name":"a"},{"name":"a"}]}"#, "rules[1].name: `a` is the name of an earlier one"),
            (
                r#"{"rules":[{"name":"a","deny":[{"principals":["td/ns/a*/sa/b"]}]}]}"#,
                "rules[0].deny[0].principals[0]: invalid principal `td/ns/a*/sa/b`: a path segment must be characters of A-Z, a-z, 0-9, `.`, `_`, `-`, and not `.` or `..`",
            ),
            (
                r#"{"rules":[{"name":"a","allow":[{"principals":["*/ns/a"]}]}]}"#,
                "rules[0].allow[0].principals[0]: invalid principal `*/ns/a`: the trust domain cannot be `*`",
            ),
            (
                r#"{"rules":[{"name":"a","allow":[{"namespaces":["Blog"]}]}]}"#,
                "rules[0].allow[0].namespaces[0]: invalid namespace `Blog`: use 1 to 63 of a-z, 0-9 and `-`, not at an end, or `*` for any",
            ),
            (r#"{"source":"xfcc"}"#, "source: unknown value `xfcc`, expected `tls`"),
            (r#"{"default":"maybe"}"#, "default: unknown value `maybe`, expected `deny` or `allow`"),
            (
                r#"{"trustDomains":["Cluster.Local"]}"#,
                "trustDomains[0]: invalid trust domain `Cluster.Local`: the trust domain must be 1 to 255 characters of a-z, 0-9, `.`, `_`, `-`",
            ),
        ] {
            assert_eq!(refusal(json), message, "{json}");
        }
    }
    #[test]
    fn a_rule_that_no_request_can_reach_is_a_warning() {
        let json = r#"{"rules":[{"name":"a"},{"name":"b","deny":[{"namespaces":["x"]}]}]}"#;
        let warnings = Config::parse(json.as_bytes()).unwrap().warnings();
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(warning.path, "rules[1]");
        assert_eq!(warning.reason, "can never match: rule `a` before it takes all that it would");
    }
}
