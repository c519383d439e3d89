//! What the tests use in Envoy's place: a request, and the workers' shared data.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tollgate::{
    request::{Attribute, Request},
    store::{SharedStore, StoreError, Swap, Version},
};

/// A request of which everything can be set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    path: Option<Vec<u8>>,
    method: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    attributes: Vec<(Attribute, Vec<u8>)>,
    properties: Vec<(Vec<String>, Vec<u8>)>,
}

/// A GET of `path`, without anything else.
pub(crate) fn call(path: impl AsRef<[u8]>) -> Call {
    Call { path: Some(path.as_ref().to_vec()), method: Some(b"GET".to_vec()), ..Call::default() }
}

impl Call {
    pub(crate) fn with_method(self, method: &str) -> Self {
        Self { method: Some(method.as_bytes().to_vec()), ..self }
    }

    pub(crate) fn with_authority(self, authority: &str) -> Self {
        Self { authority: Some(authority.as_bytes().to_vec()), ..self }
    }

    /// Adds a header, beside those of the same name.
    pub(crate) fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn with_attribute(mut self, attribute: Attribute, value: impl AsRef<[u8]>) -> Self {
        self.attributes.push((attribute, value.as_ref().to_vec()));
        self
    }

    pub(crate) fn with_property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.push((path.iter().map(|part| (*part).to_owned()).collect(), value.as_ref().to_vec()));
        self
    }

    /// From a peer with this URI SAN in its certificate.
    pub(crate) fn with_principal(self, uri: &str) -> Self {
        self.with_attribute(Attribute::UriSanPeerCertificate, uri)
    }

    /// From this address, as Envoy spells `source.address`.
    pub(crate) fn with_source(self, address: &str) -> Self {
        self.with_attribute(Attribute::SourceAddress, address)
    }
}

impl Request for Call {
    fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    fn method(&self) -> Option<&[u8]> {
        self.method.as_deref()
    }

    fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.iter().filter(|(of, _)| of == name).map(|(_, value)| value.clone()).collect()
    }

    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        self.attributes.iter().find(|(of, _)| *of == attribute).map(|(_, value)| value.as_slice())
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.properties.iter().find(|(of, _)| of == path).map(|(_, value)| value.clone())
    }
}

/// The host's shared data, as proxy-wasm-cpp-host has it: one counter of versions for all keys, of which each write
/// takes the next. A clone is the view of another worker.
#[derive(Clone, Default)]
pub(crate) struct Store {
    shared: Rc<RefCell<Shared>>,
    /// The last version that this worker knows of. The host does not say which one a write got.
    latest: Option<Version>,
}

#[derive(Default)]
struct Shared {
    values: HashMap<Vec<u8>, (Vec<u8>, Version)>,
    last: u32,
    calls: u32,
    broken: bool,
    interference: Option<Interference>,
}

type Interference = Box<dyn FnOnce(&Store)>;

/// What a broken store answers.
pub(crate) const BROKEN: StoreError = StoreError(10);

impl Store {
    /// Calls of all workers since this was asked last.
    pub(crate) fn calls(&self) -> u32 {
        std::mem::take(&mut self.shared.borrow_mut().calls)
    }

    /// From now on every call fails, or none.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.shared.borrow_mut().broken = broken;
    }

    /// What another worker does right before the next write.
    pub(crate) fn interfere(&self, interference: impl FnOnce(&Self) + 'static) {
        self.shared.borrow_mut().interference = Some(Box::new(interference));
    }

    /// Every key, with its value.
    pub(crate) fn values(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let shared = self.shared.borrow();
        shared.values.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Writes whatever is there.
    pub(crate) fn overwrite(&self, key: &[u8], value: &[u8]) {
        let shared = &mut *self.shared.borrow_mut();
        shared.last += 1;
        shared.values.insert(key.to_vec(), (value.to_vec(), Version(shared.last)));
    }

    fn call(&self) -> Result<(), StoreError> {
        let mut shared = self.shared.borrow_mut();
        shared.calls += 1;
        if shared.broken { Err(BROKEN) } else { Ok(()) }
    }

    /// Writes if `is_expected` holds for what is there.
    fn write(
        &mut self,
        key: &[u8],
        value: &[u8],
        known: Version,
        is_expected: impl Fn(Option<Version>) -> bool,
    ) -> Result<Swap, StoreError> {
        self.call()?;
        let interference = self.shared.borrow_mut().interference.take();
        if let Some(interference) = interference {
            interference(self);
        }
        if !is_expected(self.shared.borrow().values.get(key).map(|(_, version)| *version)) {
            return Ok(Swap::Conflict);
        }
        self.overwrite(key, value);
        let next = self.latest.map_or(known, |latest| latest.later(known)).next();
        self.latest = Some(next);
        Ok(Swap::Done(next))
    }
}

impl SharedStore for Store {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.call()?;
        let found = self.shared.borrow().values.get(key).cloned();
        self.latest = found.as_ref().map(|(_, version)| *version);
        Ok(found)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        self.write(key, value, Version(0), |current| current.is_none())
    }

    /// A key that was never written is written whatever version is expected, as by the host.
    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        self.write(key, value, version, |current| current.is_none_or(|current| current == version))
    }
}
