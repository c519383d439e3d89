//! With certificates that are made for each test.
#![cfg(not(target_arch = "wasm32"))]

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
use tollgate::{request::Attribute, time::Instant};

use super::*;
use crate::{
    config::Config,
    identity::{Evidence, Identification},
    testing::{Call, GATEWAY, NOW, identify},
};

/// Envoy's words for a certificate with these URI SANs, changed by `change`.
fn certificate(uri_sans: &[&str], change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params.subject_alt_names = uri_sans.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    change(&mut params);
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    pem.replace('\n', "%0A").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace(' ', "%20")
}

/// By a connection whose certificate Envoy says.
fn call(digest: &str, certificate: &str) -> Call {
    let call = Call::plain("/").with(Attribute::PeerCertificateDigest, digest);
    call.with(Attribute::PeerCertificate, certificate)
}

#[test]
fn a_certificate_has_exactly_one_uri_and_signs_nothing() {
    let signing = |usage| move |params: &mut CertificateParams| params.key_usages = vec![usage];
    let dns = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("cluster.local".try_into().unwrap())];
    };
    for (certificate, expected) in [
        (certificate(&[GATEWAY], |_| {}), Ok(GATEWAY)),
        (certificate(&[], |_| {}), Err("no_san")),
        (certificate(&[], dns), Err("no_san")),
        (certificate(&[""], |_| {}), Err("empty_san")),
        (certificate(&[GATEWAY, "spiffe://cluster.local/b"], |_| {}), Err("several_sans")),
        (certificate(&[GATEWAY, ""], |_| {}), Err("several_sans")),
        (certificate(&[GATEWAY, GATEWAY], |_| {}), Err("several_sans")),
        (certificate(&[GATEWAY], signing(KeyUsagePurpose::KeyCertSign)), Err("signing_certificate")),
        (certificate(&[GATEWAY], signing(KeyUsagePurpose::CrlSign)), Err("signing_certificate")),
        (
            certificate(&[GATEWAY], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            Err("signing_certificate"),
        ),
        ("-----BEGIN CERTIFICATE-----%0Anonsense".to_owned(), Err("unreadable_certificate")),
    ] {
        let found = identify("", &call("d", &certificate));
        assert_eq!(found.as_deref().map_err(|reason| reason.as_str()), expected, "{certificate}");
    }
}

#[test]
fn the_validity_can_be_demanded_at_every_request() {
    let config = r#"{"requireUnexpired":true}"#;
    let until = |year| move |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let expired = certificate(&[GATEWAY], until(2021));
    let future = certificate(&[GATEWAY], |params| params.not_before = rcgen::date_time_ymd(2035, 1, 1));
    assert_eq!(identify(config, &call("d", &certificate(&[GATEWAY], |_| {}))).unwrap(), GATEWAY);
    assert_eq!(identify(config, &call("d", &expired)).unwrap_err().as_str(), "expired_certificate");
    assert_eq!(identify(config, &call("d", &future)).unwrap_err().as_str(), "not_yet_valid_certificate");
    // To the second, at either end.
    let at = |unix_seconds| {
        let config = Config::parse(config.as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        let call = call("d", &certificate(&[GATEWAY], |_| {}));
        let caller = Identification::new(&config).caller(&call, &mut evidence, Moment { unix_seconds, ..NOW });
        caller.map(drop).map_err(NoIdentity::as_str)
    };
    let (first, last) =
        (rcgen::date_time_ymd(2020, 1, 1).unix_timestamp(), rcgen::date_time_ymd(2040, 1, 1).unix_timestamp());
    assert_eq!(at(first - 1), Err("not_yet_valid_certificate"));
    assert_eq!((at(first), at(last)), (Ok(()), Ok(())));
    assert_eq!(at(last + 1), Err("expired_certificate"));
    // Otherwise the connection's beginning counts.
    assert!(identify("", &call("d", &expired)).is_ok());
}

#[test]
fn a_certificate_is_read_once_and_its_expiry_said_while_it_is_in_use() {
    let config = Config::parse(b"").unwrap();
    let identification = Identification::new(&config);
    let mut evidence = Evidence::default();
    let mut at = |second: u64, certificate: &str| {
        let now = Moment { monotonic: Instant::from_nanos(second * 1_000_000_000), ..NOW };
        assert!(identification.caller(&call("d", certificate), &mut evidence, now).is_ok());
        evidence.take_expiring().map(|expiring| expiring.not_after)
    };
    let not_after = rcgen::date_time_ymd(2040, 1, 1).unix_timestamp();
    assert_eq!(at(1, &certificate(&[GATEWAY], |_| {})), Some(not_after));
    // Nobody reads this one: the digest is known.
    for (second, said) in [(1, None), (10, None), (11, Some(not_after)), (12, None), (600, Some(not_after))] {
        assert_eq!(at(second, "nonsense"), said, "{second}");
    }
}

#[test]
fn what_an_older_envoy_does_not_say_for_certain_is_asked_again() {
    let mut certificates = Certificates::default();
    let digest = format!("digest of {GATEWAY}");
    let own = |uris: &str| {
        Call::by("/", GATEWAY)
            .header_line("x-forwarded-client-cert", &format!("By=a;Hash={digest};Subject=\"\";{uris}"))
    };
    let mut uri_san = |call: &Call| {
        let found = certificates.find(digest.as_bytes(), call, NOW.monotonic);
        found.unwrap().uri_san.clone().map_err(NoIdentity::as_str)
    };
    let (one, two) = (own(&format!("URI={GATEWAY}")), own(&format!("URI={GATEWAY};URI=b")));
    assert_eq!(uri_san(&Call::by("/", GATEWAY)), Ok(GATEWAY.to_owned()));
    assert_eq!(uri_san(&two), Err("several_sans"));
    // From here on it is known.
    assert_eq!(uri_san(&one), Err("several_sans"));
}

#[test]
fn where_there_is_room_a_certificate_out_of_use_is_remembered() {
    let mut certificates = Certificates::default();
    let certificate = certificate(&[GATEWAY], |_| {});
    for (digest, second) in [("early", 0), ("late", 600)] {
        let now = Instant::from_nanos(second * 1_000_000_000);
        certificates.find(digest.as_bytes(), &call(digest, &certificate), now);
    }
    assert!(certificates.known.contains_key(&b"early"[..]));
}

#[test]
fn no_more_than_a_thousand_certificates_are_remembered() {
    let mut certificates = Certificates::default();
    let certificate = certificate(&[GATEWAY], |_| {});
    for number in 0..3 * MOST as u64 {
        let digest = format!("digest {number}");
        let found = certificates.find(digest.as_bytes(), &call(&digest, &certificate), Instant::from_nanos(number));
        assert!(found.unwrap().uri_san.is_ok());
        assert!(certificates.known.len() <= MOST);
    }
    // Those in use are kept before those that are not: for a minute.
    let late = Instant::from_nanos(60_000_000_000 + 2999);
    certificates.find(b"digest 2999", &call("digest 2999", "nonsense"), late);
    for number in 0..MOST - 1 {
        let digest = format!("late {number}");
        certificates.find(digest.as_bytes(), &call(&digest, &certificate), late);
    }
    assert!(certificates.known.contains_key(&b"digest 2999"[..]));
}
