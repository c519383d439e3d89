//! Metrics as a proxy shows them at `/stats/prometheus`, and Envoy's own counters as `/stats` does.

use std::collections::BTreeMap;

/// Metrics with labels, as of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series(Vec<One>);

#[derive(Debug, Clone, PartialEq)]
struct One {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What a metric's name has in it where its labels were not taken out.
const MANGLED: &str = "___tollgate_";

impl Series {
    /// Reads Prometheus' text; lines that are none of it are passed over.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(One::parse).collect())
    }

    /// The sum of a metric's series that have all of `labels`; none where there is no such series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<f64> = self.of(name).filter(|one| one.has(labels)).map(|one| one.value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// The sums of a metric by the values of one label, where `labels` hold.
    pub fn by(&self, name: &str, label: &str, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for one in self.of(name).filter(|one| one.has(labels)) {
            let value = one.labels.get(label).cloned().unwrap_or_default();
            *sums.entry(value).or_insert(0.0) += one.value;
        }
        sums
    }

    /// The values of one label, each with the value of its series.
    pub fn values(&self, name: &str, label: &str, labels: &[(&str, &str)]) -> Vec<(&str, f64)> {
        let found = self.of(name).filter(|one| one.has(labels));
        found.filter_map(|one| Some((one.labels.get(label)?.as_str(), one.value))).collect()
    }

    /// A metric of Tollgate's whose labels are still in its name.
    pub fn mangled(&self) -> Option<&str> {
        self.0.iter().map(|one| one.name.as_str()).find(|name| name.contains(MANGLED))
    }

    /// Whether a metric of that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.of(name).next().is_some()
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &One> {
        self.0.iter().filter(move |one| one.name == name)
    }
}

impl One {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.trim_end().rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
            None => (series, BTreeMap::new()),
        };
        Some(Self { name: name.to_owned(), labels, value })
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|is| is == value))
    }
}

/// `a="b",c="d"`, with `\"`, `\\` and `\n` in the values.
fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, tail) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = tail.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        let (_, tail) = tail.split_at_checked(end)?;
        let tail = tail.strip_prefix('"')?;
        rest = tail.strip_prefix(',').unwrap_or(tail);
    }
    Some(labels)
}

/// Envoy's counters and gauges by their own names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads `name: number` lines; others, as histograms have, are passed over.
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.rsplit_once(": "));
        Self(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect())
    }

    /// One of them; 0 where it is not there.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_apart_whatever_is_in_their_values() {
        let series = Series::parse(
            "# TYPE a counter\na{x=\"1,}\",y=\"q\\\"\\\\\"} 3\na{x=\"2\",y=\"\"} 4\nb 1\nnonsense\nc{x=\"1} 5\n",
        );
        assert_eq!(series.sum("a", &[]), Some(7.0));
        assert_eq!(series.sum("a", &[("y", "q\"\\")]), Some(3.0));
        assert_eq!(series.by("a", "x", &[]), [("1,}".to_owned(), 3.0), ("2".to_owned(), 4.0)].into());
        assert_eq!(series.values("a", "x", &[]), [("1,}", 3.0), ("2", 4.0)]);
        assert_eq!(series.sum("c", &[]), None);
    }

    #[test]
    fn a_label_that_stayed_in_the_name_is_seen() {
        let series = Series::parse("rule___a___decision___allowed___tollgate_rate_limit_total{} 1\n");
        assert!(series.mangled().is_some());
        assert!(Series::parse("tollgate_rate_limit_total{rule=\"a\"} 1\n").mangled().is_none());
    }

    #[test]
    fn counters_are_read_and_histograms_passed_over() {
        let counters = Counters::parse("wasm.a.vm_reload: 3\nb: P0(0,0) P25(0,0)\nc: \"text\"\n");
        assert_eq!((counters.get("wasm.a.vm_reload"), counters.get("b"), counters.get("c")), (3, 0, 0));
    }
}
