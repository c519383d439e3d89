//! Paths that differ from a given one in nothing but what an announced difference is about.

/// A target's path, and the rest of it.
pub(super) fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// With a slash at the end if it has none, and the other way round.
pub(super) fn with_and_without_slash(path: &str) -> Vec<String> {
    match path.strip_suffix('/') {
        Some("") => vec![],
        Some(shorter) => vec![shorter.to_owned()],
        None => vec![format!("{path}/")],
    }
}

/// Escaped less, and escaped more.
pub(super) fn spellings(path: &str) -> Vec<String> {
    let decoded = decode(path, |byte| byte.is_ascii_graphic() && !b"%/\\?#;".contains(&byte));
    vec![decoded.clone(), decoded.replace(':', "%3A")]
}

/// As everybody reads it: decoded, with single slashes, without parameters, dots, and slash at the end.
pub(super) fn plain(path: &str) -> String {
    let mut text = path.to_owned();
    for _ in 0..3 {
        text = decode(&text, |byte| byte.is_ascii_graphic());
    }
    let text = text.replace('\\', "/");
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let mut segments = vec![];
    for segment in text.split('/').map(|segment| segment.split(';').next().unwrap_or_default()) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decode(path: &str, which: impl Fn(u8) -> bool) -> String {
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let byte = rest.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| which(*byte)) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                decoded.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded + rest
}

/// What a pattern takes in Istio and here alike, and what it takes in neither.
pub(super) struct Beside {
    /// In both.
    pub(super) within: Vec<String>,
    /// In neither.
    pub(super) beyond: Vec<String>,
}

impl Beside {
    fn new(within: Vec<String>) -> Self {
        Self { within, beyond: vec!["/zzz".to_owned()] }
    }
}

/// What to take for the path where the pattern means something else in Istio than here; none where it does not.
pub(super) fn of_directory(pattern: &str, path: &str) -> Option<Beside> {
    let directory = pattern.strip_suffix("/*").or_else(|| pattern.strip_suffix("/{**}"))?;
    let path = path.trim_end_matches('/');
    let (these, those) = (directory.split('/'), path.split('/'));
    let same = these.clone().count() == those.clone().count() && these.zip(those).all(|(a, b)| a == "{*}" || a == b);
    same.then(|| Beside::new(vec![format!("{path}/x")]))
}

/// The same for `stem*`, which takes whole segments alone, or the stem's whole directory.
pub(super) fn of_stem(pattern: &str, path: &str) -> Option<Beside> {
    let stem = pattern.strip_suffix('*').filter(|stem| stem.starts_with('/') && !stem.ends_with('/'))?;
    let directory = stem.rfind('/').map_or("", |at| &stem[..at]);
    let path = path.trim_end_matches('/');
    let is_below = |directory: &str| path == directory || path.starts_with(&format!("{directory}/"));
    (is_below(directory) && !is_below(stem)).then(|| Beside::new(vec![format!("{stem}/x")]))
}

/// The same for `*/end` and `/begin/{**}/end`, which are carried over to a depth, or for all of `/begin`.
pub(super) fn of_depth(pattern: &str, path: &str) -> Option<Beside> {
    let template = pattern.split_once("/{**}/").map(|(begin, end)| (begin, end, 1));
    let (begin, end, least) = template.or_else(|| Some(("", pattern.strip_prefix("*/")?, 0)))?;
    let path = path.trim_end_matches('/');
    let rest = path.strip_prefix(begin).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    // Segments that stand for the wildcard.
    let between = rest.strip_suffix(&format!("/{end}")).map(|between| between.matches('/').count());
    let is_alike = between.is_some_and(|between| (least..=8).contains(&between));
    (!is_alike).then(|| Beside::new(vec![format!("{begin}/x/{end}"), format!("{path}/x/{end}")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_what_all_readers_agree_on() {
        for (odd, expected) in [
            ("/api//users", "/api/users"),
            ("/admin%2f..%2fapi", "/api"),
            ("/api%5cusers/", "/api/users"),
            ("/api/users;v=1", "/api/users"),
            ("/api/%2561", "/api/a"),
            ("/admin%23x", "/admin"),
        ] {
            assert_eq!(plain(odd), expected, "{odd}");
        }
    }

    #[test]
    fn a_pattern_is_told_from_its_translation_only_where_they_differ() {
        let within = |beside: Option<Beside>| beside.map(|beside| beside.within[0].clone()).unwrap_or_default();
        assert_eq!(within(of_directory("/admin/*", "/admin/")), "/admin/x");
        assert_eq!(within(of_directory("/api/{*}/orders/{**}", "/api/7/orders")), "/api/7/orders/x");
        assert_eq!(within(of_directory("/admin/*", "/admin/x")), "");
        assert_eq!(within(of_stem("/api/us*", "/api/usual")), "/api/us/x");
        assert_eq!(within(of_stem("/api/us*", "/api/7")), "/api/us/x");
        assert_eq!(within(of_stem("/api/us*", "/api/us/x")), "");
        assert_eq!(within(of_stem("/api/us*", "/other")), "");
        assert_eq!(within(of_depth("*/users", "/1/2/3/4/5/6/7/8/9/users")), "/x/users");
        assert_eq!(within(of_depth("*/users", "/1/users")), "");
        assert_eq!(within(of_depth("/api/{**}/7", "/api/7")), "/api/x/7");
        assert_eq!(within(of_depth("/api/{**}/7", "/api/1/7")), "");
    }
}
