//! Placeholder while the crate is laid.
pub mod config;
