//! Clusters from the gateways to the workloads' inbound listeners.

use super::{Configuration, Settings, cluster, service_metadata, set, tls};
use crate::mesh::gateway::GatewayListener;
use crate::mesh::workload::Protocol;
use crate::mesh::{Inbound, Mesh};
use crate::problem::Problem;
use crate::resources::networking::ClientTlsMode;

/// A cluster for each workload that the gateway routes to, with the TLS that its DestinationRule asks for.
pub(super) fn clusters(
    gateway: &GatewayListener,
    mesh: &Mesh,
    settings: &Settings<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    for (key, mode) in &gateway.clusters {
        let Some(inbound) = mesh.inbound.iter().find(|inbound| inbound.key() == *key) else { continue };
        let address = settings.addresses.get(key).ok_or_else(|| Problem::new(format!("{key} has no address")))?;
        let name = cluster_name(inbound);
        let mut cluster = cluster(&name, &address.to_string(), inbound.port.protocol == Protocol::Http2);
        set(&mut cluster, "metadata", service_metadata(&inbound.workload));
        if *mode == ClientTlsMode::IstioMutual {
            let sni = format!("outbound_.{}_._.{}", inbound.port.number, inbound.workload.host());
            let server = inbound.workload.identity();
            set(&mut cluster, "transport_socket", tls::upstream(&gateway.identity, &server, &sni, settings)?);
        }
        // Gateways with different identities would each have this cluster in an Envoy of their own.
        let taken = configuration.clusters.get(&name).is_some_and(|known| *known != cluster);
        if taken {
            return Err(Problem::new(format!("two gateways with different identities route to {key}"))
                .cure("run them one at a time: give -f only one of the Gateways"));
        }
        configuration.clusters.insert(name, cluster);
    }
    Ok(())
}

/// Istio's name for it.
pub(super) fn cluster_name(inbound: &Inbound) -> String {
    format!("outbound|{}||{}", inbound.port.number, inbound.workload.host())
}
