//! What is refused, and in which words.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{one_rule, parse, refusal, rule};

/// Each of the rule's `fields` is refused with its message, which starts with the path below `rules[0].`.
fn refused(cases: &[(&str, &str)]) {
    for (fields, message) in cases {
        let expected = format!("rules[0].{message}");
        assert_eq!(refusal(&one_rule(fields)), expected, "{fields}");
    }
}

fn with_limits(limits: &str, rest: &str) -> String {
    format!(r#"{{"rules":[{{"name":"a","limits":{limits}{rest}}}]}}"#)
}

#[test]
fn says_what_is_wrong_and_where() {
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    for (json, message) in [
        (r#"{"rules":[]}"#.to_owned(), "rules: must not be empty: leave it out instead"),
        (
            format!(
                r#"{{"rules":[{{"name":"a",{limits}}},{{"name":"b",{limits}}},{{"name":"c","limits":[{{"requests":0,"per":"1s"}}]}}]}}"#
            ),
            "rules[2].limits[0].requests: must be greater than zero, found 0",
        ),
        (
            format!(r#"{{"rules":[{{"name":"a",{limits}}},{{"name":"a",{limits}}}]}}"#),
            "rules[1].name: `a` is the name of an earlier one",
        ),
        (with_limits("[]", ""), "rules[0].limits: must not be empty: leave it out instead"),
        (
            with_limits(r#"[{"requests":1,"per":"1"}]"#, ""),
            "rules[0].limits[0].per: invalid duration `1`: write numbers with a unit, such as 250ms, 1m or 1h30m",
        ),
        (
            format!(r#"{{"rules":[{{"name":"log in",{limits}}}]}}"#),
            "rules[0].name: invalid name `log in`: use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit",
        ),
        (format!(r#"{{"rules":[{{{limits}}}]}}"#), "rules[0]: missing field `name`"),
        (r#"{"rules":[{"name":"a"}]}"#.to_owned(), "rules[0]: missing field `limits`"),
        (
            format!(r#"{{"rules":[{{"name":"a",{limits},"burst":3}}]}}"#),
            "rules[0].burst: unknown field `burst`, expected one of `name`, `match`, `key`, `limits`, `overrides`, \
             `reserve`, `cost`, `mode`, `enforcePercent`, `slots`, `headers`, `draft03`, `whenLimited`",
        ),
        (
            r#"{"rule":[]}"#.to_owned(),
            "rule: unknown field `rule`, expected one of `rules`, `overall`, `exempt`, `replicas`, `filterState`",
        ),
        (r#"{"exempt":[{}]}"#.to_owned(), "exempt[0]: must have a condition: it would exempt everything"),
        (r#"{"replicas":0}"#.to_owned(), "replicas: must be greater than zero, found 0"),
        (r#"{"replicas":501}"#.to_owned(), "replicas: must be at most 500, found 501"),
        (r#"{"overall":[]}"#.to_owned(), "overall: must not be empty: leave it out instead"),
        (r#"{"exempt":[]}"#.to_owned(), "exempt: must not be empty: leave it out instead"),
        (
            format!(r#"{{"rules":[{{"name":"a","mode":"Off",{limits}}}]}}"#),
            "rules[0].mode: unknown value `Off`, expected one of `enforce`, `shadow`, `off`",
        ),
        (
            r#"{"filterState":"none"}"#.to_owned(),
            "filterState: unknown value `none`, expected one of `all`, `limited`, `off`",
        ),
        ("{".to_owned(), "EOF while parsing an object at line 1 column 1"),
    ] {
        assert_eq!(refusal(&json), message, "{json}");
    }
}

#[test]
fn refuses_overall_limits_for_some_requests() {
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    let json =
        format!(r#"{{"overall":[{{"name":"a",{limits}}},{{"name":"b","match":[{{"paths":["/b"]}}],{limits}}}]}}"#);
    assert_eq!(refusal(&json), "overall[1].match: must not be there: an overall limit is for every request");
}

#[test]
fn a_name_is_one_rules_only_be_it_overall_or_not() {
    let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
    let named = |rule: &str, overall: [&str; 2]| {
        let [first, second] = overall.map(|name| format!(r#"{{"name":"{name}",{limits}}}"#));
        format!(r#"{{"rules":[{{"name":"{rule}",{limits}}}],"overall":[{first},{second}]}}"#)
    };
    assert_eq!(refusal(&named("a", ["b", "a"])), "overall[1].name: `a` is the name of an earlier one");
    assert_eq!(refusal(&named("a", ["b", "b"])), "overall[1].name: `b` is the name of an earlier one");
    parse(&named("a", ["b", "c"]));
}

#[test]
fn no_list_of_rules_is_endless() {
    let many: Vec<String> =
        (0..2001).map(|n| format!(r#"{{"name":"r{n}","limits":[{{"requests":1,"per":"1s"}}]}}"#)).collect();
    for list in ["rules", "overall"] {
        let json = |rules: &[String]| format!(r#"{{"{list}":[{}]}}"#, rules.join(","));
        assert_eq!(refusal(&json(&many)), format!("{list}: must have at most 2000 entries, found 2001"));
        parse(&json(&many[..2000]));
    }
}

#[test]
fn a_rule_has_at_most_eight_limits() {
    let limits = |count| format!("[{}]", vec![r#"{"requests":1,"per":"1s"}"#; count].join(","));
    parse(&with_limits(&limits(8), ""));
    assert_eq!(refusal(&with_limits(&limits(9), "")), "rules[0].limits: must have at most 8 entries, found 9");
    let exception = format!(r#","overrides":[{{"host":"a","limits":{}}}]"#, limits(9));
    assert_eq!(
        refusal(&with_limits(&limits(1), &exception)),
        "rules[0].overrides[0].limits: must have at most 8 entries, found 9"
    );
}

#[test]
fn periods_are_from_a_millisecond_to_a_year() {
    for (per, message) in [
        ("999us", "must be at least 1ms, found 999us"),
        ("1ns", "must be at least 1ms, found 1ns"),
        ("0s", "must be longer than zero, found 0s"),
        ("367d", "must be at most 366 days, found 367d"),
    ] {
        let json = with_limits(&format!(r#"[{{"requests":1,"per":"{per}"}}]"#), "");
        assert_eq!(refusal(&json), format!("rules[0].limits[0].per: {message}"));
    }
    for per in ["1ms", "366d"] {
        parse(&with_limits(&format!(r#"[{{"requests":1,"per":"{per}"}}]"#), ""));
    }
}

#[test]
fn a_request_that_could_never_be_admitted_is_an_error() {
    let small = r#"[{"requests":10,"per":"1m"},{"requests":100,"per":"1h","burst":3}]"#;
    for (rest, message) in [
        (r#","cost":4"#, "rules[0].limits[1]: can never admit a request of cost 4: at most 3 are admitted at once"),
        (
            r#","cost":{"header":"x-cost","max":11}"#,
            "rules[0].limits[0]: can never admit a request of cost 11: at most 10 are admitted at once",
        ),
        (
            r#","cost":3,"overrides":[{"host":"a","limits":[{"requests":2,"per":"1s"}]}]"#,
            "rules[0].overrides[0].limits[0]: can never admit a request of cost 3: at most 2 are admitted at once",
        ),
        (
            r#","cost":3,"reserve":{"percent":34,"for":[{"host":"a"}]}"#,
            "rules[0].limits[1]: can never admit a request of cost 3: at most 1 are admitted at once",
        ),
    ] {
        assert_eq!(refusal(&with_limits(small, rest)), message);
    }
    parse(&with_limits(small, r#","cost":3"#));
    parse(&with_limits(small, r#","cost":3,"overrides":[{"host":"a","limits":"unlimited"}]"#));
    parse(&with_limits(small, r#","cost":2,"reserve":{"percent":33,"for":[{"host":"a"}]}"#));
    // What the response costs may be more: the bucket owes it.
    parse(&with_limits(small, r#","cost":{"response":[{"status":["5xx"],"cost":50}]}"#));
}

#[test]
fn replicas_can_make_a_cost_impossible() {
    let json = |replicas: u32, cost: u32| {
        let rule = format!(r#"{{"name":"a","limits":[{{"requests":10,"per":"1m"}}],"cost":{cost}}}"#);
        format!(r#"{{"replicas":{replicas},"rules":[{rule}]}}"#)
    };
    parse(&json(3, 3));
    assert_eq!(
        refusal(&json(3, 4)),
        "rules[0].limits[0]: can never admit a request of cost 4: at most 3 are admitted at once"
    );
    parse(&json(500, 1));
    let overall = r#"{"replicas":4,"overall":[{"name":"a","limits":[{"requests":7,"per":"1m"}],"cost":2}]}"#;
    assert_eq!(
        refusal(overall),
        "overall[0].limits[0]: can never admit a request of cost 2: at most 1 are admitted at once"
    );
}

#[test]
fn refuses_costs_that_make_no_sense() {
    refused(&[
        (r#""cost":0"#, "cost: must be greater than zero, found 0"),
        (r#""cost":"2""#, "cost: must be a whole number from 1 to 1000000000000, found \"2\""),
        (r#""cost":{}"#, "cost: missing field `header`"),
        (r#""cost":{"header":"x-cost"}"#, "cost: missing field `max`"),
        (
            r#""cost":{"header":"x cost","max":2}"#,
            "cost.header: invalid header name `x cost`: use hosts, paths and methods for those",
        ),
        (r#""cost":{"header":"x-cost","max":5,"default":6}"#, "cost.default: must be at most `max`, 5, found 6"),
        (r#""cost":{"header":"x-cost","max":5,"min":6}"#, "cost.min: must be at most `max`, 5, found 6"),
        (r#""cost":{"response":[]}"#, "cost.response: must not be empty: leave it out instead"),
        (r#""cost":{"response":[{"status":["4xx"]}]}"#, "cost.response[0]: missing field `cost`"),
        (
            r#""cost":{"response":[{"status":["4xx"],"cost":1}],"max":2}"#,
            "cost.max: unknown field `max`, expected `response`",
        ),
    ]);
}

#[test]
fn refuses_statuses_that_no_response_has() {
    for (status, message) in [
        (r#""9xx""#, "invalid status `9xx`: write one such as 401, or a class such as 4xx"),
        (r#""0xx""#, "invalid status `0xx`: write one such as 401, or a class such as 4xx"),
        (r#""+4xx""#, "invalid status `+4xx`: write one such as 401, or a class such as 4xx"),
        (r#""+401""#, "invalid status `+401`: write one such as 401, or a class such as 4xx"),
        (r#""xx""#, "invalid status `xx`: write one such as 401, or a class such as 4xx"),
        (r#""40x""#, "invalid status `40x`: write one such as 401, or a class such as 4xx"),
        (r#""40xx""#, "invalid status `40xx`: write one such as 401, or a class such as 4xx"),
        (r#""""#, "invalid status ``: write one such as 401, or a class such as 4xx"),
        (r#""99999999""#, "invalid status `99999999`: write one such as 401, or a class such as 4xx"),
        ("99", "must be at least 100, found 99"),
        ("600", "must be at most 599, found 600"),
        ("401.5", "must be a whole number from 100 to 599, found a fraction"),
        ("true", "must be a string, found true"),
    ] {
        let fields = format!(r#""cost":{{"response":[{{"status":["404",{status}],"cost":1}}]}}"#);
        refused(&[(&fields, &format!("cost.response[0].status[1]: {message}"))]);
    }
}

#[test]
fn refuses_what_would_have_no_effect() {
    refused(&[
        (r#""slots":64"#, "slots: is of no use without `key`: there is one bucket"),
        (r#""enforcePercent":30,"mode":"shadow""#, "enforcePercent: is of no use unless `mode` is `enforce`"),
        (r#""enforcePercent":30,"mode":"off""#, "enforcePercent: is of no use unless `mode` is `enforce`"),
        (r#""key":["host",{"host":{},"missing":"deny"}]"#, "key[1]: is there already"),
    ]);
    assert_eq!(rule(r#""enforcePercent":0"#).enforce_percent.unwrap().get(), 0);
}

#[test]
fn refuses_numbers_that_are_out_of_range() {
    refused(&[
        (r#""slots":15,"key":["host"]"#, "slots: must be at least 16, found 15"),
        (r#""slots":1048577,"key":["host"]"#, "slots: must be at most 1048576, found 1048577"),
        (r#""enforcePercent":101"#, "enforcePercent: must be at most 100, found 101"),
        (r#""enforcePercent":-1"#, "enforcePercent: must not be negative, found -1"),
        (r#""reserve":{"percent":0,"for":[{"host":"a"}]}"#, "reserve.percent: must be greater than zero, found 0"),
        (r#""reserve":{"percent":100,"for":[{"host":"a"}]}"#, "reserve.percent: must be at most 99, found 100"),
        (r#""reserve":{"percent":20}"#, "reserve: missing field `for`"),
        (r#""reserve":{"percent":20,"for":[]}"#, "reserve.for: must not be empty: leave it out instead"),
        (r#""reserve":{"percent":20,"for":[{}]}"#, "reserve.for[0]: must say for whom, such as by `principal`"),
    ]);
}

#[test]
fn refuses_values_of_another_type() {
    refused(&[
        (r#""match":{"paths":["/a"]}"#, "match: must be a list, found an object"),
        (r#""key":"principal""#, "key: must be a list, found \"principal\""),
        (r#""mode":true"#, "mode: must be a string, found true"),
        (r#""draft03":"yes""#, "draft03: must be true or false, found \"yes\""),
        (r#""overrides":{"host":"a"}"#, "overrides: must be a list, found an object"),
        (r#""reserve":20"#, "reserve: must be an object, found 20"),
        (r#""whenLimited":"no""#, "whenLimited: must be an object, found \"no\""),
    ]);
    assert_eq!(refusal(r#"{"rules":{"name":"a"}}"#), "rules: must be a list, found an object");
    assert_eq!(refusal(r#"{"rules":["a"]}"#), "rules[0]: must be an object, found \"a\"");
    assert_eq!(refusal("[]"), "must be an object, found a list");
    assert_eq!(refusal(&with_limits("100", "")), "rules[0].limits: must be a list, found 100");
}
