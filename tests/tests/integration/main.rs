//! Tests against real Envoys, with the modules just built.

mod bypass;
mod callers;
mod complaints;
mod configuration;
mod doctor;
mod endurance;
mod exactness;
mod forwarded;
mod hand_over;
mod hostile;
mod identity;
mod metrics;
mod modules;
mod parity;
mod replies;
mod run;
mod tunnel;
