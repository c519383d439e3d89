//! `tollgate validate`: whether the resources are what they should be, and the filters would take their configurations.

use serde_json::json;

use crate::args::{ReportFormat, ValidateArguments};
use crate::input::Inputs;
use crate::mesh::{modules, plugins, security};
use crate::output;
use crate::problem::{Notices, Problem, Problems};
use crate::resources::Resources;

/// Prints what is wrong; true when nothing is.
pub fn validate(arguments: &ValidateArguments) -> Result<bool, Problems> {
    let inputs = Inputs::open(&arguments.input.files)?;
    let mut notices = Notices::default();
    let read = inputs.read().and_then(|read| if read.is_empty() { Err(nothing().into()) } else { Ok(read) });
    let (checked, problems) = match read.and_then(|read| Resources::from_documents(read, &mut notices)) {
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

/// What a pipe gives whose first command failed.
fn nothing() -> Problem {
    Problem::new("there is no resource in what was read")
        .cure("look at what should have written it, or name other files")
}

fn check(resources: &Resources, notices: &mut Notices) -> Problems {
    security::check(&resources.peer_authentications, notices);
    for plugin in resources.wasm_plugins.iter().filter(|plugin| !plugins::is_ours(&plugin.spec)) {
        notices.note(format!("{}: not one of Tollgate's filters: its pluginConfig is not checked", plugin.origin));
    }
    for plugin in &resources.wasm_plugins {
        modules::check_build(plugin, notices);
    }
    plugins::validate(&resources.wasm_plugins, notices)
}
