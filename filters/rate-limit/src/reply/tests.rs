use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    config::{Config, RuleConfig},
    testing::{Call, call},
};

const LIMITED: Reason = Reason::BucketEmpty { limit: 0, wait: Duration::from_nanos(5_400_000_001) };

fn rule(fields: &str) -> RuleConfig {
    let json = format!(r#"{{"rules":[{{"name":"login","limits":[{{"requests":10,"per":"1m"}}],{fields}}}]}}"#);
    Config::parse(json.as_bytes()).unwrap().rules.remove(0)
}

fn reply_to(request: &Call, reason: Reason, fields: &str) -> Reply {
    let rule = rule(fields);
    let policy = Policy::new(&rule.name, &rule.limits, rule.draft03);
    Reply::new(&rule.when_limited, &policy, rule.headers, &reason, Protocol::of(request), request)
}

fn pairs(reply: &Reply) -> Vec<(&str, &str)> {
    reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    pairs(reply).into_iter().filter(|(of, _)| *of == name).map(|(_, value)| value).collect()
}

fn of_type(content_type: &str) -> Call {
    call("/").with_header("content-type", content_type)
}

#[test]
fn says_that_it_is_limited_and_when_to_come_back() {
    let reply = reply_to(&call("/"), LIMITED, r#""mode":"enforce""#);
    assert_eq!((reply.status, &reply.body[..]), (429, &b"rate limit exceeded\n"[..]));
    assert_eq!(
        pairs(&reply),
        [
            ("retry-after", "6"),
            ("ratelimit-policy", "\"login\";q=10;w=60"),
            ("ratelimit", "\"login\";r=0;t=6"),
            ("x-envoy-ratelimited", "true"),
        ]
    );
}

#[test]
fn headers_are_as_many_as_the_rule_says() {
    let names = |fields: &str| -> Vec<String> {
        reply_to(&call("/"), LIMITED, fields).headers.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(r#""headers":"off","draft03":true"#), ["retry-after", "x-envoy-ratelimited"]);
    for headers in ["limited", "all"] {
        assert_eq!(
            names(&format!(r#""headers":"{headers}","draft03":true"#)),
            [
                "retry-after",
                "ratelimit-policy",
                "ratelimit",
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
                "x-envoy-ratelimited",
            ]
        );
    }
}

#[test]
fn a_missing_key_is_nothing_to_wait_for() {
    for request in [call("/"), of_type("application/grpc")] {
        let reply = reply_to(&request, Reason::KeyMissing, r#""draft03":true"#);
        assert_eq!((reply.status, pairs(&reply)), (429, vec![("x-envoy-ratelimited", "true")]));
    }
    assert_eq!((Reason::KeyMissing.seconds(), Reason::KeyMissing.as_str()), (None, "key_missing"));
    assert_eq!((LIMITED.seconds(), LIMITED.as_str()), (Some(6), "bucket_empty"));
}

#[test]
fn the_rule_may_say_status_body_and_headers() {
    let fields = r#""headers":"off","whenLimited":{"status":503,"body":"{}",
                    "headers":{"Content-Type":"application/json","X-Why":"limit"}}"#;
    let reply = reply_to(&call("/"), LIMITED, fields);
    assert_eq!((reply.status, &reply.body[..]), (503, &b"{}"[..]));
    assert_eq!(
        pairs(&reply),
        [
            ("retry-after", "6"),
            ("x-envoy-ratelimited", "true"),
            ("content-type", "application/json"),
            ("x-why", "limit"),
        ]
    );
    assert_eq!(reply_to(&call("/"), LIMITED, r#""whenLimited":{"body":""}"#).body, b"");
}

#[test]
fn protocols_are_told_by_the_content_type() {
    for (content_type, protocol) in [
        ("application/grpc", Protocol::Grpc),
        ("application/grpc+proto", Protocol::Grpc),
        ("application/connect+proto", Protocol::ConnectStream),
        ("application/connect", Protocol::Http),
        ("application/json", Protocol::Http),
        ("text/application/grpc", Protocol::Http),
        ("", Protocol::Http),
    ] {
        assert_eq!(Protocol::of(&of_type(content_type)), protocol, "{content_type}");
    }
    assert_eq!(Protocol::of(&call("/")), Protocol::Http);
    let connect = |request: Call| Protocol::of(&request.with_header("connect-protocol-version", "1"));
    assert_eq!(connect(of_type("application/json")), Protocol::ConnectUnary);
    assert_eq!(connect(of_type("application/proto")), Protocol::ConnectUnary);
    assert_eq!(connect(of_type("application/connect+json")), Protocol::ConnectStream);
    assert_eq!(connect(of_type("application/grpc")), Protocol::Grpc);
}

#[test]
fn grpc_callers_are_told_in_milliseconds_and_get_a_message() {
    let fields = r#""headers":"off","whenLimited":{"headers":{"content-type":"text/html","x-why":"limit"}}"#;
    let reply = reply_to(&of_type("application/grpc"), LIMITED, fields);
    assert_eq!(reply.body, b"rate limit exceeded", "a message has no line break");
    assert_eq!(
        pairs(&reply),
        [("retry-after", "6"), ("grpc-retry-pushback-ms", "5401"), ("x-envoy-ratelimited", "true"), ("x-why", "limit"),]
    );
    let own = reply_to(&of_type("application/grpc"), LIMITED, r#""whenLimited":{"status":503,"body":"slow down \n"}"#);
    assert_eq!((own.status, &own.body[..]), (503, &b"slow down"[..]));
}

#[test]
fn connect_callers_get_an_error_that_they_can_read() {
    let request = of_type("application/proto").with_header("connect-protocol-version", "1");
    let fields = r#""whenLimited":{"status":503,"body":"<no>","headers":{"content-type":"text/html","x-why":"limit"}}"#;
    let reply = reply_to(&request, LIMITED, fields);
    assert_eq!(reply.status, 429, "which Connect's clients expect with this code");
    assert_eq!(reply.body, br#"{"code":"resource_exhausted","message":"rate limit exceeded"}"#);
    assert_eq!(header(&reply, "content-type"), ["application/json"]);
    assert_eq!((header(&reply, "retry-after"), header(&reply, "x-why")), (vec!["6"], vec!["limit"]));
    assert_eq!(header(&reply, "grpc-retry-pushback-ms"), Vec::<&str>::new());
}

#[test]
fn connect_streams_end_with_an_envelope() {
    let fields = r#""whenLimited":{"status":503,"headers":{"content-type":"text/html"}}"#;
    let reply = reply_to(&of_type("application/connect+proto"), LIMITED, fields);
    assert_eq!(reply.status, 200, "a stream's status is in its last message");
    assert_eq!(header(&reply, "content-type"), ["application/connect+proto"]);
    let (envelope, message) = reply.body.split_at(5);
    assert_eq!(envelope[0], 2, "the end of the stream, not compressed");
    assert_eq!(u32::from_be_bytes(envelope[1..].try_into().unwrap()) as usize, message.len());
    assert_eq!(message, br#"{"error":{"code":"resource_exhausted","message":"rate limit exceeded"}}"#);
    assert_eq!(header(&reply, "retry-after"), ["6"]);
}

const CORS: [&str; 3] = ["vary", "access-control-allow-origin", "access-control-allow-credentials"];

fn cors(request: &Call, cors: &str) -> [Vec<String>; 3] {
    let reply = reply_to(request, LIMITED, &format!(r#""whenLimited":{{"cors":{cors}}}"#));
    CORS.map(|name| header(&reply, name).into_iter().map(str::to_owned).collect())
}

#[test]
fn scripts_of_allowed_origins_may_read_the_reply() {
    let one = r#"{"origins":["https://a.example.com","https://b.example.com"]}"#;
    let from = |origin: &str| call("/").with_header("origin", origin);
    for origin in ["https://a.example.com", "https://b.example.com"] {
        assert_eq!(cors(&from(origin), one), [vec!["origin".to_owned()], vec![origin.to_owned()], vec![]]);
    }
    let reply = reply_to(&from("https://a.example.com"), LIMITED, &format!(r#""whenLimited":{{"cors":{one}}}"#));
    let [exposed] = header(&reply, "access-control-expose-headers")[..] else { panic!("{reply:?}") };
    for name in ["retry-after", "ratelimit", "ratelimit-policy", "x-ratelimit-reset", "x-envoy-ratelimited"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}");
    }
}

#[test]
fn scripts_of_other_origins_may_not() {
    let one = r#"{"origins":["https://a.example.com"],"credentials":true}"#;
    let vary = || [vec!["origin".to_owned()], vec![], vec![]];
    assert_eq!(cors(&call("/"), one), vary(), "no origin");
    for origin in [
        "https://b.example.com",
        "http://a.example.com",
        "https://a.example.com:8443",
        "https://a.example.com.evil.com",
        "https://A.example.com",
        "null",
        "",
        "https://a.example.com, https://b.example.com",
    ] {
        assert_eq!(cors(&call("/").with_header("origin", origin), one), vary(), "{origin}");
    }
    let twice = call("/").with_header("origin", "https://a.example.com").with_header("origin", "https://b.example.com");
    assert_eq!(cors(&twice, one), vary(), "two origins");
}

#[test]
fn a_star_allows_every_origin_and_credentials_are_allowed_on_request_alone() {
    let request = call("/").with_header("origin", "https://b.example.com");
    let allowed = |credentials: &[&str]| {
        [&["origin"][..], &["https://b.example.com"], credentials]
            .map(|values| values.iter().map(|value| (*value).to_owned()).collect::<Vec<String>>())
    };
    assert_eq!(cors(&request, r#"{"origins":["*"]}"#), allowed(&[]));
    assert_eq!(cors(&request, r#"{"origins":["*"],"credentials":true}"#), allowed(&["true"]));
    assert_eq!(cors(&request, r#"{"origins":["https://b.example.com"],"credentials":false}"#), allowed(&[]));
}

#[test]
fn without_cors_nothing_depends_on_the_origin() {
    let reply = reply_to(&call("/").with_header("origin", "https://a.example.com"), LIMITED, r#""draft03":true"#);
    assert!(reply.headers.iter().all(|(name, _)| name != "vary" && !name.starts_with("access-control")));
}

proptest! {
    /// Whatever a caller sends, it can't write a header of the reply.
    #[test]
    fn no_header_of_a_reply_has_a_line_break(
        origin in prop::collection::vec(prop::sample::select(b"a:/\r\n\0\x7f\xff \t".to_vec()), 0..12),
        content_type in prop::collection::vec(prop::sample::select(b"json\r\n\0\x7f\xff \t".to_vec()), 0..12),
        kind in prop::sample::select(vec!["application/connect+", "application/grpc", "text/"]),
        unary in any::<bool>(),
    ) {
        let mut request = call("/").with_header("origin", origin);
        request = request.with_header("content-type", [kind.as_bytes(), &content_type].concat());
        if unary {
            request = request.with_header("connect-protocol-version", "1\r\n");
        }
        let reply = reply_to(&request, LIMITED, r#""draft03":true,"whenLimited":{"body":"a\r\nb","headers":{"x":"\ty"},"cors":{"origins":["*"],"credentials":true}}"#);
        for (name, value) in &reply.headers {
            prop_assert!(!name.is_empty() && !name.contains(|c: char| c.is_control() || c == ' '), "{}", name);
            prop_assert!(!value.contains(|c: char| c.is_control() && c != '\t'), "{:?}", value);
        }
    }
}
