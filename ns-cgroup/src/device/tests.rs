//! The program against the rules that it was compiled from.

use super::*;

#[test]
fn rules_read_as_they_are_written() {
    for text in ["c 1:3 rwm", "b *:* r", "a *:* rwm", "c 136:* rw", "b 4095:1048575 m", "a 7:* wm"] {
        assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
    }
    for bad in [
        "",
        "c",
        "c 1:3",
        "c 1:3 ",
        "c 1 rwm",
        "x 1:3 r",
        "c 1:3 x",
        "c 1:3 rr",
        "c 1:3 r ",
        "c +1:3 r",
        "c 4096:0 r",
        "c 0:1048576 r",
        "c :3 r",
    ] {
        assert!(bad.parse::<DeviceRule>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_containers_devices_are_the_seven_and_its_terminals() {
    let table = "c 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:2 rwm\nc 136:* rwm\n";
    assert_eq!(DeviceRules::container().to_string(), table);
    let program = DeviceRules::container().compile();
    let any = DeviceAccess::all();
    assert!(program.allows(DeviceType::Char, 1, 3, any) && program.allows(DeviceType::Char, 136, 4711, any));
    // kmsg, mem, the console, the disk 1:3, loop-control.
    for (kind, major, minor) in [
        (DeviceType::Char, 1, 11),
        (DeviceType::Char, 1, 1),
        (DeviceType::Char, 5, 1),
        (DeviceType::Block, 1, 3),
        (DeviceType::Char, 10, 237),
    ] {
        assert!(!program.allows(kind, major, minor, DeviceAccess::READ), "{kind:?} {major}:{minor}");
    }
}

#[test]
fn nothing_is_nothing() {
    let program = DeviceRules::none().compile();
    assert!(!program.allows(DeviceType::Char, 1, 3, DeviceAccess::READ));
    assert_eq!(program.instructions().len(), 7);
}

#[test]
fn rules_about_one_device_allow_together() {
    let rules: DeviceRules = ["c 1:* r", "a *:3 w"].iter().map(|r| r.parse().unwrap()).collect();
    let program = rules.compile();
    assert!(program.allows(DeviceType::Char, 1, 3, DeviceAccess::READ | DeviceAccess::WRITE));
    assert!(!program.allows(DeviceType::Char, 1, 3, DeviceAccess::all()));
    assert!(!program.allows(DeviceType::Char, 1, 4, DeviceAccess::WRITE));
}

/// xorshift64*: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as u32) % n
    }

    fn some(&mut self, n: u32) -> Option<u32> {
        (self.below(4) != 0).then(|| self.below(n))
    }

    fn kind(&mut self) -> DeviceType {
        if self.below(2) == 0 { DeviceType::Block } else { DeviceType::Char }
    }

    fn access(&mut self) -> DeviceAccess {
        DeviceAccess::from_bits_truncate(self.below(8))
    }

    fn rule(&mut self) -> DeviceRule {
        let kind = (self.below(4) != 0).then(|| self.kind());
        let access = if self.below(2) == 0 { DeviceAccess::all() } else { self.access() };
        DeviceRule { kind, major: self.some(4), minor: self.some(4), access }
    }
}

#[test]
fn the_program_answers_as_the_rules_do() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut allowed = 0;
    for _ in 0..2_000 {
        let rules: DeviceRules = (0..random.below(9)).map(|_| random.rule()).collect();
        let program = rules.compile();
        for _ in 0..100 {
            let (kind, major, minor, access) = (random.kind(), random.below(5), random.below(5), random.access());
            let expected = rules.allows(kind, major, minor, access);
            assert_eq!(program.allows(kind, major, minor, access), expected, "{rules}{kind:?} {major}:{minor} {access}");
            allowed += u32::from(expected);
        }
    }
    // Neither answer is rare, or the comparison would say little.
    assert!((20_000..180_000).contains(&allowed), "{allowed} of 200,000");
}

/// Many of one major number: they share checks, a thousand at a time.
#[test]
fn neighbours_answer_as_each_alone() {
    let rules: DeviceRules = (0..2_500).map(|minor| DeviceRule::char(1, Some(minor))).collect();
    let program = rules.compile();
    for (major, minor, allowed) in [(1, 0, true), (1, 1_000, true), (1, 2_499, true), (1, 2_500, false), (2, 5, false)] {
        assert_eq!(program.allows(DeviceType::Char, major, minor, DeviceAccess::all()), allowed, "{major}:{minor}");
        assert!(!program.allows(DeviceType::Block, major, minor, DeviceAccess::READ));
    }
}

#[test]
fn the_kernels_verifier_takes_what_is_compiled() {
    let mut random = Random(7);
    for n in [0, 1, 8, 300] {
        let rules: DeviceRules = (0..n).map(|_| random.rule()).collect();
        rules.compile().load().unwrap_or_else(|e| panic!("{n} rules: {e}\n{rules}"));
    }
}
