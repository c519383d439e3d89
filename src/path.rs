//! Request paths in the one form that rules are matched against.
//!
//! Envoy, the filters and the application may each read an unusual spelling of a path differently. So the path is
//! brought to its most decoded form, and whether that took more than reading it as it stands is remembered as an
//! [`Ambiguity`]: a policy must never give an ambiguous path a more permissive answer than its plain form.

use std::borrow::Cow;

/// How often escapes are decoded: once more than a proxy and an application would together.
const DECODING_ROUNDS: usize = 3;

/// What makes a path one that two readers may understand differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguity {
    /// It does not start with `/`.
    NotAbsolute,
    /// It contains `#`.
    Fragment,
    /// It contains bytes that are not UTF-8, or control characters, bare or escaped.
    NotText,
    /// It contains `%` without two hexadecimal digits behind it.
    BrokenEscape,
    /// It is escaped twice or more: `%252f`.
    DoubleEscape,
    /// A slash or a backslash is escaped: `%2f`, `%5c`.
    EscapedSlash,
    /// A `?` or `#` is escaped, behind which a reader that decodes first sees a query or a fragment.
    EscapedEnd,
    /// It contains a backslash.
    Backslash,
    /// It contains `;`, which some applications take for parameters of a segment.
    Parameters,
    /// It contains an empty segment: `//`.
    EmptySegment,
    /// It contains `.` or `..` as a segment.
    DotSegment,
}

/// A path in the form that rules are matched against: without query, decoded, without empty and dot segments, without
/// a slash at the end (but for the root, `/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalizedPath<'a> {
    text: Cow<'a, str>,
    ambiguity: Option<Ambiguity>,
}

impl<'a> NormalizedPath<'a> {
    /// Normalises `:path` as it came.
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Self {
        let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
        match core::str::from_utf8(path) {
            Ok(text) if is_plain(text) => Self { text: Cow::Borrowed(without_end_slash(text)), ambiguity: None },
            _ => normalize_slowly(path),
        }
    }

    /// The normalised path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first thing found that makes the path ambiguous.
    #[must_use]
    pub const fn ambiguity(&self) -> Option<Ambiguity> {
        self.ambiguity
    }

    /// The path's segments; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').skip(1).filter(|segment| !segment.is_empty())
    }
}

fn without_end_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

/// Whether the path reads the same to everybody as it stands.
fn is_plain(path: &str) -> bool {
    let mut previous = 0;
    let mut dotted = false;
    for byte in path.bytes() {
        if byte <= b' '
            || byte >= 0x7f
            || matches!(byte, b'%' | b'\\' | b';' | b'#')
            || (previous, byte) == (b'/', b'/')
        {
            return false;
        }
        dotted |= (previous, byte) == (b'/', b'.');
        previous = byte;
    }
    path.starts_with('/') && !(dotted && path.split('/').any(|segment| matches!(segment, "." | "..")))
}

