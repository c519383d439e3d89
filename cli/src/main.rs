//! `tollgate`: reads the command line, does what it says, and tells by the exit code how that went.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use tollgate_cli::args::{Arguments, Command};
use tollgate_cli::{convert, demo, doctor, explain, inspect, output, package, push, render, run, schema, validate};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Render(arguments) => render::render(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Validate(arguments) => validate::validate(&arguments),
        Command::Explain(arguments) => match explain::Call::of(&arguments) {
            Ok(call) => explain::explain(&arguments, &call),
            Err(reason) => Arguments::command().error(ErrorKind::ValueValidation, reason).exit(),
        },
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Convert(arguments) => convert::convert(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Package(arguments) => package::package(&arguments),
        Command::Push(arguments) => push::push(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tollgate", &mut script);
            output::write(&String::from_utf8_lossy(&script));
            Ok(true)
        }
        Command::ExecEnvoy { command } => run::process::exec(&command),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problems) => {
            output::problems(&problems);
            ExitCode::from(1)
        }
    }
}
