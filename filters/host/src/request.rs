//! The request at hand, read from the host lazily.

use std::cell::OnceCell;

use tollgate::request::{Attribute, Request};

use crate::{abi, pairs};

type Lazy = OnceCell<Option<Vec<u8>>>;

/// The request of the callback that is running. Each thing is read from the host at most once; what the host refuses to
/// hand over is absent.
#[derive(Debug, Default)]
pub struct HostRequest {
    path: Lazy,
    method: Lazy,
    authority: Lazy,
    /// Serialised.
    headers: OnceCell<Vec<u8>>,
    attributes: [Lazy; Attribute::ALL.len()],
    end_of_stream: bool,
}

impl HostRequest {
    /// A pseudo-header: Envoy's codecs let at most one through, so the first is the only one.
    fn pseudo_header<'a>(&'a self, cell: &'a Lazy, name: &str) -> Option<&'a [u8]> {
        match self.headers.get() {
            Some(headers) => pairs::first(headers, name.as_bytes()),
            None => cell.get_or_init(|| abi::header(abi::REQUEST_HEADERS, name).ok()).as_deref(),
        }
    }

    /// All headers, serialised.
    fn all_headers(&self) -> &[u8] {
        self.headers.get_or_init(|| abi::headers(abi::REQUEST_HEADERS).unwrap_or_default())
    }
}

impl HostRequest {
    /// One whose headers have arrived, and nothing will follow them if `end_of_stream`.
    pub(crate) fn arriving(end_of_stream: bool) -> Self {
        Self { end_of_stream, ..Self::default() }
    }

    /// Whether it is known to have no body.
    #[must_use]
    pub const fn has_no_body(&self) -> bool {
        self.end_of_stream
    }

    /// Reads all headers now: for a filter that surely needs two of them, as each call to the host costs about the same.
    pub fn read_headers(&self) {
        let _ = self.all_headers();
    }

    /// The bytes of all headers' names and values.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        pairs::bytes(self.all_headers())
    }

    /// Gives the header `name` (lowercase) this value alone, or none. Headers go whose name an application may take for
    /// `name`: many put `_` or anything but letters and digits for each `-`, as CGI does.
    ///
    /// Returns whether there is nothing left of what the client sent.
    #[must_use]
    pub fn replace_header(&self, name: &str, value: Option<&str>) -> bool {
        let Ok(headers) = abi::headers(abi::REQUEST_HEADERS) else { return false };
        let Some(pairs) = pairs::decode(&headers) else { return false };
        let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
        let is_taken_for_it = |other: &[u8]| other.iter().map(plain).eq(name.as_bytes().iter().map(plain));
        let sent = pairs.into_iter().map(|(other, _)| other).filter(|other| is_taken_for_it(other));
        let is_gone = sent.map(|other| abi::remove_header(abi::REQUEST_HEADERS, other)).all(|status| status == abi::OK);
        is_gone && value.is_none_or(|value| abi::add_header(abi::REQUEST_HEADERS, name, value) == abi::OK)
    }
}

impl Request for HostRequest {
    fn path(&self) -> Option<&[u8]> {
        self.pseudo_header(&self.path, ":path")
    }

    fn method(&self) -> Option<&[u8]> {
        self.pseudo_header(&self.method, ":method")
    }

    fn authority(&self) -> Option<&[u8]> {
        self.pseudo_header(&self.authority, ":authority")
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        // The host's look-up by name returns a repeated header's first value alone (CVE-2026-31838).
        let pairs = pairs::decode(self.all_headers()).unwrap_or_default().into_iter();
        let named = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.to_vec()).collect()
    }

    fn first_header(&self, name: &str) -> Option<Vec<u8>> {
        match self.headers.get() {
            Some(headers) => pairs::first(headers, name.as_bytes()).map(<[u8]>::to_vec),
            None => abi::header(abi::REQUEST_HEADERS, name).ok(),
        }
    }

    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let cell = self.attributes.get(attribute as usize)?;
        let value = cell.get_or_init(|| abi::property(attribute.joined()).ok());
        value.as_deref().filter(|value| !value.is_empty())
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        abi::property(&path.join("\0")).ok().filter(|value| !value.is_empty())
    }

    /// The host serialises a list as it does a map, its elements for names; and of a value alone nobody could tell whether it
    /// is one, but that a list has a first element.
    fn values(&self, path: &[&str]) -> Option<Vec<Vec<u8>>> {
        let path = path.join("\0");
        let value = match abi::property(&path) {
            Ok(value) => value,
            Err(abi::NOT_FOUND) => return Some(Vec::new()),
            Err(_) => return None,
        };
        match abi::property(&[&path, "0"].join("\0")) {
            Err(abi::NOT_FOUND) if value == [0; 4] => Some(Vec::new()),
            Err(abi::NOT_FOUND) => Some(vec![value]),
            _ => Some(pairs::decode(&value)?.into_iter().map(|(element, _)| element.to_vec()).collect()),
        }
    }
}
