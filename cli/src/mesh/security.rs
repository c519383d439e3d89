//! Which TLS is spoken where: PeerAuthentication for what is received, DestinationRule for what is sent.

use super::workload::{TRUST_DOMAIN, Workload};
use crate::problem::Notices;
use crate::resources::networking::{ClientTlsMode, DestinationRuleSpec};
use crate::resources::security::{Mode, PeerAuthenticationSpec};
use crate::resources::{ROOT_NAMESPACE, Resource};

/// The mode in force on one port: the workload's own resource, else its namespace's, else the mesh's, else PERMISSIVE.
pub fn inbound_mode(policies: &[Resource<PeerAuthenticationSpec>], workload: &Workload, target_port: u16) -> Mode {
    deciding(policies, workload, target_port).0
}

/// A policy, and the path into its spec at which it decides.
pub type Deciding<'a> = (&'a Resource<PeerAuthenticationSpec>, Vec<&'a str>);

/// The mode in force on one port, and what of which policy says so; none where the default does.
pub fn deciding<'a>(
    policies: &'a [Resource<PeerAuthenticationSpec>],
    workload: &Workload,
    target_port: u16,
) -> (Mode, Option<Deciding<'a>>) {
    let oldest = |scope: &dyn Fn(&Resource<PeerAuthenticationSpec>) -> bool| {
        policies.iter().filter(|policy| scope(policy)).min_by(|a, b| a.meta.age().cmp(&b.meta.age()))
    };
    let selected = |policy: &Resource<PeerAuthenticationSpec>| {
        policy.spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty())
    };
    let own = oldest(&|policy| {
        policy.meta.namespace() == workload.namespace
            && selected(policy)
            && policy.spec.selector.as_ref().is_some_and(|selector| selector.matches(&workload.labels))
    });
    let namespace = oldest(&|policy| policy.meta.namespace() == workload.namespace && !selected(policy));
    let mesh = oldest(&|policy| policy.meta.namespace() == ROOT_NAMESPACE && !selected(policy));
    let port = own.and_then(|policy| {
        let (key, mtls) = policy.spec.port_level_mtls.get_key_value(&target_port.to_string())?;
        Some((mtls.mode, (policy, vec!["portLevelMtls", key.as_str()])))
    });
    let whole = |policy: Option<&'a Resource<PeerAuthenticationSpec>>| {
        policy.and_then(|policy| Some((policy.spec.mtls?.mode, (policy, vec!["mtls"]))))
    };
    [port, whole(own), whole(namespace), whole(mesh)]
        .into_iter()
        .flatten()
        .find(|(mode, _)| *mode != Mode::Unset)
        .map_or((Mode::Permissive, None), |(mode, place)| (mode, Some(place)))
}

/// Warns of PeerAuthentications that say something Istio does not do.
pub fn check(policies: &[Resource<PeerAuthenticationSpec>], notices: &mut Notices) {
    for policy in policies {
        let selected = policy.spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
        if !selected && !policy.spec.port_level_mtls.is_empty() {
            notices.warn_at(&policy.origin, "spec.portLevelMtls", "means nothing without spec.selector (nor in Istio)");
        }
        for port in policy.spec.port_level_mtls.keys().filter(|port| port.parse::<u16>().is_err()) {
            notices.warn_at(&policy.origin, &format!("spec.portLevelMtls.{port}"), "is not a port number");
        }
    }
}

/// The TLS that a gateway speaks to a workload: as the DestinationRule says, else whatever the workload takes.
pub fn outbound_tls(
    rules: &[Resource<DestinationRuleSpec>],
    client_namespace: &str,
    workload: &Workload,
    inbound: Mode,
    notices: &mut Notices,
) -> ClientTlsMode {
    let automatic = if inbound == Mode::Disable { ClientTlsMode::Disable } else { ClientTlsMode::IstioMutual };
    let Some(rule) = rule_for(rules, client_namespace, workload) else { return automatic };
    let Some(tls) = &rule.spec.traffic_policy.tls else { return automatic };
    match tls.mode {
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            notices.warn_at(
                &rule.origin,
                "spec.trafficPolicy.tls.mode",
                "SIMPLE and MUTUAL are not carried out; the mesh's own TLS is used as if there were no rule",
            );
            automatic
        }
        mode => mode,
    }
}

