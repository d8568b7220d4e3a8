//! Each target over its corpus and over changes of it: always the same ones, so that a failure is found again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nskit_fuzz_targets::{TARGETS, Target};

/// Of each file of the corpus.
const CHANGES: u32 = 60;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// Files of a target's corpus, by name.
fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = corpus().join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs a target; where it fails, the input is told.
fn run(name: &str, target: Target, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(input)) {
        eprintln!("{name} fails for:\n{}", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// xorshift64*: numbers that are the same everywhere.
struct Random(u64);

impl Random {
    /// Below this.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }
}

/// Bytes that mean something to one parser or another.
const TELLING: [&[u8]; 12] =
    [b"\0", b"\n", b"\x1b[2J", b"\xff\xff\xff\xff", b"\\:", b":", b"=", b"18446744073709551616", b"-1", b"\xc2\x85", b"\"", b"(((("];

/// One change: bytes altered, removed, doubled, or put in.
fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    let rest = bytes.len() - at;
    match random.below(5) {
        0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..at + random.below(rest.min(16) + 1))),
        3 => {
            let part: Vec<u8> = bytes[at..at + random.below(rest.min(64) + 1)].to_vec();
            bytes.splice(at..at, part);
        }
        _ => drop(bytes.splice(at..at, TELLING[random.below(TELLING.len())].iter().copied())),
    }
}

#[test]
fn source_every_corpus_and_changes_of_it() {
    for (name, target) in TARGETS {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        run(name, target, b"");
        for (_, bytes) in files(name) {
            run(name, target, &bytes);
            let mut changed = bytes.clone();
            for n in 0..CHANGES {
                if n % 8 == 0 {
                    changed.clone_from(&bytes);
                }
                change(&mut random, &mut changed);
                run(name, target, &changed);
            }
        }
    }
}

/// What is in a corpus is there for a reason, and small.
#[test]
fn source_every_target_has_a_corpus_and_a_program() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed = |path: PathBuf, end: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(end).map(str::to_owned)).collect()
    };
    assert_eq!(listed(corpus(), ""), names);
    assert_eq!(listed(corpus().join("../fuzz_targets"), ".rs"), names);
    for name in &names {
        let files = files(name);
        assert!((2..=12).contains(&files.len()), "{name} has {} files", files.len());
        for (path, bytes) in files {
            assert!(bytes.len() <= 8192, "{} is too long", path.display());
        }
    }
}
