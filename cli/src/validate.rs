//! `tollgate validate`: whether the resources are what they should be, and the filters would take their configurations.

use serde_json::json;

use crate::args::{ReportFormat, ValidateArguments};
use crate::input::Inputs;
use crate::mesh::{plugins, security};
use crate::output;
use crate::problem::{Notices, Problem, Problems};
use crate::resources::Resources;

/// Prints what is wrong; true when nothing is.
pub fn validate(arguments: &ValidateArguments) -> Result<bool, Problems> {
    let inputs = Inputs::open(&arguments.input.files)?;
    let mut notices = Notices::default();
    let (checked, problems) = match inputs.read().and_then(|read| Resources::from_documents(read, &mut notices)) {
        Ok(resources) => (resources.wasm_plugins.len(), check(&resources, &mut notices)),
        Err(problems) => (0, problems),
    };
    match arguments.output {
        ReportFormat::Json => output::line(json!({
            "valid": problems.is_empty(),
            "problems": problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
            "warnings": notices.warnings().map(Problem::to_json).collect::<Vec<_>>(),
        })),
        ReportFormat::Text => {
            output::notices(notices.iter());
            output::problems(&problems);
            if problems.is_empty() {
                output::line(format!(
                    "{} {checked} WasmPlugins, and what they stand beside",
                    output::styled(output::GOOD, "valid:")
                ));
            }
        }
    }
    Ok(problems.is_empty())
}

fn check(resources: &Resources, notices: &mut Notices) -> Problems {
    security::check(&resources.peer_authentications, notices);
    for plugin in resources.wasm_plugins.iter().filter(|plugin| !plugins::is_ours(&plugin.spec)) {
        notices.note(format!("{}: not one of Tollgate's filters: its pluginConfig is not checked", plugin.origin));
    }
    plugins::validate(&resources.wasm_plugins, notices)
}
