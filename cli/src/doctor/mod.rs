//! `tollgate doctor`: whether what was asked for is really enforced, and by which command it will be where it is not.
//!
//! Collecting is apart from judging: the checks see facts alone, and are tested on what real proxies said.

pub mod checks;
mod collect;
mod cures;
pub mod facts;
pub mod finding;
pub mod proxy;
mod report;
pub mod series;

use crate::args::doctor::DoctorArguments;
use crate::problem::Problems;

/// Looks, and prints what it found; true when nothing is wrong.
pub fn doctor(arguments: &DoctorArguments) -> Result<bool, Problems> {
    let facts = crate::run::runtime()?.block_on(collect::facts(arguments))?;
    let findings = checks::all(&facts);
    report::print(&facts, &findings, arguments.output);
    Ok(!findings.iter().any(finding::Finding::is_trouble))
}

#[cfg(test)]
mod tests;
