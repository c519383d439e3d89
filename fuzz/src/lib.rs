//! What the fuzz targets use in Envoy's place: a request, and the workers' shared data.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use tollgate::{
    request::{Attribute, Request},
    store::{SharedStore, StoreError, Swap, Version},
};

/// A request of which everything can be set.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub path: Option<Vec<u8>>,
    pub method: Option<Vec<u8>>,
    pub authority: Option<Vec<u8>>,
    /// By names in lowercase.
    pub headers: Vec<(String, Vec<u8>)>,
    pub attributes: Vec<(Attribute, Vec<u8>)>,
    pub properties: Vec<(Vec<String>, Vec<u8>)>,
}

impl Call {
    /// A GET of `path` at `authority`.
    #[must_use]
    pub fn get(path: &[u8], authority: &[u8]) -> Self {
        Self {
            path: Some(path.to_vec()),
            method: Some(b"GET".to_vec()),
            authority: Some(authority.to_vec()),
            ..Self::default()
        }
    }

    /// Adds a header, beside those of the same name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }

    #[must_use]
    pub fn with_attribute(mut self, attribute: Attribute, value: &[u8]) -> Self {
        self.attributes.push((attribute, value.to_vec()));
        self
    }

    #[must_use]
    pub fn with_property(mut self, path: &[&str], value: &[u8]) -> Self {
        self.properties.push((path.iter().map(|part| (*part).to_owned()).collect(), value.to_vec()));
        self
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
        let found = self.attributes.iter().find(|(of, _)| *of == attribute);
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let found = self.properties.iter().find(|(of, _)| of == path);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }
}

/// Shared data with one counter of versions for all keys, as proxy-wasm-cpp-host has it. A clone is the view of another
/// worker.
#[derive(Debug, Clone, Default)]
pub struct Store(Rc<RefCell<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    values: BTreeMap<Vec<u8>, (Vec<u8>, Version)>,
    last: u32,
    unread: Vec<Vec<u8>>,
}

impl Store {
    /// All keys and values.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.borrow().values.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Gives the keys that are asked for first these values, one after the other, unless they are written before.
    pub fn put_in_the_way(&self, values: impl IntoIterator<Item = Vec<u8>>) {
        self.0.borrow_mut().unread = values.into_iter().collect();
    }

    fn write(&self, key: &[u8], value: &[u8], is_expected: impl Fn(Option<Version>) -> bool) -> Swap {
        let shared = &mut *self.0.borrow_mut();
        if !is_expected(shared.values.get(key).map(|(_, version)| *version)) {
            return Swap::Conflict;
        }
        shared.last += 1;
        shared.values.insert(key.to_vec(), (value.to_vec(), Version(shared.last)));
        Swap::Done(Version(shared.last))
    }
}

impl SharedStore for Store {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        let shared = &mut *self.0.borrow_mut();
        if !shared.values.contains_key(key)
            && let Some(value) = shared.unread.pop()
        {
            shared.last += 1;
            shared.values.insert(key.to_vec(), (value, Version(shared.last)));
        }
        Ok(shared.values.get(key).cloned())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        Ok(self.write(key, value, |current| current.is_none()))
    }

    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        Ok(self.write(key, value, |current| current == Some(version)))
    }
}
