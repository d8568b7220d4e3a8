//! The program: eBPF of type BPF_PROG_TYPE_CGROUP_DEVICE, put together by hand.

use super::rule::{DeviceAccess, DeviceRule, DeviceRules, DeviceType};
use crate::cgroup::Cgroup;
use crate::errno::Errno;
use crate::error::{Error, ErrorKind, Result};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Compiled rules: what the kernel runs at each `open(2)` and `mknod(2)` of a device by a process in the cgroup or below it.
///
/// ```text
/// struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }   r1 on entry; access_type = access << 16 | type
///
///     w2 = access_type >> 16
///     if w2 <= rwm goto rules
///     r0 = 0 ; exit
///     rules: for each, what it leaves open left out, and the first two lines but once for neighbours of one major number that allow all:
///         w3 = access_type & 0xffff ; if w3 != type goto next
///         w3 = major ; if w3 != major goto next
///         w3 = minor ; if w3 != minor goto next
///         w2 &= ~access ; if w2 != 0 goto next       unless it allows all
///         r0 = 1 ; exit
///     next:
///     r0 = 0 ; exit
/// ```
///
/// The verifier follows both ways of each jump, and the rest once more for each combination of what the registers are known to hold by then.
/// So nothing is held: numbers are read again for each rule, and one that allows all leaves w2 alone. The usual list loads in a third of
/// the time that way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceProgram {
    instructions: Vec<u64>,
    rules: DeviceRules,
}

// Operation codes: class | size or source | operation, of the kernel's Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61;
const LOAD_HALF: u8 = 0x69;
const AND_W: u8 = 0x54;
const SHIFT_RIGHT_W: u8 = 0x74;
const JUMP_NOT_EQUAL_W: u8 = 0x56;
const JUMP_NOT_ABOVE_W: u8 = 0xb6;
const MOVE_CONSTANT: u8 = 0xb7;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const NUMBER: u8 = 3;

/// A part of the context: how it is read, and where it is.
type Field = (u8, i16);
const TYPE: Field = (LOAD_HALF, if cfg!(target_endian = "little") { 0 } else { 2 });
const MAJOR: Field = (LOAD_WORD, 4);
const MINOR: Field = (LOAD_WORD, 8);

/// `struct bpf_insn { u8 code; u8 dst:4, src:4; s16 off; s32 imm; }`, in the machine's byte order.
fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let [o0, o1] = offset.to_ne_bytes();
    let [c0, c1, c2, c3] = constant.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, c0, c1, c2, c3])
}

fn kernel_type(kind: DeviceType) -> u32 {
    match kind {
        DeviceType::Block => 1,
        DeviceType::Char => 2,
    }
}

fn prologue() -> [u64; 2] {
    [instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0), instruction(SHIFT_RIGHT_W, ACCESS, 0, 0, 16)]
}

/// Access of a kind that no rule knows is denied, so that a rule for all that are known needs not look.
fn known_access() -> [u64; 3] {
    let [deny, exit] = answer(0);
    [instruction(JUMP_NOT_ABOVE_W, ACCESS, 0, 2, DeviceAccess::all().bits()), deny, exit]
}

fn answer(allowed: u32) -> [u64; 2] {
    [instruction(MOVE_CONSTANT, RESULT, 0, 0, allowed), instruction(EXIT, 0, 0, 0, 0)]
}

/// So many rules share checks at most: jumps are short.
const SHARING: usize = 1_000;

/// Rules that follow each other, allow all, and differ in the minor number only.
fn share(one: &DeviceRule, next: &DeviceRule) -> bool {
    let plain = |rule: &DeviceRule| rule.access.is_all() && rule.minor.is_some();
    plain(one) && plain(next) && (one.kind, one.major) == (next.kind, next.major)
}

fn group(rules: &[DeviceRule]) -> Vec<u64> {
    let Some(first) = rules.first() else { return Vec::new() };
    let each = rules.iter().flat_map(|rule| checked(&[(MINOR, rule.minor)], allow(rule)));
    checked(&[(TYPE, first.kind.map(kernel_type)), (MAJOR, first.major)], each.collect())
}

/// What only runs where these fields have these values.
fn checked(checks: &[(Field, Option<u32>)], body: Vec<u64>) -> Vec<u64> {
    checks.iter().rev().fold(body, |body, &((load, offset), value)| match (value, i16::try_from(body.len())) {
        (Some(value), Ok(past)) => {
            let check = [instruction(load, NUMBER, CONTEXT, offset, 0), instruction(JUMP_NOT_EQUAL_W, NUMBER, 0, past, value)];
            [&check[..], &body].concat()
        }
        (None, _) => body,
        // Longer than any group; were it not, such rules would allow nothing.
        (Some(_), Err(_)) => Vec::new(),
    })
}

fn allow(rule: &DeviceRule) -> Vec<u64> {
    let checks_nothing = rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none();
    // One that checks nothing would end the program before its end, which the verifier refuses.
    let look = !rule.access.is_all() || checks_nothing;
    let look: &[u64] =
        if look { &[instruction(AND_W, ACCESS, 0, 0, !rule.access.bits()), instruction(JUMP_NOT_EQUAL_W, ACCESS, 0, 2, 0)] } else { &[] };
    [look, &answer(1)].concat()
}

