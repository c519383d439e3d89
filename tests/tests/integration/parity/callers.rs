//! Who calls: peers with certificates of every kind, and without.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use rand::{RngExt as _, rngs::StdRng};
use rcgen::SanType;
use serde_json::Value;
use tollgate_tests::{certificates::Authority, client::Identity};

use super::words::{self, any, pick};

/// A caller.
#[derive(Clone)]
pub(super) struct Caller {
    /// For people.
    name: String,
    /// The URI SANs of its certificate.
    uris: Vec<String>,
    /// None in plaintext.
    identity: Option<Identity>,
}

/// All callers, and what the server needs to know them.
pub(super) struct Callers {
    mesh: Authority,
    known: RefCell<BTreeMap<String, Caller>>,
    /// Those that no mesh has.
    odd: Vec<Caller>,
    /// The server's `DownstreamTlsContext`.
    pub(super) server: Value,
}

/// URI SANs that no mesh gives to a service account.
const ODD: [&[&str]; 10] = [
    &["spiffe://cluster.local/ns/shop/sa/web/extra"],
    &["spiffe://cluster.local/team/a/ns/shop/sa/web"],
    &["spiffe://td.new/ns/shop/cell/1/sa/web"],
    &["spiffe://td.new/ns/billing/sa/web/ns/shop/sa/web"],
    &["spiffe://cluster.local/web"],
    &["spiffe://Cluster.Local/ns/shop/sa/web"],
    &["spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/billing/sa/api"],
    &["spiffe://td.new/ns/shop/sa/web", "https://shop.example/"],
    &["https://cluster.local/ns/shop/sa/web"],
    &[],
];

impl Callers {
    /// New ones.
    pub(super) fn new() -> Self {
        let mesh = Authority::default();
        let server = mesh.server(&mesh.issue(&["spiffe://cluster.local/ns/shop/sa/server"]), false, true);
        let mut odd: Vec<_> = ODD.iter().map(|uris| Caller::new(&mesh, uris)).collect();
        let named = |name: &str, identity| Caller { name: name.to_owned(), uris: vec![], identity };
        let host = mesh.issue_so(&[], |params| {
            params.subject_alt_names = vec![SanType::DnsName("web.shop".try_into().expect("ASCII"))];
        });
        odd.push(named("a DNS name", Some(Identity::new(Some(&host)))));
        // Frequent in a mesh that is on its way to mTLS.
        for _ in 0..2 {
            odd.push(named("nobody, with TLS", Some(Identity::new(None))));
            odd.push(named("nobody, in plaintext", None));
        }
        Self { mesh, known: RefCell::default(), odd, server }
    }

    /// The caller with this SPIFFE ID.
    pub(super) fn of(&self, domain: &str, path: &str) -> Caller {
        let uri = format!("spiffe://{domain}/{path}");
        self.known.borrow_mut().entry(uri.clone()).or_insert_with(|| Caller::new(&self.mesh, &[&uri])).clone()
    }

    /// Any of them, mostly of the mesh of these trust domains.
    pub(super) fn any(&self, random: &mut StdRng, domains: &[String]) -> Caller {
        match random.random_range(0..20) {
            0..3 => pick(random, &self.odd).clone(),
            3..7 => self.of(any(random, &words::DOMAINS), any(random, &words::ACCOUNTS)),
            _ => self.of(pick::<String>(random, domains), any(random, &words::ACCOUNTS)),
        }
    }
}

impl Caller {
    fn new(mesh: &Authority, uris: &[&str]) -> Self {
        let identity = Some(Identity::new(Some(&mesh.issue(uris))));
        Self { name: uris.join(" and "), uris: uris.iter().map(|uri| (*uri).to_owned()).collect(), identity }
    }

    /// Its trust domain and path, if it has exactly one SPIFFE ID.
    pub(super) fn id(&self) -> Option<(&str, &str)> {
        let [uri] = self.uris.as_slice() else { return None };
        uri.strip_prefix("spiffe://")?.split_once('/')
    }

    /// What it speaks TLS as, if it does.
    pub(super) const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// A connection of a caller.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// Whose.
    pub(super) caller: Caller,
    /// Its own address.
    pub(super) from: &'static str,
    /// The port that it reaches.
    pub(super) port: u16,
    /// The server's name in the handshake.
    pub(super) sni: Option<&'static str>,
    /// With HTTP/2.
    pub(super) is_http2: bool,
}

impl Arrival {
    /// Any caller, anyhow.
    pub(super) fn new(random: &mut StdRng, callers: &Callers, domains: &[String]) -> Self {
        let caller = callers.any(random, domains);
        let sni = any(random, &words::SERVER_NAMES).filter(|_| caller.identity.is_some());
        let (from, port) = (any(random, &words::CLIENTS), any(random, &[8080, 9090, 80]));
        Self { caller, from, port, sni, is_http2: random.random_ratio(1, 4) }
    }
}
