//! The OCI image of a Wasm module, as Istio's agent pulls it (`pkg/wasm/imagefetcher.go`).
//!
//! The same module, form and annotations always come to the same bytes: no clock, no user, no order of a map that
//! varies. Istio's agent takes three forms, of which these are two; the third, with Docker's media types, is what
//! [`ImageForm::Layer`] is in OCI's.

mod layer;
pub mod layout;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::args::image::{ImageArguments, ImageForm};
use crate::mesh::modules::hex;
use crate::problem::{Origin, Problem};

/// Media type of the manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAR_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// What the modules of this project are, for those who meet one in a registry.
const DESCRIPTIONS: [(&str, &str); 4] = [
    ("rate-limit", "Rate limits for Envoy and Istio, exact across a proxy's workers: a Proxy-Wasm filter"),
    ("rate-limit-response", "Rate limits for Envoy and Istio, called for responses too: a Proxy-Wasm filter"),
    (
        "mtls-identity",
        "Who may call, by the SPIFFE ID of the peer certificate: a Proxy-Wasm filter for Envoy and Istio",
    ),
    ("route-metrics", "Requests, errors and durations by route: a Proxy-Wasm filter for Envoy and Istio"),
];

/// Bytes that a registry keeps under their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub media_type: &'static str,
    /// `sha256:` and the hexadecimal digest of the bytes.
    pub digest: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Blob {
    fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { media_type, digest: format!("sha256:{}", hex(&Sha256::digest(&bytes))), bytes }
    }

    fn descriptor(&self, title: Option<&str>) -> serde_json::Value {
        let mut descriptor = json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() });
        if let (Some(title), Some(object)) = (title, descriptor.as_object_mut()) {
            object.insert("annotations".to_owned(), json!({ "org.opencontainers.image.title": title }));
        }
        descriptor
    }
}

/// A module as an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its manifest, whose digest is the image's.
    pub manifest: Blob,
    /// What the manifest names: the configuration and the layers.
    pub blobs: Vec<Blob>,
    /// Of the module itself, in hexadecimal: what a WasmPlugin with an http:// url has for `sha256`.
    pub module_sha256: String,
}

impl Image {
    /// Reads the module and packs it.
    pub fn of(arguments: &ImageArguments) -> Result<Self, Problem> {
        let path = &arguments.module;
        let origin = Origin::file(path.display().to_string());
        let module =
            std::fs::read(path).map_err(|error| Problem::at(&origin, "", format!("can't be read: {error}")))?;
        wasmparser::Validator::new()
            .validate_all(&module)
            .map_err(|error| Problem::at(&origin, "", format!("is not a valid Wasm module: {error}")))?;
        let annotations = annotations(path, &arguments.annotations);
        Self::pack(&module, arguments.form, &annotations)
            .map_err(|error| Problem::at(&origin, "", format!("can't be packed: {error}")))
    }

