//! `x-forwarded-client-cert` is read as a plain parser reads it; and whatever a caller writes itself, nobody is taken for
//! another, nor refused for a name that is only odd.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::xfcc::{Element, InvalidXfcc, NotForwarded, Occurrence, elements, forwarded, own_element};

const OWN: &str = "spiffe://td/own";
const EDGE: &str = "spiffe://td/edge";
const CALLER: &str = "spiffe://td/caller";
const HASH: &str = "00ff";

const ORDER: [&str; 7] = ["by", "hash", "cert", "chain", "subject", "uri", "dns"];

type Pairs = Vec<(String, String)>;

/// The elements and their pairs, keys in lowercase; cut at separators outside of quotes, and then looked at.
fn reference(value: &[u8]) -> Option<Vec<Pairs>> {
    let value = core::str::from_utf8(value).ok()?;
    let mut elements = vec![vec![String::new()]];
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let pairs = elements.last_mut()?;
        match character {
            ',' => elements.push(vec![String::new()]),
            ';' => pairs.push(String::new()),
            '"' => {
                let pair = pairs.last_mut()?;
                pair.push('"');
                loop {
                    let inner = characters.next()?;
                    pair.push(inner);
                    match inner {
                        '"' => break,
                        '\\' => pair.push(characters.next()?),
                        _ => {}
                    }
                }
            }
            other => pairs.last_mut()?.push(other),
        }
    }
    elements.iter().map(|pairs| reference_element(pairs)).collect()
}

fn reference_element(pairs: &[String]) -> Option<Pairs> {
    let pairs: Pairs = pairs.iter().map(|pair| reference_pair(pair)).collect::<Option<_>>()?;
    let places: Vec<_> = pairs.iter().map(|(key, _)| ORDER.iter().position(|of| of == key)).collect();
    let is_in_order = places.windows(2).all(|two| {
        // Hash to Subject are there once.
        two[0] < two[1] || two[0] == two[1] && !matches!(two[0], Some(1..=4))
    });
    is_in_order.then_some(pairs)
}

fn reference_pair(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    let key = key.to_lowercase();
    if !ORDER.contains(&key.as_str()) || !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return None;
    }
    match key.as_str() {
        "cert" | "chain" | "subject" => {
            // As it was cut, a quote that opens is closed; nothing else may be there.
            let inner = value.strip_prefix('"')?.strip_suffix('"')?;
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => drop(characters.next()?),
                    '"' => return None,
                    _ => {}
                }
            }
        }
        _ if value.contains('"') => return None,
        _ => {}
    }
    Some((key, value.to_owned()))
}

fn as_element(pairs: &Pairs) -> Element<'_> {
    let values = |key: &str| -> Vec<&str> {
        pairs.iter().filter(|(of, _)| of == key).map(|(_, value)| value.as_str()).collect()
    };
    let occurrence = |key: &str| match values(key)[..] {
        [] => Occurrence::None,
        [value] => Occurrence::One(value),
        _ => Occurrence::Several,
    };
    Element { by: occurrence("by"), hash: values("hash").first().copied(), uri: occurrence("uri") }
}

fn check_against_the_reference(value: &[u8]) {
    let found: Result<Vec<Element<'_>>, InvalidXfcc> = elements(value).collect();
    let expected = reference(value);
    let expected: Option<Vec<Element<'_>>> =
        expected.as_ref().map(|elements| elements.iter().map(as_element).collect());
    assert_eq!(found.as_ref().ok(), expected.as_ref(), "{found:?} of {:?}", String::from_utf8_lossy(value));
    assert!(elements(value).skip_while(Result::is_ok).count() < 2, "nothing behind an invalid element");

    let last = found.as_ref().ok().and_then(|elements| elements.last().copied());
    let own = last.filter(|element| element.hash == Some(HASH));
    // Where the digest stands, but not in the last element, somebody has hidden that.
    let is_hidden = own.is_none() && value.windows(HASH.len()).any(|part| part == HASH.as_bytes());
    assert_eq!(own_element(value, HASH.as_bytes()).ok(), (found.is_ok() && !is_hidden).then_some(own));
}

fn written(by: &str, uri: &str) -> String {
    format!("By={by};Hash={HASH};Subject=\"\";URI={uri}")
}

fn is_forwarder(uri: &str) -> bool {
    uri == EDGE
}

fn through(header: &[u8], hops: usize) -> Result<String, NotForwarded> {
    let headers = [header.to_vec()];
    forwarded(&headers, OWN, EDGE, Some(HASH.as_bytes()), hops, is_forwarder).map(str::to_owned)
}

/// What a caller sends is passed on by a forwarder, which adds what it knows.
fn check_forged(forged: &[u8]) {
    let honest = [written(EDGE, CALLER), written(OWN, EDGE)].join(",");
    for separator in [&b","[..], b""] {
        let header = [forged, separator, honest.as_bytes()].concat();
        for hops in 0..4 {
            if let Ok(found) = through(&header, hops) {
                assert_eq!((found.as_str(), hops), (CALLER, 1), "{:?}", String::from_utf8_lossy(forged));
                assert!(forged.is_empty() && separator.is_empty());
            }
        }
    }
    // Nor does it help to send it to this proxy, which adds its own.
    let header = [forged, b",", written(OWN, CALLER).as_bytes()].concat();
    for hops in 0..4 {
        assert!(through(&header, hops).is_err());
    }
}

/// A caller's certificate has this name.
fn check_name(name: &[u8]) {
    let Ok(name) = core::str::from_utf8(name) else { return };
    let header = [written(EDGE, name), written(OWN, EDGE)].join(",");
    let is_one =
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.contains([',', ';', '"']);
    match through(header.as_bytes(), 1) {
        Ok(found) if is_one => assert_eq!(found, name),
        // What looks like a DNS SAN behind it can't be told from one.
        Ok(found) => assert!(name.to_lowercase().starts_with(&format!("{};dns=", found.to_lowercase())), "{name:?}"),
        Err(_) => assert!(!is_one, "{name:?}"),
    }
}

fuzz_target!(|data: &[u8]| {
    check_against_the_reference(data);
    check_forged(data);
    check_name(data);
    check_name(&[b"spiffe://td/", data].concat());
});
