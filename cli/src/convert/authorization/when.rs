//! `when`: a key, and what its value must be or not.

use super::super::field::Field;
use super::super::plugin::mtls_identity::HeaderCondition;
use super::super::report::Report;
use super::bound::{Bound, list};
use super::condition::{Addresses, Condition};
use super::difference::Difference;
use super::source::{Asked, Context, Kind, networks, peers, product};
use super::{operation, token};

/// Reads all of them: what is asked of the peer, and alternatives of what else must hold.
pub(super) fn read(field: &Field<'_>, context: &Context<'_>, report: &mut Report) -> (Asked, Vec<Condition>) {
    let mut asked = Asked::default();
    let mut alternatives = vec![Condition::default()];
    for entry in field.items() {
        entry.only(&["key", "values", "notValues"], "a condition", report);
        let key = entry.text_of("key");
        let (values, not_values) = (list(&entry, "values", report), list(&entry, "notValues", report));
        if key.is_empty() {
            report.refuse(&entry, "has no key", "name the attribute: Istio refuses this");
            continue;
        }
        if values.is_none() && not_values.is_none() {
            report.refuse(&entry, "has neither values nor notValues", "give it one: Istio refuses this");
            continue;
        }
        let condition = Entry { field: entry, key, values, not_values };
        if let Some(kind) = condition.kind_of_peers() {
            for (list, not) in [(&condition.values, false), (&condition.not_values, true)] {
                if let Some(list) = list {
                    asked = asked.and(&peers(list, kind, not, context, report));
                }
            }
            continue;
        }
        let Some(found) = condition.read(context.bound, report) else { continue };
        alternatives = product(&alternatives, &found).unwrap_or_else(|refusal| {
            refusal.at(&condition.field, report);
            Vec::new()
        });
    }
    (asked, alternatives)
}

/// One condition.
struct Entry<'a> {
    field: Field<'a>,
    key: &'a str,
    values: Option<Field<'a>>,
    not_values: Option<Field<'a>>,
}

