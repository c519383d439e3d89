use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

mod chain;

fn all(value: &str) -> Result<Vec<Element<'_>>, InvalidXfcc> {
    elements(value.as_bytes()).collect()
}

fn one(value: &str) -> Element<'_> {
    match all(value).unwrap()[..] {
        [element] => element,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_element_says_who_wrote_it_and_of_whom() {
    let value = "By=spiffe://td/gateway;Hash=0a1b;Cert=\"-----BEGIN%20\";Chain=\"x\";Subject=\"CN=a,O=b;c\";\
                 URI=spiffe://td/caller;DNS=a.example;DNS=b.example";
    let expected = Element {
        by: Occurrence::One("spiffe://td/gateway"),
        hash: Some("0a1b"),
        uri: Occurrence::One("spiffe://td/caller"),
    };
    assert_eq!(all(value), Ok(vec![expected]));
    assert_eq!(one("Hash=00"), Element { hash: Some("00"), ..Element::default() });
}

#[test]
fn the_elements_come_from_left_to_right() {
    let uris: Vec<_> = all("URI=a,URI=b;DNS=x,Hash=0;URI=c").unwrap().iter().map(|element| element.uri).collect();
    assert_eq!(uris, [Occurrence::One("a"), Occurrence::One("b"), Occurrence::One("c")]);
}

#[test]
fn a_key_may_be_in_any_case() {
    for value in ["By=a;Hash=0;Subject=\"\";URI=b", "by=a;hash=0;subject=\"\";uri=b", "bY=a;HASH=0;SUBJECT=\"\";uRI=b"]
    {
        let expected = Element { by: Occurrence::One("a"), hash: Some("0"), uri: Occurrence::One("b") };
        assert_eq!(all(value), Ok(vec![expected]), "{value}");
    }
}

#[test]
fn what_is_there_twice_is_not_one() {
    assert_eq!(one("By=a;By=a").by, Occurrence::Several);
    assert_eq!(one("By=a;By=;By=b").by, Occurrence::Several);
    assert_eq!(one("URI=a;URI=b").uri, Occurrence::Several);
    assert_eq!(one("URI=;URI=").uri, Occurrence::Several);
    assert_eq!(one("uri=a;URI=a").uri, Occurrence::Several);
    for (occurrence, value) in [
        (Occurrence::None, None),
        (Occurrence::One(""), None),
        (Occurrence::One("a"), Some("a")),
        (Occurrence::Several, None),
    ] {
        assert_eq!(occurrence.one(), value);
    }
}

#[test]
fn a_value_in_quotes_hides_separators_and_escaped_quotes() {
    for subject in ["", "CN=a,URI=spiffe://td/b;By=c", r#"CN=\",URI=x\\"#, r#"\"\\\\\\"#, "a=b=c", r"\C3\A9"] {
        let value = format!("Hash=0;Subject=\"{subject}\";URI=a");
        assert_eq!(
            one(&value),
            Element { hash: Some("0"), uri: Occurrence::One("a"), ..Element::default() },
            "{value}"
        );
    }
}

#[test]
fn a_value_without_quotes_ends_at_a_separator_alone() {
    for uri in ["", "a=b", "=", "spiffe://td/a?b#c", " a ", "a\\", "{}[]'`~!@$%^&*()"] {
        assert_eq!(one(&format!("By=x;URI={uri};DNS=y")).uri, Occurrence::One(uri));
        assert_eq!(one(&format!("URI={uri}")).uri, Occurrence::One(uri));
    }
}

#[test]
fn what_envoy_would_not_write_is_invalid() {
    use InvalidXfcc::*;
    for (value, reason) in [
        ("", Empty),
        (",", Empty),
        (";", Empty),
        ("URI=a,", Empty),
        ("URI=a;", Empty),
        (",URI=a", Empty),
        (";URI=a", Empty),
        ("URI=a,,URI=b", Empty),
        ("By=a;;URI=b", Empty),
        ("By=a;,URI=b", Empty),
        ("URI", NoValue),
        ("URI;By=a", NoValue),
        ("a,URI=b", NoValue),
        ("spiffe://td/a", NoValue),
        ("=", UnknownKey),
        ("=a", UnknownKey),
        ("Issuer=a", UnknownKey),
        ("URIs=a", UnknownKey),
        ("UR=a", UnknownKey),
        (" URI=a", UnknownKey),
        ("URI =a", UnknownKey),
        ("By=a; URI=b", UnknownKey),
        ("URI=a, URI=b", UnknownKey),
        ("\"URI\"=a", UnknownKey),
        ("URI\0=a", UnknownKey),
        ("\u{212a}=a", UnknownKey),
        ("URI=a;By=b", KeyOrder),
        ("DNS=a;URI=b", KeyOrder),
        ("URI=a;Hash=0", KeyOrder),
        ("URI=a;Subject=\"\"", KeyOrder),
        ("Hash=0;By=a", KeyOrder),
        ("By=a;URI=b;By=a", KeyOrder),
        ("Hash=0;Hash=0", KeyOrder),
        ("Cert=\"\";Cert=\"\"", KeyOrder),
        ("Chain=\"\";Chain=\"\"", KeyOrder),
        ("Subject=\"\";subject=\"\"", KeyOrder),
        ("Subject=", Quotes),
        ("Subject=CN", Quotes),
        ("Subject=CN\"", Quotes),
        ("Cert=a", Quotes),
        ("Chain=;URI=a", Quotes),
        ("Subject=\"", Quotes),
        ("Subject=\"a", Quotes),
        ("Subject=\"a\\\"", Quotes),
        ("Subject=\"a\\\";URI=b", Quotes),
        ("Subject=\"a\"b", Quotes),
        ("Subject=\"a\" ;URI=b", Quotes),
        ("Subject=\"a\"\"b\"", Quotes),
        ("Subject=\"a\"=b", Quotes),
        ("Subject='a'", Quotes),
        ("URI=\"a\"", Quotes),
        ("URI=a\"", Quotes),
        ("By=\"a,b\"", Quotes),
        ("DNS=\"a\"", Quotes),
        ("Hash=\"0\"", Quotes),
        ("URI=a\0", NotText),
        ("URI=a\r\n", NotText),
        ("URI=a\tb", NotText),
        ("URI=\u{7f}", NotText),
        ("URI=é", NotText),
        ("Subject=\"é\"", NotText),
        ("Subject=\"\n\"", NotText),
        ("Subject=\"\\\n\"", NotText),
        ("DNS=\u{80}", NotText),
    ] {
        assert_eq!(all(value), Err(reason), "{value:?}");
    }
    let not_utf8 = elements(b"URI=a,URI=\xff,URI=b").collect::<Vec<_>>();
    let first = Element { uri: Occurrence::One("a"), ..Element::default() };
    assert_eq!(not_utf8, [Ok(first), Err(NotText)], "nothing behind an invalid element");
}

#[test]
fn the_element_of_this_very_proxy_is_the_last_one_and_has_the_peers_digest() {
    fn own(value: &str) -> Result<Option<Occurrence<'_>>, InvalidXfcc> {
        own_element(value.as_bytes(), b"0a").map(|element| element.map(|element| element.uri))
    }
    for (value, uri) in [
        ("Hash=0a;URI=a", Some(Occurrence::One("a"))),
        ("Hash=0a;URI=a;URI=b", Some(Occurrence::Several)),
        ("Hash=0a;URI=", Some(Occurrence::One(""))),
        ("Hash=0a", Some(Occurrence::None)),
        ("Hash=0b;URI=x,By=y;Hash=0a;URI=a", Some(Occurrence::One("a"))),
        ("Hash=0A;URI=a", None),
        ("Hash=0;URI=a", None),
        ("Hash=;URI=a", None),
        ("URI=a", None),
    ] {
        assert_eq!(own(value), Ok(uri), "{value}");
    }
    for (value, reason) in [
        ("", InvalidXfcc::Empty),
        ("x,Hash=0a;URI=a", InvalidXfcc::NoValue),
        ("Subject=\",Hash=0a;URI=a", InvalidXfcc::Quotes),
        ("Hash=0a;URI=a,", InvalidXfcc::Empty),
        ("Hash=0a;URI=x,Hash=0b;URI=a", InvalidXfcc::Hidden),
        ("Hash=0a0;URI=a", InvalidXfcc::Hidden),
    ] {
        assert_eq!(own(value), Err(reason), "{value}");
    }
}

