//! The program `tollgate`: the mesh's own resources in one local Envoy, checked, shown, tried and demonstrated.

pub mod args;
pub mod certificates;
pub mod convert;
pub mod demo;
pub mod doctor;
pub mod duration;
pub mod envoy;
pub mod explain;
pub mod image;
pub mod input;
pub mod inspect;
pub mod mesh;
pub mod output;
pub mod package;
pub mod plan;
pub mod problem;
pub mod push;
pub mod render;
pub mod resources;
pub mod run;
pub mod schema;
pub mod tools;
pub mod validate;
