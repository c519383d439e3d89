//! Which requests a descriptor is for: the route's, the virtual host's or the message's own `rate_limits` say.

use super::actions::{RateLimit, Selection};
use super::limiter::{Descriptor, Limiter, VirtualHostLimits};
use super::matching::Refusal;
use super::patch::{Level, Patch};
use super::place::Port;

/// A route's or a virtual host's `rate_limits`.
pub(super) struct Actions<'p, 'a> {
    pub(super) patch: &'p Patch<'a>,
    pub(super) entries: Vec<RateLimit<'a>>,
}

/// What a descriptor is for.
pub(super) struct Found {
    pub(super) selection: Selection,
    /// The entry of `rate_limits` that says so.
    pub(super) entry: String,
    /// Why that never applied.
    pub(super) dead: Option<String>,
}

/// The requests that produce a descriptor.
pub(super) fn select<'a>(
    descriptor: &Descriptor<'a>,
    limiter: &Limiter<'a>,
    patch: &Patch<'a>,
    actions: &[Actions<'_, 'a>],
) -> Result<Found, Refusal<'a>> {
    let own = limiter.actions.iter().map(|entry| (entry, None));
    let compatible = |actions: &&Actions<'_, 'a>| {
        let port = [actions.patch.port, patch.port];
        port.contains(&Port::Any) || actions.patch.port == patch.port
    };
    let of_level = |virtual_host: bool| {
        let wanted = move |actions: &&Actions<'_, 'a>| (actions.patch.level == Level::VirtualHost) == virtual_host;
        actions.iter().filter(compatible).filter(wanted).collect::<Vec<_>>()
    };
    let routes = of_level(false);
    let hosts = match limiter.virtual_host_limits {
        VirtualHostLimits::Ignore => Vec::new(),
        VirtualHostLimits::Override if !routes.is_empty() => Vec::new(),
        _ => of_level(true),
    };
    let outer = routes.iter().chain(&hosts).flat_map(|actions| {
        let of_stage = actions.entries.iter().filter(|entry| entry.stage == limiter.stage);
        of_stage.map(|entry| (entry, Some(actions.patch)))
    });
    let candidates: Vec<_> = if limiter.actions.is_empty() { outer.collect() } else { own.collect() };
    for (entry, from) in candidates {
        let Some(selection) = entry.select(&descriptor.entries) else { continue };
        let mut selection = selection?;
        let at = &descriptor.field;
        for conditions in from.map(|from| &from.conditions).into_iter().chain([&patch.conditions]) {
            selection.conditions = selection.conditions.and(conditions, at)?;
        }
        if let Some(Port::Service(port) | Port::Pod(port)) =
            from.map(|from| from.port).filter(|_| patch.port == Port::Any)
        {
            let remark = format!("the rate_limits were for port {port} alone, and the rule is for every port");
            selection.conditions.remarks.push(remark);
        }
        return Ok(Found { selection, entry: entry.field.path.clone(), dead: from.and_then(|from| from.dead.clone()) });
    }
    let keys: Vec<_> = descriptor.entries.iter().map(|(key, _)| *key).collect();
    Err((
        descriptor.field.clone(),
        format!(
            "no rate_limits of stage {} in this resource produce the entries {}, so nothing says which requests it is \
             for; without them Envoy never uses it",
            limiter.stage,
            keys.join(", ")
        ),
        "put the HTTP_ROUTE or VIRTUAL_HOST patch with the rate_limits into the same EnvoyFilter, or take the descriptor out",
    ))
}
