//! What is read of a certificate is what another parser reads of it, what it was made of, and the same in DER and in PEM.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tollgate::x509::{InvalidCertificate, Leaf};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// What the other parser says, where it understands all that is compared.
fn other(der: &[u8]) -> Option<Leaf> {
    let (behind, certificate) = X509Certificate::from_der(der).ok()?;
    if !behind.is_empty() {
        return None;
    }
    let validity = certificate.validity();
    let mut leaf = Leaf {
        uri_sans: Vec::new(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        may_sign: false,
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::URI(uri) => leaf.uri_sans.push((*uri).to_owned()),
                        GeneralName::Invalid(..) => return None,
                        _ => {}
                    }
                }
            }
            ParsedExtension::BasicConstraints(constraints) => leaf.may_sign |= constraints.ca,
            ParsedExtension::KeyUsage(usage) => leaf.may_sign |= usage.key_cert_sign() || usage.crl_sign(),
            ParsedExtension::ParseError { .. } => return None,
            _ => {}
        }
    }
    Some(leaf)
}

fn url_encoded_pem(der: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for bytes in der.chunks(3) {
        let word = bytes.iter().chain([&0; 2]).take(3).fold(0, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[word >> (18 - 6 * place) & 63];
            text.push(if place > bytes.len() { b'=' } else { digit });
        }
    }
    let lines: Vec<u8> = text.chunks(64).flat_map(|line| [line, b"\n"].concat()).collect();
    let pem = [b"-----BEGIN CERTIFICATE-----\n", &lines[..], b"-----END CERTIFICATE-----\n"].concat();
    let encode = |byte: u8| match byte {
        b'\n' | b' ' | b'+' | b'/' | b'=' => format!("%{byte:02X}").into_bytes(),
        byte => vec![byte],
    };
    pem.into_iter().flat_map(encode).collect()
}

fn check(der: &[u8]) -> Result<Leaf, InvalidCertificate> {
    let leaf = Leaf::from_der(der);
    if let (Ok(leaf), Some(other)) = (&leaf, other(der)) {
        assert_eq!(*leaf, other);
    }
    let pem = url_encoded_pem(der);
    if pem.len() <= 64 * 1024 {
        assert_eq!(Leaf::from_url_encoded_pem(&pem), leaf);
    }
    leaf
}

// A certificate that is made of known parts.

#[derive(Debug, Arbitrary)]
struct Parts {
    names: Vec<Name>,
    not_before: Date,
    not_after: Date,
    ca: Option<bool>,
    usage: Option<[u8; 2]>,
    others: Vec<(u8, Vec<u8>)>,
    san_comes_last: bool,
}

#[derive(Debug, Arbitrary)]
enum Name {
    Uri(String),
    Dns(Vec<u8>),
    Address([u8; 4]),
}

#[derive(Debug, Arbitrary)]
struct Date {
    days: u32,
    seconds: u32,
    generalized: bool,
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let bytes = length.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    match length {
        0..=127 => [&[tag, length as u8][..], content].concat(),
        _ => [&[tag, 0x80 | digits.len() as u8][..], digits, content].concat(),
    }
}

impl Date {
    /// Days since 1970, until the year 9999.
    fn seconds_since_1970(&self) -> i64 {
        i64::from(self.days % 2_932_897) * 86_400 + i64::from(self.seconds % 86_400)
    }

    fn der(&self) -> Vec<u8> {
        let (mut year, mut days) = (1970, self.days % 2_932_897);
        let is_leap = |year: u32| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        while days >= 365 + u32::from(is_leap(year)) {
            days -= 365 + u32::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        for length in [31, 28 + u32::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let second = self.seconds % 86_400;
        let rest = format!("{month:02}{:02}{:02}{:02}{:02}Z", days + 1, second / 3600, second / 60 % 60, second % 60);
        if self.generalized || year >= 2050 {
            tlv(0x18, format!("{year:04}{rest}").as_bytes())
        } else {
            tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes())
        }
    }
}

impl Parts {
    fn der(&self) -> Vec<u8> {
        let extension_of = |id: &[u8], value: &[u8]| tlv(0x30, &[tlv(6, id), tlv(4, value)].concat());
        let extension = |id: u8, value: &[u8]| extension_of(&[0x55, 0x1d, id], value);
        let names = self.names.iter().map(|name| match name {
            Name::Uri(uri) => tlv(0x86, uri.as_bytes()),
            Name::Dns(name) => tlv(0x82, name),
            Name::Address(address) => tlv(0x87, address),
        });
        let san = extension(17, &tlv(0x30, &names.collect::<Vec<_>>().concat()));
        let mut extensions = vec![san];
        if let Some(ca) = self.ca {
            extensions.push(extension(19, &tlv(0x30, &if ca { tlv(1, &[0xff]) } else { Vec::new() })));
        }
        if let Some(usage) = self.usage {
            extensions.push(extension(15, &tlv(3, &[0, usage[0], usage[1]])));
        }
        // Of identifiers that nobody knows.
        extensions
            .extend(self.others.iter().map(|(id, value)| extension_of(&[0x55, 0x1d, 0x81, id & 0x7f], &tlv(4, value))));
        if self.san_comes_last {
            extensions.rotate_left(1);
        }
        let algorithm = tlv(0x30, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let signed = [
            tlv(0xa0, &tlv(2, &[2])),
            tlv(2, &[1]),
            algorithm.clone(),
            tlv(0x30, &[]),
            tlv(0x30, &[self.not_before.der(), self.not_after.der()].concat()),
            tlv(0x30, &[]),
            tlv(0x30, &[algorithm.clone(), tlv(3, &[0, 4])].concat()),
            tlv(0xa3, &tlv(0x30, &extensions.concat())),
        ];
        tlv(0x30, &[tlv(0x30, &signed.concat()), algorithm, tlv(3, &[0, 1])].concat())
    }

    fn leaf(&self) -> Leaf {
        let uri = |name: &Name| match name {
            Name::Uri(uri) => Some(uri.clone()),
            Name::Dns(_) | Name::Address(_) => None,
        };
        Leaf {
            uri_sans: self.names.iter().filter_map(uri).collect(),
            not_before: self.not_before.seconds_since_1970(),
            not_after: self.not_after.seconds_since_1970(),
            may_sign: self.ca == Some(true) || self.usage.is_some_and(|usage| usage[0] & 0b0000_0110 != 0),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = check(data);
    let _ = Leaf::from_url_encoded_pem(data);

    let Ok(parts) = Parts::arbitrary(&mut Unstructured::new(data)) else { return };
    let der = parts.der();
    let expected = match parts.leaf() {
        _ if der.len() > 64 * 1024 => Err(InvalidCertificate::TooLong),
        leaf if leaf.uri_sans.iter().all(|uri| uri.is_ascii()) => Ok(leaf),
        _ => Err(InvalidCertificate::Uri),
    };
    assert_eq!(check(&der), expected, "{parts:?}");
});
