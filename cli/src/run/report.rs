//! What `run` tells: a table and plain lines for people, one JSON object a line for programs.

use serde_json::{Value, json};

use super::is_json;
use super::session::{Outcome, Session};
use crate::args::ReportFormat;
use crate::mesh::gateway::GatewayTls;
use crate::mesh::workload::ServiceAccount;
use crate::mesh::{Mesh, stranger};
use crate::output::{self, BAD, DOUBTFUL, FAINT, GOOD, STRONG, styled};
use crate::problem::{Notices, Problem, Severity};
use crate::resources::security::Mode;

/// Tells in one of the two forms.
pub(super) struct Reporter {
    format: ReportFormat,
}

impl Reporter {
    pub(super) fn new(format: ReportFormat) -> Self {
        Self { format }
    }

    /// All is up.
    pub(super) fn ready(&self, session: &Session, mesh: &Mesh, notices: &Notices) {
        if is_json(self.format) {
            output::line(ready_object(session, mesh, notices));
            return;
        }
        output::notices(notices.iter());
        output::line(format!("\n{}", listeners_table(session, mesh)));
        output::line(format!("\n  Envoy   {} with {} workers", session.binary().display(), session.workers()));
        output::line(format!("  admin   http://{}", session.admin().address));
        output::line(format!("  state   {}", session.state().display()));
        if let Some(curl) = curl(session, mesh) {
            output::line(format!("\n  Try it:\n  {}", styled(STRONG, curl)));
        }
        output::line(format!("\n  {}", styled(FAINT, "Edits of the files take effect at once. Ctrl-C ends it.")));
    }

    /// What Envoy made of an edit.
    pub(super) fn outcomes(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let (event, what, reason) = match outcome {
                Outcome::InForce(what) => ("inForce", what.as_str(), None),
                Outcome::Refused(what, reason) => ("refused", what.as_str(), Some(reason)),
                Outcome::Unchanged => ("unchanged", "", None),
            };
            if is_json(self.format) {
                output::line(json!({"event": event, "what": what, "reason": reason}));
                continue;
            }
            match outcome {
                Outcome::InForce(what) => output::line(format!("{} {what}", styled(GOOD, "in force:"))),
                Outcome::Refused(what, reason) => {
                    output::line(format!("{} {what}: {reason}", styled(BAD, "Envoy refused")));
                    output::line("  the former configuration stays in force");
                }
                Outcome::Unchanged => output::line(styled(FAINT, "edited, with nothing changed for Envoy")),
            }
        }
        let listeners = outcomes.iter().any(|o| matches!(o, Outcome::InForce(what) if what.starts_with("listener ")));
        if listeners {
            self.aside("connections that were open may serve one more request by the former chain of filters");
        }
    }

    /// An edit that did not get as far as Envoy.
    pub(super) fn refused(&self, problems: &[Problem]) {
        if is_json(self.format) {
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            output::line(json!({"event": "invalid", "problems": texts}));
            return;
        }
        output::problems(problems);
        output::aside(styled(DOUBTFUL, "the former configuration stays in force"));
    }

    /// Notices that the former version did not have.
    pub(super) fn news(&self, notices: &Notices, before: &Notices) {
        let news = notices.news(before);
        if is_json(self.format) {
            for notice in news {
                output::line(json!({"event": notice.severity, "text": notice.text}));
            }
        } else {
            output::notices(news);
        }
    }

    pub(super) fn aside(&self, text: &str) {
        output::aside(styled(FAINT, text));
    }
}

