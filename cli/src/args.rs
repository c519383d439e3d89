//! The command line.

pub mod doctor;
pub mod image;

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
    /// Say what the filters would do with one request, rule by rule, and why
    Explain(ExplainArguments),
    /// Say whether it is really enforced: a cluster's plugins, proxy by proxy, or one proxy's
    Doctor(doctor::DoctorArguments),
    /// Turn EnvoyFilters and AuthorizationPolicies into WasmPlugins, and account for every field
    Convert(ConvertArguments),
    /// Print what a filter's pluginConfig may hold, as JSON Schema or for people
    Schema(SchemaArguments),
    /// Show and check what a Wasm module imports and exports
    Inspect(InspectArguments),
    /// Pack a Wasm module as the OCI image that a WasmPlugin names, without Docker
    Package(image::PackageArguments),
    /// Push a Wasm module to a registry, and write its digest into the manifests
    Push(image::PushArguments),
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

/// `tollgate explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate explain -f limit.yaml -X POST -H 'x-api-key: abc' https://api.example.com/login\n  \
                        tollgate explain --workload prod/users --principal cluster.local/ns/prod/sa/blog /users/7\n  \
                        tollgate explain -f limit.yaml -- curl -X POST https://api.example.com/login -d user=me\n  \
                        tollgate explain -f limit.yaml -o json /login | jq '.plugins[].rateLimit.charged[].rule'\n\n\
                        The filters' own code decides, with full buckets: nothing is counted, and no proxy is asked. \
                        What is not said of the request (--principal, --source, --jwt-claim) it does not have.")]
pub struct ExplainArguments {
    #[command(flatten)]
    /// Where resources come from.
    pub input: InputArguments,
    /// Only this WasmPlugin, by its name or namespace/name
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Only the WasmPlugins of this workload, in the order in which a request meets them [default: all that were read]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub workload: Option<String>,
    /// Method of the request [default: GET]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub method: Option<String>,
    /// Header of the request, such as 'x-api-key: abc'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// SPIFFE ID of the caller's certificate, with or without spiffe://
    #[arg(long, value_name = "SPIFFE_ID", value_parser = principal)]
    pub principal: Option<String>,
    /// Address that the connection comes from, with or without a port
    #[arg(long, value_name = "ADDR", value_parser = source)]
    pub source: Option<SocketAddr>,
    /// Claim of a verified token, such as sub=alice; may be given several times
    #[arg(long = "jwt-claim", value_name = "NAME=VALUE", value_parser = pair)]
    pub claims: Vec<(String, String)>,
    /// Attribute of Envoy's by its path, such as connection.requested_server_name=a.example.com; may be given several
    /// times
    #[arg(long = "attribute", value_name = "PATH=VALUE", value_parser = pair)]
    pub attributes: Vec<(String, String)>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
    /// The request's URL, or its path alone
    #[arg(value_name = "URL", required_unless_present = "curl")]
    pub url: Option<String>,
    /// A curl command, in place of the URL
    #[arg(last = true, value_name = "curl ...", conflicts_with = "url")]
    pub curl: Vec<String>,
}

/// `tollgate convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate convert -f envoy-filter.yaml > rate-limit.yaml\n  \
                        tollgate convert -f envoy-filter.yaml -f deployments/ -f services/   (checks labels and ports)\n  \
                        tollgate convert -f policies/ -f deployments/ > mtls-identity.yaml\n  \
                        kubectl get authorizationpolicies,deployments,gateways -A -o yaml | tollgate convert\n  \
                        tollgate convert -f policies/ -o json | jq '.notes[] | select(.difference)'\n\n\
                        Standard output has the WasmPlugins, standard error what became of every field: carried over, \
                        dropped, different on purpose, or to be looked at. A resource of which something can't be \
                        carried over is refused whole, with the place and what to do.\n\n\
                        EnvoyFilters with a local rate limit become rate-limit. What did nothing before (0 % enabled, a \
                        patch that matches nothing) comes out in shadow mode.\n\n\
                        AuthorizationPolicies become mtls-identity: one WasmPlugin for the policies of a selector, or of a \
                        workload where several ALLOW policies meet, which takes the Deployments to know. It allows what \
                        Istio allows or less, and takes other spellings of a request for the same; codes in parentheses say \
                        in what it differs, and docs/convert.md has them all. CUSTOM stays with Istio. Apply the WasmPlugins, watch tollgate_identity_total, and delete the \
                        policies then: while both are there, both must allow.")]
pub struct ConvertArguments {
    /// File, directory or kustomization to read, or - for standard input; may be given several times [default: -]
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// The mesh's trust domain, and then each of its aliases; may be given several times [default: cluster.local]
    #[arg(long = "trust-domain", value_name = "NAME", value_parser = trust_domain)]
    pub trust_domains: Vec<String>,
    /// numTrustedProxies of the gateways, for remoteIpBlocks there
    #[arg(long = "trusted-proxies", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=31))]
    pub trusted_proxies: u8,
    /// Form of the output; json has resources, notes and problems in one object
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DocumentFormat,
}

/// `tollgate schema`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
                        tollgate schema rate-limit > rate-limit.schema.json\n  \
                        tollgate schema rate-limit -o markdown | less\n\n\
                        The schema is of the pluginConfig alone, not of the WasmPlugin around it. It knows the form; \
                        what must fit together (names that are there once, costs that a limit can admit) `tollgate \
                        validate` checks.")]
pub struct SchemaArguments {
    /// The filter [default: all of them, in one object by name]
    #[arg(value_enum)]
    pub filter: Option<crate::schema::Filter>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "json")]
    pub output: SchemaFormat,
}

/// Forms of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// JSON Schema, draft 2020-12
    Json,
    /// Tables for people
    Markdown,
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

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE, such as 'x-api-key: abc'")?;
    Ok((tollgate::route::header_name(name.trim())?, value.trim().to_owned()))
}

fn principal(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("spiffe://").unwrap_or(text);
    tollgate::spiffe::SpiffeId::parse_schemeless(id).map_err(|error| error.to_string())?;
    Ok(format!("spiffe://{id}"))
}

fn trust_domain(text: &str) -> Result<String, String> {
    tollgate::spiffe::SpiffeId::parse_schemeless(&format!("{text}/x")).map_err(|error| error.to_string())?;
    // What a slash would make another path of.
    if text.contains('/') { Err("a trust domain has no `/`".to_owned()) } else { Ok(text.to_owned()) }
}

fn source(text: &str) -> Result<SocketAddr, String> {
    // Whatever client port will do but 0, which Envoy keeps for addresses that are only said.
    let with_port = text.parse().or_else(|_| text.parse().map(|address| SocketAddr::new(address, 40_000)));
    with_port.map_err(|_| "expected an address, such as 203.0.113.7 or [2001:db8::1]:40000".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
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
