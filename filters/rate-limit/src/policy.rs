//! The decision on one request.

use tollgate::{
    request::Request,
    route::RouteTable,
    store::{SharedStore, StoreError},
    time::{Duration, Instant},
};

use crate::{
    bucket::Limit,
    config::{Config, Mode, RuleConfig},
    headers,
    store::{Bucket, Taken},
};

/// All rules of one configuration, as one worker applies them.
#[derive(Debug, Clone)]
pub struct Policy {
    exempt: RouteTable,
    routes: RouteTable,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    bucket: Bucket,
    mode: Mode,
    /// `RateLimit-Policy`, which never changes.
    policy_header: String,
    name: String,
}

/// What is to be done with a request, and all that is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes by an exemption.
    Exempt,
    /// No rule is for it.
    Unmatched,
    /// Admitted by the rule of this index.
    Allowed {
        /// The rule's index.
        rule: usize,
    },
    /// To be turned away.
    Limited {
        /// The rule's index.
        rule: usize,
        /// How long until a request would be admitted if nobody else came.
        wait: Duration,
        /// The reply's headers.
        headers: Vec<(&'static str, String)>,
    },
    /// Admitted by a rule in shadow mode, that would have turned it away.
    ShadowLimited {
        /// The rule's index.
        rule: usize,
        /// How long until a request would be admitted if nobody else came.
        wait: Duration,
    },
    /// Admitted, because the store refused to answer.
    Failed {
        /// The rule's index.
        rule: usize,
        /// What the store said.
        error: StoreError,
    },
}

impl Policy {
    /// Compiles a configuration. `scope` is what sets this plugin's buckets apart from those of others in one proxy.
    #[must_use]
    pub fn new(config: &Config, scope: &Scope<'_>) -> Self {
        let routes = RouteTable::new(config.rules.iter().map(|rule| rule.matches.as_slice()));
        Self {
            exempt: RouteTable::of_exemptions(&config.exempt),
            routes,
            rules: config.rules.iter().map(|rule| Rule::new(rule, scope)).collect(),
        }
    }

    /// Decides on a request that arrived at `now`. Reads no more of it than the rules ask for.
    pub fn decide(&mut self, request: &impl Request, store: &mut impl SharedStore, now: Instant) -> Verdict {
        if self.exempt.takes_for_certain(request) {
            return Verdict::Exempt;
        }
        // An ambiguous path is charged to the rule of its plain form.
        let Some(index) = self.routes.find(request).rule else { return Verdict::Unmatched };
        let Some(rule) = self.rules.get_mut(index) else { return Verdict::Unmatched };
        match rule.bucket.take(store, now) {
            Ok(Taken::Admitted) => Verdict::Allowed { rule: index },
            Ok(Taken::Denied(denied)) => {
                let wait = denied.not_before.since(now);
                if rule.mode == Mode::Shadow {
                    return Verdict::ShadowLimited { rule: index, wait };
                }
                Verdict::Limited {
                    rule: index,
                    wait,
                    headers: headers::limited(&rule.name, denied.limit, &rule.policy_header, wait),
                }
            }
            Err(error) => Verdict::Failed { rule: index, error },
        }
    }
}

impl Rule {
    fn new(config: &RuleConfig, scope: &Scope<'_>) -> Self {
        let name = config.name.as_str();
        let limits: Vec<Limit> = config.limits.iter().map(|limit| limit.limit()).collect();
        Self {
            policy_header: headers::policy(name, &limits),
            bucket: Bucket::new(scope.key(name), limits),
            mode: config.mode,
            name: name.to_owned(),
        }
    }
}

/// Where a plugin stands. Istio gives all plugins of all vendors one key space, so this goes into every key.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The plugin's root id.
    pub root_id: &'a str,
}

