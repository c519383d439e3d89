//! What `istio/monitoring` ships, as the tests read it: nothing of it is written down a second time.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::artifacts::project;

/// The groups of the shipped PrometheusRule.
pub fn groups() -> Vec<Value> {
    let mut rule = file("rules.yaml");
    let Value::Array(groups) = rule["spec"]["groups"].take() else { panic!("rules.yaml has no groups") };
    groups
}

/// All rules of these groups.
pub fn rules(groups: &[Value]) -> impl Iterator<Item = &Value> {
    groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten())
}

/// The alerts of these groups, by name.
pub fn alerts(groups: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    rules(groups).filter_map(|rule| Some((rule["alert"].as_str()?, rule)))
}

/// A rule's expression.
pub fn expression(rule: &Value) -> &str {
    rule["expr"].as_str().expect("every rule has an expression")
}

/// The same groups with every time of theirs, windows, offsets and `for` alike, divided by `factor`, for tests that
/// cannot wait for hours. Rates and ratios stay what they are.
pub fn hastened(mut groups: Vec<Value>, factor: u64) -> Vec<Value> {
    for group in &mut groups {
        for rule in group["rules"].as_array_mut().expect("rules") {
            rule["expr"] = json!(hastened_expression(expression(rule), factor));
            if let Some(pending) = rule["for"].as_str() {
                rule["for"] = json!(divided(pending, factor));
            }
        }
    }
    groups
}

/// Durations stand in brackets and behind `offset`, and nowhere else.
fn hastened_expression(expression: &str, factor: u64) -> String {
    let mut result = String::new();
    let mut rest = expression;
    loop {
        let bracket = rest.find('[').map(|at| at + 1);
        let offset = rest.find("offset ").map(|at| at + "offset ".len());
        let Some(start) = [bracket, offset].into_iter().flatten().min() else { break };
        let length = rest[start..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - start);
        result.push_str(&rest[..start]);
        result.push_str(&divided(&rest[start..start + length], factor));
        rest = &rest[start + length..];
    }
    result + rest
}

/// A duration of one unit, in milliseconds.
fn divided(duration: &str, factor: u64) -> String {
    let unit = duration.find(|c: char| !c.is_ascii_digit()).unwrap_or_else(|| panic!("{duration} has no unit"));
    let number: u64 = duration[..unit].parse().unwrap_or_else(|_| panic!("{duration} is no duration"));
    let milliseconds = match &duration[unit..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        other => panic!("{duration}: unit {other}"),
    };
    format!("{}ms", number * milliseconds / factor)
}

/// A job of the shipped scrape configuration, its relabelings among it, for targets that service discovery would have
/// found with these labels.
pub fn scrape_job(name: &str, targets: &[(SocketAddr, Value)]) -> Value {
    let shipped = file("scrape.yaml");
    let jobs = shipped["scrape_configs"].as_array().expect("a list");
    let mut job = jobs.iter().find(|job| job["job_name"] == name).expect("the job is shipped").clone();
    let fields = job.as_object_mut().expect("an object");
    fields.remove("kubernetes_sd_configs").expect("the job finds its targets in Kubernetes");
    fields.remove("scrape_interval");
    let targets = targets.iter().map(|(address, labels)| json!({"targets": [address.to_string()], "labels": labels}));
    job["static_configs"] = targets.collect();
    job
}

/// What service discovery says of a sidecar.
pub fn discovered_sidecar(namespace: &str, pod: &str, app: &str) -> Value {
    json!({
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": pod,
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_label_app": app,
        "__meta_kubernetes_pod_labelpresent_service_istio_io_canonical_name": "true",
        "__meta_kubernetes_pod_container_port_name": "http-envoy-prom",
    })
}

/// The shipped configuration of Alertmanager with its webhooks at another host, and its times divided by `factor`.
pub fn alertmanager(webhooks: SocketAddr, factor: u64) -> Value {
    let mut configuration = file("alertmanager.yaml");
    hasten_route(&mut configuration["route"], factor);
    for receiver in configuration["receivers"].as_array_mut().expect("receivers") {
        for webhook in receiver["webhook_configs"].as_array_mut().expect("webhooks") {
            let url = webhook["url"].as_str().expect("a URL");
            let path = url.splitn(4, '/').nth(3).expect("a URL with a path");
            webhook["url"] = json!(format!("http://{webhooks}/{path}"));
        }
    }
    configuration
}

fn hasten_route(route: &mut Value, factor: u64) {
    for (name, value) in route.as_object_mut().expect("a route") {
        match (name.as_str(), value) {
            ("group_wait" | "group_interval" | "repeat_interval", value) => {
                *value = json!(divided(value.as_str().expect("a duration"), factor));
            }
            ("routes", Value::Array(children)) => children.iter_mut().for_each(|child| hasten_route(child, factor)),
            _ => {}
        }
    }
}

/// A file of `istio/monitoring`.
pub fn file(name: &str) -> Value {
    let path = project().join("istio/monitoring").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_divided_and_names_are_not() {
        let expression = "route:x:rate5m > 2 * rate(y[1h] offset 5m) and z[30m]";
        assert_eq!(
            hastened_expression(expression, 100),
            "route:x:rate5m > 2 * rate(y[36000ms] offset 3000ms) and z[18000ms]"
        );
    }
}
