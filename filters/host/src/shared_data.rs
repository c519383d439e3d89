//! Proxy-Wasm's shared data as a [`SharedStore`].

use tollgate::{
    store::{SharedStore, StoreError, Swap, Version},
    time::{Duration, Instant},
};

use crate::abi;

/// A version that no value has in practice. A write that expects it creates a missing key and fails on any other,
/// which makes it an exact insert-if-absent; expecting 0 would overwrite blindly (proxy-wasm-cpp-host `shared_data.cc`).
const ABSENT: Version = Version(u32::MAX);

/// The data that all VMs with the same `vm_id` share in one Envoy process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SharedData {
    /// The last number that this worker knows of.
    latest: Option<Version>,
    /// Whether that has proved wrong. As long as nobody else writes, it stays right once it is.
    doubtful: bool,
    used: Instant,
}

/// How long a number is good to reckon with: far less than the host's counter of 2³² writes needs to come round.
const MEMORY: Duration = Duration::from_nanos(1_000_000_000);

impl SharedData {
    /// To be called before each use, with the time.
    pub fn wake(&mut self, now: Instant) {
        if now.since(self.used) > MEMORY {
            self.latest = None;
        }
        self.used = now;
    }

    fn write(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        match abi::write_shared_data(key, value, version.0) {
            abi::OK => {
                if std::mem::take(&mut self.doubtful)
                    && let Ok((found, version)) = abi::shared_data(key)
                    && found == value
                {
                    self.latest = Some(Version(version));
                    return Ok(Swap::Done(Version(version)));
                }
                let known = if version == ABSENT { Version(0) } else { version };
                let next = self.latest.map_or(known, |latest| latest.later(known)).next();
                self.latest = Some(next);
                Ok(Swap::Done(next))
            }
            abi::CAS_MISMATCH => {
                self.doubtful = true;
                Ok(Swap::Conflict)
            }
            status => Err(StoreError(status)),
        }
    }
}

impl SharedStore for SharedData {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        match abi::shared_data(key) {
            Ok((value, version)) => {
                let version = Version(version);
                self.latest = Some(self.latest.map_or(version, |latest| latest.later(version)));
                Ok(Some((value, version)))
            }
            Err(abi::NOT_FOUND) => Ok(None),
            Err(status) => Err(StoreError(status)),
        }
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        self.write(key, value, ABSENT)
    }

    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        self.write(key, value, version)
    }
}