impl Scope<'_> {
    /// The key of a rule's bucket. Every part is preceded by its length, so no two scopes can meet in one key.
    fn key(&self, rule: &str) -> Vec<u8> {
        let mut key = b"tollgate/rate-limit/1".to_vec();
        for part in [self.plugin, self.root_id, rule] {
            key.extend(format!("/{}:", part.len()).bytes());
            key.extend(part.bytes());
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use tollgate::request::Attribute;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::tests::Store;

    struct Path(&'static str);

    impl Request for Path {
        fn path(&self) -> Option<&[u8]> {
            Some(self.0.as_bytes())
        }
        fn method(&self) -> Option<&[u8]> {
            None
        }
        fn authority(&self) -> Option<&[u8]> {
            None
        }
        fn header(&self, _: &str) -> Vec<Vec<u8>> {
            Vec::new()
        }
        fn attribute(&self, _: Attribute) -> Option<&[u8]> {
            None
        }
    }

    const CONFIG: &str = r#"{"rules":[
        {"name":"login","match":[{"paths":["/login"]}],"limits":[{"requests":1,"per":"1m"}]},
        {"name":"users","match":[{"paths":["/users/*"]}],"limits":[{"requests":2,"per":"1s"},{"requests":3,"per":"1h"}]}]}"#;

    fn policy(plugin: &str) -> Policy {
        let scope = Scope { plugin, root_id: "" };
        Policy::new(&Config::parse(CONFIG.as_bytes()).unwrap(), &scope)
    }

    #[test]
    fn each_rule_has_its_own_bucket_and_the_rest_passes() {
        let (mut policy, mut store) = (policy("a"), Store::default());
        let mut decide = |path| policy.decide(&Path(path), &mut store, Instant::default());
        assert_eq!(decide("/login"), Verdict::Allowed { rule: 0 });
        assert!(matches!(decide("/login"), Verdict::Limited { rule: 0, .. }));
        assert!(
            matches!(decide("/x/..//login"), Verdict::Limited { rule: 0, .. }),
            "another spelling is no other route"
        );
        assert_eq!(decide("/users/1"), Verdict::Allowed { rule: 1 });
        assert_eq!(decide("/other"), Verdict::Unmatched);
    }

    #[test]
    fn what_is_exempt_is_not_charged_and_an_odd_spelling_of_it_is() {
        let config =
            r#"{"exempt":[{"paths":["/health"]}],"rules":[{"name":"a","limits":[{"requests":1,"per":"1m"}]}]}"#;
        let scope = Scope { plugin: "a", root_id: "" };
        let mut policy = Policy::new(&Config::parse(config.as_bytes()).unwrap(), &scope);
        let mut store = Store::default();
        let mut decide = |path| policy.decide(&Path(path), &mut store, Instant::default());
        assert_eq!([decide("/health"), decide("/health?x")], [Verdict::Exempt, Verdict::Exempt]);
        assert_eq!(decide("/x/../health"), Verdict::Allowed { rule: 0 });
        assert!(matches!(decide("//health"), Verdict::Limited { .. }));
    }

    #[test]
    fn a_shadow_rule_turns_nobody_away_and_says_whom_it_would() {
        let config = r#"{"rules":[{"name":"a","mode":"shadow","limits":[{"requests":1,"per":"1m"}]}]}"#;
        let scope = Scope { plugin: "a", root_id: "" };
        let mut policy = Policy::new(&Config::parse(config.as_bytes()).unwrap(), &scope);
        let mut store = Store::default();
        let mut decide = || policy.decide(&Path("/"), &mut store, Instant::default());
        assert_eq!(decide(), Verdict::Allowed { rule: 0 });
        let minute = Duration::from_nanos(60_000_000_000);
        assert_eq!(decide(), Verdict::ShadowLimited { rule: 0, wait: minute });
    }

    #[test]
    fn a_limited_caller_is_told_when_to_come_back() {
        let (mut policy, mut store) = (policy("a"), Store::default());
        policy.decide(&Path("/login"), &mut store, Instant::default());
        let verdict = policy.decide(&Path("/login"), &mut store, Instant::from_nanos(1));
        let Verdict::Limited { wait, headers, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(wait.as_nanos(), 59_999_999_999);
        assert!(headers.contains(&("retry-after", "60".to_owned())), "{headers:?}");
    }

    #[test]
    fn plugins_of_different_names_share_nothing() {
        let (mut one, mut other, mut store) = (policy("a"), policy("b"), Store::default());
        for policy in [&mut one, &mut other] {
            let verdict = policy.decide(&Path("/login"), &mut store, Instant::default());
            assert_eq!(verdict, Verdict::Allowed { rule: 0 });
        }
        let key = |plugin, root_id| Scope { plugin, root_id }.key("r");
        assert_ne!(key("a/1:b", ""), key("a", "b/0:"));
    }
}
