//! What policies and requests are made of: few words, so that the one often fits the other.

use rand::{
    RngExt as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, IteratorRandom as _},
};

/// Words of a kind.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// Those that policies mostly have.
    often: &'static [&'static str],
    /// Those that make the conversion refuse a policy, or that few policies have.
    rarely: &'static [&'static str],
}

/// Where the workload is, and what holds for the whole mesh.
pub(super) const NAMESPACES_OF_POLICIES: [&str; 6] = ["shop", "shop", "shop", "shop", "shop", "istio-system"];

/// Trust domains with their aliases behind them.
pub(super) const MESHES: [&[&str]; 3] = [&["cluster.local"], &["td.new", "td.old"], &["td.new", "cluster.local"]];

/// Who calls: the path of each identity, in every trust domain.
pub(super) const ACCOUNTS: [&str; 6] = [
    "ns/shop/sa/web",
    "ns/shop/sa/api",
    "ns/billing/sa/web",
    "ns/billing/sa/api",
    "ns/shop-eu/sa/api",
    "ns/shop/sa/web2",
];
pub(super) const DOMAINS: [&str; 4] = ["cluster.local", "td.new", "td.old", "partner.example"];

pub(super) const PRINCIPALS: Words = Words {
    often: &[
        "cluster.local/ns/shop/sa/web",
        "cluster.local/ns/shop/sa/web",
        "cluster.local/ns/shop/sa/api",
        "cluster.local/ns/billing/sa/web",
        "cluster.local/ns/shop-eu/sa/api",
        "td.new/ns/shop/sa/web",
        "td.new/ns/billing/sa/api",
        "td.old/ns/shop/sa/web",
        "partner.example/ns/shop/sa/web",
        "*",
        "*/ns/shop/sa/web",
        "*/ns/billing/sa/api",
        "*/sa/web",
        "*/web",
        "cluster.local/*",
        "cluster.local/ns/shop/*",
        "td.new/ns/shop/sa/*",
        "cluster.local/ns/shop/sa/web*",
        "td.new/ns/shop/sa/w*",
        "td.new/*",
    ],
    rarely: &[
        "*web",
        "*td.old/ns/shop/sa/web",
        "cluster.local/ns/shop*",
        "td.*",
        "td.old/ns/*/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web",
        "cluster.local/team/*",
        "cluster.local/team/a/ns/shop/sa/web",
    ],
};

pub(super) const NAMESPACES: Words =
    Words { often: &["shop", "shop", "billing", "shop-eu", "*", "shop*"], rarely: &["*op", "s*p"] };

pub(super) const SERVICE_ACCOUNTS: Words =
    Words { often: &["web", "api", "shop/web", "billing/api", "billing/web", "shop-eu/api"], rarely: &["nobody"] };

pub(super) const TRUST_DOMAINS: Words =
    Words { often: &["cluster.local", "td.new", "td.old", "partner.example", "*"], rarely: &["td.*", "*.example"] };

pub(super) const REQUEST_PRINCIPALS: Words = Words {
    often: &["https://idp.example/alice", "https://idp.example/*", "*", "*/alice", "https://other.example/realm/bob"],
    rarely: &["https://other*", "*ice", "alice"],
};

pub(super) const METHODS: Words =
    Words { often: &["GET", "GET", "POST", "DELETE", "PUT"], rarely: &["*", "P*", "*T", "PROPFIND"] };

pub(super) const HOSTS: Words = Words {
    often: &["shop.example", "shop.example", "api.shop.example", "SHOP.example", "*.shop.example", "*.example", "*"],
    rarely: &["shop.example:8080", "shop.example:*", "*shop.example", "shop.example*", "shop.*", "shop.example."],
};

pub(super) const PATHS: Words = Words {
    often: &[
        "/",
        "/api",
        "/api/",
        "/api/users",
        "/api/users",
        "/api/users/7",
        "/admin",
        "/admin/users",
        "/Admin",
        "/api/*",
        "/api/us*",
        "/admin/*",
        "/api/users/*",
        "*",
        "/api/{*}",
        "/api/{*}/orders",
        "/{*}/users",
        "/files/{**}",
        "/api/{*}/orders/{**}",
        "/files/{**}/raw",
        "/files/a%20b",
        "/a:b",
        "/a:b",
    ],
    rarely: &["*/users", "/api*", "*.html", "*users", "/*", "/a%3Ab", "/api/{**}/7/orders", "/api/us*rs"],
};

pub(super) const PORTS: Words = Words { often: &["8080", "9090", "80"], rarely: &["1"] };

/// What `source.ip` and `remote.ip` are compared with.
pub(super) const BLOCKS: Words = Words {
    often: &["127.0.2.7", "127.0.2.0/24", "127.198.0.0/16", "192.0.2.7", "192.0.2.0/24", "127.0.0.0/8"],
    rarely: &["2001:db8::/32", "0.0.0.0/0"],
};

