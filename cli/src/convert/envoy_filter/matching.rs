//! Envoy's matchers of headers and routes, as the conditions of a Tollgate match.

use super::super::field::Field;
use super::super::plugin::matching::{Match, ValueCondition};

/// What can't be said in Tollgate's terms: where, why, and what to do instead.
pub(super) type Refusal<'a> = (Field<'a>, String, &'static str);

/// Conditions, and what is not quite the same about them.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) matches: Match,
    pub(super) remarks: Vec<String>,
}

/// How a value is compared.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Present,
}

const LIST_THEM: &str = "list the values one by one, or write the rule by hand: Tollgate has no regular expressions";
const BY_HAND: &str = "take it out here and write the rule by hand: docs/configuration.md#matching-requests";

impl Conditions {
    /// Both at once.
    pub(super) fn and<'a>(mut self, other: &Self, at: &Field<'a>) -> Result<Self, Refusal<'a>> {
        self.remarks.extend(other.remarks.iter().cloned());
        let matches = self.matches.and(&other.matches);
        let reason = "asks for two different sets of hosts, paths or methods at once";
        self.matches = matches.ok_or_else(|| (at.clone(), reason.to_owned(), BY_HAND))?;
        Ok(self)
    }
}

/// `HeaderMatcher`s, all of which must hold.
pub(super) fn headers<'a>(list: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    list.items().iter().try_fold(Conditions::default(), |all, field| all.and(&header(field)?, field))
}

fn header<'a>(field: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut form = Form::Present;
    for (name, member) in field.members() {
        let is_true = member.value.as_bool() == Some(true);
        match name {
            "name" => {}
            "invert_match" | "invertMatch" | "treat_missing_header_as_empty" | "treatMissingHeaderAsEmpty" => {
                if is_true {
                    return Err((member, "is a condition on what is not there".into(), BY_HAND));
                }
            }
            "present_match" | "presentMatch" if is_true => {}
            "exact_match" | "exactMatch" => form = Form::Exact(text(&member)?),
            "prefix_match" | "prefixMatch" => form = Form::Prefix(text(&member)?),
            "suffix_match" | "suffixMatch" => form = Form::Suffix(text(&member)?),
            "safe_regex_match" | "safeRegexMatch" => form = regex(&member)?,
            "string_match" | "stringMatch" => form = string(&member)?,
            _ => return Err((member, format!("{name} can't be said in a match"), LIST_THEM)),
        }
    }
    condition(field.text_of("name"), form, field)
}

/// `StringMatcher`.
fn string<'a>(field: &Field<'a>) -> Result<Form, Refusal<'a>> {
    let mut form = None;
    for (name, member) in field.members() {
        match name {
            "exact" => form = Some(Form::Exact(text(&member)?)),
            "prefix" => form = Some(Form::Prefix(text(&member)?)),
            "suffix" => form = Some(Form::Suffix(text(&member)?)),
            "safe_regex" | "safeRegex" => form = Some(regex(&member)?),
            "ignore_case" | "ignoreCase" if member.value.as_bool() == Some(false) => {}
            _ => return Err((member, format!("{name} can't be said in a match"), LIST_THEM)),
        }
    }
    form.ok_or_else(|| (field.clone(), "compares with nothing".into(), "correct it: Envoy refuses this"))
}

/// `RegexMatcher`, where it is a plain text or the beginning of one.
fn regex<'a>(field: &Field<'a>) -> Result<Form, Refusal<'a>> {
    let pattern = field.text_of("regex");
    let trimmed = pattern.strip_prefix('^').unwrap_or(pattern);
    let trimmed = trimmed.strip_suffix('$').unwrap_or(trimmed);
    let (trimmed, is_prefix) = trimmed.strip_suffix(".*").map_or((trimmed, false), |trimmed| (trimmed, true));
    match literal(trimmed) {
        Some(literal) if is_prefix => Ok(Form::Prefix(literal)),
        Some(literal) => Ok(Form::Exact(literal)),
        None => Err((field.clone(), format!("{pattern:?} is a regular expression"), LIST_THEM)),
    }
}

/// The text that a pattern without any operator stands for.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.push(letters.next().filter(|next| next.is_ascii_punctuation())?),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            plain => text.push(plain),
        }
    }
    Some(text)
}

