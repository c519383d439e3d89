//! Istio's path patterns as Tollgate's.
//!
//! Istio compares text: `x*`, `*x` and `*` cross slashes, and `{*}` and `{**}` make a regular expression. Tollgate
//! compares segments of the decoded path.

use tollgate::config::{FromNode as _, Node};
use tollgate::path::{Ambiguity, NormalizedPath};
use tollgate::route::PathPattern;

use super::bound::{Refusal, Side, Translated};
use super::difference::Difference;

/// How many segments stand for one `*` that has more behind it.
const DEEPEST: usize = 8;

/// The patterns that stand for one of Istio's.
pub(super) fn translate(pattern: &str, side: Side) -> Result<Translated<String>, Refusal> {
    if pattern == "*" {
        return Ok(Translated::exact(vec!["*".to_owned()]));
    }
    let mut translated = if pattern.contains("{*}") || pattern.contains("{**}") {
        template(pattern, side)?
    } else if let Some(suffix) = pattern.strip_prefix('*') {
        beneath(pattern, suffix, side)?
    } else if let Some(stem) = pattern.strip_suffix('*') {
        prefix(pattern, stem, side)?
    } else {
        Translated::exact(vec![join(&segments(pattern, pattern)?)])
    };
    if let (true, Some(value)) = (pattern.len() > 1 && pattern.ends_with('/'), translated.values.first()) {
        let how = format!("becomes {value}, with a slash at its end and without");
        translated.differences.push((Difference::TrailingSlash, how));
    }
    for value in &translated.values {
        PathPattern::from_node(&Node::Text(value.clone())).map_err(|error| {
            Refusal::new(format!("would become a path that is refused: {}", error.reason), NAME_THEM)
        })?;
    }
    Ok(translated)
}

const NAME_THEM: &str = "name the paths that it is for, each for itself or with `/*` behind it";

