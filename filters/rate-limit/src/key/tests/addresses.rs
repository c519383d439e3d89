//! How much of a client's address counts.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OWN: &str = r#""clientAddress""#;

/// A request from `source`, with these values of `X-Forwarded-For`.
fn from(source: &str, forwarded: &[&str]) -> Call {
    forwarded.iter().fold(call("/").with_source(source), |call, value| call.with_header("x-forwarded-for", value))
}

#[test]
fn an_ipv4_address_counts_in_full_and_of_an_ipv6_address_the_first_64_bits() {
    share(
        OWN,
        &[from("192.0.2.1:1234", &[]), from("192.0.2.1:80", &[]), from("[::ffff:192.0.2.1]:80", &[])],
        &[from("192.0.2.2:1234", &[]), from("[2001:db8::1]:80", &[])],
    );
    share(
        OWN,
        &[from("[2001:db8::1]:80", &[]), from("[2001:db8:0:0:ffff::2]:443", &[]), from("[2001:DB8::1]:80", &[])],
        &[from("[2001:db8:0:1::1]:80", &[]), from("[2001:db9::1]:80", &[]), from("32.1.13.184:80", &[])],
    );
}

#[test]
fn a_prefix_says_how_much_of_an_address_counts() {
    let key = r#"{"clientAddress":{"ipv4":24,"ipv6":56}}"#;
    share(key, &[from("192.0.2.1:1", &[]), from("192.0.2.254:1", &[])], &[from("192.0.3.1:1", &[])]);
    share(
        key,
        &[from("[2001:db8:0:aa00::1]:1", &[]), from("[2001:db8:0:aaff:1::]:1", &[])],
        &[from("[2001:db8:0:ab00::1]:1", &[])],
    );
    let key = r#"{"clientAddress":{"ipv4":1,"ipv6":128}}"#;
    share(key, &[from("1.2.3.4:1", &[]), from("127.0.0.1:1", &[])], &[from("128.0.0.1:1", &[])]);
    share(key, &[from("[2001:db8::1]:1", &[]), from("[2001:db8::1]:2", &[])], &[from("[2001:db8::2]:1", &[])]);
}

#[test]
fn the_client_is_behind_the_trusted_hops_of_the_key() {
    let behind = |hops: u32| format!(r#"{{"clientAddress":{{"trustedHops":{hops}}}}}"#);
    let forwarded = ["10.9.9.9, 203.0.113.7", "198.51.100.2,198.51.100.3"];
    for (hops, client) in [(0, "192.0.2.1:5"), (1, "198.51.100.3:1"), (2, "198.51.100.2:1"), (3, "203.0.113.7:1")] {
        let by_hops = bucket(&behind(hops), &from("192.0.2.1:5", &forwarded));
        assert_eq!(by_hops, bucket(OWN, &from(client, &[])), "{hops}");
    }
}

#[test]
fn an_address_that_envoy_took_from_a_header_is_missing() {
    for source in ["192.0.2.1:0", "[2001:db8::1]:0", "192.0.2.1", "/tmp/socket", ""] {
        lacks(r#"{"clientAddress":{}}"#, &from(source, &["198.51.100.1"]));
    }
    let with = rule(r#""key":[{"clientAddress":{"trustedHops":1},"missing":"deny"}]"#);
    assert_eq!(find_by(SEED, &with, &from("203.0.113.7:0", &["203.0.113.7, unknown"])), Found::Deny);
}
