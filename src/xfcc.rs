//! `x-forwarded-client-cert` (XFCC) to the letter of Envoy, and when what it says of a caller can be believed.
//!
//! Each proxy that a request passes adds an element about the peer that it came from: elements are separated by `,`,
//! their pairs by `;`. Envoy writes the keys in one order (By, Hash, Cert, Chain, Subject, URI, DNS), puts Subject, Cert
//! and Chain in quotes, and the names from certificates as they are behind the others. So what is not exactly of that
//! form was not written by an Envoy, or has a name in it that is made to look like more than one: it is refused.

use core::fmt;

/// Why something is no `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidXfcc {
    /// An element or a pair is empty.
    Empty,
    /// A pair has no `=`.
    NoValue,
    /// A key that Envoy does not write.
    UnknownKey,
    /// Keys are not in Envoy's order, or one is there twice that it writes once.
    KeyOrder,
    /// A quote is not closed, has something behind it, is missing, or is where Envoy writes none.
    Quotes,
    /// A value has control characters, or is not ASCII.
    NotText,
    /// What a proxy has written last does not stand as its last element.
    Hidden,
}

impl fmt::Display for InvalidXfcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "has an empty element or pair",
            Self::NoValue => "has a key without a value",
            Self::UnknownKey => "has an unknown key",
            Self::KeyOrder => "has keys in another order than Envoy's",
            Self::Quotes => "has quotes where Envoy has none, or none where it has",
            Self::NotText => "has characters that are not printable ASCII",
            Self::Hidden => "has more behind the element of the connection's own peer",
        })
    }
}

impl core::error::Error for InvalidXfcc {}

/// The value of a key that may be there any number of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Occurrence<'a> {
    /// It is not there.
    #[default]
    None,
    /// It is there once. The value may be empty.
    One(&'a str),
    /// It is there more than once.
    Several,
}

impl<'a> Occurrence<'a> {
    /// The value, if there is exactly one and it is not empty.
    #[must_use]
    pub const fn one(self) -> Option<&'a str> {
        match self {
            Self::One(value) if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    const fn and(self, value: &'a str) -> Self {
        match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// What one proxy says of the peer that a request came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// The URI SAN of the proxy's own certificate, for each one that it has.
    pub by: Occurrence<'a>,
    /// The SHA-256 digest of the peer's certificate, in hexadecimal digits.
    pub hash: Option<&'a str>,
    /// The URI SAN of the peer's certificate, for each one that it has; empty when it has none.
    pub uri: Occurrence<'a>,
}

/// The elements of a header's value from left to right, the farthest proxy's first. Each is read when it is asked for, and
/// nothing behind an invalid one.
pub const fn elements(value: &[u8]) -> Elements<'_> {
    Elements { rest: Some(value) }
}

/// See [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, InvalidXfcc>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.rest.take()?;
        Some(element(value).map(|(element, rest)| {
            self.rest = rest;
            element
        }))
    }
}

/// The keys in the order in which Envoy writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    By,
    Hash,
    Cert,
    Chain,
    Subject,
    Uri,
    Dns,
}

impl Key {
    fn parse(name: &[u8]) -> Option<Self> {
        let keys: [(&[u8], Self); 7] = [
            (b"By", Self::By),
            (b"Hash", Self::Hash),
            (b"Cert", Self::Cert),
            (b"Chain", Self::Chain),
            (b"Subject", Self::Subject),
            (b"URI", Self::Uri),
            (b"DNS", Self::Dns),
        ];
        keys.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, key)| key)
    }

    const fn is_quoted(self) -> bool {
        matches!(self, Self::Cert | Self::Chain | Self::Subject)
    }

    const fn repeats(self) -> bool {
        matches!(self, Self::By | Self::Uri | Self::Dns)
    }
}

