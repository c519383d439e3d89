//! Conditions on the claims of a verified token: request principals, audiences, presenters and claims by name.
//!
//! Istio splits a request principal at its last slash and compares issuer and subject each for itself, so it becomes
//! conditions on the claims `iss` and `sub`: a pattern on the text of both would not know where one ends.

use serde_json::json;

use super::super::field::Field;
use super::super::plugin::mtls_identity::ClaimCondition;
use super::super::report::Report;
use super::bound::{Refusal, texts};
use super::condition::Condition;
use super::difference::Difference;

/// What has some issuers and some subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Principals {
    issuers: Vec<String>,
    subjects: Vec<String>,
}

/// The most rules that one list comes to.
const MOST_ALTERNATIVES: usize = 8;

/// Alternatives, of which one must hold for one of the principals to be the request's (or none, if `not`).
pub(super) fn request_principals(list: &Field<'_>, not: bool, report: &mut Report) -> Option<Vec<Condition>> {
    let texts = texts(list, report)?;
    let mut groups: Option<Vec<Principals>> = Some(Vec::new());
    for (field, text) in &texts {
        match split(text) {
            Ok((issuer, subject)) => {
                if let Some(groups) = &mut groups {
                    add(groups, issuer, subject);
                }
            }
            Err(refusal) => {
                refusal.at(field, report);
                groups = None;
            }
        }
    }
    let groups = groups?;
    let alternatives = if groups.iter().any(|group| group.issuers == ["*"] && group.subjects == ["*"]) {
        vec![Condition { request_principal: Some(!not), ..Condition::default() }]
    } else if not {
        none_of(&groups)
    } else {
        groups.iter().map(all_of).collect()
    };
    if alternatives.len() > MOST_ALTERNATIVES {
        let reason =
            format!("would come to {} rules, as issuers and subjects are compared each for itself", alternatives.len());
        report.refuse(list, reason, "write a rule for each issuer");
        return None;
    }
    let name = if not { "when.notRequestPrincipals" } else { "when.requestPrincipals" };
    let what = match alternatives.as_slice() {
        [one] if one.request_principal.is_some() => format!("{name}: *"),
        [_] => "when.jwtClaims: iss and sub".to_owned(),
        several => format!("when.jwtClaims: iss and sub, in {} rules", several.len()),
    };
    report.became(list, what);
    if texts.iter().any(|(_, text)| text.contains('*')) {
        report.announce(list, Difference::ClaimTypes);
    }
    Some(alternatives)
}

/// Issuer and subject, each as a pattern, as Istio tells them apart.
fn split(text: &str) -> Result<(String, String), Refusal> {
    let refusal = || {
        let why =
            "Istio compares what is before the last slash with the issuer, and what is behind it with the subject";
        Refusal::nothing_is(text, why, "write ISSUER/SUBJECT, ISSUER/*, or * for any")
    };
    let literal = |part: &str| match part.is_empty() || part.contains('*') {
        true => Err(refusal()),
        false => Ok(part.to_owned()),
    };
    let any = || "*".to_owned();
    match text.rsplit_once('/') {
        _ if text == "*" => Ok((any(), any())),
        Some((issuer, subject)) if text.starts_with('*') => Ok((glob(issuer)?, literal(subject)?)),
        Some((issuer, subject)) if text.ends_with('*') => Ok((literal(issuer)?, glob(subject)?)),
        Some((issuer, subject)) => Ok((literal(issuer)?, literal(subject)?)),
        None if text.starts_with('*') => Ok((any(), glob(text)?)),
        None if text.ends_with('*') => Ok((glob(text)?, any())),
        None => Err(refusal()),
    }
}

/// Puts a principal to others of the same issuers or the same subjects.
fn add(groups: &mut Vec<Principals>, issuer: String, subject: String) {
    for group in groups.iter_mut() {
        if group.subjects == [subject.as_str()] {
            return push_new(&mut group.issuers, issuer);
        }
        if group.issuers == [issuer.as_str()] {
            return push_new(&mut group.subjects, subject);
        }
    }
    groups.push(Principals { issuers: vec![issuer], subjects: vec![subject] });
}

fn push_new(list: &mut Vec<String>, value: String) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn all_of(group: &Principals) -> Condition {
    let claim = |name: &str, values: &[String]| ClaimCondition {
        name: json!(name),
        values: values.to_vec(),
        not_values: Vec::new(),
    };
    Condition { claims: vec![claim("iss", &group.issuers), claim("sub", &group.subjects)], ..Condition::default() }
}

/// For each group it is another issuer or another subject.
fn none_of(groups: &[Principals]) -> Vec<Condition> {
    let mut alternatives = vec![Condition::default()];
    for group in groups {
        let other = |name: &str, values: &[String]| ClaimCondition {
            name: json!(name),
            values: Vec::new(),
            not_values: values.to_vec(),
        };
        let others = [other("iss", &group.issuers), other("sub", &group.subjects)];
        let grown = alternatives.iter().flat_map(|alternative| {
            others.iter().map(|claim| {
                let mut grown = alternative.clone();
                grown.claims.push(claim.clone());
                grown
            })
        });
        alternatives = grown.collect();
        // Enough to be refused.
        if alternatives.len() > MOST_ALTERNATIVES {
            break;
        }
    }
    alternatives
}

