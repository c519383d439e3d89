//! The callbacks of route-metrics with nothing in them but reading: what any filter costs at least that has to know as much.
//!
//! The configuration's length is the number of values that are read of each request: all headers when it starts, and when
//! it has ended what [`AT_END`] lists. Memory for them is a fixed buffer, so not even an allocator is paid for.

#[cfg(target_arch = "wasm32")]
mod floor {
    use std::{
        cell::{Cell, UnsafeCell},
        ptr,
    };

    const REQUEST_HEADERS: u32 = 0;
    const AT_END: [&str; 7] = [
        "response\0code",
        "response\0flags",
        "connection\0id",
        "response\0total_size",
        "request\0total_size",
        "xds\0listener_direction",
        "request\0duration",
    ];

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    }

    thread_local! {
        static VALUES: Cell<usize> = const { Cell::new(0) };
        static MEMORY: UnsafeCell<[u8; 16384]> = const { UnsafeCell::new([0; 16384]) };
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// Null for what is too large: the host then fails its call.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        MEMORY.with(|memory| if size <= 16384 { memory.get().cast() } else { ptr::null_mut() })
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(_context: u32, _parent: u32) {}

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(_context: u32, size: usize) -> u32 {
        VALUES.set(size);
        1
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(_context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
        if VALUES.get() > 0 {
            let (mut data, mut size) = (ptr::null_mut(), 0);
            // SAFETY: out-pointers are valid for the call; nothing is made of what it writes.
            let _ = unsafe { proxy_get_header_map_pairs(REQUEST_HEADERS, &mut data, &mut size) };
        }
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_log(_context: u32) {
        for path in AT_END.iter().take(VALUES.get().saturating_sub(1)) {
            let (mut data, mut size) = (ptr::null_mut(), 0);
            // SAFETY: as above, and the host reads the path within its bounds.
            let _ = unsafe { proxy_get_property(path.as_ptr(), path.len(), &mut data, &mut size) };
        }
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_delete(_context: u32) {}
}
