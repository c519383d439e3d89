//! Requests for what is protected, spelled in every way that is known to have got past somebody.

use std::fmt;

pub const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/caller";

/// One request: what makes it odd, and its parts as they go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    pub trick: String,
    pub method: &'static str,
    pub target: Vec<u8>,
    /// Each a header `Host`; in HTTP/2 the first is `:authority`.
    pub hosts: Vec<Vec<u8>>,
    pub headers: Vec<(&'static str, &'static str)>,
    pub version: &'static str,
}

impl Spelling {
    pub fn new(trick: impl Into<String>, target: impl Into<Vec<u8>>) -> Self {
        Self {
            trick: trick.into(),
            method: "GET",
            target: target.into(),
            hosts: vec![b"public.example".to_vec()],
            headers: Vec::new(),
            version: "HTTP/1.1",
        }
    }

    pub fn of_host(trick: &str, hosts: &[&[u8]]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_vec()).collect();
        Self { hosts, ..Self::new(trick, "/public/x") }
    }

    fn with_header(trick: &str, name: &'static str, value: &'static str) -> Self {
        Self { headers: vec![(name, value)], ..Self::new(trick, "/public/x") }
    }

    /// Whether it is two tricks in one.
    pub fn is_pair(&self) -> bool {
        self.trick.contains(" and then ")
    }

    pub fn http1(&self) -> Vec<u8> {
        let line = [self.method.as_bytes(), b" ", &self.target, b" ", self.version.as_bytes(), b"\r\n"].concat();
        let hosts = self.hosts.iter().flat_map(|host| [b"Host: ", host.as_slice(), b"\r\n"].concat());
        let headers = self.headers.iter().flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes());
        line.into_iter().chain(hosts).chain(headers).chain(*b"\r\n").collect()
    }

    pub fn http2(&self) -> Vec<(&[u8], &[u8])> {
        let mut fields: Vec<(&[u8], &[u8])> = vec![(b":method", self.method.as_bytes()), (b":scheme", b"https")];
        let mut hosts = self.hosts.iter();
        if let Some(host) = hosts.next() {
            fields.push((b":authority", host));
        }
        fields.push((b":path", &self.target));
        fields.extend(hosts.map(|host| (&b"host"[..], host.as_slice())));
        fields.extend(self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        fields
    }
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.trick, self.http1().trim_ascii_end().escape_ascii())
    }
}

/// Those that have a name.
pub fn named() -> Vec<Spelling> {
    let mut all: Vec<Spelling> = PATHS.iter().map(|(trick, target)| Spelling::new(*trick, *target)).collect();
    all.extend(HOSTS.iter().map(|(trick, hosts)| Spelling::of_host(trick, hosts)));
    all.extend(HEADERS.iter().map(|(trick, name, value)| Spelling::with_header(trick, name, value)));
    for (trick, method, target) in METHODS {
        all.push(Spelling { method, ..Spelling::new(*trick, *target) });
    }
    for (trick, target, host) in ABSOLUTE {
        let hosts = vec![host.to_vec()];
        all.push(Spelling { hosts, ..Spelling::new(*trick, *target) });
    }
    for version in ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "] {
        all.push(Spelling { version, ..Spelling::new("odd versions", "/admin/secret") });
    }
    let hosts = Vec::new();
    all.push(Spelling { version: "HTTP/1.0", hosts, ..Spelling::new("no host", "//admin.example/secret") });
    all
}

