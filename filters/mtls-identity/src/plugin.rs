//! The glue between the policy and Envoy.

mod decisions;
mod expiry;

use host::{EncodedHeaders, Flow, Gauge, HostRequest, LocalReply, LogLevel, Plugin, Root};
use tollgate::{config::ConfigError, logfmt::Line, request::Direction};

use self::{decisions::Decisions, expiry::Expiry};
use crate::{
    certificates::Moment,
    config::{Config, HandOver, Mode},
    identity::{Caller, Evidence, Identification},
    policy::{Decision, Policy, Reason, Verdict},
};

host::export!(MtlsIdentity: on_request_headers);

const PERMISSION_DENIED: u8 = 7;

struct MtlsIdentity {
    identification: Identification,
    evidence: Evidence,
    policy: Policy,
    mode: Mode,
    check_outbound: bool,
    hand_over: Option<HandOver>,
    decisions: Decisions,
    expiry: Expiry,
    outbound_said: bool,
    info: Gauge,
}

impl Plugin for MtlsIdentity {
    type Stream = ();

    const NAME: &str = "mtls_identity";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        host::log_unreachable_rules(root, Self::NAME, config.warnings());
        Ok(Self {
            identification: Identification::new(&config),
            evidence: Evidence::default(),
            policy: Policy::new(&config),
            mode: config.mode,
            check_outbound: config.check_outbound,
            decisions: Decisions::new(&config.rules),
            expiry: Expiry::default(),
            outbound_said: false,
            info: host::config_info(root, Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
            hand_over: config.hand_over,
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<()>) {
        // The direction is asked for where it matters alone: it costs a look at the host.
        let checks_outbound = self.check_outbound;
        let is_unchecked = || !checks_outbound && Direction::of(request) == Direction::Outbound;
        if self.hand_over.is_some() && is_unchecked() {
            return (self.pass_outbound(), None);
        }
        let unix_seconds = i64::try_from(host::unix_seconds()).unwrap_or(i64::MAX);
        let now = Moment { monotonic: host::now(), unix_seconds };
        let mut caller = None;
        let Decision { mut verdict, shadowed } = self.policy.decide(request, || {
            let found = self.identification.caller(request, &mut self.evidence, now);
            caller = found.ok();
            found
        });
        let is_identified = caller.is_some();
        let passes = self.mode == Mode::Shadow || matches!(verdict, Verdict::Allowed(_));
        if passes && self.hand_over.as_ref().is_some_and(|hand_over| !tell(hand_over, caller, request)) {
            verdict = Verdict::Denied { rule: None, reason: Reason::HandOverFailed };
        }
        if matches!(verdict, Verdict::Denied { .. }) && is_unchecked() {
            return (self.pass_outbound(), None);
        }
        for (rule, outcome) in shadowed {
            self.decisions.count_shadowed(rule, outcome, request, now.monotonic);
        }
        if let Some(expiring) = self.evidence.take_expiring().filter(|_| is_identified) {
            self.expiry.say(&expiring);
        }
        (self.carry_out(verdict, request, now), None)
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    /// Without a configuration nobody is known to be welcome.
    fn on_unconfigured() -> Flow {
        reply()
    }
}

impl MtlsIdentity {
    fn carry_out(&mut self, verdict: Verdict, request: &HostRequest, now: Moment) -> Flow {
        match verdict {
            Verdict::Allowed(allowed) => {
                self.decisions.count_allowed(allowed);
                Flow::Continue
            }
            Verdict::Denied { rule, reason } => {
                self.decisions.count_denied(self.mode, rule, reason, request, now.monotonic);
                if self.mode == Mode::Shadow { Flow::Continue } else { reply() }
            }
        }
    }

    /// Requests on an outbound listener come from the proxy's own application, without a certificate.
    fn pass_outbound(&mut self) -> Flow {
        if !std::mem::replace(&mut self.outbound_said, true) {
            let line = Line::new("inactive", Self::NAME).field("reason", "outbound_listener");
            host::log(LogLevel::Warn, &line.field("cure", "checkOutbound"));
        }
        self.decisions.count_outbound();
        Flow::Continue
    }
}

/// Says who calls, where the configuration wants it said. False if what the client claims to be could not be taken out.
fn tell(hand_over: &HandOver, caller: Option<Caller<'_>>, request: &HostRequest) -> bool {
    let id = caller.map(|caller| caller.id.to_string());
    if hand_over.filter_state
        && let Some(id) = &id
    {
        host::set_property("tollgate_identity", id);
    }
    hand_over.header.as_ref().is_none_or(|header| request.replace_header(header.as_str(), id.as_deref()))
}

fn reply() -> Flow {
    let (body, headers) = (b"forbidden\n", &EncodedHeaders::default());
    LocalReply { status: 403, grpc_status: PERMISSION_DENIED, details: decisions::DENIED, body, headers }.send()
}
