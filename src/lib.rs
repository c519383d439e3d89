//! The vocabulary that Tollgate's filters and its command-line program share.
pub mod config;
