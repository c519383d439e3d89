//! Who is believed to have sent a request, and which forgeries are not.

use std::cell::Cell;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OWN: &str = "spiffe://td/posts";
const EDGE: &str = "spiffe://td/edge";
const INNER: &str = "spiffe://td/inner";
const CALLER: &str = "spiffe://td/caller";
const HASH: &str = "0123456789abcdef";

fn element(by: &str, uri: &str) -> String {
    format!("By={by};Hash={HASH};Subject=\"O=a, b\";URI={uri};DNS=x")
}

fn is_forwarder(uri: &str) -> bool {
    uri == EDGE || uri == INNER
}

fn through(headers: &[&str], peer: &str, hops: usize) -> Result<String, NotForwarded> {
    let headers: Vec<Vec<u8>> = headers.iter().map(|header| header.as_bytes().to_vec()).collect();
    forwarded(&headers, OWN, peer, Some(HASH.as_bytes()), hops, is_forwarder).map(str::to_owned)
}

/// By way of the edge alone.
fn by_edge(value: &str) -> Result<String, NotForwarded> {
    through(&[value], EDGE, 1)
}

fn caller(name: &str) -> Result<String, NotForwarded> {
    Ok(name.to_owned())
}

fn chain(elements: &[(&str, &str)]) -> String {
    elements.iter().map(|(by, uri)| element(by, uri)).collect::<Vec<_>>().join(",")
}

#[test]
fn the_caller_of_the_first_forwarder_is_who_the_chain_ends_at() {
    assert_eq!(by_edge(&chain(&[(EDGE, CALLER), (OWN, EDGE)])), caller(CALLER));
    let two = chain(&[(EDGE, CALLER), (INNER, EDGE), (OWN, INNER)]);
    assert_eq!(through(&[&two], INNER, 2), caller(CALLER));
    assert_eq!(by_edge(&chain(&[(EDGE, EDGE), (OWN, EDGE)])), caller(EDGE), "a forwarder may call as well");
    assert_eq!(through(&[&chain(&[(OWN, EDGE)])], EDGE, 0), caller(EDGE), "without hops it is the peer");
}

#[test]
fn without_more_than_this_proxys_own_element_nobody_is_forwarded() {
    for hops in [1, 2] {
        assert_eq!(through(&[], EDGE, hops), Err(NotForwarded::Nothing));
        assert_eq!(through(&[&chain(&[(OWN, EDGE)])], EDGE, hops), Err(NotForwarded::Nothing));
    }
    let of_others = [element(EDGE, EDGE), element(OWN, CALLER), element(EDGE, CALLER)];
    for value in of_others {
        assert_eq!(by_edge(&value), Err(NotForwarded::NotOurs), "{value}");
    }
}

#[test]
fn a_peer_that_is_no_forwarder_is_believed_nothing() {
    let forged = chain(&[(CALLER, INNER), (OWN, CALLER)]);
    for headers in [&[][..], &[""], &[&forged], &[&forged, &forged]] {
        assert_eq!(through(headers, CALLER, 1), Err(NotForwarded::Untrusted), "{headers:?}");
        assert_eq!(through(headers, "", 1), Err(NotForwarded::Untrusted), "{headers:?}");
    }
    let by_way_of_one = chain(&[(CALLER, INNER), (EDGE, CALLER), (OWN, EDGE)]);
    assert_eq!(through(&[&by_way_of_one], EDGE, 2), Err(NotForwarded::Untrusted));
}

#[test]
fn a_header_is_there_once() {
    let value = chain(&[(EDGE, CALLER), (OWN, EDGE)]);
    assert_eq!(through(&[&value, &value], EDGE, 1), Err(NotForwarded::Repeated));
    assert_eq!(through(&[&element(EDGE, CALLER), &element(OWN, EDGE)], EDGE, 1), Err(NotForwarded::Repeated));
    assert_eq!(through(&[&value, ""], EDGE, 1), Err(NotForwarded::Repeated));
}

