//! Whether a query asks for what there is.
//!
//! A query that selects nothing is no error to Prometheus: a dashboard shows "No data", and an alert never fires. So every
//! selector in it must have a series, and every label that it groups or joins by must be on one of them.

use std::collections::BTreeSet;

use promql_parser::{
    label::{Matcher, Matchers},
    parser::{self, Expr, LabelModifier, VectorSelector},
};

use crate::prometheus::Prometheus;

/// Metrics of others, which no Envoy and no filter has: what their series are called comes from the sources named here.
/// Queries of them are proved where their source runs.
pub const FOREIGN: [(&str, &str); 7] = [
    ("kube_horizontalpodautoscaler_status_current_replicas", "kube-state-metrics"),
    ("kube_horizontalpodautoscaler_spec_max_replicas", "kube-state-metrics"),
    ("kube_horizontalpodautoscaler_spec_min_replicas", "kube-state-metrics"),
    ("pilot_total_xds_rejects", "istiod"),
    ("istio_agent_wasm_remote_fetch_count", "pilot-agent"),
    ("istio_agent_cert_expiry_seconds", "pilot-agent"),
    ("istio_requests_total", "Istio's own telemetry"),
];

/// What a query asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The selectors, without ranges and offsets, as PromQL. Foreign ones are left out.
    pub selectors: BTreeSet<String>,
    /// The metrics' names, foreign ones among them.
    pub metrics: BTreeSet<String>,
    /// Names of the labels that it selects, groups and joins by.
    pub labels: BTreeSet<String>,
    /// Labels that the query makes itself.
    made: BTreeSet<String>,
    /// Whether it asks for metrics of others too.
    pub is_foreign: bool,
}

/// Reads a query.
///
/// # Errors
/// It is no PromQL.
pub fn asked(query: &str) -> Result<Asked, String> {
    let mut asked = Asked::default();
    asked.walk(&parser::parse(query)?);
    Ok(asked)
}

/// What a query asks for that this Prometheus does not have; nothing if all is well.
pub async fn complaints(prometheus: &Prometheus, query: &str) -> Vec<String> {
    let asked = match asked(query) {
        Ok(asked) => asked,
        Err(error) => return vec![format!("no PromQL: {error}")],
    };
    let mut complaints = Vec::new();
    let mut present = BTreeSet::new();
    for selector in &asked.selectors {
        match prometheus.try_query(selector).await {
            Ok(samples) if samples.is_empty() => complaints.push(format!("no series: {selector}")),
            Ok(samples) => present.extend(samples.into_iter().flat_map(|sample| sample.labels.into_keys())),
            Err(error) => complaints.push(format!("{selector}: {error}")),
        }
    }
    // Of foreign series nobody here knows what labels they have.
    if !asked.is_foreign {
        let missing = asked.labels.iter().filter(|label| !present.contains(*label) && !asked.made.contains(*label));
        complaints.extend(missing.map(|label| format!("no series has the label {label}")));
    }
    if let Err(error) = prometheus.try_query(query).await {
        complaints.push(error.to_string());
    }
    complaints
}

impl Asked {
    fn walk(&mut self, expression: &Expr) {
        match expression {
            Expr::Aggregate(aggregate) => {
                self.group(aggregate.modifier.as_ref());
                self.walk(&aggregate.expr);
                if let Some(parameter) = &aggregate.param {
                    self.walk(parameter);
                }
            }
            Expr::Unary(unary) => self.walk(&unary.expr),
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                    self.labels.extend(modifier.card.labels().into_iter().flat_map(|labels| labels.labels.clone()));
                }
                self.walk(&binary.lhs);
                self.walk(&binary.rhs);
            }
            Expr::Paren(paren) => self.walk(&paren.expr),
            Expr::Subquery(subquery) => self.walk(&subquery.expr),
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs),
            Expr::Call(call) => {
                if let ("label_replace" | "label_join", Some(Expr::StringLiteral(label))) =
                    (call.func.name, call.args.args.get(1).map(AsRef::as_ref))
                {
                    self.made.insert(label.val.clone());
                }
                // Of `absent` too: what it waits for must exist while all is well.
                call.args.args.iter().for_each(|argument| self.walk(argument));
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels)) = modifier {
            self.labels.extend(labels.labels.iter().cloned());
        }
    }

    fn select(&mut self, selector: &VectorSelector) {
        self.metrics.extend(selector.name.clone());
        if selector.name.as_deref().is_some_and(|name| FOREIGN.iter().any(|(foreign, _)| *foreign == name)) {
            self.is_foreign = true;
            return;
        }
        // A label that does not exist fits every `!=`.
        let matchers = selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten());
        self.labels.extend(matchers.map(|matcher| matcher.name.clone()));
        self.selectors.insert(written(selector.name.as_deref(), &selector.matchers));
    }
}

/// A selector as PromQL.
fn written(name: Option<&str>, matchers: &Matchers) -> String {
    let list = |matchers: &[Matcher]| matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut all = vec![list(&matchers.matchers)];
    all.extend(matchers.or_matchers.iter().map(|matchers| list(matchers)));
    all.retain(|list| !list.is_empty());
    let braces = if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(" or ")) };
    format!("{}{braces}", name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_querys_selectors_and_labels_are_found_wherever_they_stand() {
        let query = r#"sum by (route) (rate(a{code=~"5..", x!="y"}[5m] offset 1h)) / on (pod) group_left (app) b
            and absent(c) or label_replace(max_over_time(d[1h:1m]), "made", "", "", "") unless pilot_total_xds_rejects"#;
        let asked = asked(query).unwrap();
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(list(&asked.selectors), [r#"a{code=~"5..", x!="y"}"#, "b", "c", "d"]);
        assert_eq!(list(&asked.labels), ["app", "code", "pod", "route", "x"]);
        assert_eq!(list(&asked.made), ["made"]);
        assert!(asked.is_foreign);
    }
}
