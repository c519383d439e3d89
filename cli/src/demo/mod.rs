//! demo
use crate::args::DemoArguments;
use crate::problem::Problems;
/// x
pub fn demo(_arguments: &DemoArguments) -> Result<bool, Problems> {
    Ok(true)
}
