//! What is read in the sources: that no step was forgotten by child_proof.rs, and that clippy refuses in a child's file what no run finds.
//!
//! These need the sources and cargo, which the rig doesn't have: their names begin with `source_`.

#[path = "child_steps/mod.rs"]
#[allow(dead_code, reason = "only the list is used")]
mod child_steps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file of Rust below `dir`, but what cargo builds and tests of their own.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["target", "tests", "benches", "fuzz", "stub"].iter().any(|skip| name == *skip);
        if entry.file_type().unwrap().is_dir() && !skipped && !name.to_string_lossy().starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn texts() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&workspace(), &mut found);
    assert!(found.len() > 100, "{found:?}");
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// What stands before the tests of a file.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\n#[allow").next().unwrap().split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// `unsafe impl Step for NAME {`, and what a macro makes of `$name`.
fn steps(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with("unsafe impl") && line.contains("Step for ")) {
        let name = line.split("Step for ").nth(1).unwrap().split([' ', '<', '{']).next().unwrap();
        if let Some(macro_name) = name.strip_prefix('$').and_then(|_| text.split("macro_rules! ").nth(1)?.split([' ', '{']).next()) {
            let call = format!("\n{macro_name}!");
            let calls = text.split(call.as_str()).skip(1);
            found.extend(calls.map(|call| words(call).find(|word| word.starts_with(char::is_uppercase)).unwrap().to_owned()));
        } else {
            found.insert(name.to_owned());
        }
    }
    found
}

/// The words of a macro's call, without its comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.trim().starts_with("//"));
    lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric())).filter(|word| !word.is_empty())
}

#[test]
fn source_every_step_is_started() {
    let mut found: BTreeSet<String> = texts().iter().flat_map(|(_, text)| steps(product(text))).collect();
    // A test's own, in a module that only tests have.
    assert!(found.remove("Bad"), "{found:?}");
    let listed: BTreeSet<String> = child_steps::TYPES.iter().map(|name| (*name).to_owned()).collect();
    let (forgotten, gone): (Vec<_>, Vec<_>) = (found.difference(&listed).collect(), listed.difference(&found).collect());
    assert!(forgotten.is_empty(), "no test starts these steps: {forgotten:?}");
    assert!(gone.is_empty(), "these are no steps any more: {gone:?}");
}

const DENIED: [&str; 4] =
    ["clippy::disallowed_types", "clippy::disallowed_methods", "clippy::disallowed_macros", "clippy::indexing_slicing"];

/// A file's or a module's own denials, or those of the one above it.
#[test]
fn source_every_file_with_a_step_is_checked() {
    let denies = |text: &str| {
        let attribute = text.split("#![deny(").nth(1).and_then(|rest| rest.split(")]").next()).unwrap_or_default();
        DENIED.iter().all(|lint| attribute.contains(lint))
    };
    let all = texts();
    for (path, text) in all.iter().filter(|(_, text)| !steps(product(text)).is_empty()) {
        if path.ends_with("trial.rs") {
            continue;
        }
        let mut above = path.parent().unwrap().to_owned();
        let mut modules = vec![path.clone()];
        while above.file_name().is_some_and(|name| name != "src") {
            modules.extend([above.with_extension("rs"), above.join("mod.rs")]);
            above.pop();
        }
        let checked = modules.iter().any(|module| all.iter().any(|(path, text)| path == module && denies(text)));
        assert!(checked, "{} has a step, and not {DENIED:?}: {}", path.display(), text.lines().next().unwrap());
    }
}

/// Each line is a fault, with the words that clippy has for it.
const PLANTED: [(&str, &str); 19] = [
    ("pub fn a(n: u8) { let _kept: Box<u8> = Box::new(n); }", "disallowed type `std::boxed::Box`"),
    ("pub fn b() -> Vec<u8> { Vec::new() }", "disallowed type `std::vec::Vec`"),
    ("pub fn c() -> String { String::new() }", "disallowed type `std::string::String`"),
    ("pub fn d(fd: std::os::fd::OwnedFd) { drop(fd) }", "disallowed type `std::os::fd::OwnedFd`"),
    ("pub fn e(m: &std::sync::Mutex<u8>) -> bool { m.is_poisoned() }", "disallowed type `std::sync::Mutex`"),
    ("pub fn f(m: &std::sync::Arc<u8>) -> u8 { **m }", "disallowed type `std::sync::Arc`"),
    ("pub fn g(m: &std::ffi::CString) -> bool { m.is_empty() }", "disallowed type `std::ffi::CString`"),
    ("pub fn h(m: &std::fs::File) -> bool { m.metadata().is_ok() }", "disallowed type `std::fs::File`"),
    ("pub fn i(n: Option<u8>) -> u8 { n.unwrap() }", "disallowed method `std::option::Option::unwrap`"),
    ("pub fn j(n: Result<u8, u8>) -> u8 { n.expect(\"\") }", "disallowed method `std::result::Result::expect`"),
    ("pub fn k(n: u8) { n.to_string(); }", "disallowed method `std::string::ToString::to_string`"),
    ("pub fn l() { std::process::exit(1) }", "disallowed method `std::process::exit`"),
    ("pub fn m() -> bool { std::env::var(\"A\").is_ok() }", "disallowed method `std::env::var`"),
    ("pub fn n(n: u8) { format!(\"{n}\"); }", "disallowed macro `std::format`"),
    ("pub fn o() { vec![1u8]; }", "disallowed macro `std::vec`"),
    ("pub fn p() { panic!() }", "disallowed macro `std::panic`"),
    ("pub fn q() { println!() }", "disallowed macro `std::println`"),
    ("pub fn r(n: bool) { assert!(n) }", "disallowed macro `std::assert`"),
    ("pub fn s(n: &[u8], at: usize) -> u8 { n[at] }", "indexing may panic"),
];

/// A crate of its own, with this workspace's clippy.toml.
fn clippy(source: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"planted\"\nedition = \"2024\"\n[workspace]\n").unwrap();
    std::fs::copy(workspace().join("clippy.toml"), dir.path().join("clippy.toml")).unwrap();
    std::fs::write(dir.path().join("src/lib.rs"), source).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["clippy", "--offline", "--quiet"]).current_dir(dir.path());
    cargo.env("CARGO_TARGET_DIR", dir.path().join("target")).env_remove("RUSTFLAGS").env_remove("CLIPPY_CONF_DIR");
    let output = cargo.output().expect("cargo runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn source_clippy_finds_what_is_planted() {
    let attribute = format!("#![deny({})]\n", DENIED.join(", "));
    let (clean, text) = clippy(&format!("{attribute}pub fn a(n: &[u8]) -> Option<u8> {{ n.first().copied() }}\n"));
    assert!(clean, "{text}");
    let source: String = PLANTED.iter().map(|(line, _)| format!("{line}\n")).collect();
    let (clean, text) = clippy(&(attribute + &source));
    assert!(!clean);
    for (number, (line, words)) in (2..).zip(PLANTED) {
        let place = format!("src/lib.rs:{number}:");
        let reports: Vec<&str> = text.split("error: ").filter(|report| report.contains(&place)).collect();
        assert!(reports.iter().any(|report| report.contains(words)), "not found: {line}\n{text}");
    }
}
