//! Client addresses, and whose word counts for them.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OWN: &str = r#""clientAddress""#;

fn hops(hops: u32) -> String {
    format!(r#"{{"clientAddress":{{"trustedHops":{hops}}}}}"#)
}

/// A request from `source`, with these values of `X-Forwarded-For`.
fn from(source: &str, forwarded: &[&str]) -> Call {
    forwarded.iter().fold(call("/").with_source(source), |call, value| call.with_header("x-forwarded-for", value))
}

/// What `trusted` hops say of the client of a request.
fn client(trusted: u32, source: &str, forwarded: &[&str]) -> Option<String> {
    let rule = rule(&format!(r#""key":[{}]"#, hops(trusted)));
    let Part::ClientAddress(which) = &rule.key[0].part else { panic!() };
    client_address(&from(source, forwarded), which).map(|address| address.to_string())
}

fn some(address: &str) -> Option<String> {
    Some(address.to_owned())
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
fn an_address_that_envoy_took_from_a_header_is_none() {
    // Port 0 says so.
    for source in ["192.0.2.1:0", "[2001:db8::1]:0", "192.0.2.1", "/tmp/socket", ""] {
        lacks(r#"{"clientAddress":{}}"#, &from(source, &[]));
        assert_eq!(client(0, source, &["198.51.100.1"]), None, "{source}");
        assert_eq!(client(1, source, &[]), None, "{source}");
    }
    assert_eq!(client(0, "192.0.2.1:5", &["198.51.100.1"]), some("192.0.2.1"), "nobody is trusted");
}

#[test]
fn the_entry_of_the_farthest_trusted_proxy_counts() {
    let forwarded = ["10.9.9.9, 203.0.113.7", "198.51.100.2,198.51.100.3"];
    for (trusted, expected) in [(1, "198.51.100.3"), (2, "198.51.100.2"), (3, "203.0.113.7"), (4, "10.9.9.9")] {
        assert_eq!(client(trusted, "192.0.2.1:5", &forwarded), some(expected));
        assert_eq!(client(trusted, "10.9.9.9:0", &forwarded), some(expected), "whatever Envoy chose");
    }
}

#[test]
fn fewer_entries_than_proxies_leave_the_connections_address() {
    assert_eq!(client(1, "192.0.2.1:5", &[]), some("192.0.2.1"));
    assert_eq!(client(3, "192.0.2.1:5", &["203.0.113.7, 198.51.100.2"]), some("192.0.2.1"));
    assert_eq!(client(3, "203.0.113.7:0", &["203.0.113.7, 198.51.100.2"]), None, "that Envoy has not told");
}

#[test]
fn the_peer_that_this_proxy_wrote_down_itself_is_no_hop() {
    for (source, own) in [
        ("192.0.2.1:5", "192.0.2.1"),
        ("[2001:db8::1]:5", "2001:db8::1"),
        ("[2001:db8::1]:5", "[2001:DB8:0::1]"),
        ("[::ffff:192.0.2.1]:5", "192.0.2.1"),
        ("192.0.2.1:5", "::ffff:192.0.2.1"),
    ] {
        assert_eq!(client(1, source, &["10.9.9.9, 203.0.113.7", own]), some("203.0.113.7"), "{source} {own}");
    }
    // With port 0 the address is that of the entry which Envoy chose, and says nothing about the peer.
    assert_eq!(client(1, "192.0.2.1:0", &["203.0.113.7, 192.0.2.1"]), some("192.0.2.1"));
    // Only one: a peer may have been its own client before.
    assert_eq!(client(1, "192.0.2.1:5", &["203.0.113.7, 192.0.2.1, 192.0.2.1"]), some("192.0.2.1"));
    assert_eq!(client(1, "192.0.2.1:5", &["192.0.2.1"]), some("192.0.2.1"), "it came straight here");
}

#[test]
fn entries_may_have_ports_and_brackets() {
    for (entry, address) in [
        ("203.0.113.7:4711", "203.0.113.7"),
        (" \t203.0.113.7 ", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
    ] {
        assert_eq!(client(1, "192.0.2.1:5", &[entry]), some(address), "{entry}");
    }
}

#[test]
fn in_place_of_an_entry_that_is_no_address_the_peer_counts_if_it_is_known() {
    for entry in ["unknown", "", " ", "203.0.113", "203.0.113.7.8", "_hidden", "203.0.113.7:x", "[203.0.113.7", "1"] {
        assert_eq!(client(1, "192.0.2.1:5", &["203.0.113.7", entry]), some("192.0.2.1"), "{entry:?}");
        assert_eq!(client(1, "203.0.113.7:0", &["203.0.113.7", entry]), None, "{entry:?}");
        assert_eq!(client(2, "192.0.2.1:5", &["203.0.113.7", entry]), some("203.0.113.7"), "{entry:?}");
    }
    let broken = call("/").with_source("203.0.113.7:0").with_header("x-forwarded-for", b"\xff, 203.0.113.7\xff");
    lacks_by_hops(&broken);
}

fn lacks_by_hops(request: &Call) {
    let with = rule(r#""key":[{"clientAddress":{"trustedHops":1},"missing":"deny"}]"#);
    assert_eq!(find_by(SEED, &with, request), Found::Deny);
}

proptest! {
    /// What a client wrote itself stands left of what the trusted proxies wrote.
    #[test]
    fn forged_entries_make_no_difference(
        forged in prop::collection::vec("[0-9a-f.:, \\[\\]]{0,20}|203\\.0\\.113\\.7|192\\.0\\.2\\.1", 0..5),
        trusted in 1_u32..4,
        port in prop::sample::select(vec![0_u16, 5]),
        appends in any::<bool>(),
    ) {
        let mut honest: Vec<String> = (0..trusted).map(|hop| format!("198.51.100.{hop}")).collect();
        if appends && port != 0 {
            honest.push("192.0.2.1".to_owned());
        }
        let source = format!("192.0.2.1:{port}");
        let forwarded: Vec<&str> = forged.iter().chain(&honest).map(String::as_str).collect();
        prop_assert_eq!(client(trusted, &source, &forwarded), some("198.51.100.0"));
        prop_assert_eq!(client(trusted, &source, &[&forwarded.join(",")]), some("198.51.100.0"));
    }
}
