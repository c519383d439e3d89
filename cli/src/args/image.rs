//! Arguments of `tollgate package` and `tollgate push`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ReportFormat;

/// The image that a module becomes.
#[derive(Debug, Clone, Args)]
pub struct ImageArguments {
    /// The Wasm module
    #[arg(value_name = "MODULE.wasm")]
    pub module: PathBuf,
    /// How the module lies in the image
    #[arg(long, value_enum, default_value = "layer")]
    pub form: ImageForm,
    /// Annotation of the image, in place of the one it would have; may be given several times. An empty value leaves it out
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = super::pair)]
    pub annotations: Vec<(String, String)>,
}

/// How a module lies in its image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ImageForm {
    /// One tar+gzip layer with plugin.wasm in it, as Istio's documentation builds it with docker
    #[default]
    Layer,
    /// Two layers of their own media types: the module, and a description of its runtime
    Artifact,
}

/// `tollgate package`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate package dist/rate-limit.wasm --to rate-limit.tar\n  \
                        tollgate package dist/rate-limit.wasm --to image/ && crane push image registry.example.com/rate-limit:1.0\n  \
                        tollgate package dist/rate-limit.wasm    (the digest alone, nothing is written)\n\n\
                        The digest goes to standard output. The same module, form, annotations and version of tollgate \
                        always come to the same bytes. No Docker is needed.")]
pub struct PackageArguments {
    #[command(flatten)]
    /// The image.
    pub image: ImageArguments,
    /// Where the OCI image layout is written: a directory, or a file that ends in .tar [default: nowhere]
    #[arg(long, value_name = "DIR|FILE.tar")]
    pub to: Option<PathBuf>,
    /// Form of the report
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

/// `tollgate push`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate push dist/rate-limit.wasm ghcr.io/example/rate-limit:1.0\n  \
                        tollgate push dist/rate-limit.wasm ghcr.io/example/rate-limit:1.0 --update istio/base\n  \
                        pass registry | tollgate push dist/rate-limit.wasm ghcr.io/example/rate-limit:1.0 \
                        --username ci --password-stdin\n\n\
                        The digest goes to standard output. Credentials are those of docker login and podman login, \
                        credential helpers included. Of a WasmPlugin with an oci:// url, sha256 is this digest; with an \
                        http:// url it is that of the module.")]
pub struct PushArguments {
    #[command(flatten)]
    /// The image.
    pub image: ImageArguments,
    /// Where it goes: REGISTRY/REPOSITORY:TAG, or @sha256:DIGEST in place of the tag when it must be this image
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// Directory whose WasmPlugins with this module get the new url and sha256; the rest of the files stays as it is
    #[arg(long, value_name = "DIR")]
    pub update: Option<PathBuf>,
    #[command(flatten)]
    /// How the registry is talked to.
    pub registry: RegistryArguments,
    /// Form of the report
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

/// How a registry is talked to.
#[derive(Debug, Clone, Args)]
pub struct RegistryArguments {
    /// User at the registry [default: what docker's or podman's configuration says]
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    pub username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Authority to trust besides the system's: a PEM file
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Take any certificate for the registry's: whoever is between reads the credentials
    #[arg(long)]
    pub insecure: bool,
    /// Speak HTTP without TLS: whoever is between reads the credentials
    #[arg(long, conflicts_with_all = ["insecure", "ca_cert"])]
    pub plain_http: bool,
    /// How often what fails for a moment is tried again
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
}