impl DeviceRules {
    /// Compiles the rules. Needs no rights.
    pub fn compile(&self) -> DeviceProgram {
        let all: Vec<DeviceRule> = self.iter().copied().collect();
        let body = all.chunk_by(share).flat_map(|rules| rules.chunks(SHARING)).flat_map(group);
        let instructions = prologue().into_iter().chain(known_access()).chain(body).chain(answer(0)).collect();
        DeviceProgram { instructions, rules: self.clone() }
    }
}

/// The verifier's last words; it says what it didn't like at the end.
const LOG: usize = 64 << 10;

impl DeviceProgram {
    /// The instructions, `struct bpf_insn` each.
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }

    /// The rules that it was compiled from.
    pub fn rules(&self) -> &DeviceRules {
        &self.rules
    }

    /// `bpf(BPF_PROG_LOAD)`, Linux 5.1 (32-bit jumps); bpf(2). EPERM without CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the first user namespace;
    /// ENOSYS and EINVAL where the kernel was built without CONFIG_CGROUP_BPF; EACCES and EINVAL with the verifier's words otherwise.
    pub fn load(&self) -> Result<OwnedFd> {
        let failed = match sys::load_device_program(&self.instructions, &mut []) {
            Ok(fd) => return Ok(fd),
            Err(e) => e,
        };
        let mut log = vec![0; LOG];
        // Once more for the words; should it succeed now, all the better.
        let fd = sys::load_device_program(&self.instructions, &mut log);
        fd.map_err(|_| load_error(failed, &log))
    }

    /// Loads the program and attaches it to a cgroup: `bpf(BPF_PROG_ATTACH)` with BPF_F_ALLOW_MULTI, so that a guest's manager can attach
    /// further ones below. All of them must agree, so those can only take away. It stays as long as the cgroup; Linux 4.15.
    ///
    /// EPERM as for [`DeviceProgram::load`], or where a cgroup above has a program that lets none be attached below it.
    pub fn attach(&self, cgroup: &Cgroup) -> Result<()> {
        let program = self.load()?;
        sys::attach_device_program(cgroup.as_fd(), program.as_fd()).map_err(|e| {
            let failed = Error::call("attach the device program to", cgroup.path(), "bpf", e);
            match e {
                Errno::EPERM => {
                    failed.hinted("a cgroup above may have a program that lets none be attached below it (no BPF_F_ALLOW_MULTI)")
                }
                _ => failed,
            }
        })
    }

    /// What the program answers, worked out here instead of by the kernel: for tests and for explaining.
    pub fn allows(&self, kind: DeviceType, major: u32, minor: u32, access: DeviceAccess) -> bool {
        let context = [access.bits() << 16 | kernel_type(kind), major, minor];
        evaluate(&self.instructions, context).is_some_and(|answer| answer != 0)
    }
}

impl Cgroup {
    /// `bpf(BPF_PROG_QUERY)`: how many device programs are attached to this very cgroup; those above it count for it as well but are not
    /// counted. Linux 4.15; needs CAP_NET_ADMIN.
    pub fn device_programs(&self) -> Result<u32> {
        sys::count_device_programs(self.as_fd()).map_err(|e| Error::call("count the device programs of", self.path(), "bpf", e))
    }
}

fn load_error(errno: Errno, log: &[u8]) -> Error {
    let said = String::from_utf8_lossy(log.split(|&b| b == 0).next().unwrap_or_default()).into_owned();
    let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
    let failed = Error::call("load the device program", Path::new(""), "bpf", errno).saying(last);
    match errno {
        Errno::EPERM => {
            failed.of_kind(ErrorKind::NotPermitted).hinted("it needs CAP_BPF and CAP_NET_ADMIN on the host, outside of any user namespace")
        }
        Errno::ENOSYS => failed.hinted("this kernel, or a filter around this process, has no bpf(2)"),
        Errno::EINVAL => failed.hinted("the kernel may lack CONFIG_CGROUP_BPF"),
        _ => failed,
    }
}

/// Runs the few instructions that are used above; `None` for any other, and for a program that doesn't end in order. Jumps only go
/// forward, so that it ends.
fn evaluate(program: &[u64], context: [u32; 3]) -> Option<u64> {
    let mut registers = [0u64; 6];
    let mut at = 0usize;
    loop {
        let [code, pair, o0, o1, c0, c1, c2, c3] = program.get(at)?.to_ne_bytes();
        let to = if cfg!(target_endian = "little") { pair & 15 } else { pair >> 4 };
        let offset = usize::try_from(i16::from_ne_bytes([o0, o1])).ok()?;
        let constant = u32::from_ne_bytes([c0, c1, c2, c3]);
        let to = registers.get_mut(usize::from(to))?;
        match code {
            LOAD_WORD => *to = u64::from(*context.get(offset / 4)?),
            LOAD_HALF => *to = u64::from(*context.get(offset / 4)? & 0xffff),
            AND_W => *to &= u64::from(constant),
            SHIFT_RIGHT_W => *to = (*to & 0xffff_ffff) >> constant,
            MOVE_CONSTANT => *to = u64::from(constant),
            JUMP_NOT_EQUAL_W if *to & 0xffff_ffff != u64::from(constant) => at += offset,
            JUMP_NOT_ABOVE_W if *to & 0xffff_ffff <= u64::from(constant) => at += offset,
            JUMP_NOT_EQUAL_W | JUMP_NOT_ABOVE_W => {}
            EXIT => return Some(registers[usize::from(RESULT)]),
            _ => return None,
        }
        at += 1;
    }
}