/// A condition on the claim of this name, or on the one that the names lead to.
pub(super) fn claim(
    names: &[&str],
    values: Option<&Field<'_>>,
    not_values: Option<&Field<'_>>,
    report: &mut Report,
) -> Option<Condition> {
    let name = match names {
        [name] => json!(name),
        names => json!(names),
    };
    let shown = names.join(".");
    let mut read = |list: Option<&Field<'_>>, target: &str| match list {
        None => Some(Vec::new()),
        Some(list) => {
            let globs = globs(list, report)?;
            report.became(list, format!("when.jwtClaims: {shown}, {target}: {}", globs.join(", ")));
            if globs.iter().any(|glob| glob.contains('*')) {
                report.announce(list, Difference::ClaimTypes);
            }
            Some(globs)
        }
    };
    let (values, not_values) = (read(values, "values"), read(not_values, "notValues"));
    let claim = ClaimCondition { name, values: values?, not_values: not_values? };
    Some(Condition { claims: vec![claim], ..Condition::default() })
}

/// The names in `[a][b]`; as Istio reads them, which takes what is no such list for one name.
pub(super) fn names_in_brackets(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<&str> = inner.split("][").collect();
    let is_list = names.iter().all(|name| !name.contains(['[', ']']));
    let names = if is_list { names } else { vec![inner] };
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

/// Patterns of texts: `x`, `x*`, `*x` and `*`.
pub(super) fn globs(list: &Field<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut found = Some(Vec::new());
    for (field, text) in texts(list, report)? {
        match glob(text) {
            Ok(glob) => {
                if let Some(found) = &mut found {
                    push_new(found, glob);
                }
            }
            Err(refusal) => {
                refusal.at(&field, report);
                found = None;
            }
        }
    }
    found
}

/// One of them.
pub(super) fn glob(text: &str) -> Result<String, Refusal> {
    let rest = text.strip_prefix('*').unwrap_or_else(|| text.strip_suffix('*').unwrap_or(text));
    if rest.contains('*') {
        let why = "Istio takes a `*` at one end only, and others for plain text, which has no counterpart here";
        return Err(Refusal::new(format!("`{text}`: {why}"), "name the values"));
    }
    Ok(text.to_owned())
}

/// Claims as the filter names them, for a report.
#[cfg(test)]
fn printed(conditions: &[Condition]) -> serde_json::Value {
    let claims = |condition: &Condition| serde_json::to_value(&condition.claims).unwrap_or_default();
    conditions.iter().map(claims).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principals(list: &[&str], not: bool) -> Result<(Vec<Condition>, Vec<&'static str>), String> {
        let mut report = Report::default();
        let found = request_principals(&Field::new(&json!(list), "x"), not, &mut report);
        let codes = report.notes.iter().filter_map(|note| note.difference).map(Difference::code).collect();
        found.map(|found| (found, codes)).ok_or_else(|| report.problems[0].to_string())
    }

    #[test]
    fn a_request_principal_is_split_at_its_last_slash_as_istio_does() {
        for (text, issuer, subject) in [
            ("https://a.example/alice", "https://a.example", "alice"),
            ("https://a.example/*", "https://a.example", "*"),
            ("https://a.example/al*", "https://a.example", "al*"),
            ("*/alice", "*", "alice"),
            ("*.example/alice", "*.example", "alice"),
            ("*lice", "*", "*lice"),
            ("a.example*", "a.example*", "*"),
        ] {
            assert_eq!(split(text), Ok((issuer.to_owned(), subject.to_owned())), "{text}");
        }
        for text in ["alice", "a.example/", "/alice", "*a/b*", "*/*", "a*/b", "a*b/c", "a/b*c"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn issuers_and_subjects_become_claims_and_several_of_both_become_alternatives() {
        let (one, codes) = principals(&["i/a", "i/b"], false).unwrap();
        let claims = json!([[{"name": "iss", "values": ["i"]}, {"name": "sub", "values": ["a", "b"]}]]);
        assert_eq!((printed(&one), codes), (claims, vec![]));
        let (two, _) = principals(&["i/a", "j/b"], false).unwrap();
        assert_eq!(two.len(), 2);
        let (any, codes) = principals(&["i/a", "*"], false).unwrap();
        assert_eq!((any[0].request_principal, any.len(), codes), (Some(true), 1, vec!["claim_types"]));
    }

    #[test]
    fn not_to_be_a_principal_is_to_have_another_issuer_or_another_subject() {
        let (none, _) = principals(&["i/a"], true).unwrap();
        let claims = json!([[{"name": "iss", "notValues": ["i"]}], [{"name": "sub", "notValues": ["a"]}]]);
        assert_eq!(printed(&none), claims);
        assert_eq!(principals(&["i/a", "j/b"], true).unwrap().0.len(), 4);
        assert_eq!(principals(&["*"], true).unwrap().0[0].request_principal, Some(false));
        let many = principals(&["i/a", "j/b", "k/c", "l/d"], true).unwrap_err();
        assert!(many.contains("would come to 16 rules"), "{many}");
    }

    #[test]
    fn names_are_read_from_nested_brackets() {
        assert_eq!(names_in_brackets("[a]"), Some(vec!["a"]));
        assert_eq!(names_in_brackets("[a][b.c]"), Some(vec!["a", "b.c"]));
        assert_eq!(names_in_brackets("[https://a/[x]]"), Some(vec!["https://a/[x]"]));
        for text in ["a", "[a", "[]", "[a][]", ""] {
            assert_eq!(names_in_brackets(text), None, "{text}");
        }
    }
}
