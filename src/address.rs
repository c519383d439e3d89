//! Client addresses, by what can be trusted alone, and the networks that they are in.

use std::net::{IpAddr, SocketAddr};

use crate::{
    config::{ConfigError, FromNode, Node},
    request::{Attribute, Request},
};

/// The address of a request's client. `trusted_hops` is how many proxies before this one write `X-Forwarded-For` and are
/// trusted to: with none, the address is the connection's own. `None` where it is not known.
///
/// Envoy says an address from `X-Forwarded-For` without a port (as port 0). Which entry that is depends on its settings,
/// and on a sidecar it is the peer's word, so it never counts; the entries are counted here, from the right.
pub fn client_address(request: &impl Request, trusted_hops: usize) -> Option<IpAddr> {
    let (peer, entry) = peer_and_entry(request, trusted_hops, address);
    // Without an entry, it came by fewer proxies than it should have.
    entry.as_deref().and_then(address).or(peer)
}

/// The same for what must mean what it means to Envoy: of an entry that Envoy does not take for an address (it has a port,
/// or is in brackets) the connection's own address stands in, as it does there; and an IPv4 address in IPv6 clothes, which
/// Envoy takes for neither, is not known.
pub fn plain_client_address(request: &impl Request, trusted_hops: usize) -> Option<IpAddr> {
    let (peer, entry) = peer_and_entry(request, trusted_hops, bare_address);
    match entry.as_deref().and_then(bare_address) {
        Some(address) if address != address.to_canonical() => None,
        address => address.or(peer),
    }
}

/// The connection's own address, if Envoy says it, and the entry of the farthest proxy that is trusted.
fn peer_and_entry(
    request: &impl Request,
    trusted_hops: usize,
    address: fn(&[u8]) -> Option<IpAddr>,
) -> (Option<IpAddr>, Option<Vec<u8>>) {
    let source = request.attribute(Attribute::SourceAddress).and_then(|source| core::str::from_utf8(source).ok());
    let source: Option<SocketAddr> = source.and_then(|source| source.parse().ok());
    let peer = source.filter(|source| source.port() != 0).map(|source| source.ip().to_canonical());
    let Some(behind) = trusted_hops.checked_sub(1) else { return (peer, None) };
    // From the right, and no more of them than count: a client may write any number.
    let headers = request.header("x-forwarded-for");
    let mut entries = headers.iter().rev().flat_map(|header| header.rsplit(|byte| *byte == b',')).peekable();
    // A proxy that trusts nobody before it has already written down its peer itself.
    if peer.is_some() && entries.peek().is_some_and(|last| address(last) == peer) {
        entries.next();
    }
    (peer, entries.nth(behind).map(<[u8]>::to_vec))
}

/// An entry of `X-Forwarded-For` that is an address and nothing else.
fn bare_address(entry: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(entry).ok()?.trim().parse().ok()
}

/// An entry of `X-Forwarded-For`: an address, with a port or without.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `address`, of a client as [`client_address`] says it, is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address, self.bits) == masked(self.address, self.bits)
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        // As addresses are: an IPv4 network in IPv6 clothes is one.
        match (address.to_canonical(), bits.checked_sub(96)) {
            (IpAddr::V4(mapped), Some(bits)) if address.is_ipv6() => Some(Self { address: mapped.into(), bits }),
            _ => Some(Self { address, bits }),
        }
    }
}

impl FromNode for Network {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        let hint = "write an address, or one such as 10.0.0.0/8";
        Self::parse(text).ok_or_else(|| ConfigError::here(format!("invalid network `{text}`: {hint}")))
    }
}

/// The first `bits` of `address`; the rest zero.
#[must_use]
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests;
