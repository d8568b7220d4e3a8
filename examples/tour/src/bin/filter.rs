//! ns-seccomp: a command that can make no directory, however it asks. As root, or with no_new_privs.

use ns_core::{Errno, Stepped};
use ns_seccomp::{Action, Install, Policy};
use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let policy = Policy::new("no new directories", Action::Allow).answer(Action::Errno(Errno::EROFS), &["mkdir", "mkdirat"])?;
    let filter = Install::new(policy.compile()?);
    println!("{filter}");

    // A step is what a child does between clone and exec: of a plan, or of a std Command.
    let directory = std::env::temp_dir().join(format!("tour-{}", std::process::id()));
    let output = Command::new("mkdir").arg(&directory).env("LC_ALL", "C").step(filter)?.output()?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
    assert!(!directory.exists());
    Ok(())
}

#[test]
fn runs() {
    main().unwrap();
}
