//! A curl command, as far as it says what request would be sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a curl command asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Curl {
    /// `-X`, or what the other options come to.
    pub method: String,
    /// As it stands in the command, with what `-G` adds to it.
    pub url: String,
    /// In order, names in lowercase.
    pub headers: Vec<(String, String)>,
    /// Options that say nothing of the request.
    pub ignored: Vec<String>,
}

/// Options that take a value and say nothing of the request.
const IGNORED_WITH_VALUE: &[&str] = &[
    "--cacert",
    "--capath",
    "--cert",
    "--ciphers",
    "--connect-timeout",
    "--connect-to",
    "--cookie-jar",
    "--dump-header",
    "--interface",
    "--key",
    "--keepalive-time",
    "--limit-rate",
    "--max-redirs",
    "--max-time",
    "--noproxy",
    "--output",
    "--output-dir",
    "--proxy",
    "--resolve",
    "--retry",
    "--retry-delay",
    "--retry-max-time",
    "--unix-socket",
    "--write-out",
];

/// Options without a value that say nothing of the request.
const IGNORED: &[&str] = &[
    "--fail",
    "--fail-with-body",
    "--globoff",
    "--http1.0",
    "--http1.1",
    "--http2",
    "--http2-prior-knowledge",
    "--http3",
    "--include",
    "--insecure",
    "--ipv4",
    "--ipv6",
    "--location",
    "--no-buffer",
    "--no-progress-meter",
    "--parallel",
    "--progress-bar",
    "--remote-header-name",
    "--remote-name",
    "--retry-all-errors",
    "--retry-connrefused",
    "--show-error",
    "--silent",
    "--tcp-nodelay",
    "--verbose",
];

/// Short options by their long names.
const SHORT: &[(char, &str)] = &[
    ('#', "--progress-bar"),
    ('0', "--http1.0"),
    ('4', "--ipv4"),
    ('6', "--ipv6"),
    ('A', "--user-agent"),
    ('D', "--dump-header"),
    ('E', "--cert"),
    ('F', "--form"),
    ('G', "--get"),
    ('H', "--header"),
    ('I', "--head"),
    ('J', "--remote-header-name"),
    ('L', "--location"),
    ('N', "--no-buffer"),
    ('O', "--remote-name"),
    ('S', "--show-error"),
    ('T', "--upload-file"),
    ('X', "--request"),
    ('Z', "--parallel"),
    ('b', "--cookie"),
    ('c', "--cookie-jar"),
    ('d', "--data"),
    ('e', "--referer"),
    ('f', "--fail"),
    ('g', "--globoff"),
    ('i', "--include"),
    ('k', "--insecure"),
    ('m', "--max-time"),
    ('o', "--output"),
    ('s', "--silent"),
    ('u', "--user"),
    ('v', "--verbose"),
    ('w', "--write-out"),
    ('x', "--proxy"),
];

/// Options of the request that take a value.
const WITH_VALUE: &[&str] = &[
    "--cookie",
    "--data",
    "--data-ascii",
    "--data-binary",
    "--data-raw",
    "--data-urlencode",
    "--form",
    "--form-string",
    "--header",
    "--json",
    "--referer",
    "--request",
    "--upload-file",
    "--url",
    "--user",
    "--user-agent",
];

/// What the options have said so far.
#[derive(Default)]
struct Options {
    method: Option<String>,
    urls: Vec<String>,
    headers: Vec<(String, String)>,
    /// Headers that `-H name:` takes out.
    removed: Vec<String>,
    data: Vec<String>,
    content_type: Option<&'static str>,
    default_method: Option<&'static str>,
    is_get: bool,
    as_is: bool,
    ignored: Vec<String>,
}

