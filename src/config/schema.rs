//! JSON Schema of what a configuration may hold, for editors, CI and the reference in `docs/`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::{Count, Whole};
use crate::{
    address::Network,
    glob::Glob,
    name::Name,
    route::{HeaderMatch, HostPattern, Method, PathPattern, QueryMatch},
    spiffe::TrustDomain,
    time::Duration,
};

/// Corrects which fields an object must have, which goes by how each is read, not by its type. No list is empty, and no
/// field is asked to be `null`, which is as good as leaving it out.
pub fn correct(schema: &mut Schema, fields: &[(&str, &str)]) {
    let required: Vec<&str> = fields.iter().filter(|(_, how)| *how == "required").map(|(name, _)| *name).collect();
    if required.is_empty() {
        schema.remove("required");
    } else {
        schema.insert("required".to_owned(), required.into());
    }
    let properties = schema.get_mut("properties").and_then(|properties| properties.as_object_mut());
    let properties = properties.into_iter().flat_map(|properties| properties.values_mut());
    for property in properties.filter_map(|property| property.as_object_mut()) {
        without_null(property);
        if property.contains_key("items") {
            property.insert("minItems".to_owned(), 1.into());
        }
    }
}

/// Takes out what `Option` put in.
fn without_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            property.insert("type".to_owned(), one);
        }
    }
    let is_null = |form: &Value| form.get("type").is_some_and(|name| name == "null");
    for forms in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut kept)) = property.remove(forms) else { continue };
        let before = kept.len();
        kept.retain(|form| !is_null(form));
        match &kept[..] {
            [Value::Object(one)] if kept.len() < before => {
                for (key, value) in one {
                    property.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {
                property.insert(forms.to_owned(), Value::Array(kept));
            }
        }
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
                    return schemars::json_schema!({"type": "string", "title": $name, "description": $description});
                }
                schemars::json_schema!({
                    "type": "string",
                    "title": $name,
                    "pattern": pattern,
                    "description": $description,
                })
            }
        })+
    };
}

text_schema! {
    Name = "name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "1 to 63 letters, digits, `-`, `_` and `.`";
    Duration = "duration", "^([0-9]+(ns|us|ms|s|m|h|d))+$", "`250ms`, `1m`, `1h30m`: at most 366 days";
    HostPattern = "host", "", "`api.example.com`, `*.example.com` or `*`";
    PathPattern = "path", "^(\\*|/.*)$", "`/login`, `/api/*`, `/users/{id}` or `/files/{**}`";
    Glob = "pattern", "", "a value, `x*`, `*x`, or `*` for whatever is not empty";
    Method = "method", "^[A-Z-]+$", "in capitals, such as `GET`";
    Network = "network", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "`10.0.0.0/8`, `2001:db8::/32`, or one address";
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

fn text_match(what: &str, name: &str) -> Schema {
    json_schema!({
        "description": format!("A condition on a {what}: exactly one of `exact`, `prefix` and `present`."),
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": name},
            "exact": {"type": "string", "description": "Its whole value."},
            "prefix": {"type": "string", "description": "What its value starts with."},
            "present": {"const": true, "description": "That it is there, with any value."},
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
        text_match("header", "The header, in any case. When it is repeated, every value must fit.")
    }
}

impl JsonSchema for QueryMatch {
    fn schema_name() -> Cow<'static, str> {
        "QueryMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_match("parameter of the query", "The parameter, decoded. When it is repeated, every value must fit.")
    }
}