#[test]
fn an_element_too_many_or_too_few_is_not_explained_away() {
    let honest = [(EDGE, CALLER), (INNER, EDGE), (OWN, INNER)];
    for place in 0..=honest.len() {
        for forged in [(EDGE, INNER), (INNER, EDGE), (OWN, INNER), (EDGE, EDGE), ("x", "y")] {
            let mut elements = honest.to_vec();
            elements.insert(place, forged);
            assert!(through(&[&chain(&elements)], INNER, 2).is_err(), "{forged:?} at {place}");
        }
    }
    // What a caller writes itself stands before what the first forwarder writes of it.
    let forged = chain(&[(EDGE, INNER), (EDGE, CALLER), (OWN, EDGE)]);
    assert_eq!(by_edge(&forged), Err(NotForwarded::Broken));
    let forged = chain(&[(CALLER, INNER), (EDGE, CALLER), (OWN, EDGE)]);
    assert_eq!(by_edge(&forged), Err(NotForwarded::Untrusted));
    let forged = chain(&[(INNER, CALLER), (EDGE, INNER), (OWN, EDGE)]);
    assert_eq!(by_edge(&forged), Err(NotForwarded::Count));
    for place in 1..honest.len() {
        let mut elements = honest.to_vec();
        elements.remove(place);
        assert!(through(&[&chain(&elements)], INNER, 2).is_err(), "without {place}");
    }
    assert_eq!(through(&[&chain(&honest[1..])], INNER, 2), Err(NotForwarded::Count));
}

#[test]
fn every_other_name_breaks_the_chain() {
    let honest = [(EDGE, CALLER), (INNER, EDGE), (OWN, INNER)];
    for other in [OWN, EDGE, INNER, "spiffe://td/EDGE", "spiffe://td/edge ", "x", ""] {
        for place in 0..honest.len() {
            let (by, uri) = honest[place];
            for changed in [(other, uri), (by, other)] {
                if changed == (by, uri) || place == 0 && changed.0 == by && !other.is_empty() {
                    continue;
                }
                let mut elements = honest;
                elements[place] = changed;
                assert!(through(&[&chain(&elements)], INNER, 2).is_err(), "{changed:?} at {place}");
            }
        }
    }
}

#[test]
fn the_last_element_is_of_this_very_connection() {
    let first = element(EDGE, CALLER);
    for last in [
        format!("By={OWN};Hash={HASH};URI={INNER}"),
        format!("By={EDGE};Hash={HASH};URI={EDGE}"),
        format!("By={OWN};Hash=0000;URI={EDGE}"),
        format!("By={OWN};Hash=;URI={EDGE}"),
        format!("By={OWN};Hash={}ff;URI={EDGE}", HASH),
        format!("By={OWN};URI={EDGE}"),
        format!("By={OWN};Hash={};URI={EDGE}", HASH.to_uppercase()),
    ] {
        let found =
            by_edge(&format!("{},{last}", first.replace(EDGE, if last.contains(INNER) { INNER } else { EDGE })));
        assert_eq!(found, Err(NotForwarded::NotOurs), "{last}");
    }
    let without_hash = [format!("{first},By={OWN};URI={EDGE}").into_bytes()];
    assert_eq!(forwarded(&without_hash, OWN, EDGE, None, 1, is_forwarder), Ok(CALLER), "nothing to compare with");
}

#[test]
fn each_element_names_one_proxy_and_one_peer() {
    for (by, uri) in [
        ("", ""),
        ("By=spiffe://td/edge", ""),
        ("By=spiffe://td/edge", "DNS=spiffe://td/caller"),
        ("By=spiffe://td/edge", "URI="),
        ("By=", "URI=spiffe://td/caller"),
        ("By=spiffe://td/edge", "URI=spiffe://td/caller;URI=spiffe://td/other"),
        ("By=spiffe://td/edge", "URI=spiffe://td/caller;URI=spiffe://td/caller"),
        ("By=spiffe://td/edge", "URI=spiffe://td/caller;uri="),
        ("By=spiffe://td/edge;By=spiffe://td/edge", "URI=spiffe://td/caller"),
        ("By=spiffe://td/edge;by=spiffe://td/inner", "URI=spiffe://td/caller"),
    ] {
        let pairs: Vec<&str> = [by, "Hash=00", uri].into_iter().filter(|pair| !pair.is_empty()).collect();
        let value = format!("{},{}", pairs.join(";"), element(OWN, EDGE));
        assert_eq!(by_edge(&value), Err(NotForwarded::Names), "{value}");
    }
    // A gateway with a certificate for browsers has no URI to say who it is. It is listed all the same, by the peer's.
    let (edge, own) = (format!("Hash=00;URI={CALLER}"), element(OWN, EDGE));
    assert_eq!(by_edge(&format!("{edge},{own}")), caller(CALLER));
    let inner = format!("Hash=01;URI={EDGE}");
    let own_of_inner = element(OWN, INNER);
    assert_eq!(through(&[&format!("{edge},{inner},{own_of_inner}")], INNER, 2), caller(CALLER));
    assert_eq!(by_edge(&format!("{edge},{inner},{own}")), Err(NotForwarded::Count));
    let stranger = format!("Hash=01;URI={CALLER}");
    assert_eq!(through(&[&format!("{edge},{stranger},{own_of_inner}")], INNER, 2), Err(NotForwarded::Untrusted));
    // This proxy says it.
    assert_eq!(by_edge(&format!("{edge},Hash={HASH};URI={EDGE}")), Err(NotForwarded::NotOurs));
    let twice_ourselves = format!("{},By={OWN};By={OWN};Hash={HASH};URI={EDGE}", element(EDGE, CALLER));
    assert_eq!(by_edge(&twice_ourselves), Err(NotForwarded::Names));
}

