//! What a filter implements.

use tollgate::config::ConfigError;

use crate::{HostRequest, HostResponse, abi};

/// One configuration of this module. Envoy uses one root for all listeners with the same plugin name, root id and
/// configuration, so the direction of traffic is a matter of the request.
#[derive(Debug, Clone)]
pub struct Root {
    /// The plugin's name, in Istio `<namespace>.<name>` of the WasmPlugin.
    pub name: String,
    /// The plugin's root id.
    pub root_id: String,
}

impl Root {
    /// Asks the host. Only during `proxy_on_configure`.
    pub(crate) fn current() -> Self {
        let text = |property| String::from_utf8_lossy(&abi::property(property).unwrap_or_default()).into_owned();
        Self { name: text("plugin_name"), root_id: text("plugin_root_id") }
    }
}

/// How a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next filter.
    Continue,
    /// No further: a local reply was sent.
    Stop,
}

/// A filter: one value for each [`Root`], in each worker.
pub trait Plugin: Sized {
    /// What is kept of a request between its callbacks.
    type Stream;

    /// Parses the configuration and defines the metrics.
    ///
    /// # Errors
    /// Where the configuration is wrong and why. Envoy then keeps the former one.
    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError>;

    /// A request's headers have arrived.
    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<Self::Stream>);

    /// A response's headers have come, from wherever. `stream` is what [`Plugin::on_request_headers`] left.
    fn on_response_headers(&mut self, _response: &HostResponse, _stream: Self::Stream) {}

    /// A request has ended and nobody has asked for what [`Plugin::on_request_headers`] left.
    fn on_abandoned(&mut self, _stream: Self::Stream) {}

    /// A request has ended. `stream` is what [`Plugin::on_request_headers`] left, if it ran.
    fn on_log(&mut self, _request: &HostRequest, _stream: Option<Self::Stream>) {}

    /// Says by the gauge `tollgate_config_info` whether the configuration is in force.
    fn report(&self, in_force: bool);

    /// Answers a request that no configuration could be found for.
    fn on_unconfigured() -> Flow;

    /// The filter's name in log lines.
    const NAME: &str;
}
