//! `tollgate push`: a module as an OCI image to a registry, and its digest into the manifests that name it.
//!
//! The digest is known before anything is sent, so whatever can go wrong with the manifests does so first.

mod credentials;
mod manifests;
mod registry;

use oci_client::Reference;
use serde_json::json;

use crate::args::ReportFormat;
use crate::args::image::PushArguments;
use crate::image::Image;
use crate::output;
use crate::problem::{Problem, Problems};
use credentials::Credentials;
use registry::Registry;

/// Pushes the image and prints its digest.
pub fn push(arguments: &PushArguments) -> Result<bool, Problems> {
    let image = Image::of(&arguments.image)?;
    let reference = reference(&arguments.reference, &image)?;
    let url = format!("oci://{}", reference.whole());
    let edits = match &arguments.update {
        Some(directory) => manifests::plan(directory, &url, image.sha256())?,
        None => Vec::new(),
    };
    let credentials = Credentials::find(reference.resolve_registry(), &arguments.registry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("can't start: {error}")))?;
    let sent = runtime.block_on(async {
        let registry = Registry::new(reference, &arguments.registry, credentials)?;
        registry.push(&image).await
    })?;
    for edit in &edits {
        edit.write()?;
    }
    match arguments.output {
        ReportFormat::Text => {
            output::line(image.digest());
            output::aside(format!("{url}: {sent} of {} bytes sent, the rest was there", image.size()));
            for edit in &edits {
                output::aside(format!("{}: url and sha256 of {}", edit.path().display(), edit.resources().join(", ")));
            }
        }
        ReportFormat::Json => output::line(json!({
            "url": url,
            "digest": image.digest(),
            "sha256": image.sha256(),
            "moduleSha256": image.module_sha256,
            "bytes": image.size(),
            "bytesSent": sent,
            "updated": edits.iter().map(|edit| json!({
                "file": edit.path(),
                "resources": edit.resources(),
            })).collect::<Vec<_>>(),
        })),
    }
    Ok(true)
}

/// What was asked for, as long as it says which image that is.
fn reference(text: &str, image: &Image) -> Result<Reference, Problem> {
    let wrong = |reason: String| Problem::new(format!("{text}: {reason}"));
    let name = text.strip_prefix("oci://").unwrap_or(text);
    let reference: Reference = name.parse().map_err(|error| {
        wrong(format!("is no reference to an image: {error}")).cure("write REGISTRY/REPOSITORY:TAG")
    })?;
    if let Some(digest) = reference.digest() {
        return if digest == image.digest() {
            Ok(reference)
        } else {
            Err(wrong(format!("the module comes to another digest: {}", image.digest()))
                .cure("leave the digest out and name a tag, or look for what has changed in the module"))
        };
    }
    // The parser fills in `latest`, which a manifest can't pin and a proxy asks for anew each time.
    let says_tag = name.rsplit_once('/').map_or(name, |(_, last)| last).contains(':');
    if says_tag { Ok(reference) } else { Err(wrong("has no tag".to_owned()).cure(format!("name one: {text}:1.0.0"))) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::args::image::ImageForm;

    fn image() -> Image {
        Image::pack(b"\0asm\x01\0\0\0", ImageForm::Layer, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_reference_needs_a_tag_or_the_digest_that_the_module_has() {
        let image = image();
        let by_digest = format!("127.0.0.1:5000/a@{}", image.digest());
        for fine in ["127.0.0.1:5000/a:1", "oci://ghcr.io/a/b:1", by_digest.as_str()] {
            assert!(reference(fine, &image).is_ok(), "{fine}");
        }
        let other = format!("ghcr.io/a@sha256:{}", "0".repeat(64));
        for (wrong, reason) in
            [("127.0.0.1:5000/a", "has no tag"), (other.as_str(), "another digest"), ("ghcr.io/A:1", "no reference")]
        {
            let error = reference(wrong, &image).unwrap_err().to_string();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }
}
