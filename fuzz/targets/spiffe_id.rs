//! What is parsed as a SPIFFE ID is what the standard's grammar says, read here character by character, and it is written
//! as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::spiffe::{InvalidSpiffeId, SpiffeId};

/// Trust domain and path by SPIFFE-ID.md, 2.1 to 2.3, and X509-SVID.md, 3.1.
fn reference(uri: &[u8]) -> Option<(String, String)> {
    let mut rest = uri.iter().map(|byte| char::from(*byte)).peekable();
    for expected in "spiffe://".chars() {
        if rest.next() != Some(expected) {
            return None;
        }
    }
    let (mut domain, mut path, mut segment) = (String::new(), String::new(), String::new());
    loop {
        match rest.next()? {
            '/' => break,
            c @ ('a'..='z' | '0'..='9' | '.' | '-' | '_') => domain.push(c),
            _ => return None,
        }
    }
    loop {
        let next = rest.next();
        match next {
            None | Some('/') => {
                if segment.is_empty() || segment == "." || segment == ".." {
                    return None;
                }
                path.push_str(&std::mem::take(&mut segment));
                if next.is_none() {
                    break;
                }
                path.push('/');
            }
            Some(c @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '-' | '_')) => segment.push(c),
            Some(_) => return None,
        }
    }
    ((1..=255).contains(&domain.len()) && uri.len() <= 2048).then_some((domain, path))
}

fn check(uri: &[u8]) {
    let parsed = SpiffeId::parse(uri);
    let found = parsed.as_ref().ok().map(|id| (id.trust_domain().to_owned(), id.path().to_owned()));
    assert_eq!(found, reference(uri), "{:?}", String::from_utf8_lossy(uri));

    let has_scheme = uri.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"spiffe:"));
    assert_eq!(parsed == Err(InvalidSpiffeId::Scheme), !has_scheme, "{:?}", String::from_utf8_lossy(uri));
    if let Some(principal) = core::str::from_utf8(uri).ok().and_then(|uri| uri.strip_prefix("spiffe://")) {
        assert_eq!(SpiffeId::parse_schemeless(principal), parsed);
    }
    let Ok(id) = parsed else { return };
    assert_eq!(id.to_string().as_bytes(), uri);
    let written = id.kubernetes().map(|(namespace, account)| format!("ns/{namespace}/sa/{account}"));
    let is_of_kubernetes = id.path().split('/').count() == 4 && {
        let segments: Vec<&str> = id.path().split('/').collect();
        (segments[0], segments[2]) == ("ns", "sa")
    };
    assert_eq!(written.as_deref(), is_of_kubernetes.then_some(id.path()));
}

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&[b"spiffe://", data].concat());
    check(&[b"spiffe://td/ns/", data].concat());
});
