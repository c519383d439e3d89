mod errors;
mod keys;
mod mutations;
mod replies;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn parse(json: &str) -> Config {
    Config::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn refusal(json: &str) -> String {
    match Config::parse(json.as_bytes()) {
        Ok(config) => panic!("accepted {json}: {config:?}"),
        Err(error) => error.to_string(),
    }
}

/// A configuration of one rule, `a`, of ten a minute and what else is in `fields`.
fn one_rule(fields: &str) -> String {
    format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":10,"per":"1m"}}],{fields}}}]}}"#)
}

fn rule(fields: &str) -> RuleConfig {
    parse(&one_rule(fields)).rules.remove(0)
}

const MINUTE: Duration = Duration::from_nanos(60_000_000_000);

#[test]
fn nothing_means_a_hundred_a_minute() {
    for nothing in ["", "  \n", "{}", "null"] {
        let config = parse(nothing);
        let [rule] = &config.rules[..] else { panic!("{config:?}") };
        let [limit] = &rule.limits[..] else { panic!("{config:?}") };
        let limit = limit.limit();
        assert_eq!((rule.name.as_str(), rule.matches.len(), rule.key.len()), ("default", 0, 0));
        assert_eq!((limit.requests.get(), limit.per, limit.burst.get()), (100, MINUTE, 100));
        assert!(config.overall.is_empty() && config.exempt.is_empty());
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parse(r#"{"rules":[{"name":"a","limits":[{"requests":1,"per":"1s"}]}]}"#);
    assert_eq!((config.replicas(), config.filter_state), (1, Which::Limited));
    let rule = &config.rules[0];
    assert_eq!((rule.mode, rule.headers, rule.draft03), (Mode::Enforce, Which::Limited, false));
    assert_eq!((&rule.cost, &rule.reserve, rule.enforce_percent), (&None, &None, None));
    assert_eq!((rule.slots(), &rule.when_limited), (0, &WhenLimited::default()));
    assert!(rule.overrides.is_empty() && rule.key.is_empty() && rule.matches.is_empty());
    assert!(!rule.needs_response());
}

#[test]
fn overall_limits_alone_bring_no_default_rule() {
    let config = parse(r#"{"overall":[{"name":"total","limits":[{"requests":5,"per":"1s"}]}]}"#);
    assert!(config.rules.is_empty());
    assert_eq!(config.all_rules().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["total"]);
    let exempt = parse(r#"{"exempt":[{"paths":["/health"]}]}"#);
    assert_eq!(exempt.rules[0].name.as_str(), "default", "an exemption alone still leaves the default");
}

#[test]
fn every_field_is_read() {
    let config = parse(
        r#"{"replicas":3,"filterState":"all","exempt":[{"paths":["/health"]}],
            "overall":[{"name":"total","limits":[{"requests":1000,"per":"1s"}]}],
            "rules":[{
                "name":"login","match":[{"paths":["/login"],"methods":["POST"]},{"hosts":["a.example.com"]}],
                "key":["principal"],
                "limits":[{"requests":10,"per":"1m","burst":60},{"requests":100,"per":"1h30m"}],
                "mode":"enforce","enforcePercent":30,"cost":2,
                "overrides":[{"principal":"td/a","limits":"unlimited"},
                             {"principal":"td/b","limits":[{"requests":50,"per":"1s"}]}],
                "reserve":{"percent":20,"for":[{"namespace":"monitoring"}]},
                "slots":64,"headers":"all","draft03":true,
                "whenLimited":{"status":503,"body":"no","headers":{"X-Why":"limit"},
                               "cors":{"origins":["https://a.example.com"],"credentials":true}}}]}"#,
    );
    assert_eq!((config.replicas(), config.filter_state), (3, Which::All));
    assert_eq!((config.exempt.len(), config.exempt[0].paths.len()), (1, 1));
    assert_eq!(config.all_rules().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["login", "total"]);
    let rule = &config.rules[0];
    assert_eq!((rule.matches.len(), rule.matches[0].methods.len(), rule.matches[1].hosts.len()), (2, 1, 1));
    assert_eq!(rule.key, [KeyPart { part: Part::Principal, missing: Missing::Share }]);
    let limits: Vec<_> = rule.limits.iter().map(|limit| (limit.requests.get(), limit.per.0, limit.burst)).collect();
    assert_eq!(limits, [(10, MINUTE, Count::new(60)), (100, Duration::from_nanos(90 * MINUTE.as_nanos()), None)]);
    assert_eq!((rule.mode, rule.enforce_percent.unwrap().get()), (Mode::Enforce, 30));
    assert_eq!(rule.cost, Some(CostConfig::Fixed(Count::new(2).unwrap())));
    assert_eq!(rule.overrides[0].limits, None);
    assert_eq!(rule.overrides[1].limits.as_ref().unwrap()[0].requests.get(), 50);
    let reserve = rule.reserve.as_ref().unwrap();
    assert_eq!((reserve.percent.get(), reserve.callers.len()), (20, 1));
    assert_eq!((rule.slots(), rule.headers, rule.draft03), (64, Which::All, true));
    let told = &rule.when_limited;
    assert_eq!((told.status.unwrap().get(), told.body.as_deref()), (503, Some("no")));
    assert_eq!(told.headers.0, [("x-why".to_owned(), HeaderValue("limit".to_owned()))]);
    let cors = told.cors.as_ref().unwrap();
    assert_eq!((&cors.origins[..], cors.credentials), (&["https://a.example.com".to_owned()][..], true));
}

#[test]
fn every_choice_is_read() {
    for (name, mode) in [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("off", Mode::Off)] {
        assert_eq!(rule(&format!(r#""mode":"{name}""#)).mode, mode);
    }
    for (name, which) in [("all", Which::All), ("limited", Which::Limited), ("off", Which::Off)] {
        assert_eq!(rule(&format!(r#""headers":"{name}""#)).headers, which);
        assert_eq!(parse(&format!(r#"{{"filterState":"{name}"}}"#)).filter_state, which);
    }
}

#[test]
fn burst_is_requests_unless_given() {
    let config = parse(
        r#"{"rules":[{"name":"a","limits":[{"requests":10,"per":"1m","burst":5},{"requests":100,"per":"1h"}]}]}"#,
    );
    let bursts: Vec<u64> = config.rules[0].limits.iter().map(|limit| limit.limit().burst.get()).collect();
    assert_eq!(bursts, [5, 100]);
}

#[test]
fn the_limit_that_admits_least_says_how_many_an_hour() {
    let an_hour = |limits: &str, replicas| {
        let config = parse(&format!(r#"{{"rules":[{{"name":"a","limits":[{limits}]}}]}}"#));
        config.rules[0].requests_an_hour(replicas)
    };
    assert_eq!(an_hour(r#"{"requests":100,"per":"1m"}"#, 1), Some(6000));
    assert_eq!(an_hour(r#"{"requests":100,"per":"1m"}"#, 4), Some(1500));
    assert_eq!(an_hour(r#"{"requests":10,"per":"1s"},{"requests":500,"per":"1h"}"#, 1), Some(500));
    assert_eq!(an_hour(r#"{"requests":1,"per":"1d"}"#, 1), Some(0));
    let with_cost = |cost: &str| rule(&format!(r#""cost":{cost}"#)).requests_an_hour(1);
    assert_eq!(with_cost("1"), rule(r#""draft03":false"#).requests_an_hour(1));
    assert_eq!(with_cost("2").map(|requests| requests * 2), with_cost("1"));
    assert_eq!(with_cost(r#"{"header":"x-cost","default":1,"max":2}"#), None);
    assert_eq!(with_cost(r#"{"response":[{"status":["4xx"],"cost":1}]}"#), None);
}

#[test]
fn a_proxy_enforces_its_share_of_every_limit() {
    let config = parse(r#"{"rules":[{"name":"a","limits":[{"requests":10,"per":"1m"}]}]}"#);
    let [limit] = RuleConfig::limits_of_one(&config.rules[0].limits, 3)[..] else { panic!() };
    assert_eq!((limit.requests.get(), limit.per, limit.burst.get()), (10, Duration::from_nanos(180_000_000_000), 3));
    let [limit] = RuleConfig::limits_of_one(&config.rules[0].limits, 500)[..] else { panic!() };
    assert_eq!(limit.burst.get(), 1, "one request at least");
}

#[test]
fn a_table_has_slots_only_with_a_key() {
    assert_eq!(rule(r#""draft03":false"#).slots(), 0);
    assert_eq!(rule(r#""key":["host"]"#).slots(), 8192);
    assert_eq!(rule(r#""key":["host"],"slots":16"#).slots(), 16);
}

#[test]
fn costs_have_three_forms() {
    let count = |number| Count::new(number).unwrap();
    assert_eq!(rule(r#""cost":3"#).cost, Some(CostConfig::Fixed(count(3))));
    let Some(CostConfig::Header(cost)) = rule(r#""cost":{"header":"X-Cost","default":2,"min":1,"max":10}"#).cost else {
        panic!()
    };
    assert_eq!(
        (cost.header.0.as_str(), cost.default, cost.min, cost.max),
        ("x-cost", Some(count(2)), Some(count(1)), count(10))
    );
    let Some(CostConfig::Response(costs)) =
        rule(r#""cost":{"response":[{"status":["401",403,404.0],"cost":1},{"status":["5xx"],"cost":2}]}"#).cost
    else {
        panic!()
    };
    let matching = |status| costs.iter().position(|cost| cost.status.iter().any(|pattern| pattern.matches(status)));
    assert_eq!([401, 402, 403, 404].map(matching), [Some(0), None, Some(0), Some(0)]);
    assert_eq!([200, 499, 500, 599, 600].map(matching), [None, None, Some(1), Some(1), None]);
}

#[test]
fn a_rule_with_headers_on_all_replies_or_a_cost_by_status_needs_the_response() {
    let by_status = r#""cost":{"response":[{"status":["4xx"],"cost":1}]}"#;
    assert_eq!(parse(&one_rule(by_status)).needs_response().as_deref(), Some("rules[0]"));
    assert_eq!(parse(&one_rule(r#""headers":"all""#)).needs_response().as_deref(), Some("rules[0]"));
    assert_eq!(parse(&one_rule(r#""headers":"off","cost":2"#)).needs_response(), None);
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    let overall = format!(r#"{{"overall":[{{"name":"a",{limits}}},{{"name":"b","headers":"all",{limits}}}]}}"#);
    assert_eq!(parse(&overall).needs_response().as_deref(), Some("overall[1]"));
}

#[test]
fn the_summary_names_what_is_enforced() {
    assert_eq!(parse("").summary(), "default 100/1m");
    let config = parse(
        r#"{"rules":[{"name":"login","key":["principal"],
                      "limits":[{"requests":10,"per":"1m"},{"requests":100,"per":"1h"}]},
                     {"name":"try","mode":"shadow","limits":[{"requests":1,"per":"250ms"}]}],
            "overall":[{"name":"total","mode":"off","limits":[{"requests":9,"per":"1s"}]}]}"#,
    );
    assert_eq!(config.summary(), "login 10/1m 100/1h by key, try 1/250ms in shadow, total 9/1s off");
    let many: Vec<String> =
        (0..25).map(|n| format!(r#"{{"name":"r{n}","limits":[{{"requests":1,"per":"1s"}}]}}"#)).collect();
    let summary = parse(&format!(r#"{{"rules":[{}]}}"#, many.join(","))).summary();
    assert!(summary.ends_with("r19 1/1s, and 5 more"), "{summary}");
}

#[test]
fn a_rule_behind_one_that_takes_all_it_would_is_warned_about() {
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    let behind = |key: &str| {
        parse(&format!(
            r#"{{"rules":[{{"name":"a",{key}{limits}}},{{"name":"b","match":[{{"paths":["/b"]}}],{limits}}}]}}"#
        ))
        .warnings()
    };
    let [warning] = &behind("")[..] else { panic!() };
    assert_eq!(warning.path, "rules[1]");
    assert_eq!(warning.reason, "can never match: rule `a` before it takes all that it would");
    assert_eq!(behind(r#""key":[{"header":"x-api-key","missing":"deny"}],"#).len(), 1);
    assert_eq!(behind(r#""key":[{"header":"x-api-key","missing":"skip"}],"#), [], "it is for those without");
}

#[test]
fn warnings_keep_their_places_behind_rules_that_skip() {
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    let config = parse(&format!(
        r#"{{"rules":[{{"name":"a","key":[{{"header":"x","missing":"skip"}}],{limits}}},{{"name":"b",{limits}}},{{"name":"c",{limits}}}]}}"#
    ));
    let warnings = config.warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.path, "rules[2]");
    assert_eq!(warning.cure(), "move it before rule `b`, or delete it");
}
