//! The functions of the host, as they are imported, and their outcomes.
//!
//! Sources: the Proxy-Wasm ABI specification 0.2.1, and `wasi_snapshot_preview1` for the clock, which the same host
//! serves.

use std::ptr;

/// The host's status for success.
pub(crate) const OK: u32 = 0;
/// The host knows no such thing.
pub(crate) const NOT_FOUND: u32 = 1;
/// The version of a value was another.
pub(crate) const CAS_MISMATCH: u32 = 8;

/// Which header map.
pub(crate) const REQUEST_HEADERS: u32 = 0;
/// Which header map.
pub(crate) const RESPONSE_HEADERS: u32 = 2;
/// Which buffer.
pub(crate) const PLUGIN_CONFIGURATION: u32 = 7;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, length: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, value: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, size: usize, version: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, size: usize) -> u32;
}

/// Takes over what the host wrote into memory that it asked [`crate::memory_allocate`] for.
///
/// # Safety
/// `data` and `size` come from one host call that succeeded.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: `memory_allocate` made it as a Vec with exactly this capacity, and the host has filled it.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// A call that hands bytes over.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, u32> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    match call(&mut data, &mut size) {
        // SAFETY: the call succeeded.
        OK => Ok(unsafe { take(data, size) }),
        status => Err(status),
    }
}

pub(crate) fn write_log(level: u32, message: &str) {
    // SAFETY: the host reads within the given bounds, as in every call below. There is nowhere to report a failure to.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

pub(crate) fn buffer(kind: u32, length: usize) -> Result<Vec<u8>, u32> {
    // SAFETY: out-pointers are valid for the call.
    bytes(|data, size| unsafe { proxy_get_buffer_bytes(kind, 0, length, data, size) })
}

pub(crate) fn header(map: u32, name: &str) -> Result<Vec<u8>, u32> {
    // SAFETY: out-pointers are valid for the call.
    bytes(|data, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) })
}

pub(crate) fn headers(map: u32) -> Result<Vec<u8>, u32> {
    // SAFETY: out-pointers are valid for the call.
    bytes(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

pub(crate) fn add_header(map: u32, name: &str, value: &str) -> u32 {
    // SAFETY: the host reads within the given bounds.
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn remove_header(map: u32, name: &[u8]) -> u32 {
    // SAFETY: the host reads within the given bounds.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) }
}

pub(crate) fn property(path: &str) -> Result<Vec<u8>, u32> {
    // SAFETY: out-pointers are valid for the call.
    bytes(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(crate) fn write_property(path: &str, value: &str) -> u32 {
    // SAFETY: the host reads within the given bounds.
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn shared_data(key: &[u8]) -> Result<(Vec<u8>, u32), u32> {
    let mut version = 0;
    // SAFETY: out-pointers are valid for the call.
    let value =
        bytes(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version) })?;
    Ok((value, version))
}

pub(crate) fn write_shared_data(key: &[u8], value: &[u8], version: u32) -> u32 {
    // SAFETY: the host reads within the given bounds.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) }
}

pub(crate) fn local_response(status: u32, details: &str, body: &[u8], headers: &[u8], grpc_status: i32) -> u32 {
    // SAFETY: the host reads within the given bounds.
    unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    }
}

pub(crate) fn define_metric(kind: u32, name: &str) -> Result<u32, u32> {
    let mut id = 0;
    // SAFETY: the out-pointer is valid for the call.
    match unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) } {
        OK => Ok(id),
        status => Err(status),
    }
}

pub(crate) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: takes no pointers. An unknown id is refused by the host; a counter has nobody else to tell.
    let _ = unsafe { proxy_increment_metric(id, offset) };
}

pub(crate) fn record_metric(id: u32, value: u64) {
    // SAFETY: takes no pointers.
    let _ = unsafe { proxy_record_metric(id, value) };
}

/// Nanoseconds since the start of the monotonic clock.
pub(crate) fn monotonic_nanos() -> u64 {
    clock(1)
}

/// Nanoseconds since 1970, by the wall clock.
pub(crate) fn unix_nanos() -> u64 {
    clock(0)
}

fn clock(id: u32) -> u64 {
    let mut time = 0;
    // SAFETY: the out-pointer is valid for the call. Envoy serves both clocks always; zero would only deny longer.
    let _ = unsafe { clock_time_get(id, 0, &mut time) };
    time
}

pub(crate) fn random(buffer: &mut [u8]) -> u32 {
    // SAFETY: the host writes within the given bounds.
    unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) }
}
