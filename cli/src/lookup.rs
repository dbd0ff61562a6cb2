//! Where the programs behind the commands are, and which there are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What every program's file name starts with.
const PREFIX: &str = "modelgate-";

/// Commands of ours: name, program, and what it is for.
const OURS: [(&str, &str, &str); 4] = [
    ("serve", "modelgate-gateway", "Run the gateway, with or without Kubernetes"),
    ("engine", "modelgate-engine", "Serve one GGUF model by an OpenAI-compatible API"),
    ("operator", "modelgate-operator", "Run the Kubernetes operator, or print its resource definitions"),
    ("gpu", "modelgate-gpu", "Say which GPUs this machine has"),
];

/// A command, for the help text.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// What a user types after `modelgate`.
    pub name: String,
    /// One line on what it does, or where its program should be.
    pub about: String,
}

/// The folders in which programs are looked for, in order.
pub struct Places {
    beside: Option<PathBuf>,
    path: Vec<PathBuf>,
}

impl Places {
    /// The folder of the running binary (symbolic links resolved), then `PATH`.
    pub fn of_this_process() -> Self {
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
        let path =
            std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        Self { beside, path }
    }

    /// The first executable file of that name.
    pub fn find(&self, program: &OsStr) -> Option<PathBuf> {
        self.folders().map(|folder| folder.join(program)).find(|candidate| is_executable(candidate))
    }

    /// The places in words, for messages.
    pub fn describe(&self) -> String {
        match &self.beside {
            Some(folder) => format!("in {} (beside modelgate) or in PATH", folder.display()),
            None => "in PATH".to_owned(),
        }
    }

    /// Our commands, then every other `modelgate-*` program found, by name.
    pub fn commands(&self) -> Vec<Listed> {
        let ours = OURS.iter().map(|(name, program, about)| {
            let missing = if self.find(OsStr::new(program)).is_none() {
                format!(" (not installed: no {program} found)")
            } else {
                String::new()
            };
            Listed { name: (*name).to_owned(), about: format!("{about}{missing}") }
        });
        ours.chain(self.others()).collect()
    }

    fn others(&self) -> Vec<Listed> {
        let mut found = BTreeMap::new();
        for folder in self.folders() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let file = entry.file_name();
                let Some(name) = file.to_str().and_then(|file| file.strip_prefix(PREFIX)) else { continue };
                let known = OURS.iter().any(|(_, program, _)| file == OsStr::new(program));
                if !known && !name.is_empty() && is_executable(&entry.path()) {
                    // The first folder wins, as it does when the command is run.
                    found.entry(name.to_owned()).or_insert_with(|| entry.path());
                }
            }
        }
        found.into_iter().map(|(name, path)| Listed { name, about: path.display().to_string() }).collect()
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        // An empty entry of PATH means the working directory to a shell; here it would run whatever lies there.
        self.beside.iter().chain(&self.path).map(PathBuf::as_path).filter(|folder| folder.is_absolute())
    }
}

/// The file name of the program that stands for a command.
pub fn program_name(command: &OsStr) -> OsString {
    if let Some((_, program, _)) = OURS.iter().find(|(name, _, _)| command == OsStr::new(name)) {
        return OsString::from(program);
    }
    let mut program = OsString::from(PREFIX);
    program.push(command);
    program
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::{Places, program_name};
    use std::ffi::OsStr;
    use std::path::PathBuf;

    #[test]
    fn serve_is_the_gateway_and_every_other_command_its_own_name() {
        for (command, program) in [
            ("serve", "modelgate-gateway"),
            ("engine", "modelgate-engine"),
            ("gateway", "modelgate-gateway"),
            ("anything", "modelgate-anything"),
        ] {
            assert_eq!(program_name(OsStr::new(command)), program);
        }
    }

    #[test]
    fn the_working_directory_is_never_searched() {
        let places = Places {
            beside: None,
            path: vec![PathBuf::from(""), PathBuf::from("."), PathBuf::from("/usr/bin")],
        };
        assert_eq!(places.folders().collect::<Vec<_>>(), [PathBuf::from("/usr/bin")]);
    }
}
