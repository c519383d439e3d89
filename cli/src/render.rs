//! `tollgate render`: the bootstrap that the resources come to, complete in one document.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::args::{DocumentFormat, RenderArguments};
use crate::certificates::Certificates;
use crate::envoy::{Configuration, Delivery, Settings, bootstrap};
use crate::input::Inputs;
use crate::mesh::Mesh;
use crate::output;
use crate::plan::{Plan, options, plan};
use crate::problem::{Notices, Problem, Problems};

/// Prints the bootstrap.
pub fn render(arguments: &RenderArguments) -> Result<bool, Problems> {
    let inputs = Inputs::open(&arguments.mesh.input.files)?;
    let Plan { mesh, mut notices, .. } = plan(&inputs, &options(&arguments.mesh)?)?;
    let mut certificates = Certificates::inline()?;
    certificates.issue(&mesh.identities)?;
    let document = document(&mesh, arguments, &certificates, &mut notices)?;
    output::notices(notices.iter());
    let text = match arguments.output {
        DocumentFormat::Json => serde_json::to_string_pretty(&document).map_err(|error| unprintable(&error))? + "\n",
        DocumentFormat::Yaml => serde_saphyr::to_string(&document).map_err(|error| unprintable(&error))?,
    };
    output::write(&text);
    Ok(true)
}

/// The bootstrap as a value.
pub fn document(
    mesh: &Mesh,
    arguments: &RenderArguments,
    certificates: &Certificates,
    notices: &mut Notices,
) -> Result<serde_json::Value, Problems> {
    let listen = arguments.mesh.listen;
    let offset = |by: usize| -> Result<SocketAddr, Problem> {
        let port = u16::try_from(by).ok().and_then(|by| listen.port().checked_add(by)).filter(|_| listen.port() > 0);
        let port = port.ok_or_else(|| {
            Problem::new(format!("--listen {listen}: a rendered bootstrap needs fixed ports, and there are too few"))
                .cure("name a port between 1 and 65000")
        })?;
        Ok(SocketAddr::new(listen.ip(), port))
    };
    let mut addresses = BTreeMap::new();
    for (index, key) in mesh.listener_keys().into_iter().enumerate() {
        addresses.insert(key, offset(index)?);
    }
    let mut upstreams = BTreeMap::new();
    for (index, inbound) in mesh.inbound.iter().enumerate() {
        let address = match &inbound.upstream {
            Some(address) => address.clone(),
            None => {
                let address = format!("127.0.0.1:{}", offset(index.saturating_add(100))?.port());
                notices.warn(format!("{} has no --upstream: its application is expected at {address}", inbound.key()));
                address
            }
        };
        upstreams.insert(inbound.key(), address);
    }
    notices.note("the bootstrap holds private keys of a throw-away authority");
    notices.note(format!("run it with: envoy -c FILE --concurrency {}", arguments.mesh.workers));
    let settings = Settings {
        addresses: &addresses,
        upstreams: &upstreams,
        certificates,
        delivery: Delivery::Inline,
        access_log: arguments.mesh.access_log,
    };
    let configuration = Configuration::of(mesh, &settings, notices)?;
    // Where Istio's sidecars have theirs.
    let admin = SocketAddr::from(([127, 0, 0, 1], 15000));
    Ok(bootstrap::standalone(mesh, &configuration, admin))
}

fn unprintable(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(format!("can't print the bootstrap: {error}"))
}