/// The plain way: split at separators outside of quotes, then look at each piece.
fn reference(value: &[u8]) -> Option<Vec<Vec<(String, String)>>> {
    let value = core::str::from_utf8(value).ok().filter(|value| value.chars().all(|c| (' '..='~').contains(&c)))?;
    let mut elements = vec![vec![String::new()]];
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        match c {
            ',' if !quoted => elements.push(vec![String::new()]),
            ';' if !quoted => elements.last_mut()?.push(String::new()),
            c => elements.last_mut()?.last_mut()?.push(c),
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    if quoted {
        return None;
    }
    const ORDER: [&str; 7] = ["by", "hash", "cert", "chain", "subject", "uri", "dns"];
    let pair = |text: &String| {
        let (key, value) = text.split_once('=')?;
        let key = key.to_ascii_lowercase();
        let plain = match key.as_str() {
            "cert" | "chain" | "subject" => {
                let inner = value.strip_prefix('"')?.strip_suffix('"')?;
                inner.replace("\\\\", "").replace("\\\"", "")
            }
            _ => value.to_owned(),
        };
        (ORDER.contains(&key.as_str()) && !plain.contains('"')).then(|| (key, value.to_owned()))
    };
    let elements: Vec<Vec<_>> = elements.iter().map(|pairs| pairs.iter().map(pair).collect()).collect::<Option<_>>()?;
    let place = |key: &str| ORDER.iter().position(|of| *of == key);
    let in_order = |pairs: &Vec<(String, String)>| {
        pairs.is_sorted_by_key(|(key, _)| place(key))
            && ["hash", "cert", "chain", "subject"]
                .iter()
                .all(|one| pairs.iter().filter(|(key, _)| key == one).count() < 2)
    };
    elements.iter().all(in_order).then_some(elements)
}

fn check_against_the_reference(value: &[u8]) {
    let found: Result<Vec<_>, _> = elements(value).collect();
    let Some(expected) = reference(value) else {
        assert!(found.is_err(), "{:?}: {found:?}", String::from_utf8_lossy(value));
        return;
    };
    let found = found.unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let values = |key: &str| -> Vec<&str> {
            expected.iter().filter(|(of, _)| of == key).map(|(_, value)| value.as_str()).collect()
        };
        let occurrence = |key: &str| match values(key)[..] {
            [] => Occurrence::None,
            [value] => Occurrence::One(value),
            _ => Occurrence::Several,
        };
        assert_eq!(found.by, occurrence("by"));
        assert_eq!(found.uri, occurrence("uri"));
        assert_eq!(found.hash, values("hash").first().copied());
    }
}

