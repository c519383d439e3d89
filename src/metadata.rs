//! Envoy's `Metadata` message, as the attributes `xds.cluster_metadata` and `xds.route_metadata` carry it.

use prost::Message;
use prost_types::value::Kind;

#[expect(unreachable_pub, reason = "generated from proto/metadata.proto")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/envoy.config.core.v3.rs"));
}

/// The host of the first service that Istio attached to a cluster, such as `posts.blog.svc.cluster.local`.
///
/// Istio puts it under `filter_metadata["istio"].services[0].host` of every cluster that stands for a service.
/// `None` for a cluster of another maker, and for bytes that are not a `Metadata` message.
#[must_use]
pub fn istio_service_host(cluster_metadata: &[u8]) -> Option<String> {
    let metadata = proto::Metadata::decode(cluster_metadata).ok()?;
    let services = metadata.filter_metadata.get("istio")?.fields.get("services")?;
    let Some(Kind::ListValue(services)) = &services.kind else {
        return None;
    };
    let Some(Kind::StructValue(service)) = &services.values.first()?.kind else {
        return None;
    };
    match &service.fields.get("host")?.kind {
        Some(Kind::StringValue(host)) if !host.is_empty() => Some(host.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{ListValue, Struct, Value};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn structure(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Struct {
        Struct {
            fields: fields.into_iter().map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) })).collect(),
        }
    }

    fn cluster_metadata(services: Kind) -> Vec<u8> {
        let istio = structure([("services", services)]);
        proto::Metadata { filter_metadata: [("istio".to_owned(), istio)].into() }.encode_to_vec()
    }

    fn list(values: Vec<Kind>) -> Kind {
        Kind::ListValue(ListValue { values: values.into_iter().map(|kind| Value { kind: Some(kind) }).collect() })
    }

    #[test]
    fn reads_the_first_service_host() {
        let service = structure([("host", Kind::StringValue("posts.blog.svc.cluster.local".into()))]);
        let bytes = cluster_metadata(list(vec![Kind::StructValue(service)]));
        assert_eq!(istio_service_host(&bytes).as_deref(), Some("posts.blog.svc.cluster.local"));
    }

    #[test]
    fn is_none_for_anything_else() {
        assert_eq!(istio_service_host(b""), None);
        assert_eq!(istio_service_host(b"\xff\xff\xff\xff\xff"), None);
        assert_eq!(istio_service_host(&cluster_metadata(list(vec![]))), None);
        assert_eq!(istio_service_host(&cluster_metadata(Kind::BoolValue(true))), None);
        assert_eq!(istio_service_host(&cluster_metadata(list(vec![Kind::NumberValue(1.0)]))), None);
    }
}
