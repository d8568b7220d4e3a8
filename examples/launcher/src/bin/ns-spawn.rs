//! `ns-spawn`: boots a distribution, or runs a command, from a plain directory.

use nskit_launcher::Error;
use nskit_launcher::report::{show, tell};
use nskit_launcher::sealed::run_from_sealed_copy;
use nskit_launcher::settings::{Parsed, PrivateUsers, parse};
use nskit_launcher::supervise;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            tell(format_args!("ns-spawn: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u8, Error> {
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    match parse(std::env::args_os(), &cwd)? {
        Parsed::Print(text) => show(&text).map(|()| 0),
        Parsed::Run(settings) => {
            if matches!(settings.users, PrivateUsers::No | PrivateUsers::Identity) {
                run_from_sealed_copy()?;
            }
            supervise::run(&settings)
        }
    }
}