/// The first element, and what is behind its `,`.
fn element(value: &[u8]) -> Result<(Element<'_>, Option<&[u8]>), InvalidXfcc> {
    let mut element = Element::default();
    let mut before = None;
    let mut rest = value;
    loop {
        let Pair { key, value, behind } = pair(rest)?;
        if before.is_some_and(|before| key < before || key == before && !key.repeats()) {
            return Err(InvalidXfcc::KeyOrder);
        }
        before = Some(key);
        match key {
            Key::By => element.by = element.by.and(value),
            Key::Hash => element.hash = Some(value),
            Key::Uri => element.uri = element.uri.and(value),
            Key::Cert | Key::Chain | Key::Subject | Key::Dns => {}
        }
        match behind {
            [b';', behind @ ..] => rest = behind,
            [b',', behind @ ..] => return Ok((element, Some(behind))),
            _ => return Ok((element, None)),
        }
    }
}

struct Pair<'a> {
    key: Key,
    value: &'a str,
    /// Empty, or a separator and more.
    behind: &'a [u8],
}

fn pair(text: &[u8]) -> Result<Pair<'_>, InvalidXfcc> {
    let name = text.split(|byte| matches!(byte, b'=' | b';' | b',')).next().unwrap_or_default();
    let Some([b'=', rest @ ..]) = text.get(name.len()..) else {
        return Err(if name.is_empty() { InvalidXfcc::Empty } else { InvalidXfcc::NoValue });
    };
    let key = Key::parse(name).ok_or(InvalidXfcc::UnknownKey)?;
    let (value, behind) = if key.is_quoted() {
        let [b'"', rest @ ..] = rest else { return Err(InvalidXfcc::Quotes) };
        let (value, behind) = split_at_quote(rest).ok_or(InvalidXfcc::Quotes)?;
        if !matches!(behind, [] | [b';' | b',', ..]) {
            return Err(InvalidXfcc::Quotes);
        }
        (value, behind)
    } else {
        let value = rest.split(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default();
        if value.contains(&b'"') {
            return Err(InvalidXfcc::Quotes);
        }
        (value, rest.get(value.len()..).unwrap_or_default())
    };
    let value = core::str::from_utf8(value).ok().filter(|value| value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    Ok(Pair { key, value: value.ok_or(InvalidXfcc::NotText)?, behind })
}

/// What is before the first quote without a backslash, and what is behind it.
fn split_at_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let (value, behind) = text.split_at_checked(end)?;
    Some((value, behind.get(1..)?))
}

/// The URI SANs that this proxy itself has written down of its peer, whose certificate has the digest `peer_hash`; the last
/// element has them. `None` if that is not its own.
///
/// A name in the peer's certificate can make more than one element of it, and close a quote that the peer has opened
/// before. No name has the certificate's own digest in it, so where that stands anywhere but in the last element, such a
/// name is there.
///
/// # Errors
/// The header is not of Envoy's form, and nobody can say where the last element begins; or the last one is a part of this
/// proxy's own alone.
pub fn own_element<'a>(value: &'a [u8], peer_hash: &[u8]) -> Result<Option<Element<'a>>, InvalidXfcc> {
    let mut last = None;
    for element in elements(value) {
        last = Some(element?);
    }
    let own = last.filter(|element| element.hash.map(str::as_bytes) == Some(peer_hash));
    let is_there = || !peer_hash.is_empty() && value.windows(peer_hash.len()).any(|part| part == peer_hash);
    if own.is_none() && is_there() { Err(InvalidXfcc::Hidden) } else { Ok(own) }
}

/// Why nobody is known to have sent a request through the forwarders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotForwarded {
    /// There is no header, or it has nothing but this proxy's own element: the forwarder's caller had no certificate.
    Nothing,
    /// The peer, or a proxy before it, is no listed forwarder.
    Untrusted,
    /// The header is there more than once.
    Repeated,
    /// The header is not of Envoy's form.
    Malformed(InvalidXfcc),
    /// The header has more or fewer elements than proxies should have written.
    Count,
    /// An element has not exactly one `URI`, has several `By`, or an empty one.
    Names,
    /// Two neighbouring elements are not of one chain.
    Broken,
    /// The last element is not what this proxy writes of this connection.
    NotOurs,
}

