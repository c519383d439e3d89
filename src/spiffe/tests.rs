use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    InvalidSpiffeId::{NoPath, PathSegment, Scheme, Start, TooLong, TrustDomain as Domain},
    *,
};

fn parse(uri: &str) -> Result<SpiffeId<'_>, InvalidSpiffeId> {
    SpiffeId::parse(uri.as_bytes())
}

#[test]
fn takes_a_workload_apart() {
    let id = parse("spiffe://cluster.local/ns/blog/sa/posts").unwrap();
    assert_eq!((id.trust_domain(), id.path()), ("cluster.local", "ns/blog/sa/posts"));
    assert_eq!(id.kubernetes(), Some(("blog", "posts")));
    assert_eq!(id.to_string(), "spiffe://cluster.local/ns/blog/sa/posts");
    assert_eq!(SpiffeId::parse_schemeless("cluster.local/ns/blog/sa/posts"), Ok(id));
}

#[test]
fn only_the_exact_kubernetes_form_has_a_namespace() {
    for path in ["ns/a/sa", "ns/a/sa/b/c", "ns/a/b/sa/c", "x/ns/a/sa/b", "sa/b/ns/a", "NS/a/SA/b", "workload"] {
        assert_eq!(parse(&format!("spiffe://td/{path}")).unwrap().kubernetes(), None, "{path}");
    }
}

// SPIFFE-ID.md, 2: the scheme is `spiffe`, and there is no query and no fragment.

#[test]
fn the_scheme_is_spiffe() {
    for uri in ["https://td/a", "http:", "urn:spiffe:td", "x-spiffe://td/a", "spiffes://td/a", "td:80/a"] {
        assert_eq!(parse(uri), Err(Scheme), "{uri}");
    }
    for uri in ["", ":", "://td/a", "//td/a", "td/a", "spiffe", " spiffe://td/a", "sp iffe://td/a", "sp%69ffe://td/a"] {
        assert_eq!(parse(uri), Err(Scheme), "{uri}");
    }
    assert_eq!(parse(&format!("https://{}", "a".repeat(3000))), Err(Scheme));
    assert_eq!(SpiffeId::parse(b"https://td/\xff"), Err(Scheme));
    assert_eq!(SpiffeId::parse(b"\xffspiffe://td/a"), Err(Scheme));
    for uri in ["SPIFFE://td/a", "Spiffe://td/a", "spiffe:", "spiffe:/td/a", "spiffe:td/a", "spiffe:\\\\td/a"] {
        assert_eq!(parse(uri), Err(Start), "{uri}");
    }
}

#[test]
fn there_is_no_query_and_no_fragment() {
    for end in ["?", "?q=1", "#", "#f", "?q#f"] {
        assert_eq!(parse(&format!("spiffe://td/a{end}")), Err(PathSegment), "{end}");
        assert_eq!(parse(&format!("spiffe://td/{end}")), Err(PathSegment), "{end}");
        assert_eq!(parse(&format!("spiffe://td{end}/a")), Err(Domain), "{end}");
        assert_eq!(parse(&format!("spiffe://td{end}")), Err(NoPath), "{end}");
    }
}

// 2.1: the trust domain is a host and nothing more: not empty, in lowercase, of letters, digits, dots, dashes and
// underscores, without user, port and percent-encoding.

#[test]
fn the_trust_domain_is_not_empty() {
    assert_eq!(parse("spiffe:///a"), Err(Domain));
    assert_eq!(parse("spiffe:////a"), Err(Domain));
    assert_eq!(parse("spiffe://"), Err(NoPath));
}

#[test]
fn the_trust_domain_has_no_user_and_no_port() {
    for authority in ["user@td", "@td", "user:password@td", "td:443", "td:", ":443", "[::1]", "[::1]:443"] {
        assert_eq!(parse(&format!("spiffe://{authority}/a")), Err(Domain), "{authority}");
    }
}

#[test]
fn the_trust_domain_is_of_its_characters_alone() {
    for byte in 0..=u8::MAX {
        let allowed = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        for domain in [vec![byte], vec![b't', byte], vec![byte, b'd'], vec![b't', byte, b'd']] {
            // A slash is where it ends.
            if byte == b'/' {
                continue;
            }
            let uri = [b"spiffe://", &domain[..], b"/a"].concat();
            let expected = if allowed { None } else { Some(Domain) };
            assert_eq!(SpiffeId::parse(&uri).err(), expected, "{uri:?}");
        }
    }
    assert_eq!(parse("spiffe://t%64/a"), Err(Domain), "percent-encoded");
    assert_eq!(parse("spiffe://té/a"), Err(Domain));
    assert_eq!(parse("spiffe://t\u{ff4}/a"), Err(Domain));
}

#[test]
fn a_trust_domain_that_is_an_address_or_no_host_name_is_like_any_other() {
    for domain in ["10.0.0.1", "1", ".", "..", "...", "-", "_", "a..b", ".a", "a.", "-a-", "xn--a", "trust_domain"] {
        let uri = format!("spiffe://{domain}/a");
        assert_eq!(parse(&uri).map(|id| (id.trust_domain().to_owned(), id.path())), Ok((domain.to_owned(), "a")));
    }
}