fn normalize_slowly(path: &[u8]) -> NormalizedPath<'static> {
    let mut ambiguity = None;
    let mut note = |found: Ambiguity| {
        ambiguity.get_or_insert(found);
    };

    let path = match path.iter().position(|byte| *byte == b'#') {
        Some(fragment) => {
            note(Ambiguity::Fragment);
            path.get(..fragment).unwrap_or_default()
        }
        None => path,
    };
    if !path.starts_with(b"/") {
        note(Ambiguity::NotAbsolute);
    }

    let mut bytes = path.to_vec();
    for round in 0..DECODING_ROUNDS {
        let Some(decoded) = decode(&bytes, &mut note) else {
            break;
        };
        if round > 0 {
            note(Ambiguity::DoubleEscape);
        }
        bytes = decoded;
    }

    // Where a reader that decodes first sees the path's end, and where one in C does.
    if let Some(end) = bytes.iter().position(|byte| matches!(byte, b'?' | b'#' | 0)) {
        note(if bytes.get(end) == Some(&0) { Ambiguity::NotText } else { Ambiguity::EscapedEnd });
        bytes.truncate(end);
    }
    if bytes.iter().any(u8::is_ascii_control) {
        note(Ambiguity::NotText);
        // Some frameworks overlook a line feed at the end.
        bytes.retain(|byte| !byte.is_ascii_control());
    }
    let text = String::from_utf8(bytes).unwrap_or_else(|error| {
        note(Ambiguity::NotText);
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    });
    if text.contains('\\') {
        note(Ambiguity::Backslash);
    }

    let mut segments: Vec<&str> = Vec::new();
    let inner = text.strip_prefix('/').unwrap_or(&text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for segment in inner.split(['/', '\\']) {
        let (name, parameters) = segment.split_once(';').unwrap_or((segment, ""));
        if name.len() != segment.len() || !parameters.is_empty() {
            note(Ambiguity::Parameters);
        }
        match name {
            "" if matches!(text.as_str(), "" | "/") => {}
            "" => note(Ambiguity::EmptySegment),
            "." => note(Ambiguity::DotSegment),
            ".." => {
                note(Ambiguity::DotSegment);
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    NormalizedPath { text: Cow::Owned(format!("/{}", segments.join("/"))), ambiguity }
}

/// Whether a reader that takes `:path` for a URL may find a host in it: in `//host/path` and its other spellings, and in
/// `scheme://host/path`.
#[must_use]
pub fn may_name_a_host(raw: &[u8]) -> bool {
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    // Such a reader overlooks tabs and the ends of lines.
    let first = |path: &[u8]| path.iter().position(|byte| *byte > b' ');
    let Some(rest) = path.strip_prefix(b"/") else { return !matches!(path, [] | [b'*']) };
    let Some(rest) = first(rest).and_then(|first| rest.get(first..)) else { return false };
    let Some(mut escape) = rest.strip_prefix(b"%") else { return matches!(rest, [b'/' | b'\\', ..]) };
    while let Some(deeper) = escape.strip_prefix(b"25") {
        escape = deeper;
    }
    // A slash, a backslash, or a character behind which there may be one.
    matches!(escape, [b'2', b'F' | b'f' | b'0', ..] | [b'5', b'C' | b'c', ..] | [b'0' | b'1', ..])
}

/// A name or a value of a query, decoded: `+` is a space, and what is not UTF-8 becomes U+FFFD.
pub(crate) fn decode_parameter(raw: &[u8]) -> String {
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = decode(&spaced, &mut |_| {}).unwrap_or(spaced);
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Decodes every escape once; `None` when there is none.
pub(crate) fn decode(bytes: &[u8], note: &mut dyn FnMut(Ambiguity)) -> Option<Vec<u8>> {
    if !bytes.contains(&b'%') {
        return None;
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut changed = false;
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let Some((high, low)) = tail.first().and_then(hex).zip(tail.get(1).and_then(hex)) else {
            note(Ambiguity::BrokenEscape);
            decoded.push(byte);
            continue;
        };
        let value = high << 4 | low;
        match value {
            b'/' | b'\\' => note(Ambiguity::EscapedSlash),
            b'?' | b'#' => note(Ambiguity::EscapedEnd),
            _ => {}
        }
        decoded.push(value);
        changed = true;
        rest = tail.get(2..).unwrap_or_default();
    }
    changed.then_some(decoded)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn normal(raw: &str) -> (String, Option<Ambiguity>) {
        let path = NormalizedPath::new(raw.as_bytes());
        (path.as_str().to_owned(), path.ambiguity())
    }

    #[test]
    fn leaves_plain_paths_alone() {
        for path in ["/", "/a", "/a/b.c", "/.well-known/x", "/a..b", "/~u/-_.!$&'()*+,=:@"] {
            assert_eq!(normal(path), (path.to_owned(), None));
        }
        assert!(matches!(NormalizedPath::new(b"/a/b").text, Cow::Borrowed(_)));
    }

    #[test]
    fn drops_query_and_end_slash() {
        assert_eq!(normal("/a/?x=/../%2f;#"), ("/a".into(), None));
        assert_eq!(normal("/?"), ("/".into(), None));
    }

    #[test]
    fn decodes_what_only_one_reading_has() {
        assert_eq!(normal("/%61dmin"), ("/admin".into(), None));
        assert_eq!(normal("/caf%C3%A9%20x"), ("/café x".into(), None));
        assert_eq!(normal("/café"), ("/café".into(), None));
    }

    #[test]
    fn finds_the_plain_form_behind_every_spelling_and_says_that_it_was_another() {
        use Ambiguity::*;
        for (raw, ambiguity) in [
            ("/api//login", EmptySegment),
            ("//api/login", EmptySegment),
            ("/api/login//", EmptySegment),
            ("/api/./login", DotSegment),
            ("/x/../api/login", DotSegment),
            ("/../../api/login", DotSegment),
            ("/%2e%2e/api/login", DotSegment),
            ("/api%2flogin", EscapedSlash),
            ("/api%2Flogin", EscapedSlash),
            ("/api%5clogin", EscapedSlash),
            ("/api\\login", Backslash),
            ("/api/login;jsessionid=1", Parameters),
            ("/api;/login", Parameters),
            ("/api/log%2569n", DoubleEscape),
            ("/api/%25256cogin", DoubleEscape),
            ("/api/login#x", Fragment),
            ("/api/login;%3fx", EscapedEnd),
            ("api/login", NotAbsolute),
        ] {
            assert_eq!(normal(raw), ("/api/login".into(), Some(ambiguity)), "{raw}");
        }
    }

    #[test]
    fn what_is_not_text_is_ambiguous() {
        for raw in [&b"/\xff"[..], b"/%ff", b"/a\0", b"/%00", b"/%0a"] {
            assert_eq!(NormalizedPath::new(raw).ambiguity(), Some(Ambiguity::NotText), "{raw:?}");
        }
        assert_eq!(normal("//"), ("/".into(), Some(Ambiguity::EmptySegment)));
        for end in ["%23x", "%3fx", "%253f", "%0a", "%00.png"] {
            assert_eq!(normal(&format!("/login{end}")).0, "/login", "{end}");
        }
        assert_eq!(normal("/login%23x").1, Some(Ambiguity::EscapedEnd));
        assert_eq!(normal("/100%"), ("/100%".into(), Some(Ambiguity::BrokenEscape)));
        assert_eq!(normal(""), ("/".into(), Some(Ambiguity::NotAbsolute)));
    }

    #[test]
    fn finds_the_paths_in_which_a_reader_of_urls_sees_a_host() {
        for path in
            ["//h/x", "/\\h", "\\\\h/x", "///h", "/%2fh", "/%5Ch/x", "/%255ch", "/\t/h", "http://h/x", "h:80", "/%09/h"]
        {
            assert!(may_name_a_host(path.as_bytes()), "{path}");
        }
        for path in ["", "/", "*", "/x", "/x//h", "/?//h", "/%61//h", "/.//h", "/:80", "/%", "/@h", "/~u", "/\u{e9}"] {
            assert!(!may_name_a_host(path.as_bytes()), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_leaves_an_empty_or_dot_segment(raw: Vec<u8>) {
            let path = NormalizedPath::new(&raw);
            assert!(path.as_str().starts_with('/'));
            assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..")));
            assert!(path.as_str() == "/" || !path.as_str().ends_with('/'));
        }

        #[test]
        fn normalising_twice_changes_nothing(raw in "(/[a-c.%2fF5;\\\\]{0,4}){0,6}") {
            let once = NormalizedPath::new(raw.as_bytes());
            let text = once.as_str();
            if !text.contains('%') {
                assert_eq!(NormalizedPath::new(text.as_bytes()).as_str(), text);
            }
        }
    }
}
