//! rate-limit as it ships, and a callback for responses that traps when the status is 418.

#[cfg(target_arch = "wasm32")]
mod crash {
    use rate_limit as _;

    const RESPONSE_HEADERS: u32 = 2;
    const STATUS: &str = ":status";

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_headers(_context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
        let (mut value, mut size) = (core::ptr::null_mut(), 0);
        // SAFETY: the pointers are valid for the call, and what it hands over was allocated as a Vec of this capacity.
        let status = unsafe {
            proxy_get_header_map_value(RESPONSE_HEADERS, STATUS.as_ptr(), STATUS.len(), &mut value, &mut size);
            if value.is_null() { Vec::new() } else { Vec::from_raw_parts(value, size, size) }
        };
        if status == b"418" {
            core::arch::wasm32::unreachable()
        }
        0
    }
}
