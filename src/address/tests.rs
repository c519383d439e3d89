use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A request from an address as Envoy spells it, with these values of `X-Forwarded-For`.
struct From<'a> {
    source: &'a str,
    forwarded: Vec<Vec<u8>>,
}

impl Request for From<'_> {
    fn path(&self) -> Option<&[u8]> {
        None
    }
    fn method(&self) -> Option<&[u8]> {
        None
    }
    fn authority(&self) -> Option<&[u8]> {
        None
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        if name == "x-forwarded-for" { self.forwarded.clone() } else { Vec::new() }
    }
    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        (attribute == Attribute::SourceAddress).then_some(self.source.as_bytes())
    }
}

/// What `trusted` hops say of the client of a request.
fn client(trusted: usize, source: &str, forwarded: &[impl AsRef<[u8]>]) -> Option<String> {
    let forwarded = forwarded.iter().map(|value| value.as_ref().to_vec()).collect();
    client_address(&From { source, forwarded }, trusted).map(|address| address.to_string())
}

fn some(address: &str) -> Option<String> {
    Some(address.to_owned())
}

const NONE: &[&str] = &[];

#[test]
fn an_address_that_envoy_took_from_a_header_is_none() {
    // Port 0 says so.
    for source in ["192.0.2.1:0", "[2001:db8::1]:0", "192.0.2.1", "/tmp/socket", ""] {
        assert_eq!(client(0, source, NONE), None, "{source}");
        assert_eq!(client(0, source, &["198.51.100.1"]), None, "{source}");
        assert_eq!(client(1, source, NONE), None, "{source}");
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
    assert_eq!(client(1, "192.0.2.1:5", NONE), some("192.0.2.1"));
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
    assert_eq!(client(1, "203.0.113.7:0", &[b"\xff, 203.0.113.7\xff"]), None, "bytes that are no text");
}

fn network(text: &str) -> Result<Network, String> {
    Network::from_node(&Node::Text(text.to_owned())).map_err(|error| error.to_string())
}

#[test]
fn a_network_has_the_addresses_with_its_first_bits() {
    for (text, address, expected) in [
        ("10.0.0.0/8", "10.255.1.2", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.1.2.3/8", "10.255.1.2", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3/32", "10.1.2.4", false),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("10.1.2.2/31", "10.1.2.4", false),
        ("128.0.0.0/1", "127.255.255.255", false),
        ("0.0.0.0/0", "203.0.113.7", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "203.0.113.7", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:DB8::/32", "2001:db9::1", false),
        ("2001:db8::1", "2001:db8::1", true),
        ("2001:db8::1/128", "2001:db8::2", false),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("::ffff:10.1.2.3", "10.1.2.3", true),
    ] {
        assert_eq!(network(text).unwrap().contains(address.parse().unwrap()), expected, "{text} {address}");
    }
}

#[test]
fn what_is_no_network_is_refused() {
    for text in
        ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "a", "[::1]"]
    {
        let message = format!("invalid network `{text}`: write an address, or one such as 10.0.0.0/8");
        assert_eq!(network(text), Err(message));
    }
    assert_eq!(Network::from_node(&Node::Null).unwrap_err().reason, "must be a string, found null");
}

proptest! {
    /// What a client wrote itself stands left of what the trusted proxies wrote.
    #[test]
    fn forged_entries_make_no_difference(
        forged in prop::collection::vec("[0-9a-f.:, \\[\\]]{0,20}|203\\.0\\.113\\.7|192\\.0\\.2\\.1", 0..5),
        trusted in 1_usize..4,
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

#[test]
fn where_envoy_has_to_read_it_alike_only_bare_addresses_are_read() {
    let plain = |source: &str, forwarded: &str| {
        let forwarded = vec![forwarded.as_bytes().to_vec()];
        plain_client_address(&From { source, forwarded }, 1).map(|address| address.to_string())
    };
    for (source, forwarded, expected) in [
        ("127.0.2.7:0", "192.0.2.7", some("192.0.2.7")),
        ("127.0.2.7:0", "1.2.3.4,  2001:db8::7 ", some("2001:db8::7")),
        // Envoy takes the peer for these, and says it with its port.
        ("127.0.2.7:9", "192.0.2.7:80", some("127.0.2.7")),
        ("127.0.2.7:9", "[2001:db8::7]", some("127.0.2.7")),
        ("127.0.2.7:9", "unknown", some("127.0.2.7")),
        ("127.0.2.7:9", "192.0.2.7, 127.0.2.7:1", some("127.0.2.7")),
        // Written by this proxy itself.
        ("127.0.2.7:9", "192.0.2.7, 127.0.2.7", some("192.0.2.7")),
        ("127.0.2.7:0", "::ffff:192.0.2.7", None),
        ("127.0.2.7:0", "192.0.2.7:80", None),
    ] {
        assert_eq!(plain(source, forwarded), expected, "{forwarded} from {source}");
    }
    assert_eq!(
        plain_client_address(&From { source: "192.0.2.1:5", forwarded: vec![] }, 0),
        Some([192, 0, 2, 1].into())
    );
}
