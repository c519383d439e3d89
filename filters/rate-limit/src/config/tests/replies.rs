//! What a rule may send to those that it turns away.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{one_rule, refusal, rule};

fn refused(told: &str, message: &str) {
    let json = one_rule(&format!(r#""whenLimited":{told}"#));
    assert_eq!(refusal(&json), format!("rules[0].whenLimited.{message}"), "{told}");
}

#[test]
fn refuses_statuses_that_are_no_errors() {
    refused(r#"{"status":200}"#, "status: must be at least 400, found 200");
    refused(r#"{"status":600}"#, "status: must be at most 599, found 600");
    refused(r#"{"status":"503"}"#, "status: must be a whole number from 400 to 599, found \"503\"");
}

#[test]
fn refuses_headers_that_the_proxy_sets() {
    for name in [
        "retry-after",
        "Retry-After",
        "ratelimit",
        "ratelimit-policy",
        "x-envoy-ratelimited",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "X-RateLimit-Reset",
        "grpc-status",
        "grpc-message",
        "grpc-retry-pushback-ms",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
    ] {
        refused(&format!(r#"{{"headers":{{"{name}":"1"}}}}"#), &format!("headers.{name}: is set by the proxy"));
    }
    refused(r#"{"headers":{"X-A":"1","x-a":"2"}}"#, "headers.x-a: is there already");
    refused(
        r#"{"headers":{"access-control-allow-origin":"*"},"cors":{"origins":["*"]}}"#,
        "headers.access-control-allow-origin: is set by `cors`",
    );
    rule(r#""whenLimited":{"headers":{"access-control-allow-origin":"*","content-type":"text/html"}}"#);
}

#[test]
fn refuses_names_and_values_that_would_break_out_of_a_header() {
    for name in [":status", "a b", "", "a\\r\\nb", "a:b", "é"] {
        let json = one_rule(&format!(r#""whenLimited":{{"headers":{{"{name}":"1"}}}}"#));
        let message = refusal(&json);
        assert!(message.starts_with("rules[0].whenLimited.headers: invalid header name"), "{message}");
    }
    for value in [r"a\r\nb: c", r"a\nb", r"a\u0000b", r"a\u007f", r"a\u0085b"] {
        refused(&format!(r#"{{"headers":{{"x-a":"{value}"}}}}"#), "headers.x-a: must not have control characters");
    }
    rule(r#""whenLimited":{"headers":{"x-a":"a\tb; é"}}"#);
    refused(r#"{"headers":{"x-a":1}}"#, "headers.x-a: must be a string, found 1");
    refused(r#"{"headers":["x-a"]}"#, "headers: must be an object of names and values, found a list");
}

#[test]
fn refuses_origins_that_no_browser_sends() {
    let hint = "invalid origin: write scheme and host as browsers do, such as https://app.example.com, or `*`";
    for origin in [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/a",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://*.example.com",
        "https://a b",
        r"https://a\r\nb",
        "https://é.example.com",
        "://a",
    ] {
        refused(&format!(r#"{{"cors":{{"origins":["*","{origin}"]}}}}"#), &format!("cors.origins[1]: {hint}"));
    }
    for origin in ["*", "http://localhost:3000", "https://app.example.com", "capacitor://localhost", "https://[::1]:80"]
    {
        rule(&format!(r#""whenLimited":{{"cors":{{"origins":["{origin}"]}}}}"#));
    }
    refused(r#"{"cors":{}}"#, "cors: missing field `origins`");
    refused(r#"{"cors":{"origins":[]}}"#, "cors.origins: must not be empty: leave it out instead");
    refused(
        r#"{"cors":{"origins":["*"],"credentials":"yes"}}"#,
        "cors.credentials: must be true or false, found \"yes\"",
    );
}
