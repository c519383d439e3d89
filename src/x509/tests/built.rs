//! Certificates put together piece by piece, as no issuer would.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut value = vec![tag];
    match length {
        0..=0x7f => value.push(length as u8),
        0x80..=0xff => value.extend([0x81, length as u8]),
        _ if length <= 0xffff => value.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => value.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    value.extend(content);
    value
}

const SEQUENCE: u8 = 0x30;
const UTC: u8 = 0x17;
const GENERALIZED: u8 = 0x18;

fn extension(id: u8, value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(6, &[0x55, 0x1d, id]), tlv(4, value)].concat())
}

fn san(names: &[u8]) -> Vec<u8> {
    extension(17, &tlv(SEQUENCE, names))
}

fn key_usage(bits: &[u8]) -> Vec<u8> {
    extension(15, &tlv(3, bits))
}

fn basic_constraints(fields: &[u8]) -> Vec<u8> {
    extension(19, &tlv(SEQUENCE, fields))
}

struct Certificate {
    version: Vec<u8>,
    not_before: Vec<u8>,
    not_after: Vec<u8>,
    unique_ids: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    behind_extensions: Vec<u8>,
}

impl Default for Certificate {
    fn default() -> Self {
        Self {
            version: tlv(0xa0, &tlv(2, &[2])),
            not_before: tlv(UTC, b"700101000000Z"),
            not_after: tlv(GENERALIZED, b"99991231235959Z"),
            unique_ids: Vec::new(),
            extensions: vec![san(&tlv(0x86, b"spiffe://td/a"))],
            behind_extensions: Vec::new(),
        }
    }
}

impl Certificate {
    fn with(extensions: &[Vec<u8>]) -> Self {
        Self { extensions: extensions.to_vec(), ..Self::default() }
    }

    fn der(&self) -> Vec<u8> {
        let algorithm = tlv(SEQUENCE, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let name = tlv(SEQUENCE, &[]);
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xa3, &tlv(SEQUENCE, &self.extensions.concat())),
        };
        let signed = [
            &self.version[..],
            &tlv(2, &[1]),
            &algorithm,
            &name,
            &tlv(SEQUENCE, &[&self.not_before[..], &self.not_after].concat()),
            &name,
            &tlv(SEQUENCE, &[&algorithm[..], &tlv(3, &[0, 4])].concat()),
            &self.unique_ids,
            &extensions,
            &self.behind_extensions,
        ];
        let signed = tlv(SEQUENCE, &signed.concat());
        tlv(SEQUENCE, &[signed, algorithm, tlv(3, &[0, 1, 2, 3])].concat())
    }

    fn read(&self) -> Result<Leaf, InvalidCertificate> {
        Leaf::from_der(&self.der())
    }
}

fn uris_of(extensions: &[Vec<u8>]) -> Result<Vec<String>, InvalidCertificate> {
    Certificate::with(extensions).read().map(|leaf| leaf.uri_sans)
}

fn may_sign(extensions: &[Vec<u8>]) -> Result<bool, InvalidCertificate> {
    Certificate::with(extensions).read().map(|leaf| leaf.may_sign)
}

#[test]
fn has_every_uri_in_order_even_an_empty_one_and_no_other_name() {
    let names = [
        tlv(0xa0, &tlv(6, b"\x2a")),
        tlv(0x86, b"spiffe://td/a"),
        tlv(0x82, b"spiffe://td/dns"),
        tlv(0x86, b""),
        tlv(0xa4, &tlv(SEQUENCE, b"")),
        tlv(0x87, &[127, 0, 0, 1]),
        tlv(0x86, b"a,b;\0\n"),
        tlv(0x81, b"spiffe@td"),
    ];
    assert_eq!(uris_of(&[san(&names.concat())]), Ok(["spiffe://td/a", "", "a,b;\0\n"].map(str::to_owned).to_vec()));
    let empty: Vec<String> = Vec::new();
    for extensions in [vec![], vec![san(b"")], vec![san(&tlv(0x82, b"a"))], vec![extension(18, b"\xff")]] {
        assert_eq!(uris_of(&extensions), Ok(empty.clone()), "{extensions:?}");
    }
}

#[test]
fn a_uri_is_ascii() {
    for uri in ["spiffe://td/é".as_bytes(), b"spiffe://td/\xff", b"\x80"] {
        assert_eq!(uris_of(&[san(&tlv(0x86, uri))]), Err(InvalidCertificate::Uri), "{uri:?}");
    }
}

