//! Policies that keep the caller from the same things in different words, and what of it an application gives away.

use serde_json::{Value, json};
use tollgate_tests::config::Plugin;

use super::readers::Reading;

/// What somebody may see by the path or the host alone.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// It has no say.
    All,
    /// All but what starts with one of these.
    AllBut(&'static [&'static str]),
    /// What starts with one of these.
    Only(&'static [&'static str]),
}

impl Open {
    fn has(self, value: &str) -> bool {
        let starts = |with: &str| value.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self {
            Self::All => true,
            Self::AllBut(closed) => !closed.iter().any(|closed| starts(closed)),
            Self::Only(open) => open.iter().any(|open| starts(open)),
        }
    }
}

/// A policy, and what it leaves open to the caller.
#[derive(Debug, Clone)]
pub struct Shape {
    pub name: &'static str,
    pub filter: Value,
    paths: Open,
    hosts: Open,
    /// Whether DELETE is closed.
    methods: bool,
    /// Whether it is written for applications that go by `x-http-method-override` and the like.
    overrides: bool,
    /// A path that is open.
    pub open_path: &'static str,
}

impl Shape {
    fn new(name: &'static str, filter: Value) -> Self {
        let (paths, hosts) = (Open::AllBut(&["/admin"]), Open::AllBut(&["admin.example", "[::1]"]));
        Self { name, filter, paths, hosts, methods: false, overrides: false, open_path: "/public/x" }
    }

    fn of_tollgate(name: &'static str, mut config: Value) -> Self {
        config["trustDomains"] = json!(["cluster.local"]);
        Self::new(name, Plugin::new("mtls-identity", config).filter())
    }

    const fn only(mut self, paths: &'static [&'static str]) -> Self {
        (self.paths, self.hosts) = (Open::Only(paths), Open::Only(&["public.example"]));
        self
    }

    const fn with_overrides(mut self) -> Self {
        (self.methods, self.overrides) = (true, true);
        self
    }

    /// Whether somebody who takes a request for that gives away what is closed.
    pub fn is_breached_by(&self, reading: &Reading) -> bool {
        let is_open = |open: Open, value: &Option<String>| value.as_ref().is_none_or(|value| open.has(value));
        let deletes = self.methods && reading.method.as_deref() == Some("DELETE");
        let is_heard = self.overrides || !reading.overrides;
        is_heard && (deletes || !is_open(self.paths, &reading.path) || !is_open(self.hosts, &reading.host))
    }
}

/// The headers by which some applications go instead of what a proxy sees.
const OVERRIDES: [&str; 11] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-forwarded-host",
    "x-host",
    "x-original-host",
    "forwarded",
    "x-envoy-original-path",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-prefix",
];

/// Tollgate's.
pub fn guarded() -> Vec<Shape> {
    let admin = json!([{"paths": ["/admin/*"]}, {"hosts": ["admin.example", "[::1]"]}]);
    let everybody = json!([{"namespaces": ["*"]}]);
    let operator = json!([{"principals": ["cluster.local/ns/shop/sa/operator"]}]);
    let all = json!({"name": "all", "allow": everybody});
    let mut overridden = admin.clone();
    let alternatives = overridden.as_array_mut().expect("a list");
    alternatives.push(json!({"methods": ["DELETE"]}));
    alternatives.extend(OVERRIDES.map(|name| json!({"headers": [{"name": name, "present": true}]})));
    let exempt = Shape::of_tollgate(
        "exempt",
        json!({
            "exempt": [{"paths": ["/health"], "hosts": ["public.example"]}],
            "rules": [{"name": "operator", "allow": operator}],
        }),
    );
    let hosts_alone = Shape::of_tollgate(
        "hosts alone",
        json!({"rules": [{"name": "admin", "match": [{"hosts": ["admin.example", "[::1]"]}], "deny": everybody}, all]}),
    );
    vec![
        Shape::of_tollgate(
            "deny, then all",
            json!({"rules": [{"name": "admin", "match": admin, "deny": everybody}, all]}),
        ),
        Shape::of_tollgate(
            "allow, else the default",
            json!({"default": "allow", "rules": [{"name": "admin", "match": admin, "allow": operator}]}),
        ),
        Shape::of_tollgate(
            "list of what is allowed",
            json!({"rules": [{
                "name": "public",
                "match": [{"paths": ["/public/*"], "hosts": ["public.example"]}],
                "allow": everybody,
            }]}),
        )
        .only(&["/public"]),
        Shape { open_path: "/health", ..exempt.only(&["/health"]) },
        Shape::of_tollgate(
            "notPaths and notHosts",
            json!({"default": "allow", "rules": [
                {"name": "paths", "when": {"notPaths": ["/public/*", "/health"]}, "allow": operator},
                {"name": "hosts", "when": {"notHosts": ["public.example"]}, "allow": operator},
            ]}),
        )
        .only(&["/public", "/health"]),
        Shape::of_tollgate(
            "chain of next",
            json!({"rules": [
                {"name": "operator", "match": admin, "allow": operator, "otherwise": "next"},
                {"name": "admin", "match": admin, "when": {"notMethods": ["TRACE"]}, "deny": everybody},
                {"name": "trace", "match": admin, "deny": everybody, "otherwise": "next"},
                all,
            ]}),
        ),
        Shape { paths: Open::All, ..hosts_alone },
        Shape::of_tollgate(
            "with override headers",
            json!({"rules": [{"name": "admin", "match": overridden, "deny": everybody}, all]}),
        )
        .with_overrides(),
    ]
}

/// Envoy's own RBAC, by the letter of path, host and method: what the spellings get past.
pub fn naive() -> Vec<Shape> {
    let path = |how: &str, value: &str| json!({"url_path": {"path": {how: value}}});
    let header = |name: &str, value: &str| json!({"header": {"name": name, "string_match": {"exact": value}}});
    let filter = |action: &str, permissions: Value| {
        json!({
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": {
                    "action": action,
                    "policies": {"p": {"permissions": permissions, "principals": [{"any": true}]}},
                },
            },
        })
    };
    let closed = json!([
        path("exact", "/admin"),
        path("prefix", "/admin/"),
        header(":authority", "admin.example"),
        header(":authority", "[::1]"),
        header(":method", "DELETE"),
    ]);
    let open = json!([{"and_rules": {"rules": [
        {"or_rules": {"rules": [path("prefix", "/public"), path("exact", "/health")]}},
        header(":authority", "public.example"),
    ]}}]);
    vec![
        Shape::new("naive deny", filter("DENY", closed)).with_overrides(),
        Shape::new("naive allow", filter("ALLOW", open)).only(&["/public", "/health"]),
    ]
}
