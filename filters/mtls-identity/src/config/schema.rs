//! JSON Schema of the types that are read by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{ClaimPath, HeaderName, Source, Sources};

tollgate::text_schema! {
    HeaderName = "header name", "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "in any case";
}

/// One, or a list of them.
fn one_or_several(one: &Schema) -> Schema {
    json_schema!({"oneOf": [one, {"type": "array", "minItems": 1, "items": one}]})
}

impl JsonSchema for Sources {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "sources".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_several(&generator.subschema_for::<Source>())
    }
}

impl JsonSchema for ClaimPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "claim".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(&json_schema!({"type": "string", "minLength": 1}))
    }
}
