//! From the host's calls to the plugins of this VM.

use rustc_hash::FxHashMap;
use tollgate::{config::ConfigError, logfmt::Line};

use crate::{Flow, HostRequest, HostResponse, LogLevel, Plugin, Root, abi, log};

/// Memory for bytes that the host hands over. Null when there is none left; the host then fails its call.
#[must_use]
pub fn memory_allocate(size: usize) -> *mut u8 {
    let mut bytes: Vec<u8> = Vec::new();
    if size == 0 || bytes.try_reserve_exact(size).is_err() {
        return std::ptr::null_mut();
    }
    let data = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    data
}

/// All plugins of this VM and the streams that they remember.
///
/// Several roots live in one VM when several plugins use the same module, and for a while after a configuration was
/// replaced.
#[derive(Debug)]
pub struct Dispatcher<P: Plugin> {
    /// By context; a handful. `None` until configured.
    roots: Vec<(u32, Option<P>)>,
    /// By context: the stream's root and what its plugin remembers of it.
    streams: FxHashMap<u32, (u32, P::Stream)>,
    /// The stream that was created last, and its root. Envoy creates a stream right before its first callback, so a
    /// plugin that remembers nothing needs no more.
    latest: (u32, u32),
}

impl<P: Plugin> Default for Dispatcher<P> {
    fn default() -> Self {
        Self { roots: Vec::new(), streams: FxHashMap::default(), latest: (0, 0) }
    }
}

impl<P: Plugin> Dispatcher<P> {
    /// `proxy_on_context_create`
    pub fn on_context_create(&mut self, context: u32, parent: u32) {
        if parent == 0 {
            self.roots.push((context, None));
        } else {
            self.latest = (context, parent);
        }
    }

    /// `proxy_on_configure`
    pub fn on_configure(&mut self, context: u32, size: usize) -> bool {
        let root = Root::current();
        // An empty configuration is no buffer at all in some hosts.
        let configuration = if size == 0 { Ok(Vec::new()) } else { abi::buffer(abi::PLUGIN_CONFIGURATION, size) };
        let plugin = configuration
            .map_err(|status| ConfigError::at("", format!("the host did not hand it over: status {status}")))
            .and_then(|configuration| P::configure(&root, &configuration));
        match plugin {
            Ok(plugin) => {
                self.roots.retain(|(id, _)| *id != context);
                plugin.report(true);
                self.roots.push((context, Some(plugin)));
                true
            }
            Err(error) => {
                let line = Line::new("configuration_refused", P::NAME).field("plugin", &root.name);
                log(LogLevel::Error, &line.field("path", &error.path).field("reason", &error.reason));
                false
            }
        }
    }

    /// `proxy_on_request_headers`
    pub fn on_request_headers(&mut self, context: u32, end_of_stream: bool) -> Flow {
        let (latest, root) = self.latest;
        let plugin = if latest == context { self.plugin(root) } else { None };
        let Some(plugin) = plugin else { return P::on_unconfigured() };
        let (flow, stream) = plugin.on_request_headers(&HostRequest::arriving(end_of_stream));
        if let Some(stream) = stream {
            self.streams.insert(context, (root, stream));
        }
        flow
    }

    /// `proxy_on_response_headers`
    pub fn on_response_headers(&mut self, context: u32) {
        let Some((root, stream)) = self.streams.remove(&context) else { return };
        if let Some(plugin) = self.plugin(root) {
            plugin.on_response_headers(&HostResponse, stream);
        }
    }

    /// `proxy_on_log`
    pub fn on_log(&mut self, context: u32) {
        // A request that ended before its headers is created right before this callback.
        let (root, stream) = match self.streams.remove(&context) {
            Some((root, stream)) => (root, Some(stream)),
            None if self.latest.0 == context => (self.latest.1, None),
            None => return,
        };
        if let Some(plugin) = self.plugin(root) {
            plugin.on_log(&HostRequest::default(), stream);
        }
    }

    /// `proxy_on_delete`
    pub fn on_delete(&mut self, context: u32) {
        if !self.streams.is_empty()
            && let Some((root, stream)) = self.streams.remove(&context)
            && let Some(plugin) = self.plugin(root)
        {
            plugin.on_abandoned(stream);
        }
        if let Some(index) = self.roots.iter().position(|(id, _)| *id == context)
            && let (_, Some(plugin)) = self.roots.swap_remove(index)
        {
            plugin.report(false);
            // Another plugin may have the same configuration.
            self.roots.iter().filter_map(|(_, plugin)| plugin.as_ref()).for_each(|plugin| plugin.report(true));
        }
    }

    fn plugin(&mut self, root: u32) -> Option<&mut P> {
        self.roots.iter_mut().find(|(id, _)| *id == root)?.1.as_mut()
    }
}

/// Exports a plugin's module to the host: the ABI's version, the memory, and the callbacks named after the plugin.
///
/// `export!(RateLimit: on_request_headers)`
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($callback:ident),+) => {
        ::std::thread_local! {
            static DISPATCHER: ::std::cell::RefCell<$crate::Dispatcher<$plugin>> =
                ::std::cell::RefCell::new($crate::Dispatcher::default());
        }

        /// Runs `call`, or returns `otherwise` should the host call while a callback is running, which it never does.
        fn dispatch<T>(otherwise: T, call: impl FnOnce(&mut $crate::Dispatcher<$plugin>) -> T) -> T {
            DISPATCHER.with(|dispatcher| match dispatcher.try_borrow_mut() {
                Ok(mut dispatcher) => call(&mut dispatcher),
                Err(_) => otherwise,
            })
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_abi_version_0_2_1() {}

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
            $crate::memory_allocate(size)
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
            dispatch((), |dispatcher| dispatcher.on_context_create(context, parent));
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
            u32::from(dispatch(false, |dispatcher| dispatcher.on_configure(context, size)))
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_delete(context: u32) {
            dispatch((), |dispatcher| dispatcher.on_delete(context));
        }

        $($crate::export!(@callback $plugin, $callback);)+
    };
    (@callback $plugin:ty, on_request_headers) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, end_of_stream: u32) -> u32 {
            let unconfigured = <$plugin as $crate::Plugin>::on_unconfigured;
            let busy = ::core::option::Option::None;
            let call = |dispatcher: &mut $crate::Dispatcher<$plugin>| Some(dispatcher.on_request_headers(context, end_of_stream != 0));
            match dispatch(busy, call).unwrap_or_else(unconfigured) {
                $crate::Flow::Continue => 0,
                $crate::Flow::Stop => 1,
            }
        }
    };
    (@callback $plugin:ty, on_response_headers) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
            dispatch((), |dispatcher| dispatcher.on_response_headers(context));
            0
        }
    };
    (@callback $plugin:ty, on_log) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_log(context: u32) {
            dispatch((), |dispatcher| dispatcher.on_log(context));
        }
    };
}