// 2.2: no percent-encoding, no empty or relative segment, no slash at the end, and letters, digits, dots, dashes and
// underscores alone.

#[test]
fn no_segment_is_empty_or_relative_and_the_path_does_not_end_in_a_slash() {
    for path in ["/", "//", "/a/", "//a", "/a//b", "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/./b", "/a/../b"] {
        assert_eq!(parse(&format!("spiffe://td{path}")), Err(PathSegment), "{path}");
    }
    for path in ["...", ".a", "a.", "..a", "a..", "a.b", "-", "_", "A/B/C", "9eebccd2-12bf-40a6-b262-65fe0487d453"] {
        assert_eq!(parse(&format!("spiffe://td/{path}")).map(|id| id.path()), Ok(path));
    }
}

#[test]
fn a_segment_is_of_its_characters_alone() {
    for byte in 0..=u8::MAX {
        let allowed = byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        for path in [vec![b'a', byte], vec![byte, b'a'], vec![b'a', byte, b'b'], vec![b'x', b'/', b'a', byte]] {
            let uri = [b"spiffe://td/", &path[..]].concat();
            let expected = match (allowed, byte, &path[..]) {
                (true, ..) | (_, b'/', [b'a', _, b'b']) => None,
                _ => Some(PathSegment),
            };
            assert_eq!(SpiffeId::parse(&uri).err(), expected, "{uri:?}");
        }
    }
    for path in ["%61", "a%2fb", "%2e%2e", "%", "é", "a,spiffe://td/b", "a;URI=b", "a b", "a\\b", "*"] {
        assert_eq!(parse(&format!("spiffe://td/{path}")), Err(PathSegment), "{path}");
    }
}

#[test]
fn the_path_is_told_apart_by_case_and_the_trust_domain_is_in_lowercase() {
    assert_ne!(parse("spiffe://td/a"), parse("spiffe://td/A"));
    assert_eq!(parse("spiffe://TD/a"), Err(Domain));
    assert_eq!(parse("spiffe://tD/a"), Err(Domain));
}

// 2.3: 2,048 bytes in all are supported, of which the trust domain has at most 255.

#[test]
fn has_at_most_2048_bytes_and_255_in_the_trust_domain() {
    let id = |domain: usize, path: usize| format!("spiffe://{}/{}", "d".repeat(domain), "p".repeat(path));
    for (domain, path, expected) in [
        (255, 2048 - 9 - 255 - 1, None),
        (255, 2048 - 9 - 255, Some(TooLong)),
        (1, 2048 - 9 - 1 - 1, None),
        (1, 2048 - 9 - 1, Some(TooLong)),
        (254, 1, None),
        (255, 1, None),
        (256, 1, Some(Domain)),
        (2037, 1, Some(Domain)),
        (3000, 1, Some(TooLong)),
    ] {
        let uri = id(domain, path);
        assert_eq!(parse(&uri).err(), expected, "{domain} and {path}");
        assert_eq!(
            SpiffeId::parse_schemeless(uri.strip_prefix(SCHEME).unwrap()).err(),
            expected,
            "{domain} and {path}"
        );
    }
    let deep = format!("spiffe://td{}", "/a".repeat((2048 - 11) / 2));
    assert_eq!(parse(&deep).map(|id| id.path().split('/').count()), Ok(1018));
}

// X509-SVID.md, 3.1 and 5.2: a leaf has a path that is not the root.

#[test]
fn a_workload_has_a_path() {
    assert_eq!(parse("spiffe://td"), Err(NoPath));
    assert_eq!(parse("spiffe://td/"), Err(PathSegment));
    assert_eq!(SpiffeId::parse_schemeless("td"), Err(NoPath));
    assert_eq!(SpiffeId::parse_schemeless("spiffe://td/a"), Err(Domain), "without the scheme");
}

#[test]
fn a_trust_domain_of_a_configuration_is_one_of_the_standard() {
    let domain = |name: &str| TrustDomain::from_node(&Node::Text(name.to_owned())).map(|domain| domain.0);
    for name in ["cluster.local", "10.0.0.1", "a_b", &"d".repeat(255)] {
        assert_eq!(domain(name), Ok(name.to_owned()));
    }
    for name in ["", "Cluster.local", "td/a", "spiffe://td", "td:80", "*", "é", &"d".repeat(256)] {
        let reason = format!(
            "invalid trust domain `{name}`: the trust domain must be 1 to 255 characters of a-z, 0-9, `.`, `_`, `-`"
        );
        assert_eq!(domain(name).map_err(|error| error.reason), Err(reason));
    }
}

proptest! {
    #[test]
    fn what_is_one_is_written_as_it_was_read(
        uri in "(spiffe:|SPIFFE:|https:)?/{0,3}[a-zA-Z0-9._%:@-]{0,5}(/[a-zA-Z0-9._%?#-]{0,3}){0,4}",
    ) {
        if let Ok(id) = parse(&uri) {
            prop_assert_eq!(id.to_string(), uri);
        }
    }

    #[test]
    fn any_bytes_are_one_or_an_error(bytes: Vec<u8>) {
        let _ = SpiffeId::parse(&bytes);
        let _ = SpiffeId::parse(&[b"spiffe://", &bytes[..]].concat());
    }
}