impl fmt::Display for NotForwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nobody is forwarded",
            Self::Untrusted => "came by a proxy that is no listed forwarder",
            Self::Repeated => "the header is there more than once",
            Self::Malformed(error) => return write!(f, "the header {error}"),
            Self::Count => "the header has more or fewer elements than there are hops",
            Self::Names => "an element has not exactly one `URI`, or several `By`",
            Self::Broken => "an element is not by the proxy of which the next one speaks",
            Self::NotOurs => "the last element does not speak of this connection",
        })
    }
}

impl core::error::Error for NotForwarded {}

/// The URI SAN of the caller of the first of `hops` forwarders, by the values of `x-forwarded-client-cert`.
///
/// `own` is the URI SAN of this proxy's certificate and `peer` that of the connection's peer, whose certificate has the
/// digest `peer_hash` (in lowercase hexadecimal digits, where it is known). Each condition stops an attack:
/// - The peer, and each proxy before it but the caller, `is_forwarder`: anybody with a certificate can write a header.
/// - The header is there once: of two, this and another reader may take different ones.
/// - It has `hops + 1` elements. More: the caller wrote some itself, which a forwarder passed on. Fewer: it went around
///   a forwarder. No more than that are read, however many there are.
/// - Each has one `URI`, and no more than one `By`: of several, this and another reader may take different ones.
/// - Each that says `By` whom it is, is by the proxy that the next one says it came from: no element of another request was
///   put between. A proxy whose certificate has no URI, as gateways with one for browsers, can't say it.
/// - The last one is `By` this proxy and of this very peer: this proxy has written it, and not passed on a header whole.
///
/// What it cannot see is a name with `;DNS=` or a whole element in it, or with spaces at its end: who issues certificates for names of which that is
/// not true can also issue one for any other name.
///
/// # Errors
/// Which condition does not hold.
pub fn forwarded<'a>(
    headers: &'a [Vec<u8>],
    own: &str,
    peer: &str,
    peer_hash: Option<&[u8]>,
    hops: usize,
    is_forwarder: impl Fn(&str) -> bool,
) -> Result<&'a str, NotForwarded> {
    if !is_forwarder(peer) {
        return Err(NotForwarded::Untrusted);
    }
    let value = match headers {
        [] => return Err(NotForwarded::Nothing),
        [value] => value,
        _ => return Err(NotForwarded::Repeated),
    };
    let is_ours = |by: Option<&str>, uri: &str, hash: Option<&str>| {
        by == Some(own) && uri == peer && peer_hash.is_none_or(|peer_hash| hash.map(str::as_bytes) == Some(peer_hash))
    };
    let mut elements = elements(value);
    let (mut caller, mut before) = ("", None);
    for position in 0..=hops {
        let element = match elements.next() {
            Some(element) => element.map_err(NotForwarded::Malformed)?,
            None => return Err(NotForwarded::Count),
        };
        let by = match element.by {
            Occurrence::None => None,
            by => Some(by.one().ok_or(NotForwarded::Names)?),
        };
        let uri = element.uri.one().ok_or(NotForwarded::Names)?;
        match before.replace(by) {
            None => caller = uri,
            Some(Some(before)) if before != uri => return Err(NotForwarded::Broken),
            Some(_) if !is_forwarder(uri) => return Err(NotForwarded::Untrusted),
            Some(_) => {}
        }
        if elements.rest.is_none() {
            return match position {
                _ if !is_ours(by, uri, element.hash) => Err(NotForwarded::NotOurs),
                _ if position == hops => Ok(caller),
                0 => Err(NotForwarded::Nothing),
                _ => Err(NotForwarded::Count),
            };
        }
    }
    Err(NotForwarded::Count)
}

#[cfg(test)]
mod tests;