/// A header with an exact value.
pub(super) fn exact<'a>(name: &str, value: &str, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    condition(name, Form::Exact(value.to_owned()), at)
}

/// `QueryParameterMatcher`s, all of which must hold.
pub(super) fn query<'a>(list: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut all = Conditions::default();
    for field in list.items() {
        let mut form = Form::Present;
        for (name, member) in field.members() {
            match name {
                "name" => {}
                "present_match" | "presentMatch" if member.value.as_bool() == Some(true) => {}
                "string_match" | "stringMatch" => form = string(&member)?,
                _ => return Err((member, format!("{name} can't be said in a match"), LIST_THEM)),
            }
        }
        all = all.and(&parameter(field.text_of("name"), form, &field)?, &field)?;
    }
    Ok(all)
}

/// A parameter of the query with an exact value.
pub(super) fn exact_parameter<'a>(name: &str, value: &str, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    parameter(name, Form::Exact(value.to_owned()), at)
}

fn parameter<'a>(name: &str, form: Form, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut condition = ValueCondition { name: name.to_owned(), ..ValueCondition::default() };
    match form {
        Form::Exact(value) => condition.exact = Some(value),
        Form::Prefix(value) => condition.prefix = Some(value),
        Form::Present => condition.present = Some(true),
        Form::Suffix(_) => return Err((at.clone(), "the end of a parameter can't be matched".into(), LIST_THEM)),
    }
    // Envoy compares what was sent, Tollgate what it decodes to.
    let texts = [Some(&condition.name), condition.exact.as_ref(), condition.prefix.as_ref()];
    if name.is_empty() || texts.into_iter().flatten().any(|text| text.contains(['%', '+'])) {
        return Err((at.clone(), "compares an escaped or empty text with the query as it was sent".into(), BY_HAND));
    }
    let mut conditions = Conditions::default();
    conditions.matches.query.push(condition);
    conditions.remarks.push(
        "Envoy compared the query as it was sent, and of a repeated parameter the first; here it is \
                             decoded, and all must fit"
            .into(),
    );
    Ok(conditions)
}

fn condition<'a>(name: &str, form: Form, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut conditions = Conditions::default();
    let matches = &mut conditions.matches;
    let name = name.to_ascii_lowercase();
    match (name.as_str(), form) {
        ("", _) => return Err((at.clone(), "has no header name".into(), "correct it: Envoy refuses this")),
        (":path", Form::Exact(path)) => return exact_path(&path, at),
        (":path", Form::Prefix(path)) => return path_prefix(&path, false, at),
        (":path" | ":method" | ":authority", Form::Present) => {}
        (":method", Form::Exact(method)) => matches.methods.push(method),
        (":authority" | "host", Form::Exact(host)) => {
            matches.hosts.push(without_port(&host).to_owned());
            conditions.remarks.push("a port in the host does not count here".into());
        }
        (":authority" | "host", Form::Suffix(suffix)) if suffix.starts_with('.') => {
            matches.hosts.push(format!("*{suffix}"));
        }
        (pseudo, _) if pseudo.starts_with(':') || pseudo == "host" => {
            return Err((at.clone(), format!("this condition on {pseudo} can't be said in a match"), LIST_THEM));
        }
        (_, Form::Suffix(_)) => return Err((at.clone(), "the end of a header can't be matched".into(), LIST_THEM)),
        (_, form) => {
            let mut header = ValueCondition { name, ..ValueCondition::default() };
            match form {
                Form::Exact(value) => header.exact = Some(value),
                Form::Prefix(value) => header.prefix = Some(value),
                Form::Suffix(_) | Form::Present => header.present = Some(true),
            }
            matches.headers.push(header);
        }
    }
    Ok(conditions)
}

fn exact_path<'a>(path: &str, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    if path.contains('?') {
        return Err((at.clone(), "matches a query, which Tollgate's paths are without".into(), BY_HAND));
    }
    let mut conditions = Conditions::default();
    conditions.matches.paths.push(path.to_owned());
    let reason = "Envoy compared the path as it was sent, with its query; here the normalised path counts, without it";
    conditions.remarks.push(reason.into());
    Ok(conditions)
}