proptest! {
    #[test]
    fn reads_what_the_plain_way_reads(value in "((By|HASH|Cert|Subject|URI|uri|DNS|x)?[=\"]{0,2}[ab\\\\=\" ]{0,3}[;,\"]?){0,6}") {
        check_against_the_reference(value.as_bytes());
    }

    #[test]
    fn reads_what_is_almost_valid_as_the_plain_way_does(
        value in "(By=a?;)?(Hash=0;)?(Cert=\"%0A\";)?(Subject=\"(a|,|;|=|\\\\\"|\\\\\\\\){0,3}\";)?(URI=[ab]?;){0,2}DNS=(,URI=b)?",
        place: prop::sample::Index,
        byte in prop::option::of(any::<u8>()),
    ) {
        let mut value = value.into_bytes();
        if let Some(byte) = byte {
            let place = place.index(value.len());
            value[place] = byte;
        }
        check_against_the_reference(&value);
    }

    #[test]
    fn any_bytes_are_read_as_the_plain_way_does(value: Vec<u8>) {
        check_against_the_reference(&value);
    }
}

#[test]
fn its_own_element_is_the_last_one_or_none_and_never_a_part_of_it() {
    let hash = "0a".repeat(32);
    let own = format!("By=o;Hash={hash};URI=a");
    let found = |value: &str| {
        let own = own_element(value.as_bytes(), hash.as_bytes())?;
        Ok(own.map(|own| (own.uri.one().map(str::to_owned), own.uri == Occurrence::Several)))
    };
    assert_eq!(found(&own), Ok(Some((Some("a".to_owned()), false))));
    assert_eq!(found(&format!("By=x;Hash=00;URI=y,{own};URI=b")), Ok(Some((None, true))));
    assert_eq!(found("By=x;Hash=00;URI=y"), Ok(None));
    // Names with an element in them, one of which closes a quote that the peer has opened.
    assert_eq!(found(&format!("{own};URI=,By=x;Hash=00;URI=y")), Err(InvalidXfcc::Hidden));
    assert_eq!(found(&format!("Subject=\"x,{own};URI=\",By=x;Hash=00;URI=y")), Err(InvalidXfcc::Hidden));
    assert_eq!(own_element(b"By=x;URI=y", b""), Ok(None));
}
