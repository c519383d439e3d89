//! JSON Schema of what a configuration may hold, for editors, CI and the reference in `docs/`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Count, Whole};
use crate::{
    name::Name,
    route::{HeaderMatch, HostPattern, Method, PathPattern, QueryMatch},
    spiffe::TrustDomain,
    time::Duration,
};

/// Corrects which fields an object must have, which goes by how each is read, not by its type. And no list is empty.
pub fn correct(schema: &mut Schema, fields: &[(&str, &str)]) {
    let required: Vec<&str> = fields.iter().filter(|(_, how)| *how == "required").map(|(name, _)| *name).collect();
    if required.is_empty() {
        schema.remove("required");
    } else {
        schema.insert("required".to_owned(), required.into());
    }
    let properties = schema.get_mut("properties").and_then(|properties| properties.as_object_mut());
    let properties = properties.into_iter().flat_map(|properties| properties.values_mut());
    for list in
        properties.filter_map(|property| property.as_object_mut()).filter(|property| property.contains_key("items"))
    {
        list.insert("minItems".to_owned(), 1.into());
    }
}

/// Implements [`JsonSchema`] for a type that is written as a string.
#[macro_export]
macro_rules! text_schema {
    ($($type:ty = $name:literal, $pattern:expr, $description:literal;)+) => {
        $(impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern: &str = $pattern;
                if pattern.is_empty() {
                    return schemars::json_schema!({"type": "string", "description": $description});
                }
                schemars::json_schema!({"type": "string", "pattern": pattern, "description": $description})
            }
        })+
    };
}

text_schema! {
    Name = "name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "1 to 63 letters, digits, `-`, `_` and `.`";
    Duration = "duration", "^([0-9]+(ns|us|ms|s|m|h|d))+$", "`250ms`, `1m`, `1h30m`: at most 366 days";
    HostPattern = "host", "", "`api.example.com`, `*.example.com` or `*`";
    PathPattern = "path", "^(\\*|/.*)$", "`/login`, `/api/*`, `/users/{id}` or `/files/{**}`";
    Method = "method", "^[A-Z-]+$", "in capitals, such as `GET`";
    TrustDomain = "trust domain", "^[a-z0-9._-]{1,255}$", "such as `cluster.local`";
}

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": Self::MAX.get()})
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("whole number from {LEAST} to {MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": MOST})
    }
}

fn text_match(name: &str) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": name},
            "exact": {"type": "string", "description": "the whole value"},
            "prefix": {"type": "string", "description": "what it starts with"},
            "present": {"const": true, "description": "any value"},
        },
        "required": ["name"],
        "additionalProperties": false,
        "oneOf": [{"required": ["exact"]}, {"required": ["prefix"]}, {"required": ["present"]}],
    })
}

impl JsonSchema for HeaderMatch {
    fn schema_name() -> Cow<'static, str> {
        "HeaderMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_match("the header's name, in any case; of a repeated header every value must fit")
    }
}

impl JsonSchema for QueryMatch {
    fn schema_name() -> Cow<'static, str> {
        "QueryMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_match("the parameter's name, decoded; of a repeated one every value must fit")
    }
}