#[test]
fn a_name_that_looks_like_more_than_one_is_no_identity() {
    for (uri, dns) in [
        ("spiffe://td/admin;URI=spiffe://td/caller", "x"),
        ("spiffe://td/admin;Hash=00", "x"),
        ("spiffe://td/admin;By=spiffe://td/edge", "x"),
        ("spiffe://td/admin;Subject=\"\"", "x"),
        ("spiffe://td/admin\"", "x"),
        ("spiffe://td/admin,", "x"),
        ("spiffe://td/admin;", "x"),
        ("spiffe://td/admin,By=spiffe://td/edge;URI=spiffe://td/edge", "x"),
        ("spiffe://td/admin,By=spiffe://td/edge;Hash=00;URI=spiffe://td/edge", "x"),
        ("spiffe://td/caller", "x;URI=spiffe://td/admin"),
        ("", "x;URI=spiffe://td/admin"),
        ("spiffe://td/caller", "x,By=spiffe://td/edge;URI=spiffe://td/admin"),
        ("spiffe://td/caller", "x\""),
    ] {
        let value = format!("By={EDGE};Hash=00;URI={uri};DNS={dns},{}", element(OWN, EDGE));
        assert!(by_edge(&value).is_err(), "{value}");
    }
    // A forwarder that is not set to write URIs.
    let without_uri = format!("By={EDGE};Hash=00;DNS=x;URI=spiffe://td/admin,{}", element(OWN, EDGE));
    assert_eq!(by_edge(&without_uri), Err(NotForwarded::Malformed(InvalidXfcc::KeyOrder)));
}

#[test]
fn what_is_malformed_anywhere_is_refused() {
    let (first, last) = (element(EDGE, CALLER), element(OWN, EDGE));
    for (value, reason) in [
        (String::new(), InvalidXfcc::Empty),
        (format!(",{last}"), InvalidXfcc::Empty),
        (format!("{first},,{last}"), InvalidXfcc::Empty),
        (format!("{first}, {last}"), InvalidXfcc::UnknownKey),
        (format!("x,{last}"), InvalidXfcc::NoValue),
        (format!("{}\u{1},{last}", first.trim_end_matches('x')), InvalidXfcc::NotText),
        (format!("Subject=\"{first},{last}"), InvalidXfcc::Quotes),
    ] {
        assert_eq!(by_edge(&value), Err(NotForwarded::Malformed(reason)), "{value}");
    }
    assert!(by_edge(&format!("{first},{last},")).is_err());
    assert!(by_edge(&format!("{first};,{last}")).is_err());
}

#[test]
fn ten_thousand_elements_cost_no_more_than_the_hops() {
    let asked = Cell::new(0);
    let headers = [vec![element(EDGE, EDGE); 10_000].join(",").into_bytes()];
    let found = forwarded(&headers, OWN, EDGE, None, 3, |uri| {
        asked.set(u32::saturating_add(asked.get(), 1));
        is_forwarder(uri)
    });
    assert_eq!(found, Err(NotForwarded::Count));
    assert!(asked.get() <= 4, "{}", asked.get());
    let broken_behind = format!("{},{}", chain(&[(EDGE, EDGE); 4]), "\0".repeat(10_000));
    assert_eq!(through(&[&broken_behind], EDGE, 3), Err(NotForwarded::Count), "what is behind is not read");
}

proptest! {
    /// Whatever a caller sends to the first forwarder, which passes it on and adds what it knows.
    #[test]
    fn a_caller_is_never_taken_for_another(forged in "[ -~]{0,30}|((By|URI|Hash)=spiffe://td/(edge|inner|admin|posts)[;,]?){0,6}") {
        let value = format!("{forged},{}", chain(&[(EDGE, CALLER), (OWN, EDGE)]));
        for hops in 1..4 {
            if let Ok(found) = through(&[&value], EDGE, hops) {
                prop_assert!(found == CALLER, "{} by {}", found, forged);
            }
        }
        let joined = format!("{forged}{}", chain(&[(EDGE, CALLER), (OWN, EDGE)]));
        prop_assert!(by_edge(&joined).is_err() || joined == chain(&[(EDGE, CALLER), (OWN, EDGE)]));
    }
}
