//! Conditions beside hosts, paths, methods and peers, and how several of them come to one.

use ipnet::IpNet;

use super::super::plugin::mtls_identity::{ClaimCondition, Conditions, HeaderCondition};
use super::bound::Refusal;
use super::network;

/// What all must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Condition {
    pub(super) not_hosts: Vec<String>,
    pub(super) not_paths: Vec<String>,
    pub(super) not_methods: Vec<String>,
    /// None is any.
    pub(super) ports: Option<Vec<u16>>,
    pub(super) not_ports: Vec<u16>,
    /// None is any.
    pub(super) sni: Option<Vec<String>>,
    pub(super) not_sni: Vec<String>,
    pub(super) headers: Vec<HeaderCondition>,
    pub(super) claims: Vec<ClaimCondition>,
    /// Headers that must be there, be they empty.
    pub(super) present: Vec<String>,
    /// Whether it must have a token with issuer and subject, or must not; none is either.
    pub(super) request_principal: Option<bool>,
    /// Whether two of the conditions contradict each other.
    pub(super) contradicts_itself: bool,
    /// Of the connection's peer.
    pub(super) peer: Addresses,
    /// Of the client, behind the proxies that are trusted.
    pub(super) client: Addresses,
}

/// Where an address must be, and where not.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Addresses {
    /// None is anywhere.
    pub(super) within: Option<Vec<IpNet>>,
    pub(super) without: Vec<IpNet>,
}

impl Addresses {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn and(self, other: Self) -> Self {
        Self { within: both(self.within, other.within, network::both), without: union(self.without, other.without) }
    }
}

impl Condition {
    /// Both at once. Refused where the one list that there is can't say what two lists do.
    pub(super) fn and(self, other: Self) -> Result<Self, Refusal> {
        Ok(Self {
            not_hosts: union(self.not_hosts, other.not_hosts),
            not_paths: union(self.not_paths, other.not_paths),
            not_methods: union(self.not_methods, other.not_methods),
            ports: both(self.ports, other.ports, |these, those| {
                these.iter().copied().filter(|port| those.contains(port)).collect()
            }),
            not_ports: union(self.not_ports, other.not_ports),
            sni: globs(self.sni, other.sni)?,
            not_sni: union(self.not_sni, other.not_sni),
            headers: union(self.headers, other.headers),
            claims: union(self.claims, other.claims),
            present: union(self.present, other.present),
            request_principal: self.request_principal.or(other.request_principal),
            contradicts_itself: self.contradicts_itself
                || other.contradicts_itself
                || self.request_principal.zip(other.request_principal).is_some_and(|(this, that)| this != that),
            peer: self.peer.and(other.peer),
            client: self.client.and(other.client),
        })
    }

    /// Whether two conditions contradict each other, so that no request satisfies both.
    pub(super) fn is_never(&self) -> bool {
        let none = |list: Option<usize>| list == Some(0);
        self.contradicts_itself
            || none(self.ports.as_ref().map(Vec::len))
            || none(self.sni.as_ref().map(Vec::len))
            || none(self.peer.within.as_ref().map(Vec::len))
            || none(self.client.within.as_ref().map(Vec::len))
    }

    /// As the filter reads it; `hops` is how many proxies before this one are trusted to name the client.
    pub(super) fn print(self, hops: u8) -> Result<Conditions, Refusal> {
        let (addresses, trusted_hops) = match (self.peer.is_empty(), self.client.is_empty()) {
            (_, true) => (self.peer, None),
            (true, false) => (self.client, Some(hops).filter(|hops| *hops > 0)),
            (false, false) => {
                let reason =
                    "asks for the peer's address and the client's in one rule, and a rule looks at one of them";
                return Err(Refusal::new(
                    reason,
                    "leave one of ipBlocks (source.ip) and remoteIpBlocks (remote.ip) out",
                ));
            }
        };
        Ok(Conditions {
            not_hosts: self.not_hosts,
            not_paths: self.not_paths,
            not_methods: self.not_methods,
            ports: self.ports.unwrap_or_default(),
            not_ports: self.not_ports,
            sni: self.sni.unwrap_or_default(),
            not_sni: self.not_sni,
            client_addresses: network::print(&addresses.within.unwrap_or_default()),
            not_client_addresses: network::print(&addresses.without),
            trusted_hops,
            headers: self.headers,
            jwt_claims: self.claims,
            request_principals: any_if(self.request_principal == Some(true)),
            not_request_principals: any_if(self.request_principal == Some(false)),
        })
    }
}

