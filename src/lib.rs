//! The vocabulary that Tollgate's filters and its command-line program share.
//!
//! Everything here is pure: no clock is read, no socket opened and no proxy called. A filter hands in what it knows
//! through the traits [`request::Request`] and [`store::SharedStore`], and the time as a [`time::Instant`].

pub mod address;
pub mod config;
pub mod glob;
pub mod logfmt;
pub mod metadata;
pub mod name;
pub mod path;
pub mod request;
pub mod route;
pub mod spiffe;
pub mod stats;
pub mod store;
pub mod throttle;
pub mod time;
pub mod x509;
pub mod xfcc;
