//! Envoy's `Metadata` message, as the attributes `xds.cluster_metadata` and `xds.route_metadata` carry it.

use prost::Message;

#[expect(unreachable_pub, reason = "generated from proto/metadata.proto")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/tollgate.metadata.rs"));
}

use proto::{Metadata, Struct, Value};

/// The host of the first service that Istio attached to a cluster, such as `posts.blog.svc.cluster.local`.
///
/// Istio puts it under `filter_metadata["istio"].services[0].host` of every cluster that stands for a service.
/// `None` for a cluster of another maker, and for bytes that are not a `Metadata` message.
#[must_use]
pub fn istio_service_host(cluster_metadata: &[u8]) -> Option<String> {
    let metadata = Metadata::decode(cluster_metadata).ok()?;
    let istio = metadata.filter_metadata.into_iter().find(|entry| entry.key == "istio")?.value?;
    let service = field(istio, "services")?.list_value?.values.into_iter().next()?.struct_value?;
    Some(field(service, "host")?.string_value).filter(|host| !host.is_empty())
}

fn field(structure: Struct, key: &str) -> Option<Value> {
    structure.fields.into_iter().find(|entry| entry.key == key)?.value
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        proto::{FieldsEntry, FilterMetadataEntry, ListValue},
        *,
    };

    fn structure(key: &str, value: Value) -> Struct {
        Struct { fields: vec![FieldsEntry { key: key.to_owned(), value: Some(value) }] }
    }

    fn list(values: Vec<Value>) -> Value {
        Value { list_value: Some(ListValue { values }), ..Value::default() }
    }

    fn text(text: &str) -> Value {
        Value { string_value: text.to_owned(), ..Value::default() }
    }

    fn cluster_metadata(services: Value) -> Vec<u8> {
        let entry = |key: &str, value| FilterMetadataEntry { key: key.to_owned(), value: Some(value) };
        let other = structure("services", text("not Istio's"));
        Metadata { filter_metadata: vec![entry("other", other), entry("istio", structure("services", services))] }
            .encode_to_vec()
    }

    #[test]
    fn reads_the_first_service_host() {
        let host = structure("host", text("posts.blog.svc.cluster.local"));
        let bytes = cluster_metadata(list(vec![Value { struct_value: Some(host), ..Value::default() }]));
        assert_eq!(istio_service_host(&bytes).as_deref(), Some("posts.blog.svc.cluster.local"));
    }

    #[test]
    fn reads_what_protobufs_own_struct_looks_like() {
        // Metadata{filter_metadata{key: "istio", value: Struct{services: [Struct{port: 80.0, host: "h"}]}}}
        let port = b"\x0a\x11\x0a\x04port\x12\x09\x11\0\0\0\0\0\0\x54\x40";
        let host = b"\x0a\x0b\x0a\x04host\x12\x03\x1a\x01h";
        let service = [&b"\x2a\x20"[..], port, host].concat();
        let list = [&b"\x32\x24\x0a\x22"[..], &service].concat();
        let services = [&b"\x0a\x32\x0a\x08services\x12\x26"[..], &list].concat();
        let bytes = [&b"\x0a\x3d\x0a\x05istio\x12\x34"[..], &services].concat();
        assert_eq!(istio_service_host(&bytes).as_deref(), Some("h"));
    }

    #[test]
    fn is_none_for_anything_else() {
        assert_eq!(istio_service_host(b""), None);
        assert_eq!(istio_service_host(b"\xff\xff\xff\xff\xff"), None);
        for services in [list(vec![]), Value::default(), list(vec![text("x")])] {
            assert_eq!(istio_service_host(&cluster_metadata(services)), None);
        }
    }
}
