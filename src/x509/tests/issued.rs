//! Certificates as another implementation issues them.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd};

use super::*;

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn issue(change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, String) {
    let mut params = CertificateParams::new(vec!["posts.blog.svc".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.subject_alt_names.push(uri("spiffe://cluster.local/ns/blog/sa/posts"));
    params.not_before = date_time_ymd(2025, 1, 2);
    params.not_after = date_time_ymd(2026, 3, 4);
    change(&mut params);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    (certificate.der().to_vec(), certificate.pem().replace("\r\n", "\n"))
}

fn read(change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let (der, pem) = issue(change);
    let leaf = Leaf::from_der(&der).unwrap();
    let encoded = url_encoded(&pem, |byte| b"\n +/=".contains(&byte));
    assert_eq!(Leaf::from_url_encoded_pem(&encoded), Ok(leaf.clone()));
    leaf
}

#[test]
fn an_issued_leaf_says_what_was_asked_for() {
    let leaf = read(|_| {});
    assert_eq!(leaf.uri_sans, ["spiffe://cluster.local/ns/blog/sa/posts"]);
    assert_eq!((leaf.not_before, leaf.not_after), (1_735_776_000, 1_772_582_400));
    assert!(!leaf.may_sign);

    let leaf = read(|params| params.subject_alt_names.extend([uri(""), uri("https://example.com/a?b,c;d")]));
    assert_eq!(leaf.uri_sans, ["spiffe://cluster.local/ns/blog/sa/posts", "", "https://example.com/a?b,c;d"]);
    assert!(read(|params| params.subject_alt_names.clear()).uri_sans.is_empty());

    let leaf = read(|params| {
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(4096, 1, 1);
    });
    assert_eq!((leaf.not_before, leaf.not_after), (0, date_time_ymd(4096, 1, 1).unix_timestamp()));
}

#[test]
fn an_issued_certificate_says_whether_it_may_sign() {
    use KeyUsagePurpose::*;
    let by_usage = |usages: &[KeyUsagePurpose]| read(|params| params.key_usages = usages.to_vec()).may_sign;
    for usage in [KeyCertSign, CrlSign] {
        assert!(by_usage(std::slice::from_ref(&usage)) && by_usage(&[DigitalSignature, usage]));
    }
    let others = [DigitalSignature, ContentCommitment, KeyEncipherment, DataEncipherment, KeyAgreement];
    let others = [&others[..], &[EncipherOnly, DecipherOnly]].concat();
    assert!(!by_usage(&others));
    for usage in others {
        assert!(!by_usage(std::slice::from_ref(&usage)), "{usage:?}");
    }
    assert!(!read(|params| params.is_ca = IsCa::ExplicitNoCa).may_sign);
    for constraints in [BasicConstraints::Unconstrained, BasicConstraints::Constrained(0)] {
        assert!(read(|params| params.is_ca = IsCa::Ca(constraints)).may_sign);
    }
}
