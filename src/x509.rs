//! What an X.509 certificate says of its holder, as far as X509-SVID.md asks (RFC 5280 has the form).
//!
//! Nothing is verified here: that the certificate is the peer's own and that somebody trusted signed it is for Envoy to
//! say. What is not plain DER, or says something twice, is refused, so that there are no two ways to read it. The work
//! and the memory are bounded by the length of the input.

use core::fmt;

use base64ct::{Base64, Encoding as _};
use der::{DateTime, Decode as _, Header, Reader as _, SliceReader, Tag, TagNumber};

use crate::path;

/// The longest certificate, in bytes, in whichever form.
const LONGEST: usize = 64 * 1024;

const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
const PEM_END: &[u8] = b"-----END CERTIFICATE-----\n";

// Object identifiers (RFC 5280, 4.2.1), without tag and length.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];

/// `keyCertSign` and `cRLSign` in the first byte of the key usage.
const SIGNING_USAGES: u8 = 0b0000_0110;

/// Why something is not a certificate that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCertificate {
    /// Longer than 64 KiB.
    TooLong,
    /// Not exactly one certificate in PEM.
    Pem,
    /// Not an X.509 certificate in DER: broken, with something behind its end, or with a date before 1970.
    Der,
    /// An extension that is looked at here is there twice.
    RepeatedExtension,
    /// A URI is not ASCII.
    Uri,
}

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 65536 bytes",
            Self::Pem => "not one certificate in PEM",
            Self::Der => "not an X.509 certificate in DER",
            Self::RepeatedExtension => "has an extension twice",
            Self::Uri => "has a URI that is not ASCII",
        })
    }
}

impl core::error::Error for InvalidCertificate {}

impl From<der::Error> for InvalidCertificate {
    fn from(_: der::Error) -> Self {
        Self::Der
    }
}

/// What the certificate of a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// All URI SANs as they stand there, in their order. They are ASCII, and may be empty or have control characters.
    pub uri_sans: Vec<String>,
    /// The first second of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The last second of its validity, in seconds since 1970.
    pub not_after: i64,
    /// Whether it is for signing certificates or lists of revoked ones: a CA by its basic constraints, or with
    /// `keyCertSign` or `cRLSign` in its key usage. Such a certificate must not stand for a workload.
    pub may_sign: bool,
}

impl Leaf {
    /// Reads a certificate as Envoy's attribute `connection.peer_certificate` has it: in PEM, URL-encoded.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_url_encoded_pem(encoded: &[u8]) -> Result<Self, InvalidCertificate> {
        if encoded.len() > LONGEST {
            return Err(InvalidCertificate::TooLong);
        }
        let decoded = path::decode(encoded, &mut |_| {});
        let pem = decoded.as_deref().unwrap_or(encoded);
        let lines = pem.strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END));
        let mut text = lines.ok_or(InvalidCertificate::Pem)?.to_vec();
        text.retain(|byte| *byte != b'\n');
        Self::from_der(Base64::decode_in_place(&mut text).map_err(|_| InvalidCertificate::Pem)?)
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidCertificate> {
        if der.len() > LONGEST {
            return Err(InvalidCertificate::TooLong);
        }
        let mut outer = SliceReader::new(der)?;
        let mut certificate = sequence(&mut outer)?;
        outer.finish()?;

        let mut signed = sequence(&mut certificate)?;
        sequence(&mut certificate)?; // signatureAlgorithm
        expect(&mut certificate, Tag::BitString)?; // signatureValue
        certificate.finish()?;

        optional(&mut signed, explicit(0))?; // version
        expect(&mut signed, Tag::Integer)?; // serialNumber
        sequence(&mut signed)?; // signature
        sequence(&mut signed)?; // issuer
        let mut validity = sequence(&mut signed)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        validity.finish()?;
        sequence(&mut signed)?; // subject
        sequence(&mut signed)?; // subjectPublicKeyInfo
        optional(&mut signed, implicit(1))?; // issuerUniqueID
        optional(&mut signed, implicit(2))?; // subjectUniqueID
        let extensions = match optional(&mut signed, explicit(3))? {
            Some(bytes) => Extensions::read(bytes)?,
            None => Extensions::default(),
        };
        signed.finish()?;

        let signs_by_usage = extensions.key_usage.map(signs_by_usage).transpose()?;
        let is_ca = extensions.basic_constraints.map(is_ca).transpose()?;
        Ok(Self {
            uri_sans: extensions.subject_alt_name.map(uris).transpose()?.unwrap_or_default(),
            not_before,
            not_after,
            may_sign: signs_by_usage == Some(true) || is_ca == Some(true),
        })
    }
}

/// The extensions that are looked at, in DER.
#[derive(Debug, Clone, Copy, Default)]
struct Extensions<'a> {
    key_usage: Option<&'a [u8]>,
    subject_alt_name: Option<&'a [u8]>,
    basic_constraints: Option<&'a [u8]>,
}