fn listeners_table(session: &Session, mesh: &Mesh) -> String {
    let address = |key: &str| session.address(key).map(|address| address.to_string()).unwrap_or_default();
    let mut rows = Vec::new();
    for gateway in &mesh.gateways {
        let filters = names(&gateway.plugins);
        rows.push(vec![gateway.key(), address(&gateway.key()), gateway.tls.as_str().to_owned(), filters.join(", ")]);
    }
    for inbound in &mesh.inbound {
        let filters = names(&inbound.plugins);
        rows.push(vec![
            inbound.key(),
            address(&inbound.key()),
            inbound.mode.as_str().to_owned(),
            if filters.is_empty() { "-".into() } else { filters.join(", ") },
        ]);
    }
    output::table(&["listener", "address", "mTLS", "filters, in order"], &rows)
}

fn names(plugins: &[std::sync::Arc<crate::mesh::plugins::Plugin>]) -> Vec<String> {
    plugins.iter().map(|plugin| plugin.id()).collect()
}

/// One object with all that a program needs to call what runs.
fn ready_object(session: &Session, mesh: &Mesh, notices: &Notices) -> Value {
    let mut listeners = Vec::new();
    for gateway in &mesh.gateways {
        listeners.push(json!({
            "kind": "gateway",
            "key": gateway.key(),
            "gateway": gateway.gateway,
            "port": gateway.port,
            "address": session.address(&gateway.key()),
            "tls": gateway.tls.as_str(),
            "filters": names(&gateway.plugins),
            "principal": gateway.identity.spiffe_id(),
            "hosts": gateway.hosts.keys().collect::<Vec<_>>(),
        }));
    }
    for inbound in &mesh.inbound {
        let key = inbound.key();
        listeners.push(json!({
            "kind": "workload",
            "key": key,
            "namespace": inbound.workload.namespace,
            "workload": inbound.workload.name,
            "port": inbound.port.target,
            "address": session.address(&key),
            "mtls": inbound.mode.as_str(),
            "filters": names(&inbound.plugins),
            "principal": inbound.workload.identity().spiffe_id(),
            "upstream": session.upstream(&key),
            "echo": inbound.upstream.is_none(),
        }));
    }
    let certificates = session.certificates();
    let clients: Vec<Value> = certificates
        .accounts()
        .filter_map(|account| {
            let files = certificates.files(account)?;
            Some(json!({
                "namespace": account.namespace,
                "serviceAccount": account.name,
                "principal": account.spiffe_id(),
                "certificate": files.certificate,
                "key": files.key,
            }))
        })
        .collect();
    json!({
        "event": "ready",
        "admin": format!("http://{}", session.admin().address),
        "envoy": {"path": session.binary(), "pid": session.envoy_id()},
        "workers": session.workers(),
        "listeners": listeners,
        "certificates": {"ca": certificates.authority_file(), "clients": clients},
        "state": session.state(),
        "warnings": notices.texts(Severity::Warning),
        "notes": notices.texts(Severity::Note),
    })
}

/// A line to paste: the workload with the most filters, called by somebody of its namespace.
fn curl(session: &Session, mesh: &Mesh) -> Option<String> {
    let inbound = mesh.inbound.iter().rev().max_by_key(|inbound| inbound.plugins.len());
    let Some(inbound) = inbound else {
        let gateway = mesh.gateways.iter().find(|gateway| gateway.tls == GatewayTls::None)?;
        return Some(format!("curl -i http://{}/", session.address(&gateway.key())?));
    };
    let address = session.address(&inbound.key())?;
    if inbound.mode == Mode::Disable {
        return Some(format!("curl -i http://{address}/"));
    }
    let of = |name: &str| ServiceAccount::new(&inbound.workload.namespace, name);
    let gateway = of("api-gateway");
    let known = |account: &ServiceAccount| session.certificates().leaf(account).is_some();
    let caller = if known(&gateway) { gateway } else { of("load-generator") };
    let caller = if known(&caller) { caller } else { stranger() };
    let files = session.certificates().files(&caller)?;
    // -k: curl looks for a host name in the certificate, and a workload's has a SPIFFE ID.
    Some(format!("curl -ik --cert {} --key {} https://{address}/", files.certificate.display(), files.key.display()))
}
