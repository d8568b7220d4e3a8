//! Compiles the stub, a static program without a C library, to be embedded.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=stub");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("stub");
    if env::var_os("CARGO_FEATURE_SPAWN").is_none() {
        return;
    }
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=stub", "--crate-type=bin", "--target", &target, "stub/main.rs", "-o"]).arg(out);
    rustc.args(["-Cpanic=abort", "-Copt-level=s", "-Clto=fat", "-Ccodegen-units=1", "-Cstrip=symbols", "-Crelocation-model=static"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"]);
    rustc.args(["-Clink-arg=-Wl,--build-id=none,-z,norelro,-z,noseparate-code,-z,max-page-size=4096,--no-eh-frame-hdr"]);
    if target.contains("musl") {
        // Its own start files would be linked otherwise; on gnu the flag breaks the link.
        rustc.arg("-Clink-self-contained=no");
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    let status = rustc.status().expect("rustc runs");
    assert!(status.success(), "the stub does not compile");
}
