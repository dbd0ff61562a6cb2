//! `modelgate`: the one name a user needs. `modelgate X …` becomes the program `modelgate-X …`, as git does it: looked for
//! beside this binary first, then in `PATH`, and given the process itself, so signals and exit codes are the program's own.

mod lookup;

use lookup::Places;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Exit code of a command line that makes no sense.
const EXIT_USAGE: u8 = 2;
/// Exit code when a program was found and could not be started (shells use the same).
const EXIT_CANNOT_START: u8 = 126;
/// Exit code when there is no such program (shells use the same).
const EXIT_NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let places = Places::of_this_process();
    let mut arguments = std::env::args_os().skip(1);
    let Some(first) = arguments.next() else {
        eprint!("{}", help(&places));
        return ExitCode::from(EXIT_USAGE);
    };
    let rest: Vec<OsString> = arguments.collect();
    match (first.to_str(), rest.as_slice()) {
        (Some("--help" | "-h"), _) | (Some("help"), []) => {
            print!("{}", help(&places));
            ExitCode::SUCCESS
        }
        (Some("help"), [command, ..]) => hand_over(&places, command, &[OsString::from("--help")]),
        (Some("--version" | "-V"), _) => {
            println!("modelgate {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        (Some(flag), _) if flag.starts_with('-') => {
            eprintln!(
                "modelgate: {flag} is no option of modelgate; a command comes first: modelgate COMMAND {flag}"
            );
            ExitCode::from(EXIT_USAGE)
        }
        _ => hand_over(&places, &first, &rest),
    }
}

/// Becomes the program that stands for `command`. Returns only if that is impossible.
fn hand_over(places: &Places, command: &OsStr, arguments: &[OsString]) -> ExitCode {
    let program = lookup::program_name(command);
    let Some(path) = places.find(&program) else {
        eprintln!(
            "modelgate: no command {command:?}: there is no program {} {}. `modelgate --help` lists the commands there are.",
            program.display(),
            places.describe()
        );
        return ExitCode::from(EXIT_NOT_FOUND);
    };
    let error = Command::new(&path).args(arguments).exec();
    eprintln!("modelgate: cannot start {}: {error}", path.display());
    ExitCode::from(EXIT_CANNOT_START)
}

/// The help text: one line for each command found, and for each of ours that is missing.
fn help(places: &Places) -> String {
    let mut text = String::from(
        "Runs code models behind one gateway.\n\nUsage: modelgate COMMAND [ARGUMENTS]...\n       modelgate help COMMAND\n\nCommands:\n",
    );
    let commands = places.commands();
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0);
    for command in &commands {
        text.push_str(&format!("  {:width$}  {}\n", command.name, command.about));
    }
    text.push_str("\nOptions:\n  -h, --help     Print this\n  -V, --version  Print the version\n");
    text.push_str(&format!(
        "\n`modelgate X` runs the program modelgate-X, looked for {}.\n",
        places.describe()
    ));
    text
}
