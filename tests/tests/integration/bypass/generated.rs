//! Spellings that nobody has named: each trick at each place, and pairs of them.

use std::collections::BTreeSet;

use super::spellings::Spelling;

/// Each trick at each place of a path; and of pairs of tricks at pairs of places, `pairs` in all, evenly spread.
pub fn paths(pairs: usize) -> (Vec<Spelling>, Vec<Spelling>) {
    const BASES: [&[u8]; 3] = [b"/admin/secret", b"/public/../admin/x", b"/health/../admin"];
    let mut seen = BTreeSet::new();
    let mut singles: Vec<Spelling> = Vec::new();
    let mut doubles: Vec<Spelling> = Vec::new();
    for base in BASES {
        let once = changed(base);
        for (trick, target) in &once {
            if seen.insert(target.clone()) {
                singles.push(Spelling::new(*trick, target.clone()));
            }
        }
        for (first, target) in &once {
            for (second, target) in changed(target) {
                if !seen.contains(&target) {
                    doubles.push(Spelling::new(format!("{first} and then {second}"), target));
                }
            }
        }
    }
    let step = doubles.len() / pairs + 1;
    let doubles = doubles.into_iter().step_by(step).collect();
    (singles, doubles)
}

/// A path with one trick at one place.
fn changed(path: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let mut replace = |trick, at: usize, length: usize, with: &[u8]| {
        all.push((trick, [&path[..at], with, &path[at + length..]].concat()));
    };
    for (at, byte) in path.iter().enumerate() {
        let escapes = [
            ("escape", format!("%{byte:02x}")),
            ("escape in capitals", format!("%{byte:02X}")),
            ("double escape", format!("%25{byte:02x}")),
            ("triple escape", format!("%2525{byte:02x}")),
            ("overlong, two bytes", format!("%{:02x}%{:02x}", 0xc0 | byte >> 6, 0x80 | byte & 0x3f)),
            ("overlong, three bytes", format!("%e0%{:02X}%{:02x}", 0x80 | byte >> 6, 0x80 | byte & 0x3f)),
            ("escape of IIS", format!("%u{byte:04x}")),
        ];
        for (trick, escape) in escapes {
            replace(trick, at, 1, escape.as_bytes());
        }
        if *byte == b'/' {
            for (trick, with) in SLASHES {
                replace(trick, at, 1, with);
            }
        }
    }
    for at in 0..=path.len() {
        for (trick, with) in INSERTIONS {
            replace(trick, at, 0, with);
        }
    }
    for (trick, with) in PREFIXES {
        replace(trick, 0, 0, with);
    }
    for (trick, with) in SUFFIXES {
        replace(trick, path.len(), 0, with);
    }
    all
}

/// In place of a slash.
const SLASHES: &[(&str, &[u8])] = &[
    ("two slashes", b"//"),
    ("three slashes", b"///"),
    ("backslash", b"\\"),
    ("slash, backslash", b"/\\"),
    ("slash, escaped slash", b"/%2f"),
    ("escaped backslash", b"%5C"),
    ("dot segment", b"/./"),
    ("escaped dot segment", b"/%2e/"),
    ("there and back", b"/x/../"),
    ("there and back, escaped", b"/x/%2e%2E/"),
    ("there and back, by an escaped slash", b"/x%2f..%2f"),
    ("there and back, by a backslash", b"/x\\..\\"),
    ("there and back, with a parameter", b"/x/..;/"),
    ("there and back, escaped twice", b"/x/%252e%252e/"),
    ("parameter", b";a=b/"),
    ("segment of a parameter", b"/;a/"),
    ("dot with a parameter", b"/.;/"),
    ("escaped parameter", b"%3ba/"),
    ("empty segments and dots", b"/.//./"),
];

/// Anywhere.
const INSERTIONS: &[(&str, &[u8])] = &[
    ("%0a", b"%0a"),
    ("%09", b"%09"),
    ("%0d", b"%0D"),
    ("a byte that is not UTF-8", b"%80"),
    (";", b";"),
    ("parameter", b";x=1"),
];

const PREFIXES: &[(&str, &[u8])] = &[
    ("from another path", b"/public/.."),
    ("from another path, escaped", b"/public/%2e%2e"),
    ("from another path, by an escaped slash", b"/public/..%2f."),
    ("from another path, by a backslash", b"/public\\.."),
    ("from an exempt path", b"/health/.."),
    ("from an exempt path, with a parameter", b"/health/..;"),
    ("from a path deep below", b"/public/a/b/../../.."),
    ("from above", b"/.."),
    ("a slash", b"/"),
    ("a dot", b"/."),
];

const SUFFIXES: &[(&str, &[u8])] = &[
    ("slash at the end", b"/"),
    ("slashes at the end", b"//"),
    ("dot at the end", b"/."),
    ("dots at the end", b"/x/.."),
    ("query", b"?x"),
    ("query that looks like a path", b"?/../../public"),
    ("escaped query", b"%3fx"),
    ("escaped query and more", b"%3F/../../../public"),
    ("escaped fragment", b"%23"),
    ("escaped fragment and more", b"%23/../../../public"),
    ("parameter and more", b";/../../../public"),
    ("NUL and more", b"%00/../../../public"),
];

/// Each trick at each place of the host.
pub fn hosts() -> Vec<Spelling> {
    const HOST: &[u8] = b"admin.example";
    let mut all = Vec::new();
    let mut add = |trick: &str, host: Vec<u8>| all.push(Spelling::of_host(trick, &[&host]));
    for (at, byte) in HOST.iter().enumerate() {
        let with = |with: &[u8]| [&HOST[..at], with, &HOST[at + 1..]].concat();
        add("capital in a host", with(&[byte.to_ascii_uppercase()]));
        add("escape in a host", with(format!("%{byte:02x}").as_bytes()));
    }
    for at in 0..=HOST.len() {
        for more in [&b"%00"[..], b" ", b"\t", b"\"", b"\xff", b"%20"] {
            add("host with something in it", [&HOST[..at], more, &HOST[at..]].concat());
        }
    }
    for byte in (0x21..=0x7e).filter(|byte: &u8| !byte.is_ascii_alphanumeric()) {
        for other in [&b""[..], b"public.example", b":80", b"80"] {
            add("host with a character and more behind it", [HOST, &[byte], other].concat());
            add("host with a character and more before it", [other, &[byte], HOST].concat());
            add("host with a port, a character and more", [HOST, b":80", &[byte], other].concat());
        }
    }
    all
}