/// The segments of plain text that starts with a slash; what is escaped in it decoded.
fn segments(text: &str, pattern: &str) -> Result<Vec<String>, Refusal> {
    if text.contains(['{', '}']) {
        let reason = format!("`{pattern}` has braces other than `{{*}}` and `{{**}}`");
        return Err(Refusal::new(reason, "write `{*}` for one segment: Istio refuses this"));
    }
    if text.contains('*') {
        let why = "`*` in the middle is plain text to Istio";
        return Err(Refusal::nothing_is(pattern, why, "write `{*}` for one segment, if that was meant"));
    }
    if !text.starts_with('/') {
        let why = "the path of a request starts with a slash";
        return Err(Refusal::nothing_is(pattern, why, "put a slash before it"));
    }
    if text.contains(['?', '#']) {
        let why = "the query does not belong to the path that Istio compares";
        return Err(Refusal::nothing_is(pattern, why, "take it out, or write a rule of your own with `query`"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "a request has this escaped, and Istio compares the escapes";
        return Err(Refusal::nothing_is(pattern, why, "write it as requests have it, such as %20 for a space"));
    }
    let path = NormalizedPath::new(text.as_bytes());
    if let Some(ambiguity) = path.ambiguity() {
        let reason =
            format!("`{pattern}` {}: mtls-identity turns away every request with such a path", says(ambiguity));
        return Err(Refusal::new(reason, "write the path that is meant, and do without the other spelling"));
    }
    Ok(path.segments().map(str::to_owned).collect())
}

fn says(ambiguity: Ambiguity) -> &'static str {
    match ambiguity {
        Ambiguity::NotAbsolute => "does not start with a slash",
        Ambiguity::Fragment => "has a `#`",
        Ambiguity::NotText => "has control characters or is not UTF-8",
        Ambiguity::BrokenEscape => "has a `%` without two hexadecimal digits",
        Ambiguity::DoubleEscape => "is escaped twice",
        Ambiguity::EscapedSlash => "has an escaped slash or backslash",
        Ambiguity::EscapedEnd => "has an escaped `?` or `#`",
        Ambiguity::Backslash => "has a backslash",
        Ambiguity::Parameters => "has a `;`",
        Ambiguity::EmptySegment => "has an empty segment",
        Ambiguity::DotSegment => "has `.` or `..` as a segment",
    }
}

fn join(segments: &[String]) -> String {
    format!("/{}", segments.join("/"))
}

/// All that begins with `directory` and a slash.
fn below(directory: &[String], side: Side) -> Translated<String> {
    if directory.is_empty() {
        return Translated::exact(vec!["/*".to_owned()]);
    }
    let directory = join(directory);
    let (value, how) = match side {
        Side::Inner => (format!("{directory}/{{*}}/*"), format!("neither {directory} nor {directory}/ is among it")),
        Side::Outer => (format!("{directory}/*"), format!("{directory} and {directory}/ are among it")),
    };
    Translated::but(vec![value.clone()], Difference::DirectoryItself, format!("becomes {value}: {how}"))
}

/// `stem*`: all that begins with the stem.
fn prefix(pattern: &str, stem: &str, side: Side) -> Result<Translated<String>, Refusal> {
    let mut whole = segments(stem, pattern)?;
    if stem.ends_with('/') {
        return Ok(below(&whole, side));
    }
    let value = match side {
        Side::Inner => format!("{}/*", join(&whole)),
        Side::Outer => {
            whole.pop();
            if whole.is_empty() {
                let reason = format!(
                    "`{pattern}` ends in the middle of a segment, and `*` stands for whole segments here: what takes all \
                     of it is /*, which is everything"
                );
                return Err(Refusal::new(reason, NAME_THEM));
            }
            format!("{}/*", join(&whole))
        }
    };
    let how = match side {
        Side::Inner => format!("becomes {value}: that path and what is below it, without what only begins alike"),
        Side::Outer => format!("becomes {value}: everything in that directory, whatever it begins with"),
    };
    Ok(Translated::but(vec![value], Difference::PartialSegment, how))
}

/// `*suffix`: all that ends with it.
fn beneath(pattern: &str, suffix: &str, side: Side) -> Result<Translated<String>, Refusal> {
    if !suffix.starts_with('/') || suffix == "/" {
        let reason = format!("`{pattern}` is an end of a path that is no whole segment");
        return Err(Refusal::new(reason, NAME_THEM));
    }
    let rest = segments(suffix, pattern)?;
    if side == Side::Outer {
        let reason = format!("`{pattern}` stands for any number of segments with more behind them");
        return Err(Refusal::new(reason, NAME_THEM));
    }
    Ok(at_depths(&[], &rest, 0..=DEEPEST))
}

/// `directory`, as many segments as `depths` says, and `rest`.
fn at_depths(directory: &[String], rest: &[String], depths: std::ops::RangeInclusive<usize>) -> Translated<String> {
    let values = depths.map(|depth| {
        let any = std::iter::repeat_n("{*}".to_owned(), depth);
        join(&directory.iter().cloned().chain(any).chain(rest.iter().cloned()).collect::<Vec<_>>())
    });
    let how = format!("becomes a path for each number of segments before {}, up to {DEEPEST}", join(rest));
    Translated::but(values.collect(), Difference::PathDepth, how)
}

/// A path with `{*}` and `{**}`.
fn template(pattern: &str, side: Side) -> Result<Translated<String>, Refusal> {
    let Some(inner) = pattern.strip_prefix('/') else {
        let why = "a template must start with a slash, or Envoy refuses it";
        return Err(Refusal::nothing_is(pattern, why, "put a slash before it"));
    };
    let parts: Vec<&str> = inner.strip_suffix('/').unwrap_or(inner).split('/').collect();
    let Some(at) = parts.iter().position(|part| *part == "{**}") else {
        return Ok(Translated::exact(vec![join(&template_segments(&parts, pattern)?)]));
    };
    let (before, after) = parts.split_at(at);
    let after: Vec<&str> = after.iter().copied().skip(1).collect();
    if after.iter().any(|part| part.contains("{*")) {
        let reason = format!("`{pattern}` has an operator behind `{{**}}`");
        return Err(Refusal::new(reason, "let {**} be the last one: Istio refuses this"));
    }
    let before = template_segments(before, pattern)?;
    if after.is_empty() {
        return Ok(below(&before, side));
    }
    let rest = template_segments(&after, pattern)?;
    match side {
        Side::Inner => Ok(at_depths(&before, &rest, 1..=DEEPEST)),
        Side::Outer if before.is_empty() => {
            let reason = format!("`{pattern}` stands for any number of segments with more behind them");
            Err(Refusal::new(reason, NAME_THEM))
        }
        Side::Outer => {
            let value = format!("{}/*", join(&before));
            let how = format!("becomes {value}: everything there, whatever it ends with");
            Ok(Translated::but(vec![value], Difference::PathDepth, how))
        }
    }
}

/// The segments of a part of a template that has no `{**}`.
fn template_segments(parts: &[&str], pattern: &str) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    for part in parts {
        if *part == "{*}" {
            found.push("{*}".to_owned());
            continue;
        }
        let literal = segments(&format!("/{part}"), pattern)?;
        if literal.is_empty() {
            return Err(Refusal::new(format!("`{pattern}` has an empty segment"), "take it out: Istio refuses this"));
        }
        found.extend(literal);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(pattern: &str, side: Side) -> (Vec<String>, Vec<&'static str>) {
        let translated = translate(pattern, side).unwrap();
        (translated.values, translated.differences.iter().map(|(difference, _)| difference.code()).collect())
    }

    fn refusal(pattern: &str, side: Side) -> String {
        translate(pattern, side).unwrap_err().reason
    }

    #[test]
    fn plain_paths_and_whole_directories_are_the_same_on_both_sides() {
        for side in [Side::Inner, Side::Outer] {
            for (pattern, path) in [
                ("*", "*"),
                ("/", "/"),
                ("/*", "/*"),
                ("/{**}", "/*"),
                ("/data", "/data"),
                ("/a%20b/c", "/a b/c"),
                ("/pkg.Service/Method", "/pkg.Service/Method"),
                ("/users/{*}", "/users/{*}"),
                ("/users/{*}/posts/{*}", "/users/{*}/posts/{*}"),
            ] {
                assert_eq!(paths(pattern, side), (vec![path.to_owned()], vec![]), "{pattern} {side:?}");
            }
        }
    }

    #[test]
    fn a_slash_at_the_end_is_said_not_to_count() {
        for side in [Side::Inner, Side::Outer] {
            assert_eq!(paths("/data/", side), (vec!["/data".into()], vec!["trailing_slash"]));
            assert_eq!(paths("/a/{*}/", side), (vec!["/a/{*}".into()], vec!["trailing_slash"]));
        }
    }

    #[test]
    fn what_is_below_a_directory_leaves_the_directory_out_or_takes_it_in() {
        for (pattern, difference) in [
            ("/users/*", vec!["directory_itself"]),
            ("/users/{**}", vec!["directory_itself"]),
            ("/users/{**}/", vec!["directory_itself", "trailing_slash"]),
        ] {
            assert_eq!(paths(pattern, Side::Inner), (vec!["/users/{*}/*".into()], difference.clone()), "{pattern}");
            assert_eq!(paths(pattern, Side::Outer), (vec!["/users/*".into()], difference), "{pattern}");
        }
        assert_eq!(paths("/a/{*}/b/{**}", Side::Outer).0, ["/a/{*}/b/*"]);
    }

    #[test]
    fn a_star_within_a_segment_becomes_whole_segments() {
        assert_eq!(paths("/info*", Side::Inner), (vec!["/info/*".into()], vec!["partial_segment"]));
        assert_eq!(paths("/api/v1*", Side::Inner).0, ["/api/v1/*"]);
        assert_eq!(paths("/api/v1*", Side::Outer), (vec!["/api/*".into()], vec!["partial_segment"]));
        assert!(refusal("/info*", Side::Outer).contains("which is everything"));
    }

    #[test]
    fn a_star_with_more_behind_it_is_carried_over_to_a_depth_on_the_inner_side_alone() {
        let (values, differences) = paths("*/admin", Side::Inner);
        assert_eq!((values[0].as_str(), values[1].as_str(), values.len()), ("/admin", "/{*}/admin", 9));
        assert_eq!(differences, ["path_depth"]);
        let (values, _) = paths("/a/{**}/b", Side::Inner);
        assert_eq!((values[0].as_str(), values[1].as_str(), values.len()), ("/a/{*}/b", "/a/{*}/{*}/b", 8));
        assert_eq!(paths("/{**}/b", Side::Inner).0[0], "/{*}/b");
        assert_eq!(paths("/a/{**}/b", Side::Outer).0, ["/a/*"]);
        assert!(refusal("*/admin", Side::Outer).contains("any number of segments"));
        assert!(refusal("/{**}/b", Side::Outer).contains("any number of segments"));
    }

    #[test]
    fn what_can_never_match_in_istio_is_said_to() {
        for pattern in ["/a/*/b", "/a/**", "**", "admin", "admin*", "/a?b", "/a b", "/\u{e9}", "{*}/a"] {
            let reason = refusal(pattern, Side::Inner);
            assert!(reason.starts_with("MATCHES NOTHING") || pattern == "**", "{pattern}: {reason}");
        }
    }

    #[test]
    fn what_is_turned_away_anyway_or_refused_by_istio_is_refused() {
        for pattern in [
            "/a//b",
            "/a/../b",
            "/a%2fb",
            "/a;b",
            "/a%25b",
            "/a\\b",
            "/a%zz",
            "/users/{id}",
            "/a/{*}.txt",
            "*.html",
            "*admin",
            "*/",
            "/{**}/a/{*}",
            "/{**}/{**}",
            "/a/{**}/b/{**}",
            "/a//{*}",
        ] {
            assert!(translate(pattern, Side::Inner).is_err(), "{pattern}");
        }
    }
}