const PATHS: &[(&str, &[u8])] = &[
    ("plain", b"/admin/secret"),
    ("plain", b"/admin"),
    ("slash at the end", b"/admin/"),
    ("slash at the end", b"/admin/secret/"),
    ("query", b"/admin?x"),
    ("query", b"/admin/?/../../public/x"),
    ("CVE-2021-31920 //", b"//admin/secret"),
    ("CVE-2021-31920 //", b"/admin//secret"),
    ("CVE-2021-31920 //", b"///admin/secret"),
    ("CVE-2021-31920 %2F", b"/admin%2Fsecret"),
    ("CVE-2021-31920 %2F", b"/%2fadmin/secret"),
    ("CVE-2021-31920 %2F", b"/public%2F..%2Fadmin/secret"),
    ("CVE-2021-31920 %5C", b"/admin%5Csecret"),
    ("CVE-2021-31920 %5C", b"/%5cadmin/secret"),
    ("CVE-2021-31920 %5C", b"/public%5C..%5Cadmin%5csecret"),
    ("CVE-2021-29492 escaped slashes", b"/public/..%2fadmin/secret"),
    ("CVE-2021-29492 escaped slashes", b"/public/%2e%2e%2Fadmin/secret"),
    ("CVE-2021-29492 escaped slashes", b"/health%2F%2e%2e/admin"),
    ("CVE-2019-9901 dot segments", b"/public/../admin/secret"),
    ("CVE-2019-9901 dot segments", b"/./admin/secret"),
    ("CVE-2019-9901 dot segments", b"/admin/./secret"),
    ("CVE-2019-9901 dot segments", b"/public/%2e%2e/admin/secret"),
    ("CVE-2019-9901 dot segments", b"/public/.%2E/admin/secret"),
    ("CVE-2019-9901 dot segments", b"/../admin/secret"),
    ("CVE-2019-9901 dot segments", b"/health/../admin/secret"),
    ("CVE-2019-9901 dot segments", b"/admin/x/../secret"),
    ("backslash", b"/admin\\secret"),
    ("backslash", b"\\admin\\secret"),
    ("backslash", b"/public\\..\\admin\\secret"),
    ("backslash", b"/\\admin/secret"),
    ("CVE-2021-39156 #", b"/admin#"),
    ("CVE-2021-39156 #", b"/admin#/../public"),
    ("CVE-2021-32779 #", b"/admin/secret#x"),
    ("CVE-2021-32779 #", b"/public/../admin#x"),
    ("CVE-2026-73511 ;params", b"/admin;x/secret"),
    ("CVE-2026-73511 ;params", b"/admin;/secret"),
    ("CVE-2026-73511 ;params", b"/;x/admin/secret"),
    ("CVE-2026-73551 ..;", b"/public/..;/admin/secret"),
    ("CVE-2026-73551 ..;", b"/..;/admin/secret"),
    ("CVE-2026-73551 ..;", b"/public/..;x=y/admin"),
    ("CVE-2026-73551 ..;", b"/.;/admin/secret"),
    ("CVE-2026-73551 ..;", b"/public/%2e%2e;/admin/secret"),
    ("CVE-2026-73553 ;params at the end", b"/admin;x"),
    ("CVE-2026-73553 ;params at the end", b"/health;/../admin"),
    ("CVE-2026-73553 ;params at the end", b"/admin/secret;jsessionid=1"),
    ("CVE-2026-26205 // as a URL", b"//public.example/admin/secret"),
    ("CVE-2026-26205 // as a URL", b"//admin.example/public/x"),
    ("CVE-2026-26205 // as a URL", b"/\\admin.example/public/x"),
    ("CVE-2026-26205 // as a URL", b"\\\\admin.example/public/x"),
    ("CVE-2026-26205 // as a URL", b"///admin.example/public/x"),
    ("CVE-2026-26205 // as a URL", b"//admin.example:80"),
    ("encoded once", b"/%61dmin/secret"),
    ("encoded once", b"/%61%64%6d%69%6E/secret"),
    ("encoded twice", b"/%2561dmin/secret"),
    ("encoded twice", b"/admin%252fsecret"),
    ("encoded twice", b"/public/%252e%252e/admin/secret"),
    ("encoded twice", b"/public/..%255cadmin/secret"),
    ("encoded three times", b"/%252561dmin/secret"),
    ("encoded three times", b"/public/%25252e%25252e%25252fadmin/secret"),
    ("encoded in parts", b"/%%36%31dmin/secret"),
    ("encoded in parts", b"/%2%35%36%31dmin/secret"),
    ("mixed-case escapes", b"/admin%2fsecret%2F"),
    ("mixed-case escapes", b"/%6Dx/..%2F%61d%6din/secret"),
    ("CVE-2019-9900 %00", b"/admin%00"),
    ("CVE-2019-9900 %00", b"/admin%00.png"),
    ("CVE-2019-9900 %00", b"/admin/secret%00/../../public"),
    ("CVE-2019-9900 %00", b"/admin%2500x"),
    ("CVE-2019-9900 %00", b"/health%00/../admin"),
    ("CVE-2019-9900 NUL", b"/admin\0"),
    ("CVE-2019-9900 NUL", b"/admin\0/../../public/x"),
    ("overlong UTF-8", b"/admin%c0%afsecret"),
    ("overlong UTF-8", b"/%c1%a1dmin/secret"),
    ("overlong UTF-8", b"/public/%c0%ae%c0%ae/admin/secret"),
    ("overlong UTF-8", b"/%e0%80%afadmin/secret"),
    ("overlong UTF-8", b"/%f0%80%80%afadmin"),
    ("overlong UTF-8, bare", b"/public/..\xc0\xafadmin/secret"),
    ("overlong UTF-8, bare", b"/\xc1\xa1dmin/secret"),
    ("not UTF-8", b"/ad%ffmin/secret"),
    ("not UTF-8", b"/admin%80/secret"),
    ("not UTF-8, bare", b"/ad\xffmin/secret"),
    ("control characters", b"/admin%0a"),
    ("control characters", b"/ad%09min/secret"),
    ("control characters", b"/%0dadmin/secret"),
    ("control characters", b"/admin%0d%0a"),
    ("control characters, bare", b"/ad\tmin/secret"),
    ("control characters, bare", b"/admin\x0b"),
    ("control characters, bare", b"/admin\x7f/secret"),
    ("escaped ? and #", b"/admin%3fx"),
    ("escaped ? and #", b"/admin%23"),
    ("escaped ? and #", b"/admin/secret%3F/../../../public/x"),
    ("escaped ? and #", b"/admin%253fx"),
    ("escaped ? and #", b"/public/../admin%3f/../../public"),
    ("escapes of IIS", b"/%u0061dmin/secret"),
    ("escapes of IIS", b"/admin%u002fsecret"),
    ("spaces", b"/admin /secret"),
    ("spaces", b" /admin/secret"),
    ("spaces", b"/admin/secret "),
    ("no slash at the start", b"admin/secret"),
    ("no slash at the start", b"x/../admin/secret"),
    ("no slash at the start", b""),
    ("asterisk", b"*"),
    ("asterisk", b"*/../admin/secret"),
    ("broken escapes", b"/admin%"),
    ("broken escapes", b"/%zz/../admin/secret"),
    ("broken escapes", b"/admin%2"),
];