fn any_if(asked: bool) -> Vec<String> {
    asked.then(|| "*".to_owned()).into_iter().collect()
}

fn union<T: PartialEq>(mut these: Vec<T>, those: Vec<T>) -> Vec<T> {
    for that in those {
        if !these.contains(&that) {
            these.push(that);
        }
    }
    these
}

fn both<T>(these: Option<Vec<T>>, those: Option<Vec<T>>, common: impl Fn(&[T], &[T]) -> Vec<T>) -> Option<Vec<T>> {
    match (these, those) {
        (Some(these), Some(those)) => Some(common(&these, &those)),
        (these, those) => these.or(those),
    }
}

/// What is in both lists of globs. Refused where two of them have some values in common that no glob is for.
fn globs(these: Option<Vec<String>>, those: Option<Vec<String>>) -> Result<Option<Vec<String>>, Refusal> {
    let (these, those) = match (these, those) {
        (Some(these), Some(those)) => (these, those),
        (these, those) => return Ok(these.or(those)),
    };
    let mut common = Vec::new();
    for this in &these {
        for that in &those {
            let narrower = match (covers(this, that), covers(that, this)) {
                (true, _) => that,
                (_, true) => this,
                _ if !this.contains('*') || !that.contains('*') || disjoint(this, that) => continue,
                _ => {
                    let reason = format!(
                        "asks twice for connection.sni, and `{this}` with `{that}` at once is no single pattern"
                    );
                    return Err(Refusal::new(reason, "write one condition that says both"));
                }
            };
            if !common.contains(narrower) {
                common.push(narrower.clone());
            }
        }
    }
    Ok(Some(common))
}

/// Whether every value of the second is one of the first.
fn covers(wide: &str, narrow: &str) -> bool {
    match (wide.strip_prefix('*'), wide.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), _) => narrow.ends_with(end) && !(narrow.len() > 1 && narrow.ends_with('*')),
        (None, Some(begin)) => narrow.starts_with(begin),
        (None, None) => wide == narrow,
    }
}

/// Whether two beginnings, or two ends, of which neither covers the other, have nothing in common.
fn disjoint(this: &str, that: &str) -> bool {
    this.starts_with('*') == that.starts_with('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sni(list: &[&str]) -> Condition {
        Condition { sni: Some(list.iter().map(|text| (*text).to_owned()).collect()), ..Condition::default() }
    }

    fn ports(list: &[u16]) -> Condition {
        Condition { ports: Some(list.to_vec()), ..Condition::default() }
    }

    #[test]
    fn of_two_lists_what_is_in_both_remains() {
        assert_eq!(ports(&[80, 81]).and(ports(&[81, 82])).unwrap(), ports(&[81]));
        assert!(ports(&[80]).and(ports(&[81])).unwrap().is_never());
        assert_eq!(ports(&[80]).and(Condition::default()).unwrap(), ports(&[80]));
        let common = sni(&["a.example", "*.b.example"]).and(sni(&["*", "x.b.example", "*.d.example"])).unwrap();
        assert_eq!(common, sni(&["a.example", "*.b.example", "x.b.example"]));
        assert_eq!(sni(&["c*"]).and(sni(&["cd*", "d*"])).unwrap(), sni(&["cd*"]));
    }

    #[test]
    fn patterns_that_overlap_at_two_ends_are_refused() {
        let refusal = sni(&["a*"]).and(sni(&["*z"])).unwrap_err();
        assert!(refusal.reason.contains("`a*` with `*z`"), "{}", refusal.reason);
        assert!(sni(&["a*"]).and(sni(&["b*"])).unwrap().is_never());
        assert!(sni(&["abc"]).and(sni(&["*z"])).unwrap().is_never());
    }

    #[test]
    fn a_rule_looks_at_one_of_the_two_addresses() {
        let somewhere = Addresses { within: Some(vec!["10.0.0.0/8".parse().unwrap()]), without: Vec::new() };
        let peer = Condition { peer: somewhere.clone(), ..Condition::default() };
        let client = Condition { client: somewhere, ..Condition::default() };
        assert_eq!(peer.clone().print(1).unwrap().trusted_hops, None);
        let printed = client.clone().print(2).unwrap();
        assert_eq!((printed.trusted_hops, printed.client_addresses), (Some(2), vec!["10.0.0.0/8".to_owned()]));
        assert!(peer.and(client).unwrap().print(1).is_err());
    }
}
