//! Parts of keys, and selectors.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{super::*, one_rule, refusal, rule};

fn part(json: &str) -> KeyPart {
    rule(&format!(r#""match":[{{"paths":["/a/{{id}}"]}}],"key":[{json}]"#)).key.remove(0)
}

fn selector(json: &str) -> Selector {
    rule(&format!(r#""match":[{{"paths":["/a/{{id}}"]}}],"reserve":{{"percent":1,"for":[{json}]}}"#))
        .reserve
        .unwrap()
        .callers
        .remove(0)
}

fn bits(which: &ClientAddress) -> [Option<u64>; 3] {
    [which.ipv4.map(|bits| bits.get()), which.ipv6.map(|bits| bits.get()), which.trusted_hops.map(|hops| hops.get())]
}

#[test]
fn a_part_without_argument_is_a_word() {
    for (word, expected) in [
        ("principal", Part::Principal),
        ("namespace", Part::Namespace),
        ("host", Part::Host),
        ("method", Part::Method),
        ("clientAddress", Part::ClientAddress(ClientAddress::default())),
    ] {
        let shared = KeyPart { part: expected.clone(), missing: Missing::Share };
        assert_eq!(part(&format!(r#""{word}""#)), shared);
        assert_eq!(part(&format!(r#"{{"{word}":{{}}}}"#)), shared);
        let denied = KeyPart { part: expected, missing: Missing::Deny };
        assert_eq!(part(&format!(r#"{{"{word}":{{}},"missing":"deny"}}"#)), denied);
    }
}

#[test]
fn a_part_with_argument_is_an_object() {
    for (json, expected) in [
        (r#"{"header":"X-Api-Key"}"#, Part::Header("x-api-key".to_owned())),
        (r#"{"cookie":"Sid"}"#, Part::Cookie("Sid".to_owned())),
        (r#"{"query":"tenant"}"#, Part::Query("tenant".to_owned())),
        (r#"{"pathVariable":"id"}"#, Part::PathVariable("id".to_owned())),
        (r#"{"jwtClaim":"sub"}"#, Part::JwtClaim { payload: "payload".to_owned(), name: "sub".to_owned() }),
        (
            r#"{"jwtClaim":{"name":"sub","payload":"mine"}}"#,
            Part::JwtClaim { payload: "mine".to_owned(), name: "sub".to_owned() },
        ),
        (
            r#"{"attribute":["connection","requested_server_name"]}"#,
            Part::Attribute(vec!["connection".to_owned(), "requested_server_name".to_owned()]),
        ),
    ] {
        assert_eq!(part(json), KeyPart { part: expected, missing: Missing::Share }, "{json}");
    }
    for (word, missing) in [("share", Missing::Share), ("skip", Missing::Skip), ("deny", Missing::Deny)] {
        assert_eq!(part(&format!(r#"{{"header":"x","missing":"{word}"}}"#)).missing, missing);
    }
}

#[test]
fn a_client_address_says_how_much_of_it_counts_and_who_is_trusted() {
    let Part::ClientAddress(which) = part(r#"{"clientAddress":{"ipv4":24,"ipv6":56,"trustedHops":1}}"#).part else {
        panic!()
    };
    assert_eq!(bits(&which), [Some(24), Some(56), Some(1)]);
}

#[test]
fn parts_of_a_key_are_refused_with_their_place() {
    let kinds = "`principal`, `namespace`, `host`, `method`, `clientAddress`, `header`, `cookie`, `query`, \
                 `pathVariable`, `jwtClaim`, `attribute`";
    let exactly_one = "key[0]: must have exactly one part, such as `header`, beside `missing`";
    for (json, message) in [
        ("[]".to_owned(), "key: must not be empty: leave it out instead".to_owned()),
        ("[7]".to_owned(), "key[0]: must be an object, found 7".to_owned()),
        (r#"["header"]"#.to_owned(), "key[0]: must say which: {header: ...}".to_owned()),
        (r#"["user"]"#.to_owned(), format!("key[0]: unknown value `user`, expected one of {kinds}")),
        (
            r#"[{"user":"a"}]"#.to_owned(),
            format!("key[0].user: unknown field `user`, expected one of {kinds}, `missing`"),
        ),
        ("[{}]".to_owned(), exactly_one.to_owned()),
        (r#"[{"missing":"deny"}]"#.to_owned(), exactly_one.to_owned()),
        (r#"[{"header":"a","cookie":"b"}]"#.to_owned(), exactly_one.to_owned()),
        (r#"[{"principal":null}]"#.to_owned(), exactly_one.to_owned()),
        (
            r#"[{"principal":"spiffe://td/a"}]"#.to_owned(),
            "key[0].principal: must be an object, found \"spiffe://td/a\"".to_owned(),
        ),
        (r#"[{"principal":{"x":1}}]"#.to_owned(), "key[0].principal.x: unknown field `x`, expected none".to_owned()),
        (
            r#"[{"header":":path"}]"#.to_owned(),
            "key[0].header: invalid header name `:path`: use hosts, paths and methods for those".to_owned(),
        ),
        (r#"[{"cookie":""}]"#.to_owned(), "key[0].cookie: must not be empty".to_owned()),
        (r#"[{"query":""}]"#.to_owned(), "key[0].query: must not be empty".to_owned()),
        (r#"[{"jwtClaim":""}]"#.to_owned(), "key[0].jwtClaim: must not be empty".to_owned()),
        (r#"[{"jwtClaim":{"name":""}}]"#.to_owned(), "key[0].jwtClaim.name: must not be empty".to_owned()),
        (
            r#"[{"jwtClaim":{"name":"a","payload":""}}]"#.to_owned(),
            "key[0].jwtClaim.payload: must not be empty".to_owned(),
        ),
        (r#"[{"jwtClaim":{}}]"#.to_owned(), "key[0].jwtClaim: missing field `name`".to_owned()),
        (r#"[{"attribute":"a.b"}]"#.to_owned(), "key[0].attribute: must be a list, found \"a.b\"".to_owned()),
        (r#"[{"attribute":[]}]"#.to_owned(), "key[0].attribute: must not be empty: leave it out instead".to_owned()),
        (r#"[{"attribute":["a",""]}]"#.to_owned(), "key[0].attribute[1]: must not be empty".to_owned()),
        (
            r#"[{"clientAddress":{"ipv4":33}}]"#.to_owned(),
            "key[0].clientAddress.ipv4: must be at most 32, found 33".to_owned(),
        ),
        (
            r#"[{"clientAddress":{"ipv6":0}}]"#.to_owned(),
            "key[0].clientAddress.ipv6: must be greater than zero, found 0".to_owned(),
        ),
        (
            r#"[{"clientAddress":{"trustedHops":33}}]"#.to_owned(),
            "key[0].clientAddress.trustedHops: must be at most 32, found 33".to_owned(),
        ),
        (
            r#"[{"header":"a","missing":"ignore"}]"#.to_owned(),
            "key[0].missing: unknown value `ignore`, expected one of `share`, `skip`, `deny`".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&one_rule(&format!(r#""key":{json}"#))), format!("rules[0].{message}"), "{json}");
    }
}

#[test]
fn a_path_variable_must_be_in_a_path_of_the_rule() {
    let with = |fields: &str| one_rule(&format!(r#""match":[{{"paths":["/a","/b/{{id}}"]}}],{fields}"#));
    let missing = "no path of this rule has the variable `{other}`";
    for (fields, place) in [
        (r#""key":[{"pathVariable":"other"}]"#, "key[0].pathVariable"),
        (r#""overrides":[{"pathVariable":{"other":"1"},"limits":"unlimited"}]"#, "overrides[0].pathVariable"),
        (r#""reserve":{"percent":1,"for":[{"pathVariable":{"other":"1"}}]}"#, "reserve.for[0].pathVariable"),
    ] {
        assert_eq!(refusal(&with(fields)), format!("rules[0].{place}: {missing}"));
    }
    super::parse(&with(r#""key":[{"pathVariable":"id"}]"#));
    let overall = r#"{"overall":[{"name":"a","limits":[{"requests":1,"per":"1s"}],"key":[{"pathVariable":"id"}]}]}"#;
    assert_eq!(refusal(overall), "overall[0].key[0].pathVariable: no path of this rule has the variable `{id}`");
}

#[test]
fn selectors_name_parts_and_their_values() {
    let value = |text: &str| Expected::Value(text.to_owned());
    for (json, part, expected) in [
        (r#"{"principal":"td/a"}"#, Part::Principal, value("spiffe://td/a")),
        (r#"{"principal":"spiffe://td/a"}"#, Part::Principal, value("spiffe://td/a")),
        (r#"{"namespace":"blog"}"#, Part::Namespace, value("blog")),
        (r#"{"host":"API.Example.com."}"#, Part::Host, value("api.example.com")),
        (r#"{"method":"POST"}"#, Part::Method, value("POST")),
        (r#"{"header":{"X-Api-Key":"Abc"}}"#, Part::Header("x-api-key".to_owned()), value("Abc")),
        (r#"{"cookie":{"sid":"1"}}"#, Part::Cookie("sid".to_owned()), value("1")),
        (r#"{"query":{"t":"1"}}"#, Part::Query("t".to_owned()), value("1")),
        (r#"{"pathVariable":{"id":"1"}}"#, Part::PathVariable("id".to_owned()), value("1")),
        (
            r#"{"jwtClaim":{"sub":"me"}}"#,
            Part::JwtClaim { payload: "payload".to_owned(), name: "sub".to_owned() },
            value("me"),
        ),
        (
            r#"{"attribute":{"connection.requested_server_name":"a"}}"#,
            Part::Attribute(vec!["connection".to_owned(), "requested_server_name".to_owned()]),
            value("a"),
        ),
    ] {
        assert_eq!(selector(json).conditions, [Condition { part, expected }], "{json}");
    }
    let both = selector(r#"{"namespace":"blog","header":{"a":"1","b":"2"}}"#);
    assert_eq!(both.conditions.len(), 3);
}

#[test]
fn selectors_are_told_apart_by_what_they_ask_for() {
    let identities: Vec<String> = [
        r#"{"header":{"a":"b"}}"#,
        r#"{"cookie":{"a":"b"}}"#,
        r#"{"header":{"ab":""}}"#,
        r#"{"header":{"b":"a"}}"#,
        r#"{"header":{"a":"b","c":"d"}}"#,
        r#"{"header":{"a":"b 1:c 1:d"}}"#,
        r#"{"host":"a"}"#,
        r#"{"namespace":"a"}"#,
    ]
    .map(|json| selector(json).identity)
    .to_vec();
    for (index, identity) in identities.iter().enumerate() {
        assert!(!identities[..index].contains(identity), "{identity}");
    }
}

#[test]
fn overrides_have_limits_or_none() {
    let overrides =
        rule(r#""overrides":[{"host":"a","limits":"unlimited"},{"host":"b","limits":[{"requests":7,"per":"1s"}]}]"#)
            .overrides;
    assert!(overrides[0].limits.is_none());
    assert_eq!(overrides[1].limits.as_ref().unwrap()[0].limit().burst.get(), 7);
    for (json, message) in [
        ("{}", ": must say for whom, such as by `principal`"),
        (r#"{"limits":"unlimited"}"#, ": must say for whom, such as by `principal`"),
        (r#"{"host":"a"}"#, ": missing field `limits`"),
        (r#"{"host":"a","limits":[]}"#, ".limits: must not be empty: leave it out instead"),
        (r#"{"host":"a","limits":"none"}"#, ".limits: must be a list or `unlimited`, found \"none\""),
        (r#"{"host":"a","limits":{}}"#, ".limits: must be a list or `unlimited`, found an object"),
        (
            r#"{"host":"a","limits":[{"requests":0,"per":"1s"}]}"#,
            ".limits[0].requests: must be greater than zero, found 0",
        ),
        (
            r#"{"principal":"TD/a","limits":"unlimited"}"#,
            ".principal: invalid principal `TD/a`: the trust domain must be 1 to 255 characters of a-z, 0-9, `.`, `_`, `-`",
        ),
        (
            r#"{"clientAddress":"10.0.0.0/33","limits":"unlimited"}"#,
            ".clientAddress: invalid network `10.0.0.0/33`: write an address, or one such as 10.0.0.0/8",
        ),
        (
            r#"{"host":"a:80","limits":"unlimited"}"#,
            ".host: invalid host `a:80`: write a host name without a port, `*.` and a host name, or `*`",
        ),
        (r#"{"host":"*.a","limits":"unlimited"}"#, ".host: must be one host, found `*.a`"),
        (
            r#"{"method":"get","limits":"unlimited"}"#,
            ".method: invalid method `get`: write it in capitals, such as GET",
        ),
        (
            r#"{"header":"x-api-key","limits":"unlimited"}"#,
            ".header: must be an object of names and values, such as {name: value}, found \"x-api-key\"",
        ),
        (r#"{"header":{"x":1},"limits":"unlimited"}"#, ".header.x: must be a string, found 1"),
        (r#"{"attribute":{"a..b":"1"},"limits":"unlimited"}"#, ".attribute[1]: must not be empty"),
    ] {
        let fields = format!(r#""overrides":[{{"host":"z","limits":"unlimited"}},{json}]"#);
        assert_eq!(refusal(&one_rule(&fields)), format!("rules[0].overrides[1]{message}"), "{json}");
    }
}

#[test]
fn selectors_look_where_the_key_looks() {
    let rule = rule(
        r#""key":[{"clientAddress":{"trustedHops":2}},{"jwtClaim":{"name":"sub","payload":"mine"}}],
           "overrides":[{"clientAddress":"10.0.0.0/8","jwtClaim":{"sub":"a","iss":"b"},"limits":"unlimited"}],
           "reserve":{"percent":1,"for":[{"clientAddress":"10.0.0.0/8"}]}"#,
    );
    let [address, sub, iss] = &rule.overrides[0].selector.conditions[..] else { panic!() };
    let Part::ClientAddress(which) = &address.part else { panic!() };
    assert_eq!(bits(which), [None, None, Some(2)]);
    let claim = |payload: &str, name: &str| Part::JwtClaim { payload: payload.to_owned(), name: name.to_owned() };
    assert_eq!((&sub.part, &iss.part), (&claim("mine", "sub"), &claim("mine", "iss")));
    assert_eq!(rule.reserve.unwrap().callers[0].conditions[0].part, address.part);
}