const HOSTS: &[(&str, &[&[u8]])] = &[
    ("plain", &[b"admin.example"]),
    ("CVE-2021-39155 case", &[b"Admin.Example"]),
    ("CVE-2021-39155 case", &[b"ADMIN.EXAMPLE:80"]),
    ("CVE-2021-39155 port", &[b"admin.example:80"]),
    ("CVE-2021-39155 port", &[b"admin.example:"]),
    ("CVE-2021-39155 port", &[b"admin.example:80:80"]),
    ("CVE-2021-39155 port", &[b"admin.example:080"]),
    ("CVE-2021-39155 port", &[b"admin.example:x"]),
    ("CVE-2021-39155 port", &[b"admin.example:99999999999999999999"]),
    ("CVE-2021-39155 trailing dot", &[b"admin.example."]),
    ("CVE-2021-39155 trailing dot", &[b"admin.example.."]),
    ("CVE-2021-39155 trailing dot", &[b"admin.example.:80"]),
    ("CVE-2021-39155 trailing dot", &[b"admin.example:80."]),
    ("CVE-2021-39155 trailing dot", &[b"Admin.Example.:443"]),
    ("userinfo", &[b"public.example@admin.example"]),
    ("userinfo", &[b"user:secret@admin.example:80"]),
    ("userinfo", &[b"admin.example@public.example"]),
    ("userinfo", &[b"admin.example:80@public.example"]),
    ("userinfo", &[b"x@admin.example@public.example"]),
    ("userinfo", &[b"admin.example:@public.example:80"]),
    ("host with more behind it", &[b"admin.example,public.example"]),
    ("host with more behind it", &[b"public.example,admin.example"]),
    ("host with more behind it", &[b"admin.example, public.example"]),
    ("host with more behind it", &[b"admin.example/public"]),
    ("host with more behind it", &[b"admin.example;x"]),
    ("host with more behind it", &[b"admin.example?.public.example"]),
    ("host with more behind it", &[b"admin.example#.public.example"]),
    ("host with more behind it", &[b"admin.example\\.public.example"]),
    ("host with more behind it", &[b"admin.example/.public.example"]),
    ("host with more behind it", &[b"admin.example'"]),
    ("host with more behind it", &[b"admin.example(x)"]),
    ("host with more behind it", &[b"admin.example*"]),
    ("host with spaces", &[b"admin.example public.example"]),
    ("host with spaces", &[b"admin.example\tx"]),
    ("host with spaces", &[b"admin .example"]),
    ("host with spaces", &[b" admin.example "]),
    ("escaped host", &[b"%61dmin.example"]),
    ("escaped host", &[b"admin%2eexample"]),
    ("escaped host", &[b"public.example%40admin.example"]),
    ("escaped host", &[b"admin.example%00.public.example"]),
    ("host with NUL", &[b"admin.example\0"]),
    ("host with NUL", &[b"admin.example\0.public.example"]),
    ("host not UTF-8", &[b"admin.example\xff"]),
    ("host not UTF-8", &[b"\xffadmin.example"]),
    ("host in quotes", &[b"\"admin.example\""]),
    ("empty host", &[b""]),
    ("IPv6 host", &[b"[::1]:80"]),
    ("IPv6 host", &[b"[0:0:0:0:0:0:0:1]"]),
    ("IPv6 host", &[b"[0::0001]:443"]),
    ("IPv6 host", &[b"[::0.0.0.1]"]),
    ("Host repeated", &[b"public.example", b"admin.example"]),
    ("Host repeated", &[b"admin.example", b"public.example"]),
    ("Host repeated", &[b"public.example", b"public.example", b"admin.example"]),
    ("Host repeated", &[b"", b"admin.example"]),
    ("Host repeated", &[b"public.example", b"Admin.Example.:80"]),
];

