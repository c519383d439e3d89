//! `tollgate schema`: what a filter's `pluginConfig` may hold, generated from the types that its parser fills.

mod reference;

use clap::ValueEnum as _;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::args::{SchemaArguments, SchemaFormat};
use crate::output;
use crate::problem::{Problem, Problems};

/// One of Tollgate's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Filter {
    /// Token buckets
    RateLimit,
    /// Who may call
    MtlsIdentity,
    /// Golden signals by route
    RouteMetrics,
}

impl Filter {
    /// The filter whose module this is the name of, with or without what it has of build variants.
    #[must_use]
    pub fn of_module(name: &str) -> Option<Self> {
        match name {
            "rate-limit" | "rate-limit-response" => Some(Self::RateLimit),
            "mtls-identity" => Some(Self::MtlsIdentity),
            "route-metrics" => Some(Self::RouteMetrics),
            _ => None,
        }
    }

    /// As modules, images and documents spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::MtlsIdentity => "mtls-identity",
            Self::RouteMetrics => "route-metrics",
        }
    }

    /// The JSON Schema of its `pluginConfig`, draft 2020-12.
    #[must_use]
    pub fn schema(self) -> Value {
        let generator = SchemaSettings::draft2020_12().into_generator();
        let schema = match self {
            Self::RateLimit => generator.into_root_schema_for::<rate_limit::config::Config>(),
            Self::MtlsIdentity => generator.into_root_schema_for::<mtls_identity::config::Config>(),
            Self::RouteMetrics => generator.into_root_schema_for::<route_metrics::config::Config>(),
        };
        let mut schema = schema.to_value();
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".into(), format!("pluginConfig of {}", self.name()).into());
        }
        schema
    }

    /// The same as a page for people.
    #[must_use]
    pub fn reference(self) -> String {
        reference::page(self.name(), &self.schema())
    }
}

/// Prints the schema of one filter, or of all.
pub fn schema(arguments: &SchemaArguments) -> Result<bool, Problems> {
    match (arguments.output, arguments.filter) {
        (SchemaFormat::Json, Some(filter)) => print(&filter.schema())?,
        (SchemaFormat::Json, None) => {
            let all = Filter::value_variants().iter().map(|filter| (filter.name().to_owned(), filter.schema()));
            print(&Value::Object(all.collect::<Map<_, _>>()))?;
        }
        (SchemaFormat::Markdown, Some(filter)) => output::write(&filter.reference()),
        (SchemaFormat::Markdown, None) => {
            let all: Vec<String> = Filter::value_variants().iter().map(|filter| filter.reference()).collect();
            output::write(&all.join("\n"));
        }
    }
    Ok(true)
}

fn print(value: &Value) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Problem::new(format!("can't print the schema: {error}")))?;
    output::line(text);
    Ok(())
}