impl Curl {
    /// Reads a command: its words, or one text of all of them.
    ///
    /// # Errors
    /// Names the option that is not known, or what is missing.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let words = match words {
            [one] if one.contains(char::is_whitespace) => {
                // shlex makes a word of a line's continuation.
                let one = one.replace("\\\n", " ");
                shlex::split(&one).ok_or("the curl command has a quote that does not end")?
            }
            words => words.to_vec(),
        };
        let mut words = words.into_iter();
        if !words.next().is_some_and(|first| first == "curl" || first.ends_with("/curl")) {
            return Err("expected a curl command behind --".to_owned());
        }
        let mut options = Options::default();
        let mut only_urls = false;
        while let Some(word) = words.next() {
            if only_urls || word == "-" || !word.starts_with('-') {
                options.urls.push(word);
            } else if word == "--" {
                only_urls = true;
            } else if word.starts_with("--") {
                options.long(&word, &mut words)?;
            } else {
                options.short(&word, &mut words)?;
            }
        }
        options.finish()
    }
}

impl Options {
    fn short(&mut self, word: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            let long = SHORT.iter().find(|(short, _)| *short == letter).map(|(_, long)| *long);
            let long = long.ok_or_else(|| unknown(&format!("-{letter}")))?;
            if WITH_VALUE.contains(&long) || IGNORED_WITH_VALUE.contains(&long) {
                let rest: String = letters.collect();
                let value = if rest.is_empty() { words.next() } else { Some(rest) };
                return self.take(long, value.ok_or_else(|| format!("curl's -{letter} needs a value"))?);
            }
            self.flag(long)?;
        }
        Ok(())
    }

    fn long(&mut self, word: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        if WITH_VALUE.contains(&word) || IGNORED_WITH_VALUE.contains(&word) {
            let value = words.next().ok_or_else(|| format!("curl's {word} needs a value"))?;
            return self.take(word, value);
        }
        self.flag(word)
    }

    fn flag(&mut self, option: &str) -> Result<(), String> {
        match option {
            "--get" => self.is_get = true,
            "--head" => self.default_method = Some("HEAD"),
            "--compressed" => self.headers.push(("accept-encoding".into(), "deflate, gzip, br, zstd".into())),
            "--path-as-is" => self.as_is = true,
            known if IGNORED.contains(&known) => self.ignored.push(known.to_owned()),
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn take(&mut self, option: &str, value: String) -> Result<(), String> {
        match option {
            "--request" => self.method = Some(value),
            "--url" => self.urls.push(value),
            "--header" => self.header(&value)?,
            "--user-agent" => self.headers.push(("user-agent".into(), value)),
            "--referer" => self.headers.push(("referer".into(), value)),
            "--user" => self.headers.push(("authorization".into(), format!("Basic {}", STANDARD.encode(value)))),
            "--cookie" if value.contains('=') => self.headers.push(("cookie".into(), value)),
            "--cookie" => self.ignored.push(format!("--cookie {value}")),
            "--form" | "--form-string" => {
                self.content_type = Some("multipart/form-data");
                self.default_method = Some("POST");
            }
            "--upload-file" => self.default_method = Some("PUT"),
            "--json" => {
                self.content_type = Some("application/json");
                self.headers.push(("accept".into(), "application/json".into()));
                self.data.push(value);
            }
            data if data.starts_with("--data") => {
                self.content_type.get_or_insert("application/x-www-form-urlencoded");
                self.data.push(value);
            }
            other => self.ignored.push(other.to_owned()),
        }
        Ok(())
    }

    fn header(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = match (text.split_once(':'), text.strip_suffix(';')) {
            (Some((name, value)), _) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
            (None, Some(name)) => (name, Some("")),
            (None, None) => {
                self.ignored.push(format!("--header {text}"));
                return Ok(());
            }
        };
        let name = tollgate::route::header_name(name.trim())?;
        match value {
            Some(value) => self.headers.push((name, value.to_owned())),
            None => self.removed.push(name),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Curl, String> {
        let mut urls = std::mem::take(&mut self.urls).into_iter();
        let mut url = urls.next().ok_or("the curl command has no URL")?;
        if let Some(second) = urls.next() {
            return Err(format!("the curl command has two URLs: {url} and {second}"));
        }
        if !self.as_is {
            url = without_dots(&url);
        }
        if self.is_get && !self.data.is_empty() {
            let (plain, _) = url.split_once('#').unwrap_or((&url, ""));
            let separator = if plain.contains('?') { '&' } else { '?' };
            url = format!("{plain}{separator}{}", std::mem::take(&mut self.data).join("&"));
            self.content_type = None;
        }
        let default = self.default_method.unwrap_or(if self.data.is_empty() { "GET" } else { "POST" });
        let mut headers = self.headers;
        let mut add = |name: &str, value: &str| {
            if !headers.iter().any(|(there, _)| there == name) && !self.removed.iter().any(|removed| removed == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        };
        add("user-agent", "curl/8");
        add("accept", "*/*");
        if let Some(content_type) = self.content_type {
            add("content-type", content_type);
        }
        Ok(Curl { method: self.method.unwrap_or_else(|| default.to_owned()), url, headers, ignored: self.ignored })
    }
}

fn unknown(option: &str) -> String {
    format!("curl's {option} is not known here: take it out, or say the request with -X and -H")
}

/// curl resolves `.` and `..` itself unless told otherwise.
fn without_dots(url: &str) -> String {
    let start = url.find("://").map_or(0, |scheme| scheme.saturating_add(3));
    let (Some(base), Some(rest)) = (url.get(..start), url.get(start..)) else { return url.to_owned() };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (Some(place), Some(tail)) = (rest.get(..end), rest.get(end..)) else { return url.to_owned() };
    let Some((host, path)) = place.split_once('/') else { return url.to_owned() };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            plain => kept.push(plain),
        }
    }
    format!("{base}{host}/{}{tail}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curl(command: &str) -> Result<Curl, String> {
        Curl::parse(&shlex::split(command).unwrap())
    }

    #[test]
    fn a_form_is_posted_and_get_makes_it_a_query() {
        let posted = curl("curl -sS https://host/a -d x=1 --data-raw y=2").unwrap();
        assert_eq!((posted.method.as_str(), posted.url.as_str()), ("POST", "https://host/a"));
        assert!(posted.headers.contains(&("content-type".into(), "application/x-www-form-urlencoded".into())));
        assert_eq!(posted.ignored, ["--silent", "--show-error"]);
        let got = curl("curl -G 'https://host/a?z=0' -d x=1 -d y=2").unwrap();
        assert_eq!((got.method.as_str(), got.url.as_str()), ("GET", "https://host/a?z=0&x=1&y=2"));
    }

    #[test]
    fn options_come_glued_in_clusters_and_with_values() {
        let call = curl("curl -kXDELETE -uu:p -H'X-A: b' -A me -b s=1 -o /dev/null --http2 http://host").unwrap();
        assert_eq!(call.method, "DELETE");
        for (name, value) in
            [("authorization", "Basic dTpw"), ("x-a", "b"), ("user-agent", "me"), ("cookie", "s=1"), ("accept", "*/*")]
        {
            assert!(call.headers.contains(&(name.into(), value.into())), "{name}: {:?}", call.headers);
        }
        assert_eq!(call.ignored, ["--insecure", "--output", "--http2"]);
        assert_eq!(curl("curl -I host/a").unwrap().method, "HEAD");
        assert_eq!(curl("curl --json '{}' host/a").unwrap().method, "POST");
    }

    #[test]
    fn one_text_is_split_as_a_shell_does() {
        let text = "curl 'http://host/a b' \\\n  -H \"x-a: it's\"".to_owned();
        let call = Curl::parse(&[text]).unwrap();
        assert_eq!(call.url, "http://host/a b");
        assert!(call.headers.contains(&("x-a".into(), "it's".into())));
        assert!(Curl::parse(&["curl 'x y".to_owned()]).is_err());
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(curl("curl --frobnicate http://host").unwrap_err().contains("--frobnicate"));
        assert!(curl("curl -q http://host").unwrap_err().contains("-q"));
        assert!(curl("curl http://a http://b").unwrap_err().contains("two URLs"));
        assert!(curl("wget http://a").is_err());
        assert!(curl("curl -X").unwrap_err().contains("-X needs a value"));
    }

    #[test]
    fn dots_are_resolved_unless_told_otherwise() {
        assert_eq!(curl("curl http://h/a/../b/./c/..?x=/../").unwrap().url, "http://h/b/?x=/../");
        assert_eq!(curl("curl --path-as-is http://h/a/../b").unwrap().url, "http://h/a/../b");
        assert_eq!(curl("curl h").unwrap().url, "h");
    }
}
