//! JSON Schema of the types that are read by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use tollgate::config::Count;

use super::{
    ClientAddress, CostConfig, HeaderCost, HeaderName, HeaderValue, Headers, KeyPart, LimitConfig, Missing, Override,
    Period, Selector, StatusPattern, cost::ResponseCost, key::JwtClaim, key::NonEmpty, reply::TAKEN,
};
use crate::table::MOST_LIMITS;

/// RFC 9110's `token`.
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

tollgate::text_schema! {
    Period = "duration", "^([0-9]+(ns|us|ms|s|m|h|d))+$", "`250ms`, `1m`, `1h30m`: from 1ms to 366d";
    HeaderName = "header name", TOKEN, "in any case";
    HeaderValue = "header value", "^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f]*$", "without control characters";
}

/// A part that needs no argument, and what it is.
const PLAIN: &[(&str, &str)] = &[
    ("principal", "The SPIFFE ID of the peer's certificate: its first URI SAN."),
    ("namespace", "The Kubernetes namespace in that SPIFFE ID."),
    ("host", "The host in lowercase, without port."),
    ("method", "The method in capitals."),
];

/// A part that is chosen by a name, and what it is.
const NAMED: &[(&str, &str)] = &[
    ("header", "All values of the header of this name, joined by commas. A caller can write what it likes there."),
    ("cookie", "The cookie of this name. A caller can write what it likes there."),
    ("query", "The first parameter of the query of this name, decoded."),
    ("pathVariable", "What the path has in place of this variable of the rule's `paths`: `id` of `/users/{id}`."),
];

const CLIENT_ADDRESS: &str = "The client's address, or its network. Without `trustedHops` it is the connection's own \
                              peer, and missing where Envoy knows only what `X-Forwarded-For` says, as sidecars do.";
const JWT_CLAIM: &str = "A claim of a token that Envoy's jwt_authn has verified: its name, or `name` and `payload`.";
const ATTRIBUTE: &str = "An attribute of Envoy's by the segments of its path: \
                         `[connection, requested_server_name]`.";

impl JsonSchema for KeyPart {
    fn schema_name() -> Cow<'static, str> {
        "KeyPart".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for (kind, what) in PLAIN {
            properties.insert((*kind).into(), json!({"type": "object", "maxProperties": 0, "description": what}));
        }
        properties
            .insert("clientAddress".into(), described(generator.subschema_for::<ClientAddress>(), CLIENT_ADDRESS));
        for (kind, what) in NAMED {
            let schema = match *kind {
                "header" => described(generator.subschema_for::<HeaderName>(), what),
                _ => described(generator.subschema_for::<NonEmpty>(), what),
            };
            properties.insert((*kind).into(), schema);
        }
        let claim = generator.subschema_for::<JwtClaim>();
        let claim = json!({"oneOf": [generator.subschema_for::<NonEmpty>(), claim], "description": JWT_CLAIM});
        properties.insert("jwtClaim".into(), claim);
        let path = json!({"type": "array", "minItems": 1, "items": generator.subschema_for::<NonEmpty>(), "description": ATTRIBUTE});
        properties.insert("attribute".into(), path);
        let one_part: Vec<Value> = properties.keys().map(|kind| json!({"required": [kind]})).collect();
        properties.insert(
            "missing".into(),
            described(
                generator.subschema_for::<Missing>(),
                "What happens when a request does not have it. `share` unless given.",
            ),
        );
        let plain: Vec<&str> = PLAIN.iter().map(|(kind, _)| *kind).chain(["clientAddress"]).collect();
        json_schema!({
            "description": "One part of a key: a name alone, such as `principal`, or an object with exactly one part \
                            and maybe `missing`, such as `{header: x-api-key, missing: deny}`.",
            "oneOf": [
                {"type": "string", "enum": plain},
                {
                    "type": "object",
                    "properties": properties,
                    "additionalProperties": false,
                    "oneOf": one_part,
                },
            ],
        })
    }
}

/// What a selector may say of a caller.
fn conditions() -> Map<String, Value> {
    let mut properties = Map::new();
    let texts = [
        ("principal", "The SPIFFE ID, with or without `spiffe://`. No wildcards."),
        ("namespace", "The Kubernetes namespace."),
        ("host", "The host, without port."),
        ("method", "The method in capitals."),
        (
            "clientAddress",
            "An address, or a network such as `10.0.0.0/8`, that the client's is in: the address that the rule's `key` \
             looks at, if it has `clientAddress`; else the connection's own peer, which is not known where Envoy has \
             only what `X-Forwarded-For` says, as sidecars do.",
        ),
    ];
    for (kind, what) in texts {
        let mut text = json!({"type": "string", "description": what});
        if let (true, Some(object)) = (kind == "method", text.as_object_mut()) {
            object.insert("pattern".into(), "^[A-Z-]+$".into());
        }
        properties.insert(kind.into(), text);
    }
    let maps = [
        ("header", "Headers and what each must be: `{x-plan: gold}`."),
        ("cookie", "Cookies and what each must be."),
        ("query", "Parameters of the query, decoded, and what each must be."),
        ("pathVariable", "Variables of the rule's `paths` and what each must be."),
        (
            "jwtClaim",
            "Claims that jwt_authn has verified, where the rule's `key` looks for them, else under `payload`, and what each must be.",
        ),
        (
            "attribute",
            "Attributes by their paths with dots, and what each must be: `{connection.requested_server_name: a.example.com}`.",
        ),
    ];
    for (kind, what) in maps {
        let mut map = json!({"type": "object", "additionalProperties": {"type": "string"}, "description": what});
        if let (true, Some(object)) = (kind == "header", map.as_object_mut()) {
            object.insert("propertyNames".into(), json!({"pattern": TOKEN}));
        }
        properties.insert(kind.into(), map);
    }
    properties
}

impl JsonSchema for NonEmpty {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NonEmpty".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> Cow<'static, str> {
        "Selector".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which callers: all conditions must hold, and there is at least one.",
            "type": "object",
            "properties": conditions(),
            "additionalProperties": false,
            "minProperties": 1,
        })
    }
}

impl JsonSchema for Override {
    fn schema_name() -> Cow<'static, str> {
        "Override".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = conditions();
        let limits = generator.subschema_for::<LimitConfig>();
        properties.insert(
            "limits".into(),
            json!({
                "description": "These callers' own limits, each with buckets of its own, or `unlimited`.",
                "oneOf": [
                    {"const": "unlimited"},
                    {"type": "array", "items": limits, "minItems": 1, "maxItems": MOST_LIMITS},
                ],
            }),
        );
        json_schema!({
            "description": "Other limits for some callers: at least one condition, all of which must hold, and \
                            `limits`.",
            "type": "object",
            "properties": properties,
            "required": ["limits"],
            "additionalProperties": false,
            "minProperties": 2,
        })
    }
}

impl JsonSchema for CostConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [
            generator.subschema_for::<Count>(),
            generator.subschema_for::<HeaderCost>(),
            generator.subschema_for::<ResponseCost>(),
        ];
        json_schema!({"oneOf": forms})
    }
}

impl JsonSchema for StatusPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "status",
            "description": "`401`, or the class `4xx`",
            "oneOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9])$"},
            ],
        })
    }
}

impl JsonSchema for Headers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<HeaderValue>(),
            "propertyNames": {"pattern": TOKEN, "not": {"enum": TAKEN}},
        })
    }
}

fn described(schema: Schema, description: &str) -> Value {
    let mut schema = schema.to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), description.into());
    }
    schema
}
