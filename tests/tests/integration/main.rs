//! Tests against real Envoys, with the modules just built.

mod configuration;
mod endurance;
mod exactness;
mod hostile;
mod identity;
mod metrics;
mod modules;
mod replies;
mod run;