/// Keys of conditions, with their values.
pub(super) const CONDITIONS: [(&str, Words); 22] = [
    ("request.headers[x-env]", Words { often: &["prod", "test", "prod*", "*od"], rarely: &["*"] }),
    ("request.headers[x-env]", Words { often: &["prod", "test"], rarely: &["*"] }),
    ("request.headers[X-Team]", Words { often: &["blue", "red*"], rarely: &["*"] }),
    ("request.headers[X-Team]", Words { often: &["*"], rarely: &["red-1"] }),
    ("request.headers[X-Team]", Words { often: &["*"], rarely: &["red-1"] }),
    ("source.principal", PRINCIPALS),
    ("source.principal", PRINCIPALS),
    ("source.namespace", NAMESPACES),
    ("source.serviceAccount", SERVICE_ACCOUNTS),
    ("source.trustDomain", TRUST_DOMAINS),
    ("destination.port", PORTS),
    ("connection.sni", Words { often: &["a.example", "*.example", "b.*", "*"], rarely: &["A.example"] }),
    ("source.ip", BLOCKS),
    ("remote.ip", BLOCKS),
    ("request.auth.principal", REQUEST_PRINCIPALS),
    ("request.auth.audiences", Words { often: &["shop", "web", "*"], rarely: &["sh*"] }),
    ("request.auth.presenter", Words { often: &["cli", "*"], rarely: &["c*"] }),
    ("request.auth.claims[groups]", Words { often: &["admin", "dev", "*", "ad*"], rarely: &["*v"] }),
    ("request.auth.claims[nested][role]", Words { often: &["admin", "*"], rarely: &["7"] }),
    ("request.auth.claims[level]", Words { often: &["7", "*"], rarely: &["true"] }),
    ("request.auth.claims[scope]", Words { often: &["read", "write"], rarely: &["read write", "*"] }),
    ("destination.ip", Words { often: &["203.0.113.1"], rarely: &["203.0.113.0/24"] }),
];

/// What stands for a wildcard in a request.
pub(super) const FILLINGS: [&str; 6] = ["users", "7", "orders", "x", "deep/er", "a[b"];

/// Paths as clients spell them.
pub(super) const PLAIN_PATHS: [&str; 16] = [
    "/",
    "/api",
    "/api/users",
    "/api/users/7",
    "/api/7/orders",
    "/api/7/orders/9/10",
    "/apis",
    "/api/usual",
    "/admin",
    "/admin/users",
    "/admin/settings/users",
    "/files/a.html",
    "/files/a/b",
    "/files",
    "/files/1/2/raw",
    "/other",
];
/// Paths that readers may understand differently.
pub(super) const ODD_PATHS: [&str; 32] = [
    "/api/",
    "/api/users/",
    "/admin/",
    "/admin/users/",
    "/api/7/orders/",
    "//admin",
    "/api//users",
    "/api/./users",
    "/api/../admin",
    "/other/%2e%2e/admin",
    "/%61dmin",
    "/api%2fusers",
    "/api%2Fusers",
    "/admin%2f..%2fapi",
    "/api%5cusers",
    "/api\\users",
    "/api/users;v=1",
    "/admin;x/users",
    "/ADMIN",
    "/api/%2561",
    "/api/us%65rs",
    "/files/%C3%A9",
    "/api/users%3Fx=1",
    "/admin%23",
    "/api/a[b",
    "/api/a[b/orders",
    "/files/a%20b",
    "/a%3Ab",
    "/a%3Ab",
    "/a:b",
    "/1/2/3/4/5/6/7/8/9/users",
    "/files/1/2/3/4/5/6/7/8/9/raw",
];
pub(super) const QUERIES: [&str; 3] = ["?a=1", "?x=/admin", "?"];

pub(super) const AUTHORITIES: [&str; 12] = [
    "shop.example",
    "shop.example",
    "shop.example",
    "api.shop.example",
    "Shop.Example",
    "shop.example:8080",
    "shop.example:443",
    "shop.example.",
    "shop.example.evil.test",
    "evilshop.example",
    "[2001:db8::1]:8080",
    "a_b.shop.example%41",
];

/// Header lines that conditions look at, and such that they had better not.
pub(super) const HEADERS: [&[(&str, &str)]; 13] = [
    &[],
    &[],
    &[],
    &[("x-env", "prod")],
    &[("x-env", "test")],
    &[("X-Env", "prod-eu")],
    &[("x-env", ""), ("x-team", "")],
    &[("x-env", "prod"), ("x-env", "test")],
    &[("x-env", "prod"), ("x-env", "prod")],
    &[("x-env", "PROD"), ("x-team", "red-1")],
    &[("x-team", "blue")],
    &[("x-team", "")],
    &[("x-env", "prod"), ("x-team", "blue")],
];

/// What `x-forwarded-for` may say.
pub(super) const FORWARDED: [&str; 11] = [
    "192.0.2.7",
    "198.51.100.9",
    "203.0.113.200, 192.0.2.8",
    "198.51.100.9, 127.0.2.1",
    "192.0.2.7, unknown",
    "unknown",
    "192.0.2.7:80",
    "192.0.2.7, 127.0.2.7:1",
    "::ffff:192.0.2.7",
    "[2001:db8::7]",
    "fe80::1%1",
];

/// Clients' own addresses.
pub(super) const CLIENTS: [&str; 3] = ["127.0.2.7", "127.0.2.99", "127.198.1.1"];

pub(super) const SERVER_NAMES: [Option<&str>; 4] = [None, Some("a.example"), Some("b.test"), Some("deep.a.example")];

/// Any of these.
pub(super) fn any<T: Copy>(random: &mut StdRng, words: &[T]) -> T {
    *pick(random, words)
}

/// Any of these.
pub(super) fn pick<'a, T>(random: &mut StdRng, from: &'a [T]) -> &'a T {
    from.choose(random).expect("never empty")
}

/// One of them, or two, or rarely three different ones.
pub(super) fn some(random: &mut StdRng, words: Words) -> Vec<String> {
    let many = 1 + usize::from(random.random_ratio(2, 5)) + usize::from(random.random_ratio(1, 10));
    let mut chosen: Vec<&str> = words.often.iter().copied().sample(random, many);
    if random.random_ratio(1, 8) {
        chosen[0] = any(random, words.rarely);
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(str::to_owned).collect()
}
