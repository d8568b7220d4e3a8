//! `ns-machine`: looks after the machines that `ns-spawn` runs.

use ns_core::Errno;
use nskit_launcher::Error;
use nskit_launcher::report::{show, tell};
use nskit_machine::cli::{Parsed, parse};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        // As in `ns-machine list | head -n 1`: whoever has read enough needs no complaint.
        Err(e) if e.errno() == Some(Errno::EPIPE) => ExitCode::FAILURE,
        Err(e) => {
            tell(format_args!("ns-machine: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u8, Error> {
    match parse(std::env::args_os())? {
        Parsed::Print(text) => show(&text).map(|()| 0),
        Parsed::Run(verb, options) => nskit_machine::run(&verb, &options),
    }
}
