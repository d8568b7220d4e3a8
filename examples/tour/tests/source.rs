//! What the sources say of themselves. These tests need the sources and cargo: they run on the machine that built them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("examples/tour is two below").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The blocks that open with ```` ```WORD ````, with the number of their first line.
fn blocks(text: &str, word: &str) -> Vec<(usize, String)> {
    let fence = format!("```{word}");
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if line == fence {
            let body: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
            let first = body.first().map_or(0, |(n, _)| n + 1);
            found.push((first, body.into_iter().map(|(_, line)| format!("{line}\n")).collect()));
        }
    }
    found
}

/// The same lines in the same order, the block's indentation aside.
fn quotes(source: &str, block: &str) -> bool {
    let dedent = |text: &str| -> Vec<String> {
        let indent = text.lines().filter(|l| !l.trim().is_empty()).map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
        text.lines().map(|l| l.get(indent..).unwrap_or_default().to_owned()).collect()
    };
    let wanted = dedent(block);
    let lines: Vec<&str> = source.lines().collect();
    lines.windows(wanted.len()).any(|window| dedent(&window.join("\n")) == wanted)
}

#[test]
fn source_readme_quotes_the_tour() {
    let readme = read(&workspace().join("README.md"));
    let programs = std::fs::read_dir(workspace().join("examples/tour/src/bin")).unwrap();
    let programs: Vec<(String, String)> = programs
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), read(&path)))
        .collect();
    let blocks = blocks(&readme, "rust");
    for (line, block) in &blocks {
        assert!(programs.iter().any(|(_, text)| quotes(text, block)), "README.md:{line}: no program of the tour has this:\n{block}");
    }
    for (name, text) in &programs {
        assert!(readme.contains(&format!("examples/tour/src/bin/{name}")), "README.md doesn't name {name}");
        assert!(blocks.iter().any(|(_, block)| quotes(text, block)), "README.md quotes nothing of {name}");
    }
}

/// The rows of a table `const NAME: ... = &[("row", "outcome"), ...];`
fn rows(source: &str, table: &str) -> Vec<String> {
    let from = source.split(&format!("const {table}: ")).nth(1).unwrap_or_else(|| panic!("no table {table}"));
    let body = from.split("];").next().unwrap_or_default();
    body.split("(\"").skip(1).filter_map(|row| row.split('"').next()).map(str::to_owned).collect()
}

/// What container root can undo where it has the host's ids is said to whoever may choose it.
#[test]
fn source_readme_names_what_stays_open() {
    let readme = read(&workspace().join("README.md"));
    let tests = read(&workspace().join("examples/launcher/tests/locked.rs"));
    for table in ["OPEN_WITHOUT_USER_NAMESPACE", "OPEN_BINDS"] {
        let rows = rows(&tests, table);
        assert!(rows.len() > 4, "{table}: {rows:?}");
        for row in rows {
            assert!(readme.contains(&format!("`{row}`")), "README.md doesn't name {row:?} of {table}");
        }
    }
}

/// With libc's errno a call would touch thread-local storage, which a child between clone and exec must not.
#[test]
fn source_rustix_makes_its_calls_itself() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(["tree", "--offline", "--workspace", "-e", "features", "-i", "rustix"]).current_dir(workspace()).output();
    let output = output.expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.starts_with("rustix v1"), "{tree}");
    assert!(!tree.contains("use-libc") && !tree.contains("rustix feature \"libc\""), "{tree}");
}

/// Without these a library is published without a page, or can't be found.
#[test]
fn source_libraries_say_what_crates_io_asks() {
    for name in ["ns-core", "ns-mount", "ns-net", "ns-cgroup", "ns-seccomp"] {
        let manifest = read(&workspace().join(name).join("Cargo.toml"));
        for field in ["description = ", "readme", "keywords = [", "categories = [", "[package.metadata.docs.rs]", "[lints]"] {
            assert!(manifest.contains(field), "{name}/Cargo.toml has no {field}");
        }
        assert!(read(&workspace().join(name).join("src/lib.rs")).starts_with("//! "), "{name} has no page of prose");
    }
}
