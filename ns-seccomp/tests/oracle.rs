//! Every compiled program answers as its policy does: for every number, architecture and a spread of arguments, by both compilers.

use ns_core::Errno;
use ns_seccomp::{Action, Arch, Arg, Call, Condition, ErrorKind, Policy, Program, Rule, profile, syscall};

/// xorshift64*: the same sequence on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Values at the edges of what conditions compare with.
    fn value(&mut self) -> u64 {
        const EDGES: [u64; 15] = [0xC000_003E, 0, 1, 2, 8, 9, 10, 16, 17, 0x5412, 0x541c, 0x2_0008, 0xffff_ffff, 1 << 32, u64::MAX];
        let base = self.pick(&EDGES);
        match self.below(6) {
            0 => base.wrapping_add(1),
            1 => base.wrapping_sub(1),
            2 => base | self.next() << 32,
            3 => self.next(),
            _ => base,
        }
    }

    fn args(&mut self) -> [u64; 6] {
        [0; 6].map(|_| self.value())
    }
}

const AUDITS: [u32; 7] = [0xC000_003E, 0x4000_0003, 0xC000_00B7, 0x4000_0028, 0, 0x8000_0016, u32::MAX];

/// Every number that a table could have, x32's, and far ones.
fn numbers(random: &mut Random) -> Vec<u32> {
    let far = (0..60).map(|_| random.next() as u32);
    let edges = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX, 0xf_0000, 0xf_0001, 0xf_0005, 0xf_0006, 0xf_0007];
    (0..=600).chain(0x4000_0000..0x4000_0258).chain(edges).chain(far).collect()
}

fn agree(policy: &Policy, programs: &[&Program], random: &mut Random, vectors: usize) {
    let numbers = numbers(random);
    let arches: Vec<u32> = AUDITS.to_vec();
    for audit in arches {
        for &number in &numbers {
            for vector in 0..vectors {
                let args = if vector == 0 { [0; 6] } else { random.args() };
                let call = Call { number, audit, instruction_pointer: random.next(), args };
                let expected = policy.evaluate(&call);
                for program in programs {
                    assert_eq!(program.evaluate(&call), expected, "{program}: {call:x?}\n{policy}");
                }
            }
        }
    }
}

#[cfg(feature = "libseccomp")]
fn compiled(policy: &Policy) -> Vec<Program> {
    vec![policy.compile().unwrap(), policy.compile_with_libseccomp().unwrap()]
}

#[cfg(not(feature = "libseccomp"))]
fn compiled(policy: &Policy) -> Vec<Program> {
    vec![policy.compile().unwrap()]
}

#[test]
fn the_profile_os_is_compiled_right() {
    let mut random = Random(20);
    for arches in [Arch::X86_64.accepted(), Arch::Aarch64.accepted(), &[Arch::X86_64]] {
        let policy = profile::os().for_arches(arches);
        let programs = compiled(&policy);
        agree(&policy, &programs.iter().collect::<Vec<_>>(), &mut random, 4);
    }
}

/// The calls with conditions, with every argument that their rules tell apart and its neighbours.
#[test]
fn the_profile_os_compares_arguments_right() {
    let policy = profile::os().for_arches(Arch::X86_64.accepted());
    let programs = compiled(&policy);
    let mut random = Random(1);
    for arch in [Arch::X86_64, Arch::X86] {
        for name in ["socket", "ioctl", "personality"] {
            let number = syscall::number(arch, name).unwrap();
            for round in 0..5_000 {
                let args = if round < 64 { [round, round, 9, 0, 0, 0] } else { random.args() };
                let call = Call::new(arch, number, args);
                for program in &programs {
                    assert_eq!(program.evaluate(&call), policy.evaluate(&call), "{program}: {call:x?}");
                }
            }
        }
    }
}

const CALLS: [&str; 12] =
    ["read", "write", "openat", "socket", "ioctl", "clone", "personality", "prctl", "mseal", "@io-event", "@sync", "@timer"];

fn action(random: &mut Random) -> Action {
    let errno = Errno::new(1 + random.below(130) as i32);
    let all = [Action::KillProcess, Action::KillThread, Action::Trap(0), Action::Notify, Action::Trace(3), Action::Log, Action::Allow];
    if random.below(2) == 0 { Action::Errno(errno) } else { random.pick(&all) }
}

fn condition(random: &mut Random) -> Condition {
    let index = random.below(6) as u8;
    let (arg, mask) = match random.below(4) {
        0 => (Arg::whole(index), u64::MAX),
        1 => {
            let mask = random.value();
            (Arg::whole(index).masked(mask), mask)
        }
        _ => (Arg::low(index), 0xffff_ffff),
    };
    let value = random.value() & mask;
    let compare = [Arg::is, Arg::is_not, Arg::below, Arg::at_most, Arg::above, Arg::at_least];
    random.pick(&compare)(arg, value)
}

