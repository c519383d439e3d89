//! JSON Web Tokens, and the key that a verifier is told.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};

/// Who issues them.
pub const ISSUER: &str = "https://issuer.test";
const SECRET: &[u8] = b"a secret of the tests, 32 bytes!!";

/// A JSON Web Key Set that verifies them.
pub fn key_set() -> String {
    json!({"keys": [{"kty": "oct", "alg": "HS256", "k": BASE64URL_NOPAD.encode(SECRET)}]}).to_string()
}

/// A token with these claims.
pub fn signed(claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let signature = sign(&Key::new(HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}