    /// Packs a module.
    pub fn pack(
        module: &[u8],
        form: ImageForm,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, std::io::Error> {
        let (config, layers) = match form {
            ImageForm::Layer => {
                let (tar, compressed) = layer::plugin(module)?;
                let config = json!({
                    "architecture": "wasm",
                    "os": "wasi",
                    "created": "1970-01-01T00:00:00Z",
                    "config": {},
                    "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&tar)))] },
                });
                let layer = Blob::new(TAR_LAYER, compressed);
                (Blob::new(IMAGE_CONFIG, config.to_string()), vec![(layer, None)])
            }
            ImageForm::Artifact => {
                let runtime = json!({ "type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {} });
                let runtime = Blob::new(WASM_CONFIG, runtime.to_string());
                let module = Blob::new(WASM_LAYER, module.to_vec());
                (runtime.clone(), vec![(runtime, Some("runtime-config.json")), (module, Some("plugin.wasm"))])
            }
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(None),
            "layers": layers.iter().map(|(blob, title)| blob.descriptor(*title)).collect::<Vec<_>>(),
            "annotations": annotations,
        });
        let mut blobs = vec![config];
        for (blob, _) in layers {
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        Ok(Self {
            manifest: Blob::new(MANIFEST, manifest.to_string()),
            blobs,
            module_sha256: hex(&Sha256::digest(module)),
        })
    }

    /// Its digest, with `sha256:` before it.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Its digest in hexadecimal: what a WasmPlugin with an oci:// url has for `sha256`.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.digest().strip_prefix("sha256:").unwrap_or_default()
    }

    /// Bytes of all that a registry has to keep.
    #[must_use]
    pub fn size(&self) -> u64 {
        let blobs = self.blobs.iter().chain([&self.manifest]);
        blobs.map(|blob| u64::try_from(blob.bytes.len()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    }
}

/// What is known of one of this project's modules, then what was asked for, which counts more.
fn annotations(module: &Path, asked: &[(String, String)]) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    let mut set = |key: &str, value: &str| {
        annotations.insert(format!("org.opencontainers.image.{key}"), value.to_owned());
    };
    let name = module.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if !name.is_empty() {
        set("title", name);
    }
    if let Some((_, description)) = DESCRIPTIONS.iter().find(|(known, _)| *known == name) {
        set("description", description);
        set("version", env!("CARGO_PKG_VERSION"));
        set("licenses", env!("CARGO_PKG_LICENSE"));
        set("vendor", "Tollgate");
        set("source", env!("CARGO_PKG_REPOSITORY"));
    }
    annotations.extend(asked.iter().cloned());
    annotations.retain(|_, value| !value.is_empty());
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn pack(form: ImageForm) -> Image {
        Image::pack(MODULE, form, &annotations(Path::new("dist/rate-limit.wasm"), &[])).unwrap()
    }

    #[test]
    fn the_same_module_comes_to_the_same_bytes() {
        for form in [ImageForm::Layer, ImageForm::Artifact] {
            assert_eq!(pack(form), pack(form));
        }
        assert_ne!(pack(ImageForm::Layer).digest(), pack(ImageForm::Artifact).digest());
    }

    #[test]
    fn a_layer_is_the_last_of_the_manifest_and_its_content_has_the_stated_digest() {
        let image = pack(ImageForm::Layer);
        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], TAR_LAYER);
        let blob = image.blobs.iter().find(|blob| layer["digest"] == blob.digest.as_str()).unwrap();
        assert_eq!(blob.digest, format!("sha256:{}", hex(&Sha256::digest(&blob.bytes))));
        assert_eq!(layer["size"], blob.bytes.len());
    }

    #[test]
    fn an_artifact_has_exactly_two_layers_and_the_module_as_it_is() {
        let image = pack(ImageForm::Artifact);
        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
        assert_eq!(manifest["layers"][1]["mediaType"], WASM_LAYER);
        assert!(image.blobs.iter().any(|blob| blob.media_type == WASM_LAYER && blob.bytes == MODULE));
    }

    #[test]
    fn what_is_asked_for_counts_more_than_what_is_known() {
        let asked = [
            ("org.opencontainers.image.source".to_owned(), "https://example.com/source".to_owned()),
            ("org.opencontainers.image.vendor".to_owned(), String::new()),
        ];
        let annotations = annotations(Path::new("dist/rate-limit.wasm"), &asked);
        assert_eq!(annotations["org.opencontainers.image.source"], "https://example.com/source");
        assert_eq!(annotations["org.opencontainers.image.licenses"], "Apache-2.0");
        assert!(!annotations.contains_key("org.opencontainers.image.vendor"), "{annotations:?}");
    }

    #[test]
    fn nothing_is_said_of_a_module_of_somebody_else_but_its_name() {
        let annotations = annotations(Path::new("other.wasm"), &[]);
        assert_eq!(
            annotations.into_iter().collect::<Vec<_>>(),
            [("org.opencontainers.image.title".into(), "other".into())]
        );
    }
}