fn policy(random: &mut Random, conditions: usize) -> Policy {
    let arches = Arch::ALL.map(|arch| (arch, random.below(2))).iter().filter(|row| row.1 == 1).map(|row| row.0).collect::<Vec<_>>();
    let mut policy = Policy::new("random", action(random)).unknown(action(random)).for_arches(&arches);
    for _ in 0..random.below(14) {
        let mut rule = Rule::new(random.pick(&CALLS), action(random));
        for _ in 0..random.below(conditions + 1) {
            rule = rule.when(condition(random));
        }
        if random.below(4) == 0 {
            rule = rule.on(random.pick(&Arch::ALL));
        }
        policy = policy.rule(rule).unwrap();
    }
    policy
}

#[test]
fn random_policies_are_compiled_right() {
    let mut random = Random(6);
    for _ in 0..60 {
        let policy = policy(&mut random, 4);
        let program = policy.compile().unwrap();
        agree(&policy, &[&program], &mut random, 3);
    }
}

/// Fewer conditions: as cubes they multiply.
#[cfg(feature = "libseccomp")]
#[test]
fn libseccomp_agrees_on_random_policies() {
    let mut random = Random(7);
    let mut compared = 0;
    for _ in 0..40 {
        let policy = policy(&mut random, 2);
        match policy.compile_with_libseccomp() {
            Ok(program) => {
                agree(&policy, &[&program], &mut random, 3);
                compared += 1;
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::TooLong | ErrorKind::Libseccomp), "{error}"),
        }
    }
    assert!(compared >= 20, "only {compared} policies were short enough");
}

#[test]
fn allowing_less_never_allows_more() {
    let mut random = Random(8);
    for _ in 0..20 {
        let lax = policy(&mut random, 2);
        let name = random.pick(&CALLS);
        let strict = lax.clone().answer(Action::KillProcess, &[name]).unwrap();
        let (lax, strict) = (lax.compile().unwrap(), strict.compile().unwrap());
        for number in 0..600 {
            let call = Call { number, audit: random.pick(&AUDITS), instruction_pointer: 0, args: random.args() };
            assert!(strict.evaluate(&call) != Action::Allow || lax.evaluate(&call) == Action::Allow, "{call:x?}");
        }
    }
}

#[cfg(feature = "libseccomp")]
#[test]
fn the_tables_have_libseccomps_numbers() {
    use libseccomp::{ScmpArch, ScmpSyscall};
    let theirs = [ScmpArch::X8664, ScmpArch::X86, ScmpArch::Aarch64, ScmpArch::Arm];
    for (arch, their_arch) in Arch::ALL.into_iter().zip(theirs) {
        let mut known = 0;
        for (number, name) in syscall::all(arch) {
            let Ok(found) = ScmpSyscall::from_name_by_arch(name, their_arch) else { continue };
            // Numbers below zero are its own, for calls that socketcall and ipc bundle.
            assert!(found.as_raw_syscall() == number as i32 || found.as_raw_syscall() < 0, "{arch} {name}: {found:?}");
            known += 1;
        }
        assert!(known > 300, "{arch}: {known}");
    }
}

#[test]
fn the_profile_is_small() {
    let x86_64 = profile::os().for_arches(&[Arch::X86_64]).compile().unwrap().instructions().len();
    let both = profile::os().for_arches(Arch::X86_64.accepted()).compile().unwrap().instructions().len();
    assert!(x86_64 <= 180 && both <= 320, "{x86_64} instructions, {both} with i386");
}

#[test]
fn far_jumps_are_bridged() {
    let mut random = Random(9);
    let mut policy = Policy::new("long", Action::Allow).for_arches(&Arch::ALL);
    for (at, name) in syscall::all(Arch::X86_64).map(|row| row.1).enumerate().filter(|row| row.0 % 2 == 0) {
        policy = policy.rule(Rule::new(name, Action::Errno(Errno::new(1 + at as i32))).when(Arg::low(0).above(7))).unwrap();
    }
    let program = policy.compile().unwrap();
    assert!(program.instructions().len() > 1500, "{program}");
    agree(&policy, &[&program], &mut random, 3);
}

#[test]
fn what_is_too_long_is_refused() {
    let mut policy = Policy::new("longer", Action::Allow).for_arches(&Arch::ALL);
    for (number, name) in syscall::all(Arch::Arm) {
        let rule = Rule::new(name, Action::Errno(Errno::new(number as i32)));
        policy = policy.rule((0..6).fold(rule, |rule, index| rule.when(Arg::whole(index).above(u64::from(number))))).unwrap();
    }
    let error = policy.compile().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong);
    assert!(error.to_string().starts_with("program \"longer\": "), "{error}");
}
