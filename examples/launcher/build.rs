//! Compiles the filter of the profile `os` into the program: compiling it at each start would cost half a start more.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let policy = ns_seccomp::profile::os().for_arches(&ns_seccomp::embed::target_arches()?);
    ns_seccomp::embed::write(&policy.compile()?)?;
    Ok(())
}
