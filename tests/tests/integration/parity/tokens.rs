//! Tokens of callers, as istiod has Envoy verify them for a RequestAuthentication.

use data_encoding::BASE64URL_NOPAD;
use rand::rngs::StdRng;
use ring::hmac;
use serde_json::{Value, json};

use super::words::any;

const SECRET: &[u8] = b"the secret of the tests' own issuers";
const ISSUERS: [&str; 2] = ["https://idp.example", "https://other.example/realm"];

/// The claims of any token.
pub(super) fn claims(random: &mut StdRng) -> Value {
    let mut claims = json!({"iss": any(random, &ISSUERS), "sub": any(random, &["alice", "bob", "realm/alice"])});
    let many: Vec<_> = (0..150).map(|number| format!("group-{number}")).chain(["admin".to_owned()]).collect();
    let own = [
        json!({}),
        json!({"aud": "shop", "azp": "cli"}),
        json!({"aud": ["shop", "web"], "groups": ["admin", "dev"]}),
        json!({"groups": "dev", "level": 7}),
        json!({"groups": [], "level": "7"}),
        json!({"groups": ["adm", "ops"], "level": true}),
        json!({"groups": ["ops", "", "adm"]}),
        json!({"groups": many}),
        json!({"groups": [7, "dev"], "nested": {"role": "admin"}}),
        json!({"groups": {"admin": true}, "nested": {"role": ["user", "admin"]}}),
        json!({"scope": "read write", "nested": "admin", "azp": ["cli"]}),
        json!({"scope": "write", "nested": {"role": 7}, "groups": ""}),
    ];
    let index: Vec<usize> = (0..own.len()).collect();
    let more = own[any(random, &index)].as_object().expect("an object").clone();
    claims.as_object_mut().expect("an object").extend(more);
    claims
}

/// The same claims with a text in the place of everything that is none.
pub(super) fn of_texts(claims: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => json!("zzz"),
        other => other.clone(),
    };
    let of_text = |value: &Value| match value {
        Value::Array(entries) => entries.iter().map(text).collect(),
        // What names lead into.
        Value::Object(inner) if inner.contains_key("role") => json!({"role": text(&inner["role"])}),
        other => text(other),
    };
    claims.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), of_text(value))).collect()
}

/// `authorization`, with the token.
pub(super) fn authorization(claims: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("Bearer {signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

/// The filter that verifies them.
pub(super) fn filter() -> Value {
    let keys = json!({"keys": [{"kty": "oct", "alg": "HS256", "k": BASE64URL_NOPAD.encode(SECRET)}]});
    let provider = |issuer: &str| {
        json!({
            "issuer": issuer,
            "local_jwks": {"inline_string": keys.to_string()},
            "payload_in_metadata": "payload",
            "normalize_payload_in_metadata": {"space_delimited_claims": ["scope", "permission"]},
        })
    };
    let providers: Value = ISSUERS.iter().map(|issuer| ((*issuer).to_owned(), provider(issuer))).collect();
    let any_of = ISSUERS.iter().map(|issuer| json!({"provider_name": issuer})).chain([json!({"allow_missing": {}})]);
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{
                "match": {"prefix": "/"},
                "requires": {"requires_any": {"requirements": any_of.collect::<Vec<_>>()}},
            }],
        },
    })
}
