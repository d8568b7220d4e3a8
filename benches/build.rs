//! Compiles the floor: a program without a C library, which a package's ordinary binary can't be.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=floor");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("floor");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=floor", "--crate-type=bin", "--target", &target, "floor/main.rs", "-o"]).arg(&out);
    rustc.args(["-Cpanic=abort", "-Copt-level=3", "-Clto=fat", "-Ccodegen-units=1", "-Cstrip=symbols", "-Crelocation-model=static"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"]);
    if target.contains("musl") {
        // Its own start files would be linked otherwise; on gnu the flag breaks the link.
        rustc.arg("-Clink-self-contained=no");
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    let status = rustc.status().expect("rustc runs");
    assert!(status.success(), "the floor does not compile");
    println!("cargo::rustc-env=FLOOR={}", out.display());
}