/// The rule for a workload's service: the client's namespace before the service's before the root's, and within one
/// the most specific host.
pub fn rule_for<'a>(
    rules: &'a [Resource<DestinationRuleSpec>],
    client_namespace: &str,
    workload: &Workload,
) -> Option<&'a Resource<DestinationRuleSpec>> {
    let host = workload.host();
    [client_namespace, workload.namespace.as_str(), ROOT_NAMESPACE].into_iter().find_map(|namespace| {
        rules
            .iter()
            .filter(|rule| rule.meta.namespace() == namespace)
            .filter_map(|rule| Some((specificity(&full_name(&rule.spec.host, namespace), &host)?, rule)))
            .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.meta.age().cmp(&x.meta.age())))
            .map(|(_, rule)| rule)
    })
}

fn full_name(host: &str, namespace: &str) -> String {
    if host.contains('.') || host == "*" { host.to_owned() } else { format!("{host}.{namespace}.svc.{TRUST_DOMAIN}") }
}

/// How well `pattern` fits `host`: not at all, as a wildcard of some length, or wholly.
fn specificity(pattern: &str, host: &str) -> Option<usize> {
    if pattern == host {
        return Some(usize::MAX);
    }
    let suffix = pattern.strip_prefix('*')?;
    host.ends_with(suffix).then_some(suffix.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Origin;
    use crate::resources::Metadata;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn resource<S: DeserializeOwned>(namespace: &str, name: &str, spec: Value) -> Resource<S> {
        Resource {
            origin: Origin::file("f.yaml"),
            meta: Metadata { name: name.into(), namespace: Some(namespace.into()), ..Default::default() },
            spec: serde_json::from_value(spec).unwrap(),
        }
    }

    fn workload() -> Workload {
        Workload {
            namespace: "prod".into(),
            name: "users".into(),
            labels: [("app".to_owned(), "users".to_owned())].into(),
            annotations: Default::default(),
            service_account: "users".into(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn the_narrower_peer_authentication_wins() {
        let mesh = resource(ROOT_NAMESPACE, "mesh", json!({"mtls": {"mode": "STRICT"}}));
        let namespace = resource("prod", "all", json!({"mtls": {"mode": "DISABLE"}}));
        let own = resource(
            "prod",
            "users",
            json!({"selector": {"matchLabels": {"app": "users"}}, "mtls": {"mode": "PERMISSIVE"},
                   "portLevelMtls": {"9090": {"mode": "STRICT"}}}),
        );
        let other = resource("other", "all", json!({"mtls": {"mode": "DISABLE"}}));
        assert_eq!(inbound_mode(&[], &workload(), 80), Mode::Permissive);
        assert_eq!(inbound_mode(&[mesh.clone(), other], &workload(), 80), Mode::Strict);
        assert_eq!(inbound_mode(&[mesh.clone(), namespace.clone()], &workload(), 80), Mode::Disable);
        let all = [mesh, namespace, own];
        assert_eq!(inbound_mode(&all, &workload(), 80), Mode::Permissive);
        assert_eq!(inbound_mode(&all, &workload(), 9090), Mode::Strict);
    }

    #[test]
    fn unset_inherits() {
        let mesh = resource(ROOT_NAMESPACE, "mesh", json!({"mtls": {"mode": "STRICT"}}));
        let namespace = resource("prod", "all", json!({"mtls": {"mode": "UNSET"}}));
        assert_eq!(inbound_mode(&[namespace, mesh], &workload(), 80), Mode::Strict);
    }

    #[test]
    fn of_two_equal_ones_the_oldest_wins() {
        let mut young: Resource<PeerAuthenticationSpec> = resource("prod", "a", json!({"mtls": {"mode": "DISABLE"}}));
        let mut old: Resource<PeerAuthenticationSpec> = resource("prod", "b", json!({"mtls": {"mode": "STRICT"}}));
        young.meta.creation_timestamp = Some("2026-02-01T00:00:00Z".into());
        old.meta.creation_timestamp = Some("2026-01-01T00:00:00Z".into());
        assert_eq!(inbound_mode(&[young, old], &workload(), 80), Mode::Strict);
    }

    #[test]
    fn the_most_specific_destination_rule_wins_and_none_means_automatic() {
        let mut notices = Notices::default();
        let wildcard = resource(
            "prod",
            "default",
            json!({"host": "*.prod.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}),
        );
        let own =
            resource("prod", "users", json!({"host": "users", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}));
        let mut tls = |rules: &[_], mode| outbound_tls(rules, ROOT_NAMESPACE, &workload(), mode, &mut notices);
        assert_eq!(tls(&[wildcard.clone(), own], Mode::Strict), ClientTlsMode::IstioMutual);
        assert_eq!(tls(&[wildcard], Mode::Strict), ClientTlsMode::Disable);
        assert_eq!(tls(&[], Mode::Permissive), ClientTlsMode::IstioMutual);
        assert_eq!(tls(&[], Mode::Disable), ClientTlsMode::Disable);
    }
}
