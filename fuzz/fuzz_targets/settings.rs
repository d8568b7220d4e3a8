//! A command line, its arguments separated by NULs: what is accepted comes back from its own arguments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nskit_launcher::settings::{Parsed, parse};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let words = data.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let arguments = [OsStr::new("ns-spawn")].into_iter().chain(words);
    match parse(arguments, Path::new("/cwd")) {
        Ok(Parsed::Run(settings)) => assert_eq!(parse(settings.to_arguments(), Path::new("/cwd")).unwrap(), Parsed::Run(settings)),
        Ok(Parsed::Print(_)) => {}
        Err(e) => assert!(!e.to_string().contains('\n')),
    }
});
