//! From the command line to the mesh: read, type, build.

use std::collections::BTreeMap;

use crate::args::MeshArguments;
use crate::input::Inputs;
use crate::mesh::{Mesh, Options};
use crate::problem::{Notices, Problem, Problems};
use crate::resources::Resources;

/// A mesh and what it was made of.
pub struct Plan {
    /// The resources.
    pub resources: Resources,
    /// The mesh.
    pub mesh: Mesh,
    /// What the user should know of it.
    pub notices: Notices,
}

/// Reads the inputs anew and builds the mesh.
pub fn plan(inputs: &Inputs, options: &Options) -> Result<Plan, Problems> {
    let mut notices = Notices::default();
    let resources = Resources::from_documents(inputs.read()?, &mut notices)?;
    let mesh = Mesh::build(&resources, options, &mut notices)?;
    Ok(Plan { resources, mesh, notices })
}

/// What the command line says of the mesh.
pub fn options(arguments: &MeshArguments) -> Result<Options, Problem> {
    let mut upstreams = BTreeMap::new();
    for (host, address) in &arguments.upstreams {
        if upstreams.insert(host.clone(), address.clone()).is_some() {
            return Err(Problem::new(format!("--upstream {host} is given twice")));
        }
    }
    Ok(Options { upstreams, modules: arguments.modules.clone() })
}
