//! Requests that nobody sends by accident. Each is answered or dropped in good order, no VM traps, and the next request
//! works.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tollgate_tests::{
    artifacts, client,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

/// Rules that read all that they can: host, path, method, repeated headers.
fn matches() -> Value {
    json!([{
        "hosts": ["tollgate.test", "*.example.com"],
        "paths": ["/a/{id}/*", "/b"],
        "methods": ["GET", "POST"],
        "headers": [{"name": "x-tenant", "prefix": "a"}],
    }])
}

fn listeners() -> [Listener; 2] {
    let open = json!({
        "max_request_headers_kb": 96,
        // How long Envoy waits for a client to close first.
        "delayed_close_timeout": "0.05s",
        "common_http_protocol_options": {"max_headers_count": 5000},
        "http_protocol_options": {"accept_http_10": true, "allow_absolute_url": true},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
    });
    let limits = json!([{"requests": 1_000_000, "per": "1m"}]);
    let rate_limit = json!({"rules": [{"name": "read-all", "match": matches(), "limits": limits}]});
    let identity = json!({
        "trustDomains": ["cluster.local"],
        "exempt": [{"paths": ["/health"]}],
        "rules": [{"name": "read-all", "match": matches(), "allow": [{"namespaces": ["*"]}]}],
    });
    let metrics = json!({"routes": [{"name": "read-all", "match": matches()}]});
    [
        Listener::new(
            "open",
            [Plugin::new("route-metrics", metrics).filter(), Plugin::new("rate-limit", rate_limit).filter()],
        )
        .connection_manager(open.clone()),
        Listener::new("guarded", [Plugin::new("mtls-identity", identity).filter()]).connection_manager(open),
    ]
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let get = |path: &[u8], headers: &[u8]| {
        [b"GET ", path, b" HTTP/1.1\r\nhost: tollgate.test\r\nconnection: close\r\n", headers, b"\r\n"].concat()
    };
    let with_headers = |headers: &[u8]| get(b"/a/1/x", headers);
    vec![
        ("a header value that is not UTF-8", with_headers(b"x-tenant: a\xff\xfe\x80\r\n")),
        ("a path of 60 KB", get(&[b"/a/1/", &b"x"[..].repeat(60_000)[..]].concat(), b"x-tenant: a\r\n")),
        ("a path of 60 KB of slashes and dots", get(&b"/..//."[..].repeat(10_000), b"x-tenant: a\r\n")),
        ("a path of 60 KB of escapes", get(&[b"/", &b"%25"[..].repeat(20_000)[..]].concat(), b"x-tenant: a\r\n")),
        ("a thousand headers", with_headers(&b"x-tenant: abc\r\n"[..].repeat(1000))),
        ("a thousand different headers", {
            let headers: String = (0..1000).map(|n| format!("x-{n}: {n}\r\n")).collect();
            with_headers(headers.as_bytes())
        }),
        ("an empty header value", with_headers(b"x-tenant:\r\n")),
        ("a path that is not UTF-8", get(b"/a/\xff/x", b"x-tenant: a\r\n")),
        ("a path with broken escapes", get(b"/a/%/%z/%00/%ff/..%2f..%5c;x#y", b"x-tenant: a\r\n")),
        ("no host", b"GET /a/1/x HTTP/1.0\r\nx-tenant: a\r\n\r\n".to_vec()),
        ("no host in HTTP/1.1", b"GET /a/1/x HTTP/1.1\r\nconnection: close\r\nx-tenant: a\r\n\r\n".to_vec()),
        ("a strange host", b"GET /a/1/x HTTP/1.0\r\nhost: [::1]:x:80..\r\nx-tenant: a\r\n\r\n".to_vec()),
        ("an absolute URL", get(b"http://x.example.com:80/a/1/x", b"x-tenant: a\r\n")),
        ("a star for a path", b"OPTIONS * HTTP/1.1\r\nhost: tollgate.test\r\nconnection: close\r\n\r\n".to_vec()),
        (
            "CONNECT",
            b"CONNECT tollgate.test:443 HTTP/1.1\r\nconnection: close\r\nhost: tollgate.test:443\r\n\r\n".to_vec(),
        ),
        ("an unknown method", b"PURGE /a/1/x HTTP/1.1\r\nhost: tollgate.test\r\nconnection: close\r\n\r\n".to_vec()),
        ("an end before the headers' end", b"GET /a/1/x HTTP/1.1\r\nhost: tollgate.test\r\nx-ten".to_vec()),
        ("an end in the request line", b"GET /a/1".to_vec()),
        ("an end before anything", Vec::new()),
        ("an end in the body", {
            b"POST /a/1/x HTTP/1.1\r\nhost: tollgate.test\r\nx-tenant: a\r\ncontent-length: 100\r\n\r\nabc".to_vec()
        }),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("two requests in one", [with_headers(b"x-tenant: a\r\n"), with_headers(b"x-tenant: a\r\n")].concat()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_answered_or_dropped_and_the_next_one_works() {
    for binary in artifacts::envoys() {
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners(), vec![])).await;
        for listener in ["open", "guarded"] {
            let address = envoy.address(listener);
            let expected = if listener == "open" { 200 } else { 403 };
            for (what, bytes) in requests() {
                let answer = client::raw(address, &bytes, what.starts_with("an end")).await.expect("connects");
                let answer = answer.unwrap_or_else(|| panic!("{what}: neither answered nor dropped by {listener}"));
                let status = answer.get(..12).map(|status| String::from_utf8_lossy(status).into_owned());
                eprintln!("Envoy {} {listener}: {what}: {status:?}", binary.version);
                let internal = answer.starts_with(b"HTTP/1.1 500") || answer.starts_with(b"HTTP/1.1 503");
                assert!(!internal, "{what}: {status:?}");
                let next = client::get(address, "/a/1/x").await;
                assert_eq!(next.map(|next| next.status).ok(), Some(expected), "after {what}");
            }
            let status = http2_without_authority(address).await;
            eprintln!("Envoy {} {listener}: HTTP/2 without :authority: {status:?}", binary.version);
            assert_eq!(client::get(address, "/a/1/x").await.map(|next| next.status).ok(), Some(expected));
        }
        // Everything went through the filters, not past them: what was well-formed was counted.
        assert!(envoy.total("tollgate_rate_limit_total", &[("rule", "read-all"), ("decision", "allowed")]).await > 0);
        assert!(envoy.total("tollgate_identity_total", &[("decision", "denied"), ("reason", "no_mtls")]).await > 20);
        assert!(envoy.total("tollgate_requests_total", &[("method", "OTHER")]).await > 0);
        envoy.assert_sound().await;
    }
}

/// Sends a request without `:authority`; the status, if there was one.
async fn http2_without_authority(address: SocketAddr) -> Option<u16> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let request = Request::get("/a/1/x").header("x-tenant", "a").body(Empty::<Bytes>::new()).expect("a request");
    let status = sender.send_request(request).await.ok().map(|answer| answer.status().as_u16());
    connection.abort();
    status
}
