//! The response at hand.

use crate::abi;

/// The response of the callback that is running.
#[derive(Debug, Default)]
pub struct HostResponse;

impl HostResponse {
    /// `:status`; `None` if it is no number.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let status = abi::header(abi::RESPONSE_HEADERS, ":status").ok()?;
        core::str::from_utf8(&status).ok()?.parse().ok()
    }

    /// Adds headers beside those that are there.
    pub fn add_headers(&self, headers: &[(String, String)]) {
        for (name, value) in headers {
            // A response without it is still the right one.
            let _ = abi::add_header(abi::RESPONSE_HEADERS, name, value);
        }
    }
}