/// What the application must be known to go by.
const HEADERS: &[(&str, &str, &str)] = &[
    ("CVE-2023-27487 x-envoy-original-path", "x-envoy-original-path", "/admin/secret"),
    ("x-forwarded-host", "x-forwarded-host", "admin.example"),
    ("x-forwarded-host", "X-Forwarded-Host", "Admin.Example:80"),
    ("x-forwarded-host", "x-host", "admin.example"),
    ("x-forwarded-host", "x-original-host", "admin.example"),
    ("x-forwarded-host", "Forwarded", "host=admin.example"),
    ("x-original-url", "x-original-url", "/admin/secret"),
    ("x-original-url", "X-Rewrite-URL", "/admin"),
    ("x-http-method-override", "x-http-method-override", "DELETE"),
    ("x-http-method-override", "X-HTTP-Method-Override", "delete"),
    ("x-http-method-override", "x-http-method", "DELETE"),
    ("x-http-method-override", "x-method-override", "DELETE"),
    ("pseudo-header twice", ":path", "/admin/secret"),
    ("pseudo-header twice", ":authority", "admin.example"),
    ("pseudo-header twice", ":method", "DELETE"),
];

const METHODS: &[(&str, &str, &[u8])] = &[
    ("plain", "DELETE", b"/public/x"),
    ("method in another case", "delete", b"/public/x"),
    ("method in another case", "DeLeTe", b"/public/x"),
    ("method with a space", "DELETE ", b"/public/x"),
    ("method with a space", " DELETE", b"/public/x"),
    ("method with a tab", "DELETE\t", b"/public/x"),
    ("method with a tab", "GET\t", b"/admin/secret"),
    ("plain", "OPTIONS", b"/admin/secret"),
    ("plain", "PROPFIND", b"/admin/secret"),
    ("plain", "HACK", b"/admin/secret"),
    ("plain", "get", b"/admin/secret"),
    ("OPTIONS *", "OPTIONS", b"*"),
    ("CVE-2026-73547 CONNECT", "CONNECT", b"admin.example:443"),
    ("CVE-2026-73547 CONNECT", "CONNECT", b"Admin.Example.:443"),
    ("CVE-2026-73547 CONNECT", "CONNECT", b"user@admin.example:443"),
    ("CVE-2026-73547 CONNECT", "CONNECT", b"/admin/secret"),
    ("authority form", "GET", b"admin.example:443"),
];

const ABSOLUTE: &[(&str, &[u8], &[u8])] = &[
    ("absolute form", b"http://admin.example/public/x", b"public.example"),
    ("absolute form", b"http://public.example/admin/secret", b"public.example"),
    ("absolute form", b"https://Admin.Example:443/public/x", b"public.example"),
    ("absolute form", b"http://public.example/public/x", b"admin.example"),
    ("absolute form", b"http://user@admin.example/public/x", b"public.example"),
    ("absolute form", b"http://public.example@admin.example/public/x", b"public.example"),
    ("absolute form", b"http://public.example//admin/secret", b"public.example"),
    ("absolute form", b"http://public.example\\admin/secret", b"public.example"),
    ("CVE-2023-35944 scheme in another case", b"HTTP://admin.example/public/x", b"public.example"),
    ("CVE-2023-35944 scheme in another case", b"hTTps://public.example/admin/secret", b"public.example"),
    ("absolute form of another scheme", b"ftp://admin.example/public/x", b"public.example"),
    ("absolute form of another scheme", b"file:///admin/secret", b"public.example"),
    ("absolute form of another scheme", b"x://admin.example/public/x", b"public.example"),
    ("absolute form without a path", b"http://admin.example", b"public.example"),
    ("absolute form without a path", b"http://admin.example?x", b"public.example"),
    ("absolute form without a path", b"http://admin.example#x", b"public.example"),
];