#[test]
fn names_are_what_a_general_name_can_be() {
    let too_short = [0x86, 5, b'a'];
    let indefinite = [0xa6, 0x80, 0, 0];
    let long_form = [0x86, 0x81, 1, b'a'];
    let names = [&tlv(0xa6, b"a")[..], &tlv(4, b"a"), &tlv(0x16, b"a"), &too_short, &indefinite, &long_form, &[0x86]];
    for names in names {
        assert_eq!(uris_of(&[san(names)]), Err(InvalidCertificate::Der), "{names:?}");
    }
    let uri = tlv(SEQUENCE, &tlv(0x86, b"a"));
    for value in [&[&uri[..], b"\0"].concat()[..], &tlv(0x86, b"a"), b""] {
        assert_eq!(uris_of(&[extension(17, value)]), Err(InvalidCertificate::Der), "{value:?}");
    }
}

#[test]
fn says_nothing_twice() {
    let extensions = [san(&tlv(0x86, b"spiffe://td/a")), key_usage(&[7, 0x80]), basic_constraints(b"")];
    assert!(uris_of(&extensions).is_ok());
    for again in &extensions {
        let twice = [&extensions[..], std::slice::from_ref(again)].concat();
        assert_eq!(uris_of(&twice), Err(InvalidCertificate::RepeatedExtension), "{again:?}");
    }
}

#[test]
fn a_ca_and_whoever_signs_certificates_or_revocations_may_sign() {
    const TRUE: &[u8] = &[1, 1, 0xff];
    const FALSE: &[u8] = &[1, 1, 0];
    for (extensions, expected) in [
        (vec![], false),
        (vec![basic_constraints(b"")], false),
        (vec![basic_constraints(FALSE)], false),
        (vec![basic_constraints(TRUE)], true),
        (vec![basic_constraints(&[TRUE, &tlv(2, &[0])].concat())], true),
        (vec![basic_constraints(&tlv(2, &[0]))], false),
        (vec![key_usage(&[7, 0x80])], false),
        (vec![key_usage(&[5, 0xa0])], false),
        (vec![key_usage(&[0])], false),
        (vec![key_usage(&[2, 0x04])], true),
        (vec![key_usage(&[1, 0x02])], true),
        (vec![key_usage(&[1, 0x86])], true),
        // encipherOnly and decipherOnly stand beside them.
        (vec![key_usage(&[7, 0xf9, 0x80])], false),
        (vec![key_usage(&[7, 0x00, 0x06])], false),
        (vec![key_usage(&[7, 0x80]), basic_constraints(TRUE)], true),
        (vec![key_usage(&[1, 0x06]), basic_constraints(FALSE)], true),
    ] {
        assert_eq!(may_sign(&extensions), Ok(expected), "{extensions:?}");
    }
}

#[test]
fn what_says_who_may_sign_is_well_formed() {
    for extension in [
        key_usage(&[]),
        key_usage(&[8, 0x80]),
        extension(15, &tlv(4, &[7, 0x80])),
        extension(15, &[&tlv(3, &[7, 0x80])[..], b"\0"].concat()),
        basic_constraints(&[1, 1, 1]),
        basic_constraints(&[1, 2, 0, 0xff]),
        basic_constraints(&[1, 0]),
        basic_constraints(&[1, 1, 0xff, 1, 1, 0]),
        basic_constraints(&[&tlv(2, &[0])[..], &[1, 1, 0xff]].concat()),
        extension(19, &[&tlv(SEQUENCE, b"")[..], b"\0"].concat()),
        extension(19, b""),
    ] {
        assert_eq!(may_sign(std::slice::from_ref(&extension)), Err(InvalidCertificate::Der), "{extension:?}");
    }
}

#[test]
fn dates_are_seconds_since_1970() {
    for (tag, text, seconds) in [
        (UTC, "700101000000Z", 0),
        (UTC, "991231235959Z", 946_684_799),
        (UTC, "000101000000Z", 946_684_800),
        (UTC, "491231235959Z", 2_524_607_999),
        (UTC, "240229120000Z", 1_709_208_000),
        (GENERALIZED, "19700101000001Z", 1),
        (GENERALIZED, "20500101000000Z", 2_524_608_000),
        (GENERALIZED, "20240229120000Z", 1_709_208_000),
        (GENERALIZED, "21000301000000Z", 4_107_542_400),
        (GENERALIZED, "99991231235959Z", 253_402_300_799),
    ] {
        let date = tlv(tag, text.as_bytes());
        let leaf = Certificate { not_before: date.clone(), ..Certificate::default() }.read();
        assert_eq!(leaf.map(|leaf| leaf.not_before), Ok(seconds), "{text}");
        let leaf = Certificate { not_after: date, ..Certificate::default() }.read();
        assert_eq!(leaf.map(|leaf| leaf.not_after), Ok(seconds), "{text}");
    }
}

