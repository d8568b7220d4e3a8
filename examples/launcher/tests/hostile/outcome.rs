//! How a launcher may answer to a hostile tree: a start that ends, or one line.

use std::time::Instant;

use super::support::{Ended, Spawn, within};

/// What the payload of these tests says.
pub const SAYS: &str = "started";

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Started,
    Refused,
}

/// Runs it, with nothing to read: it starts and ends by itself within seconds, or says why not in one harmless line.
#[track_caller]
pub fn outcome(spawn: Spawn, about: &str) -> (Outcome, Ended) {
    let began = Instant::now();
    let ended = spawn.limit(within(20)).run();
    let took = began.elapsed();
    assert!(took < within(5), "{about}: took {took:?}");
    harmless(&ended, about);
    let said = &ended.stderr;
    let how = match ended.code {
        Some(0) => Outcome::Started,
        Some(1) => Outcome::Refused,
        code => panic!("{about}: {code:?}: {said}"),
    };
    match how {
        Outcome::Started => assert!(ended.text() == format!("{SAYS}\n") && said.is_empty(), "{about}: {}{said}", ended.text()),
        Outcome::Refused => one_line(&ended, about),
    }
    (how, ended)
}

/// A refusal.
#[track_caller]
pub fn one_line(ended: &Ended, about: &str) {
    let said = &ended.stderr;
    let one = said.lines().count() == 1 && said.ends_with('\n') && said.starts_with("ns-spawn: ") && said.len() < 600;
    assert!(one && ended.stdout.is_empty() && ended.code == Some(1), "{about}: not one clear line: {}{said}", ended.text());
}

/// The same for a tree that is changed meanwhile: the payload may miss what was there, and says so itself.
#[track_caller]
pub fn outcome_of_changing(spawn: Spawn, about: &str) -> Outcome {
    let began = Instant::now();
    let ended = spawn.limit(within(20)).run();
    let took = began.elapsed();
    assert!(took < within(5), "{about}: took {took:?}");
    harmless(&ended, about);
    let said = ended.text();
    if said.contains(SAYS) {
        assert_eq!((ended.code, said), (Some(0), format!("{SAYS}\n")), "{about}: {}", ended.stderr);
        return Outcome::Started;
    }
    one_line(&ended, about);
    Outcome::Refused
}

/// Nothing that a terminal would obey, nor what turns letters around or hides them.
#[track_caller]
pub fn harmless(ended: &Ended, about: &str) {
    assert!(std::str::from_utf8(&ended.stdout).is_ok(), "{about}: {:?}", ended.text());
    no_controls(&format!("{}{}", ended.text(), ended.stderr), about);
}

/// The same of a text.
#[track_caller]
pub fn no_controls(text: &str, about: &str) {
    let deceives = |c| {
        matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' || deceives(c)), "{about}: {text:?}");
}
