//! `tollgate package`: a module as an OCI image, without Docker and without a registry.

use serde_json::json;

use crate::args::ReportFormat;
use crate::args::image::PackageArguments;
use crate::image::{Image, layout};
use crate::output;
use crate::problem::Problems;

/// Writes the image and prints its digest.
pub fn package(arguments: &PackageArguments) -> Result<bool, Problems> {
    let image = Image::of(&arguments.image)?;
    if let Some(to) = &arguments.to {
        layout::write(&image, to)?;
    }
    match arguments.output {
        ReportFormat::Text => {
            output::line(image.digest());
            let place = arguments.to.as_ref().map_or_else(|| "not written".to_owned(), |to| to.display().to_string());
            output::aside(format!("{place}: {} bytes; the module's sha256 is {}", image.size(), image.module_sha256));
        }
        ReportFormat::Json => output::line(json!({
            "digest": image.digest(),
            "sha256": image.sha256(),
            "moduleSha256": image.module_sha256,
            "bytes": image.size(),
            "path": arguments.to,
        })),
    }
    Ok(true)
}
