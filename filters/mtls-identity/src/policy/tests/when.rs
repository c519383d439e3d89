use tollgate::request::Attribute;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::testing::{Call, GATEWAY, outcome};

fn config(when: &str) -> String {
    format!(r#"{{"rules":[{{"name":"a","when":{when},"otherwise":"allow"}}],"default":"deny"}}"#)
}

/// Whether a rule with `when` takes the call: or what is in doubt.
fn holds(when: &str, call: &Call) -> Result<bool, &'static str> {
    match outcome(&config(when), call) {
        Ok(_) => Ok(true),
        Err("no_rule") => Ok(false),
        Err(doubt) => Err(doubt),
    }
}

fn call(path: &str) -> Call {
    Call::by(path, GATEWAY)
}

const CLAIMS: &str = "metadata.filter_metadata.envoy.filters.http.jwt_authn.payload";

#[test]
fn hosts_paths_and_methods_can_be_left_out() {
    let at = |host: &str| call("/").at(host);
    assert_eq!(holds(r#"{"notHosts":["a.example"]}"#, &at("A.example.:80")), Ok(false));
    assert_eq!(holds(r#"{"notHosts":["*.example"]}"#, &at("b.org")), Ok(true));
    assert_eq!(holds(r#"{"notHosts":["a.example"]}"#, &at("a.example:80:80")), Err("ambiguous_host"));
    // One reader sees `a.example` there, and another one `b.example`.
    assert_eq!(holds(r#"{"notHosts":["a.example"]}"#, &at("b.example:80@a.example")), Err("ambiguous_host"));
    assert_eq!(holds(r#"{"notHosts":["a.example"]}"#, &call("//b.example").at("a.example")), Err("ambiguous_host"));
    assert_eq!(holds(r#"{"notPaths":["/a/*"]}"#, &call("/a/b/")), Ok(false));
    assert_eq!(holds(r#"{"notPaths":["/a/{x}"]}"#, &call("/a/b/c")), Ok(true));
    assert_eq!(holds(r#"{"notPaths":["/a"]}"#, &call("/b%2f..%2fa")), Err("ambiguous_path"));
    assert_eq!(holds(r#"{"notMethods":["GET"]}"#, &call("/")), Ok(false));
    assert_eq!(holds(r#"{"notMethods":["PUT"]}"#, &call("/")), Ok(true));
}

#[test]
fn ports_are_those_that_the_connection_came_to() {
    let at = |port: u64| call("/").with(Attribute::DestinationPort, port.to_le_bytes());
    for (when, port, expected) in [
        (r#"{"ports":[80,8080]}"#, 8080, true),
        (r#"{"ports":[80]}"#, 8080, false),
        (r#"{"notPorts":[80]}"#, 80, false),
        (r#"{"notPorts":[80]}"#, 81, true),
    ] {
        assert_eq!(holds(when, &at(port)), Ok(expected), "{when} {port}");
    }
}

#[test]
fn server_names_are_compared_without_case() {
    let with = |name: &str| call("/").with(Attribute::RequestedServerName, name);
    for (when, name, expected) in [
        (r#"{"sni":["A.example"]}"#, "a.Example", true),
        (r#"{"sni":["*.example"]}"#, "a.example", true),
        (r#"{"sni":["*"]}"#, "", false),
        (r#"{"notSni":["a.example"]}"#, "A.example", false),
        (r#"{"notSni":["a.example"]}"#, "", true),
    ] {
        assert_eq!(holds(when, &with(name)), Ok(expected), "{when} {name}");
    }
}

#[test]
fn an_address_that_is_not_known_is_in_doubt() {
    let from = |address: &str| call("/").with(Attribute::SourceAddress, address);
    for (when, address, expected) in [
        (r#"{"clientAddresses":["10.0.0.0/8"]}"#, "10.1.2.3:1234", Ok(true)),
        (r#"{"clientAddresses":["10.0.0.0/8"]}"#, "11.1.2.3:1234", Ok(false)),
        (r#"{"notClientAddresses":["10.1.2.3"]}"#, "10.1.2.3:1234", Ok(false)),
        // Envoy has it from a header that the peer wrote.
        (r#"{"notClientAddresses":["10.1.2.3"]}"#, "10.1.2.4:0", Err("unknown_address")),
        (r#"{"clientAddresses":["10.1.2.4"]}"#, "10.1.2.4:0", Err("unknown_address")),
    ] {
        assert_eq!(holds(when, &from(address)), expected, "{when} {address}");
    }
    let forwarded = from("127.0.0.6:0").header_line("x-forwarded-for", "1.1.1.1, 10.1.2.3");
    assert_eq!(holds(r#"{"clientAddresses":["10.1.2.3"],"trustedHops":1}"#, &forwarded), Ok(true));
    assert_eq!(holds(r#"{"clientAddresses":["1.1.1.1"],"trustedHops":1}"#, &forwarded), Ok(false));
}

#[test]
fn a_doubt_does_not_matter_where_another_condition_fails_for_certain() {
    let when = r#"{"notPaths":["/a"],"headers":[{"name":"x-env","values":["prod"]}]}"#;
    let ambiguous = call("/b%2f..%2fa");
    assert_eq!(holds(when, &ambiguous), Ok(false));
    assert_eq!(holds(when, &ambiguous.header_line("x-env", "prod")), Err("ambiguous_path"));
}

#[test]
fn all_values_of_a_repeated_header_must_say_the_same() {
    let prod = r#"{"headers":[{"name":"x-env","values":["prod","pre*"]}]}"#;
    let not = r#"{"headers":[{"name":"x-env","notValues":["*test"]}]}"#;
    let with = |values: &[&str]| values.iter().fold(call("/"), |call, value| call.header_line("x-env", value));
    for (values, of_prod, of_not) in [
        (&[][..], Ok(false), Ok(true)),
        (&["prod"], Ok(true), Ok(true)),
        (&["preview"], Ok(true), Ok(true)),
        (&["dev"], Ok(false), Ok(true)),
        (&["my-test"], Ok(false), Ok(false)),
        (&["prod", "preview"], Ok(true), Ok(true)),
        (&["prod", "dev"], Err("ambiguous_header"), Ok(true)),
        (&["prod", "test"], Err("ambiguous_header"), Err("ambiguous_header")),
    ] {
        assert_eq!(holds(prod, &with(values)), of_prod, "{values:?}");
        assert_eq!(holds(not, &with(values)), of_not, "{values:?}");
    }
}

#[test]
fn of_a_claim_that_is_a_list_one_element_is_enough() {
    let groups = r#"{"jwtClaims":[{"name":"groups","values":["admin"]}]}"#;
    let not = r#"{"jwtClaims":[{"name":"groups","notValues":["banned"]}]}"#;
    let nested = r#"{"jwtClaims":[{"name":["realm_access","roles"],"values":["admin"]}]}"#;
    let with = |claims: &[(&str, &str)]| {
        claims.iter().fold(call("/"), |call, (name, value)| call.knows(&format!("{CLAIMS}.{name}"), value))
    };
    assert_eq!(holds(groups, &call("/")), Ok(false));
    assert_eq!(holds(not, &call("/")), Ok(true));
    assert_eq!(holds(groups, &with(&[("groups", "admin")])), Ok(true));
    assert_eq!(holds(groups, &with(&[("groups", "admins")])), Ok(false));
    assert_eq!(holds(groups, &with(&[("groups.0", "users"), ("groups.1", "admin")])), Ok(true));
    assert_eq!(holds(not, &with(&[("groups.0", "users"), ("groups.1", "banned")])), Ok(false));
    assert_eq!(holds(nested, &with(&[("realm_access.roles.0", "admin")])), Ok(true));
    assert_eq!(holds(nested, &with(&[("roles.0", "admin")])), Ok(false));
}

#[test]
fn all_elements_of_a_claim_are_looked_at() {
    let with = |elements: &[&str]| {
        let indexed = elements.iter().enumerate();
        indexed.fold(call("/"), |call, (index, element)| call.knows(&format!("{CLAIMS}.groups.{index}"), element))
    };
    let not = r#"{"jwtClaims":[{"name":"groups","notValues":["banned"]}]}"#;
    let many: Vec<&str> = std::iter::repeat_n("users", 200).chain(["banned"]).collect();
    assert_eq!(holds(not, &with(&many)), Ok(false));
    assert_eq!(holds(not, &with(&["", "banned"])), Ok(false));
    assert_eq!(holds(not, &with(&["", ""])), Ok(true));
}

#[test]
fn a_claim_that_can_not_be_read_is_in_doubt() {
    let unreadable = call("/").knows(&format!("{CLAIMS}.groups"), "!");
    for when in [
        r#"{"jwtClaims":[{"name":"groups","values":["users"]}]}"#,
        r#"{"jwtClaims":[{"name":"groups","notValues":["banned"]}]}"#,
    ] {
        assert_eq!(holds(when, &unreadable), Err("unreadable_claim"), "{when}");
    }
}

#[test]
fn a_request_principal_is_issuer_and_subject() {
    let token = call("/").knows(&format!("{CLAIMS}.iss"), "https://issuer").knows(&format!("{CLAIMS}.sub"), "alice");
    for (when, expected) in [
        (r#"{"requestPrincipals":["https://issuer/alice"]}"#, true),
        (r#"{"requestPrincipals":["https://issuer/*"]}"#, true),
        (r#"{"requestPrincipals":["*/alice"]}"#, true),
        (r#"{"requestPrincipals":["*"]}"#, true),
        (r#"{"requestPrincipals":["https://issuer/bob"]}"#, false),
        (r#"{"notRequestPrincipals":["https://issuer/alice"]}"#, false),
        (r#"{"notRequestPrincipals":["https://issuer/bob"]}"#, true),
    ] {
        assert_eq!(holds(when, &token), Ok(expected), "{when}");
    }
    assert_eq!(holds(r#"{"requestPrincipals":["*"]}"#, &call("/")), Ok(false));
    assert_eq!(holds(r#"{"notRequestPrincipals":["*"]}"#, &call("/")), Ok(true));
}
