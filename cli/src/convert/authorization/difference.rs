//! In what a converted policy deliberately differs from Istio's: every way there is, with a code that programs can rely on.

use serde::Serialize;

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Tollgate turns away some whom Istio lets pass, never the other way round.
    Stricter,
    /// Tollgate takes several spellings of a request for one, and gives all of them the same answer: an ALLOW rule takes
    /// the other spellings too, and so does a DENY rule.
    Spelling,
    /// What is decided is the same; what is counted or logged is not.
    Reporting,
    /// Istio's policy reaches further than an HTTP filter can: what is left there has to be guarded by something else.
    Reach,
}

impl Effect {
    /// For tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stricter => "stricter",
            Self::Spelling => "spelling",
            Self::Reporting => "reporting",
            Self::Reach => "reach",
        }
    }
}

macro_rules! differences {
    ($($(#[$doc:meta])* $name:ident: $effect:ident = $code:literal, $reason:literal;)+) => {
        /// A way in which what comes out deliberately differs from what Istio does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Difference {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl Difference {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As reports and documents spell it; it never changes.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// Which way it goes.
            #[must_use]
            pub const fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect,)+
                }
            }

            /// What it comes to, for people.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)+
                }
            }
        }
    };
}

differences! {
    /// Every request that is not exempt needs a verified identity, whatever the rules say.
    IdentityRequired: Stricter = "identity_required",
        "a caller without one verified SPIFFE ID is turned away, whatever the rules say: plaintext, no certificate, \
         several URI SANs. Istio asks for one only where a rule names peers";
    /// A verified peer of a trust domain that is neither local nor named by a policy.
    ForeignTrustDomain: Stricter = "foreign_trust_domain",
        "peers of a trust domain that is neither local nor named in a policy are turned away. Istio takes whomever the \
         listener's certificates vouch for";
    /// Namespaces and service accounts of ALLOW rules, and exclusions of DENY rules, are those of the local trust domain.
    FederatedNamespace: Stricter = "federated_namespace",
        "where peers are let pass by their namespace or service account, those of the local trust domain are; in Istio \
         those of every trust domain. Name peers of others by `principals`";
    /// Identities that are not of the form `ns/NAMESPACE/sa/ACCOUNT`.
    IdentityForm: Stricter = "identity_form",
        "an identity counts by its form ns/NAMESPACE/sa/ACCOUNT, and one of another form is on the denied side; Istio \
         looks for the text anywhere in it";
    /// A local trust domain and its aliases are one everywhere.
    TrustDomainAliases: Spelling = "trust_domain_aliases",
        "the local trust domain and its aliases are one; in patterns of this form Istio tells them apart";
    /// A `*` that ends in the middle of a segment, a label or a name.
    PartialSegment: Stricter = "partial_segment",
        "`*` stands for whole segments, labels and names";
    /// A `*` at the beginning, or `{**}` in the middle, of a path.
    PathDepth: Stricter = "path_depth",
        "`*` and `{**}` that stand for any number of segments, with more behind them, are carried over for up to 8";
    /// `/users/*` and `/users` itself.
    DirectoryItself: Stricter = "directory_itself",
        "in Istio `/users/*` is what is below /users, and /users itself is not; here an ALLOW rule takes neither \
         /users nor /users/, and a DENY rule both";
    /// Escaped slashes, empty and dot segments, and the like.
    AmbiguousPath: Stricter = "ambiguous_path",
        "a path that two readers may take for different ones is turned away (`//`, `..`, `;`, `%2f`, `\\`)";
    /// What is no plain host name.
    AmbiguousHost: Stricter = "ambiguous_host",
        "a host that is no plain host name is turned away (`user@host`, `%61.example`), and so is a path that some take for one \
         (`//host/x`)";
    /// A header with several values.
    RepeatedHeader: Spelling = "repeated_header",
        "a header that is repeated counts once where the rule says the same of all its values, and else the request is \
         turned away; Envoy looks for one value that fits, and before 1.37 at all of them joined by commas";
    /// Headers that are there and empty.
    EmptyHeader: Stricter = "empty_header",
        "a header that is there and empty counts as missing; Istio tells the two apart";
    /// `/data` and `/data/`.
    TrailingSlash: Spelling = "trailing_slash",
        "/data and /data/ are one path; Istio tells them apart";
    /// Escapes in paths.
    PathSpelling: Spelling = "path_spelling",
        "paths are compared decoded, so that `/a%3Ab` is `/a:b`; Istio decodes letters, digits and `-._~` alone";
    /// What `{*}` and `{**}` stand for.
    TemplateCharacters: Spelling = "template_characters",
        "`{*}` and `{**}` stand for any characters; in Istio for those of a URI's path alone, so not for `[`";
    /// Port and dots at the end of a host.
    HostSpelling: Spelling = "host_spelling",
        "a host is the same with any port and with a dot at its end; Istio compares the whole of `:authority`";
    /// `get` and `GET`.
    MethodCase: Spelling = "method_case",
        "methods match in any case; Istio takes the capitals alone";
    /// Claims that are numbers, booleans or objects.
    ClaimTypes: Spelling = "claim_types",
        "for a pattern with `*` a claim that is a number, a boolean or an object is there too; Istio looks at texts alone";
    /// `ipBlocks` where a request carries `X-Forwarded-For`.
    PeerAddress: Stricter = "peer_address",
        "where Envoy takes the address from X-Forwarded-For, as on a sidecar, the peer's own is not known, and a request that \
         a rule would ask for it is turned away; behind the PROXY protocol it is the announced client's";
    /// `remoteIpBlocks` where `X-Forwarded-For` has no address.
    ClientAddress: Stricter = "client_address",
        "the client's address is the entry of X-Forwarded-For that Istio takes, and a request whose entry is no plain \
         address is turned away where a rule asks for it and Envoy does not say its peer's";
    /// Two WasmPlugins at one workload.
    SeveralPlugins: Stricter = "several_plugins",
        "where both select a pod both WasmPlugins run, and both must allow; Istio asks whether any of the ALLOW policies \
         does";
    /// What AUDIT rules see.
    AuditOrder: Reporting = "audit_order",
        "AUDIT rules are looked at after DENY, and count what they match as shadow_denied; a request that DENY turns \
         away is not counted by them";
    /// ALLOW policies with `istio.io/dry-run` beside enforced ones.
    DryRunDefault: Reporting = "dry_run_default",
        "of a dry run of ALLOW what it would take is counted, and not what it would turn away";
    /// Connections that are not HTTP.
    HttpOnly: Reach = "http_only",
        "a WasmPlugin sees HTTP alone, and ztunnel runs none: what Istio's policy did for other TCP connections, or in an \
         ambient mesh without a waypoint, has to be kept by an AuthorizationPolicy with those ports or a NetworkPolicy";
    /// Gateways among the workloads of a policy without a selector.
    Gateways: Reach = "gateways",
        "this WasmPlugin is for sidecars; a gateway among the workloads that Istio's policy covers needs one of its own";
    /// Workloads that come later.
    LaterWorkloads: Reach = "later_workloads",
        "there is a WasmPlugin for each workload that was read, and none for one that comes later";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_those_of_the_table_in_the_documentation() {
        let document = include_str!("../../../../docs/convert.md");
        let rows = document.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let code = cells.next()?.trim().strip_suffix('`')?;
            let effect = cells.next()?.trim();
            let effects = ["stricter", "spelling", "reporting", "reach"];
            effects.contains(&effect).then(|| (code.to_owned(), effect.to_owned()))
        });
        let documented: BTreeSet<_> = rows.collect();
        let known: BTreeSet<_> = (Difference::ALL.iter())
            .map(|difference| (difference.code().to_owned(), difference.effect().as_str().to_owned()))
            .collect();
        assert_eq!(documented, known);
        assert_eq!(known.len(), Difference::ALL.len(), "a code is there twice");
    }
}