/// `separated` when the prefix ends at a slash.
fn path_prefix<'a>(path: &str, separated: bool, at: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut conditions = Conditions::default();
    let base = path.strip_suffix('/').unwrap_or(path);
    if !path.starts_with('/') || path.contains('?') {
        return Err((at.clone(), format!("{path:?} is not the beginning of a path"), BY_HAND));
    }
    if !base.is_empty() {
        conditions.matches.paths.push(format!("{base}/*"));
        let differs = if separated {
            None
        } else if path == base {
            Some(format!("Envoy's prefix took {base}x as well; {base}/* takes {base} and what is below it"))
        } else {
            Some(format!("{base}/* takes {base} itself as well"))
        };
        conditions.remarks.extend(differs);
    }
    Ok(conditions)
}

/// `RouteMatch` of a route that the patch adds.
pub(super) fn route<'a>(field: &Field<'a>) -> Result<Conditions, Refusal<'a>> {
    let mut conditions = Conditions::default();
    for (name, member) in field.members() {
        let more = match name {
            "prefix" => path_prefix(&text(&member)?, false, &member)?,
            "path_separated_prefix" | "pathSeparatedPrefix" => path_prefix(&text(&member)?, true, &member)?,
            "path" => exact_path(&text(&member)?, &member)?,
            "safe_regex" | "safeRegex" => condition(":path", regex(&member)?, &member)?,
            "headers" => headers(&member)?,
            "case_sensitive" | "caseSensitive" if member.value.as_bool() == Some(true) => continue,
            _ => return Err((member, format!("{name} can't be said in a match"), BY_HAND)),
        };
        conditions = conditions.and(&more, &member)?;
    }
    Ok(conditions)
}

fn text<'a>(field: &Field<'a>) -> Result<String, Refusal<'a>> {
    let text = field.text().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| (field.clone(), "must be a text".into(), "correct it: Envoy refuses this"))
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Match, String> {
        header(&Field::new(value, "m")).map(|found| found.matches).map_err(|(_, reason, _)| reason)
    }

    #[test]
    fn regular_expressions_that_are_plain_text_are_taken() {
        let with = |regex: &str| json!({"name": ":path", "safe_regex_match": {"regex": regex}});
        assert_eq!(read(&with("^/api/.*$")).unwrap().paths, ["/api/*"]);
        assert_eq!(read(&with(r"/v1\.2")).unwrap().paths, ["/v1.2"]);
        assert!(read(&with("/users/[0-9]+")).unwrap_err().contains("regular expression"));
    }

    #[test]
    fn pseudo_headers_become_what_they_stand_for() {
        let with = |name: &str, value: &str| json!({"name": name, "string_match": {"exact": value}});
        assert_eq!(read(&with(":method", "POST")).unwrap().methods, ["POST"]);
        assert_eq!(read(&with(":authority", "a.example:80")).unwrap().hosts, ["a.example"]);
        assert_eq!(read(&with("X-Tier", "gold")).unwrap().headers[0].name, "x-tier");
        assert!(read(&with(":path", "/a?b=c")).is_err());
    }

    #[test]
    fn parameters_of_the_query_are_compared_as_headers_are() {
        let read = |value: &Value| match query(&Field::new(value, "q")) {
            Ok(found) => Ok(found.matches.query),
            Err((_, reason, _)) => Err(reason),
        };
        let found = read(&json!([
            {"name": "page", "string_match": {"exact": "7"}},
            {"name": "sort", "string_match": {"prefix": "by-"}},
            {"name": "debug", "present_match": true},
        ]));
        let found = serde_json::to_value(found.unwrap()).unwrap();
        let expected = json!([
            {"name": "page", "exact": "7"}, {"name": "sort", "prefix": "by-"}, {"name": "debug", "present": true},
        ]);
        assert_eq!(found, expected);
        assert!(read(&json!([{"name": "page", "string_match": {"exact": "a%20b"}}])).is_err());
        assert!(read(&json!([{"name": "page", "string_match": {"suffix": "7"}}])).is_err());
    }

    #[test]
    fn conditions_on_what_is_not_there_are_refused() {
        assert!(read(&json!({"name": "x", "present_match": true, "invert_match": true})).is_err());
        assert!(read(&json!({"name": "x", "present_match": false})).is_err());
    }
}