impl Entry<'_> {
    fn kind_of_peers(&self) -> Option<Kind> {
        match self.key {
            "source.principal" => Some(Kind::Principals),
            "source.namespace" => Some(Kind::Namespaces),
            "source.serviceAccount" => Some(Kind::ServiceAccounts),
            "source.trustDomain" => Some(Kind::TrustDomains),
            _ => None,
        }
    }

    /// Alternatives, of which one must hold; none where it is refused.
    fn read(&self, bound: Bound, report: &mut Report) -> Option<Vec<Condition>> {
        let one = |condition: Condition| Some(vec![condition]);
        match self.key {
            "source.ip" => {
                one(Condition { peer: self.addresses(Difference::PeerAddress, report), ..Condition::default() })
            }
            "remote.ip" => {
                one(Condition { client: self.addresses(Difference::ClientAddress, report), ..Condition::default() })
            }
            "destination.port" => {
                let ports = operation::ports(&self.field, "values", "when.ports", report);
                let not_ports = operation::ports(&self.field, "notValues", "when.notPorts", report);
                one(Condition { ports, not_ports: not_ports.unwrap_or_default(), ..Condition::default() })
            }
            "connection.sni" => {
                let sni = self.values.as_ref().and_then(|list| server_names(list, "when.sni", report));
                let not_sni = self.not_values.as_ref().and_then(|list| server_names(list, "when.notSni", report));
                one(Condition { sni, not_sni: not_sni.unwrap_or_default(), ..Condition::default() })
            }
            "request.auth.principal" => {
                let mut alternatives = vec![Condition::default()];
                for (list, not) in [(&self.values, false), (&self.not_values, true)] {
                    if let Some(list) = list {
                        let found = token::request_principals(list, not, report)?;
                        alternatives = product(&alternatives, &found).ok()?;
                    }
                }
                Some(alternatives)
            }
            "request.auth.audiences" => self.claim(&["aud"], report),
            "request.auth.presenter" => self.claim(&["azp"], report),
            key => {
                if let Some(rest) = key.strip_prefix("request.auth.claims") {
                    return match token::names_in_brackets(rest) {
                        Some(names) => self.claim(&names, report),
                        None => self.refuse_key(
                            "needs the claim's name in brackets, such as request.auth.claims[groups]",
                            report,
                        ),
                    };
                }
                if let Some(rest) = key.strip_prefix("request.headers") {
                    return match rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                        Some(name) => self.header(name, bound, report),
                        None => self
                            .refuse_key("needs the header's name in brackets, such as request.headers[x-env]", report),
                    };
                }
                self.refuse_key(unknown(key), report)
            }
        }
    }

    fn addresses(&self, difference: Difference, report: &mut Report) -> Addresses {
        let within = self.values.as_ref().and_then(|list| networks(list, "when.clientAddresses", difference, report));
        let without =
            self.not_values.as_ref().and_then(|list| networks(list, "when.notClientAddresses", difference, report));
        Addresses { within, without: without.unwrap_or_default() }
    }

    fn claim(&self, names: &[&str], report: &mut Report) -> Option<Vec<Condition>> {
        let condition = token::claim(names, self.values.as_ref(), self.not_values.as_ref(), report)?;
        Some(vec![condition])
    }

    /// A condition on a header. Istio's `*` is a header that is there, be it empty; the filter's one that is not empty.
    fn header(&self, name: &str, bound: Bound, report: &mut Report) -> Option<Vec<Condition>> {
        let name = match tollgate::route::header_name(name) {
            Ok(name) if name != "host" => name,
            _ => {
                let reason = "is a part of the request line, which no condition on headers is for";
                return self.refuse_key(&format!("{reason}: use hosts, paths or methods of an operation"), report);
            }
        };
        let mut condition = Condition::default();
        let mut header = HeaderCondition { name: name.clone(), ..HeaderCondition::default() };
        if let Some(list) = &self.values {
            let globs = token::globs(list, report)?;
            if globs.iter().any(|glob| glob == "*") {
                report.became(list, format!("match.headers: {name}, present"));
                condition.present = vec![name.clone()];
            } else {
                report.became(list, format!("when.headers: {name}, values: {}", globs.join(", ")));
                report.announce(list, Difference::RepeatedHeader);
                header.values = globs;
            }
        }
        if let Some(list) = &self.not_values {
            let globs = token::globs(list, report)?;
            if globs.iter().any(|glob| glob == "*") {
                if bound == Bound::Inner {
                    let reason = format!(
                        "asks that {name} is not there, and one that is there and empty can't be told from that"
                    );
                    report.refuse(list, reason, "name the values that it must not have");
                    return None;
                }
                report.announce(list, Difference::EmptyHeader);
            }
            report.became(list, format!("when.headers: {name}, notValues: {}", globs.join(", ")));
            report.announce(list, Difference::RepeatedHeader);
            header.not_values = globs;
        }
        if !header.values.is_empty() || !header.not_values.is_empty() {
            condition.headers = vec![header];
        }
        Some(vec![condition])
    }

    fn refuse_key(&self, reason: &str, report: &mut Report) -> Option<Vec<Condition>> {
        let field = self.field.get("key").unwrap_or_else(|| self.field.clone());
        let (reason, cure) = reason.split_once(": ").unwrap_or((reason, "correct it: Istio refuses this"));
        report.refuse(&field, format!("`{}` {reason}", self.key), cure);
        None
    }
}

/// Why a key is not carried over, and behind a colon what to do.
fn unknown(key: &str) -> &'static str {
    match key {
        "destination.ip" => {
            "is the address that the connection came to, which the filter does not look at: select the workload instead, \
             or leave this rule to Istio's own policy"
        }
        key if key.starts_with("experimental.envoy.filters.") => {
            "is another filter's metadata, which the filter does not look at: leave this rule to Istio's own policy, or \
             use request.auth.claims[...] if it is a token's"
        }
        _ => "is no attribute that is known here",
    }
}

/// Patterns of server names, which Envoy has in lowercase.
fn server_names(list: &Field<'_>, target: &str, report: &mut Report) -> Option<Vec<String>> {
    let globs = token::globs(list, report)?;
    for field in list.items() {
        if field.text().is_some_and(|text| text.bytes().any(|byte| byte.is_ascii_uppercase())) {
            let reason = "MATCHES NOTHING: Envoy has server names in lowercase, and Istio compares case";
            report.refuse(&field, reason, "write it in lowercase, if that was meant");
            return None;
        }
    }
    report.became(list, format!("{target}: {}", globs.join(", ")));
    Some(globs)
}