impl<'a> Extensions<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, InvalidCertificate> {
        let mut found = Self::default();
        let mut outer = SliceReader::new(bytes)?;
        let mut list = sequence(&mut outer)?;
        outer.finish()?;
        while !list.is_finished() {
            let mut extension = sequence(&mut list)?;
            let id = expect(&mut extension, Tag::ObjectIdentifier)?;
            optional(&mut extension, Tag::Boolean)?; // critical
            let value = expect(&mut extension, Tag::OctetString)?;
            extension.finish()?;
            let place = match id {
                KEY_USAGE => &mut found.key_usage,
                SUBJECT_ALT_NAME => &mut found.subject_alt_name,
                BASIC_CONSTRAINTS => &mut found.basic_constraints,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidCertificate::RepeatedExtension);
            }
        }
        Ok(found)
    }
}

fn uris(subject_alt_name: &[u8]) -> Result<Vec<String>, InvalidCertificate> {
    let mut outer = SliceReader::new(subject_alt_name)?;
    let mut names = sequence(&mut outer)?;
    outer.finish()?;
    let mut uris = Vec::new();
    while !names.is_finished() {
        match next(&mut names)? {
            (Tag::ContextSpecific { constructed: false, number: TagNumber(6) }, uri) => {
                let uri = core::str::from_utf8(uri).ok().filter(|uri| uri.is_ascii());
                uris.push(uri.ok_or(InvalidCertificate::Uri)?.to_owned());
            }
            (Tag::ContextSpecific { number, .. }, _) if number != TagNumber(6) => {}
            _ => return Err(InvalidCertificate::Der),
        }
    }
    Ok(uris)
}

fn signs_by_usage(key_usage: &[u8]) -> Result<bool, InvalidCertificate> {
    let mut outer = SliceReader::new(key_usage)?;
    let bits = expect(&mut outer, Tag::BitString)?;
    outer.finish()?;
    match bits {
        [0..=7, bits @ ..] => Ok(bits.first().is_some_and(|first| first & SIGNING_USAGES != 0)),
        _ => Err(InvalidCertificate::Der),
    }
}

fn is_ca(basic_constraints: &[u8]) -> Result<bool, InvalidCertificate> {
    let mut outer = SliceReader::new(basic_constraints)?;
    let mut fields = sequence(&mut outer)?;
    outer.finish()?;
    let is_ca = match optional(&mut fields, Tag::Boolean)? {
        None | Some([0]) => false,
        Some([0xff]) => true,
        Some(_) => return Err(InvalidCertificate::Der),
    };
    optional(&mut fields, Tag::Integer)?; // pathLenConstraint
    fields.finish()?;
    Ok(is_ca)
}

const fn explicit(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

const fn implicit(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber(number) }
}

/// The next value, whatever it is.
#[inline(never)]
fn next<'a>(reader: &mut SliceReader<'a>) -> Result<(Tag, &'a [u8]), InvalidCertificate> {
    let header = Header::decode(reader)?;
    Ok((header.tag(), reader.read_slice(header.length())?))
}

/// The next value, which must have this tag.
fn expect<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8], InvalidCertificate> {
    match next(reader)? {
        (found, value) if found == tag => Ok(value),
        _ => Err(InvalidCertificate::Der),
    }
}

/// The next value, if it has this tag.
fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<Option<&'a [u8]>, InvalidCertificate> {
    let mut ahead = reader.clone();
    if reader.is_finished() {
        return Ok(None);
    }
    let (found, value) = next(&mut ahead)?;
    if found != tag {
        return Ok(None);
    }
    *reader = ahead;
    Ok(Some(value))
}

fn sequence<'a>(reader: &mut SliceReader<'a>) -> Result<SliceReader<'a>, InvalidCertificate> {
    Ok(SliceReader::new(expect(reader, Tag::Sequence)?)?)
}

/// A date, in seconds since 1970.
fn time(reader: &mut SliceReader<'_>) -> Result<i64, InvalidCertificate> {
    let (tag, text) = next(reader)?;
    let (century, rest) = match (tag, text) {
        (Tag::UtcTime, [b'0'..=b'4', ..]) => (20, text),
        (Tag::UtcTime, _) => (19, text),
        (Tag::GeneralizedTime, [tens, ones, rest @ ..]) => (number(*tens, *ones)?, rest),
        _ => return Err(InvalidCertificate::Der),
    };
    let [y, year, m, month, d, day, h, hour, min, minute, s, second, b'Z'] = rest else {
        return Err(InvalidCertificate::Der);
    };
    let year = u16::from(century).wrapping_mul(100).wrapping_add(number(*y, *year)?.into());
    let (month, day) = (number(*m, *month)?, number(*d, *day)?);
    let (hour, minute, second) = (number(*h, *hour)?, number(*min, *minute)?, number(*s, *second)?);
    let since_1970 = DateTime::new(year, month, day, hour, minute, second)?.unix_duration();
    i64::try_from(since_1970.as_secs()).map_err(|_| InvalidCertificate::Der)
}

/// A number of two digits.
fn number(tens: u8, ones: u8) -> Result<u8, InvalidCertificate> {
    match (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0')) {
        (tens @ 0..=9, ones @ 0..=9) => Ok(tens.wrapping_mul(10).wrapping_add(ones)),
        _ => Err(InvalidCertificate::Der),
    }
}

#[cfg(test)]
mod tests;
