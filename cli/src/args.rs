//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Tollgate on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    about = "Rate limits, caller identity and route metrics for Envoy and Istio: try, check and show them here",
    after_help = "Exit codes: 0 fine, 1 something is wrong with what it was given, 2 wrong usage."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the mesh's resources in a local Envoy, and follow their edits
    Run(RunArguments),
    /// Print the Envoy bootstrap that the resources come to
    Render(RenderArguments),
    /// Check the resources and the filters' configurations
    Validate(ValidateArguments),
    /// Turn EnvoyFilters with a local rate limit into WasmPlugins, and account for every field
    Convert(ConvertArguments),
    /// Show and check what a Wasm module imports and exports
    Inspect(InspectArguments),
    /// Start everything, call it as friend and foe, and show what was let through
    Demo(DemoArguments),
    /// Print a completion script for a shell
    #[command(after_help = "Example: tollgate completions bash > ~/.local/share/bash-completion/completions/tollgate")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Become Envoy, but end with the parent process
    #[command(hide = true)]
    ExecEnvoy {
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

/// Where resources come from.
#[derive(Debug, Clone, Default, Args)]
pub struct InputArguments {
    /// File, directory or kustomization to read, or - for standard input; may be given several times
    /// [default: istio/overlays/local]
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
}

/// How resources become a mesh.
#[derive(Debug, Clone, Args)]
pub struct MeshArguments {
    #[command(flatten)]
    /// Where resources come from.
    pub input: InputArguments,
    /// The application behind a service, in place of an echo server: users=127.0.0.1:8080
    #[arg(long = "upstream", value_name = "HOST=ADDR", value_parser = upstream)]
    pub upstreams: Vec<(String, String)>,
    /// Address of the first listener; the others follow on the next ports. Port 0 takes free ports everywhere
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000")]
    pub listen: SocketAddr,
    /// Envoy's worker threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Directory of the modules that WasmPlugins name by registry
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub modules: PathBuf,
    /// Have Envoy write one JSON line for each request
    #[arg(long)]
    pub access_log: bool,
}

/// `tollgate render`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tollgate render -f istio/overlays/local > envoy.yaml && envoy -c envoy.yaml\n  \
                        kustomize build istio/overlays/local | tollgate render -f - -o json\n\n\
                        The output stands alone: certificates are in it, keys too. Applications without --upstream \
                        are expected 100 ports above the first listener.")]
pub struct RenderArguments {
    #[command(flatten)]
    /// How resources become a mesh.
    pub mesh: MeshArguments,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DocumentFormat,
}

/// Forms of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

/// Forms of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// `tollgate run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tollgate run\n  \
                        tollgate run -f limit.yaml --upstream users=127.0.0.1:8080 --listen 127.0.0.1:0\n  \
                        kustomize build istio/overlays/local | tollgate run -f -\n\n\
                        Edits of the files take effect without a restart; a broken edit changes nothing and is named. \
                        Ctrl-C ends Envoy, the echo servers and the certificates.")]
pub struct RunArguments {
    #[command(flatten)]
    /// How resources become a mesh.
    pub mesh: MeshArguments,
    #[command(flatten)]
    /// How Envoy is run.
    pub envoy: EnvoyArguments,
    /// Directory for certificates, configuration and logs, kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Form of the output; json prints one object a line, the first when all is ready
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

/// How Envoy is run.
#[derive(Debug, Clone, Default, Args)]
pub struct EnvoyArguments {
    /// The Envoy to run [default: $ENVOY_BIN, else envoy on PATH, else the one that make installed]
    #[arg(long, value_name = "PATH")]
    pub envoy: Option<PathBuf>,
    /// Show what the Wasm filters log
    #[arg(short, long)]
    pub verbose: bool,
    /// Show all that Envoy logs from this level on
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub envoy_log: Option<LogLevel>,
}

/// Envoy's log levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// Everything
    Trace,
    /// Very much
    Debug,
    /// What it does
    Info,
    /// What it could not do
    #[value(alias = "warn")]
    Warning,
    /// What went wrong
    Error,
}

impl LogLevel {
    /// As Envoy spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// `tollgate validate`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tollgate validate\n  tollgate validate -f limit.yaml -o json\n\n\
                        pluginConfig is read by the filters' own parsers: what passes here, they take.")]
pub struct ValidateArguments {
    #[command(flatten)]
    /// Where resources come from.
    pub input: InputArguments,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

/// `tollgate convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate convert -f envoy-filter.yaml > rate-limit.yaml\n  \
                        tollgate convert -f envoy-filter.yaml -f deployments/ -f services/   (checks labels and ports)\n  \
                        kubectl get envoyfilters,deployments,services -A -o yaml | tollgate convert\n  \
                        tollgate convert -f envoy-filter.yaml -o json | jq '.notes[] | select(.attention)'\n\n\
                        Standard output has the WasmPlugins, standard error what became of every field: carried over, \
                        dropped, or to be looked at. What did nothing before (0 % enabled, a patch that matches \
                        nothing) comes out in shadow mode. An EnvoyFilter of which something can't be carried over is \
                        refused whole.")]
pub struct ConvertArguments {
    /// File, directory or kustomization to read, or - for standard input; may be given several times [default: -]
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// Form of the output; json has resources, notes and problems in one object
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DocumentFormat,
}

/// `tollgate inspect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tollgate inspect dist/rate-limit.wasm\n  \
                        tollgate inspect dist/*.wasm --max-bytes 153600 \
                        --callbacks proxy_on_context_create,proxy_on_request_headers")]
pub struct InspectArguments {
    /// The modules
    #[arg(required = true, value_name = "FILE.wasm")]
    pub modules: Vec<PathBuf>,
    /// Largest size that passes
    #[arg(long, value_name = "N")]
    pub max_bytes: Option<u64>,
    /// Exactly the proxy_on_* callbacks that a module must export, proxy_on_memory_allocate aside
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub callbacks: Option<Vec<String>>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
}

/// `tollgate demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    #[command(flatten)]
    /// Where resources come from.
    pub input: InputArguments,
    #[command(flatten)]
    /// How Envoy is run.
    pub envoy: EnvoyArguments,
    /// Envoy's worker threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Directory of the modules
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub modules: PathBuf,
}

fn upstream(text: &str) -> Result<(String, String), String> {
    let (host, address) = text.split_once('=').ok_or("expected HOST=ADDR, such as users=127.0.0.1:8080")?;
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)) {
        return Err(format!("{host:?} is not the name of a service"));
    }
    if !crate::envoy::is_endpoint(address) {
        return Err(format!("{address:?} is not HOST:PORT"));
    }
    Ok((host.to_owned(), address.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn upstreams_are_a_service_and_an_address() {
        assert_eq!(upstream("users=127.0.0.1:80"), Ok(("users".into(), "127.0.0.1:80".into())));
        assert!(upstream("users=[::1]:80").is_ok());
        for wrong in ["users", "users=x", "users=:80", "=a:1", "users=a:0", "users=a:99999"] {
            assert!(upstream(wrong).is_err(), "{wrong}");
        }
    }
}
