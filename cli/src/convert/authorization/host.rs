//! Istio's host patterns as Tollgate's, which know neither ports nor beginnings.

use tollgate::config::{FromNode as _, Node};
use tollgate::route::HostPattern;

use super::bound::{Refusal, Side, Translated};
use super::difference::Difference;

/// The patterns that stand for one of Istio's; `beside` are the others of its list.
pub(super) fn translate(pattern: &str, beside: &[&str], side: Side) -> Result<Translated<String>, Refusal> {
    if pattern == "*" {
        return Ok(Translated::exact(vec!["*".to_owned()]));
    }
    let (head, tail) = (pattern.strip_prefix('*'), pattern.strip_suffix('*'));
    match (head, tail) {
        (Some(suffix), _) => ends_with(pattern, suffix, side),
        (None, Some(stem)) => begins_with(pattern, stem, beside, side),
        (None, None) => exact(pattern, beside, side),
    }
}

const NAME_THEM: &str = "name the hosts that it is for, or `*.DOMAIN` for those below one";

fn exact(pattern: &str, beside: &[&str], side: Side) -> Result<Translated<String>, Refusal> {
    let (host, port) = without_port(pattern);
    let host = host_name(pattern, host)?;
    if let Some(port) = port
        && side == Side::Inner
        && !beside.iter().any(|other| is_any_port_of(other, &host))
    {
        let reason =
            format!("`{pattern}` is the host with port {port} in :authority alone, and no port is looked at here");
        let cure = "write the host without a port, and the port that connections come to in `ports`";
        return Err(Refusal::new(reason, cure));
    }
    Ok(match port {
        Some(_) if !is_bare(&host, beside) => with_any_port(host),
        _ => Translated::exact(vec![host]),
    })
}

/// Whether a pattern takes the host with whatever port, which is what one without a port does here.
fn is_any_port_of(pattern: &str, host: &str) -> bool {
    pattern.strip_suffix(":*").unwrap_or(pattern).eq_ignore_ascii_case(host)
}

/// Whether the host is among the patterns as it is.
fn is_bare(host: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| pattern.eq_ignore_ascii_case(host))
}

fn with_any_port(host: String) -> Translated<String> {
    let how = format!("becomes {host}, with any port");
    Translated::but(vec![host], Difference::HostSpelling, how)
}

/// `*suffix`.
fn ends_with(pattern: &str, suffix: &str, side: Side) -> Result<Translated<String>, Refusal> {
    let (name, port) = without_port(suffix);
    if port.is_some() && (side == Side::Inner || name.is_empty()) {
        let reason = format!("`{pattern}` asks for a port in :authority, and no port is looked at here");
        return Err(Refusal::new(
            reason,
            "write the hosts without a port, and the port that connections come to in `ports`",
        ));
    }
    if let Some(domain) = name.strip_prefix('.') {
        let host = format!("*.{}", host_name(pattern, domain)?);
        return Ok(if port.is_some() { with_any_port(host) } else { Translated::exact(vec![host]) });
    }
    let host = host_name(pattern, name)?;
    match side {
        Side::Inner => {
            let below = format!("*.{host}");
            let how = format!("becomes {host} and {below}, without hosts that only end alike");
            Ok(Translated::but(vec![host, below], Difference::PartialSegment, how))
        }
        Side::Outer => Err(Refusal::new(format!("`{pattern}` ends in the middle of a label"), NAME_THEM)),
    }
}

/// `stem*`.
fn begins_with(pattern: &str, stem: &str, beside: &[&str], side: Side) -> Result<Translated<String>, Refusal> {
    if let Some(host) = stem.strip_suffix(':') {
        let host = host_name(pattern, host)?;
        return Ok(if is_bare(&host, beside) { Translated::exact(vec![host]) } else { with_any_port(host) });
    }
    if side == Side::Outer || stem.ends_with('.') {
        return Err(Refusal::new(
            format!("`{pattern}` is a beginning, and hosts are told by their ends here"),
            NAME_THEM,
        ));
    }
    let (host, port) = without_port(stem);
    if port.is_some() {
        let reason = format!("`{pattern}` asks for a port in :authority, and no port is looked at here");
        return Err(Refusal::new(reason, "write the host without a port"));
    }
    let host = host_name(pattern, host)?;
    let how = format!("becomes {host}, without hosts that only begin alike");
    Ok(Translated::but(vec![host], Difference::PartialSegment, how))
}

/// Of an IPv6 address only `[::1]:80` has a port.
fn without_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A name in lowercase, without a dot at the end.
fn host_name(pattern: &str, name: &str) -> Result<String, Refusal> {
    let read = HostPattern::from_node(&Node::Text(name.to_owned()));
    match read {
        Ok(HostPattern::Exact(host)) => Ok(host),
        _ if name.contains('*') => {
            let why = "Istio takes a `*` at one end only, and others for plain text";
            Err(Refusal::nothing_is(pattern, why, NAME_THEM))
        }
        _ => Err(Refusal::new(format!("`{pattern}` is no host name"), NAME_THEM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(pattern: &str, beside: &[&str], side: Side) -> Result<Vec<String>, String> {
        translate(pattern, beside, side).map(|translated| translated.values).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn hosts_and_domains_are_the_same_on_both_sides_whatever_their_case() {
        for side in [Side::Inner, Side::Outer] {
            for (pattern, host) in [
                ("*", "*"),
                ("Api.Example.com", "api.example.com"),
                ("api.example.com.", "api.example.com"),
                ("api.example.com:*", "api.example.com"),
                ("*.Example.com", "*.example.com"),
                ("[::1]", "[::1]"),
            ] {
                assert_eq!(hosts(pattern, &[], side), Ok(vec![host.to_owned()]), "{pattern}");
            }
        }
    }

    #[test]
    fn a_port_is_left_out_where_that_is_wider_or_where_the_host_is_there_without_it() {
        assert!(hosts("a.example:8080", &[], Side::Inner).unwrap_err().contains("port 8080"));
        assert_eq!(hosts("a.example:8080", &[], Side::Outer), Ok(vec!["a.example".into()]));
        for beside in ["A.example", "a.example:*"] {
            assert_eq!(hosts("a.example:8080", &[beside], Side::Inner), Ok(vec!["a.example".into()]));
        }
        assert!(hosts("*.a.example:80", &[], Side::Inner).is_err());
        assert_eq!(hosts("*.a.example:80", &[], Side::Outer), Ok(vec!["*.a.example".into()]));
        for pattern in ["*:8080", "a.example:8*"] {
            assert!(
                hosts(pattern, &[], Side::Outer).is_err() && hosts(pattern, &[], Side::Inner).is_err(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn beginnings_and_ends_within_a_label_become_whole_names_where_that_is_narrower() {
        assert_eq!(hosts("*example.com", &[], Side::Inner), Ok(vec!["example.com".into(), "*.example.com".into()]));
        assert_eq!(hosts("example.com*", &[], Side::Inner), Ok(vec!["example.com".into()]));
        for (pattern, side) in [
            ("*example.com", Side::Outer),
            ("example.com*", Side::Outer),
            ("prod.*", Side::Inner),
            ("a b", Side::Inner),
            ("*.a.*", Side::Inner),
            ("a.*.example", Side::Outer),
            ("user@a.example", Side::Outer),
        ] {
            assert!(hosts(pattern, &[], side).is_err(), "{pattern} {side:?}");
        }
    }
}
