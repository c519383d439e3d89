//! Tests against real Envoys, with the modules just built.

mod callers;
mod complaints;
mod configuration;
mod endurance;
mod exactness;
mod hostile;
mod identity;
mod metrics;
mod modules;
mod replies;
mod run;
