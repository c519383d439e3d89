use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

mod built;
#[cfg(not(target_arch = "wasm32"))]
mod issued;

/// Made by OpenSSL, for `spiffe://cluster.local/ns/blog/sa/posts`: from 2025-01-02 03:04:05, which is a UTCTime, to
/// 2051-06-07 08:09:10, which is a GeneralizedTime.
const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIBuzCCAWKgAwIBAgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQKDAdFeGFtcGxl
MCAXDTI1MDEwMjAzMDQwNVoYDzIwNTEwNjA3MDgwOTEwWjASMRAwDgYDVQQKDAdF
eGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEg0AQ2txzaXhpelJibg3H
StD3PgGWruE9dih71X5LXsrkEfYaoHDCXTpKh/awcE6rn/hGZyxDba/he+Xn8h/W
2aOBpjCBozBFBgNVHREBAf8EOzA5hidzcGlmZmU6Ly9jbHVzdGVyLmxvY2FsL25z
L2Jsb2cvc2EvcG9zdHOCDnBvc3RzLmJsb2cuc3ZjMA4GA1UdDwEB/wQEAwIFoDAd
BgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwDAYDVR0TAQH/BAIwADAdBgNV
HQ4EFgQUo05cSsxZ0xLdw1tB35rL0QtRrpswCgYIKoZIzj0EAwIDRwAwRAIgf9Ng
Mud+vCniLCXb6n5K1mPMFHWQfFivLpD8YJUumxUCIAklHDXF1j9VeYz4W40D7ACq
ggrBwuPa0ClyNKMofFul
-----END CERTIFICATE-----
";

fn posts() -> Leaf {
    Leaf {
        uri_sans: vec!["spiffe://cluster.local/ns/blog/sa/posts".to_owned()],
        not_before: 1_735_787_045,
        not_after: 2_569_738_150,
        may_sign: false,
    }
}

/// As Envoy does it, which has escaped more or fewer bytes over time.
fn url_encoded(pem: &str, escaped: impl Fn(u8) -> bool) -> Vec<u8> {
    let encode = |byte: u8| if escaped(byte) { format!("%{byte:02X}").into_bytes() } else { vec![byte] };
    pem.bytes().flat_map(encode).collect()
}

fn der_of(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut buffer = vec![0; base64.len()];
    Base64::decode(base64, &mut buffer).unwrap().to_vec()
}

#[test]
fn reads_what_envoy_says_of_the_peer() {
    let few = url_encoded(PEM, |byte| b"\n +/=".contains(&byte));
    let most = url_encoded(PEM, |byte| !byte.is_ascii_alphanumeric() && !b"-_.~".contains(&byte));
    let all = url_encoded(PEM, |_| true);
    for encoded in [few, most, all, PEM.into()] {
        assert_eq!(Leaf::from_url_encoded_pem(&encoded), Ok(posts()));
    }
    assert_eq!(Leaf::from_der(&der_of(PEM)), Ok(posts()));
}

#[test]
fn is_one_certificate_in_pem_and_nothing_else() {
    let mut changed = vec![String::new(), format!(" {PEM}"), format!("\n{PEM}"), format!("{PEM}x"), PEM.repeat(2)];
    changed.push(format!("{PEM}\0"));
    changed.push(PEM.trim_end().to_owned());
    changed.push(PEM.replace("-----END CERTIFICATE-----\n", ""));
    changed.push(PEM.replace("CERTIFICATE", "PUBLIC KEY"));
    changed.push(PEM.replace("MIIBuz", "M*IBuz"));
    changed.push(PEM.replace("MIIBuz", "M%IBuz"));
    changed.push(PEM.replace("MIIBuz", "MI=Buz"));
    changed.push(PEM.replace("fFul", "fFu"));
    changed.push(PEM.replace("\nMIIBuz", "\nProc-Type: 4,ENCRYPTED\n\nMIIBuz"));
    for pem in changed {
        assert_eq!(Leaf::from_url_encoded_pem(pem.as_bytes()), Err(InvalidCertificate::Pem), "{pem}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_certificate_or_an_error(bytes: Vec<u8>) {
        prop_assert!(Leaf::from_der(&bytes).is_err());
        prop_assert!(Leaf::from_url_encoded_pem(&bytes).is_err());
    }

    /// Whatever is read from a certificate with some bytes changed was in it.
    #[test]
    fn a_damaged_certificate_is_read_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut der = der_of(PEM);
        for (place, byte) in changes {
            let place = place.index(der.len());
            der[place] = byte;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        if let Ok(leaf) = Leaf::from_der(&der) {
            prop_assert!(cut.is_none());
            for uri in &leaf.uri_sans {
                prop_assert!(uri.is_ascii() && der.windows(uri.len().max(1)).any(|window| window.starts_with(uri.as_bytes())));
            }
        }
    }

    #[test]
    fn a_damaged_pem_is_read_or_an_error(place: prop::sample::Index, byte: u8) {
        let mut pem = PEM.as_bytes().to_vec();
        let place = place.index(pem.len());
        pem[place] = byte;
        let _ = Leaf::from_url_encoded_pem(&pem);
    }
}