#[test]
fn a_date_is_one_of_the_two_forms_in_utc_with_seconds() {
    for (tag, text) in [
        (UTC, ""),
        (UTC, "Z"),
        (UTC, "7001010000Z"),
        (UTC, "700101000000"),
        (UTC, "700101000000+0100"),
        (UTC, "7001010000001"),
        (UTC, "700101000000ZZ"),
        (UTC, "7o0101000000Z"),
        (UTC, "70010100000:Z"),
        (UTC, "70010100000/Z"),
        (UTC, "19700101000000Z"),
        (UTC, "691231235959Z"),
        (UTC, "230229000000Z"),
        (UTC, "231301000000Z"),
        (UTC, "230001000000Z"),
        (UTC, "230100000000Z"),
        (UTC, "230132000000Z"),
        (UTC, "230101240000Z"),
        (UTC, "230101006000Z"),
        (UTC, "230101000060Z"),
        (GENERALIZED, "700101000000Z"),
        (GENERALIZED, "19700101000000.5Z"),
        (GENERALIZED, "19691231235959Z"),
        (GENERALIZED, "21000229000000Z"),
        (GENERALIZED, "2"),
        (0x16, "700101000000Z"),
    ] {
        let not_before = tlv(tag, text.as_bytes());
        let read = Certificate { not_before, ..Certificate::default() }.read();
        assert_eq!(read, Err(InvalidCertificate::Der), "{text}");
    }
    let three = [tlv(UTC, b"700101000000Z"), tlv(UTC, b"700101000000Z")].concat();
    let read = Certificate { not_before: three, ..Certificate::default() }.read();
    assert_eq!(read, Err(InvalidCertificate::Der), "three dates");
}

#[test]
fn has_the_form_of_a_certificate_and_nothing_behind_it() {
    let usual = Certificate::default();
    let uris = Ok(vec!["spiffe://td/a".to_owned()]);
    assert_eq!(usual.read().map(|leaf| leaf.uri_sans), uris);
    let unique_ids = [tlv(0x81, &[0, 1]), tlv(0x82, &[0, 2])].concat();
    let with_ids = Certificate { unique_ids, ..Certificate::default() };
    assert_eq!(with_ids.read().map(|leaf| leaf.uri_sans), uris);
    let without_version = Certificate { version: Vec::new(), ..Certificate::default() };
    assert_eq!(without_version.read().map(|leaf| leaf.uri_sans), uris);

    let again = tlv(0xa3, &tlv(SEQUENCE, &san(&tlv(0x86, b"spiffe://td/b"))));
    for behind_extensions in [again, tlv(2, &[1]), vec![0]] {
        let read = Certificate { behind_extensions, ..Certificate::default() }.read();
        assert_eq!(read, Err(InvalidCertificate::Der));
    }
    let der = usual.der();
    for length in 0..der.len() {
        assert_eq!(Leaf::from_der(&der[..length]), Err(InvalidCertificate::Der), "cut at {length}");
    }
    assert_eq!(Leaf::from_der(&[&der[..], b"\0"].concat()), Err(InvalidCertificate::Der), "one byte more");
    assert_eq!(Leaf::from_der(&[&der[..], &der].concat()), Err(InvalidCertificate::Der), "two certificates");
    let two_bytes_for_the_length = [&[SEQUENCE, 0x82, 0, der.len() as u8][..], &der[3..]].concat();
    assert_eq!(Leaf::from_der(&two_bytes_for_the_length), Err(InvalidCertificate::Der), "not the shortest length");
    let endless = [&[SEQUENCE, 0x80][..], &der[3..], &[0, 0]].concat();
    assert_eq!(Leaf::from_der(&endless), Err(InvalidCertificate::Der), "an indefinite length");
}

#[test]
fn is_no_longer_than_64_kib() {
    let name = |bytes: usize| [tlv(0x82, &vec![b'd'; bytes]), tlv(0x86, b"x")].concat();
    let long = |bytes| Certificate { extensions: vec![san(&name(bytes))], ..Certificate::default() }.der();
    let most = LONGEST.saturating_sub(long(60_000).len().saturating_sub(60_000));
    assert_eq!(Leaf::from_der(&long(most)).map(|leaf| leaf.uri_sans), Ok(vec!["x".to_owned()]));
    assert_eq!(Leaf::from_der(&long(most.saturating_add(1))), Err(InvalidCertificate::TooLong));
    assert_eq!(Leaf::from_url_encoded_pem(&[b'-'; LONGEST + 1]), Err(InvalidCertificate::TooLong));
    assert_eq!(Leaf::from_url_encoded_pem(&[b'-'; LONGEST]), Err(InvalidCertificate::Pem));
}
