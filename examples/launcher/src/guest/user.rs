//! `etc/passwd` and `etc/group`: who a user of a tree is. Read by ourselves: nothing of a tree's is ever run or loaded for it.

use std::fmt;
use std::path::PathBuf;

use super::Tree;
use super::root_user::path;
use crate::{Error, Kind, escape::Escaped};

/// A user of a tree, as `passwd(5)` and `group(5)` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its other groups, and of users other than 0 their own once more, as for a login.
    pub groups: Vec<u32>,
    /// Absolute, in the tree.
    pub home: PathBuf,
    /// Absolute, in the tree; `None`: the tree says none.
    pub shell: Option<PathBuf>,
}

/// As long as `useradd` takes names, and then some.
const NAME: usize = 256;
/// As many as a process is given.
const GROUPS: usize = 1024;

impl User {
    /// The first whole line of `passwd(5)` with this name, or else with this number. Without any line for it, user 0 is root.
    pub fn find(passwd: &[u8], group: &[u8], wanted: &str) -> Option<User> {
        let lines = || passwd.split(|b| *b == b'\n').filter_map(User::line);
        let number = id(wanted.as_bytes());
        let by_number = || lines().find(|user| number.is_some_and(|number| user.uid == number));
        let built_in = || (wanted == "root" || number == Some(0)).then(User::root);
        let mut user = lines().find(|user| user.name == wanted).or_else(by_number).or_else(built_in)?;
        user.groups = groups(group, &user.name);
        if user.uid != 0 && !user.groups.contains(&user.gid) {
            user.groups.push(user.gid);
        }
        user.groups.sort_unstable();
        Some(user)
    }

    fn root() -> User {
        User { name: "root".into(), uid: 0, gid: 0, groups: Vec::new(), home: "/root".into(), shell: None }
    }

    fn line(line: &[u8]) -> Option<User> {
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name))?;
        let home = path(home).unwrap_or_else(|| "/".into());
        Some(User { name: name.into(), uid: id(uid)?, gid: id(gid)?, groups: Vec::new(), home, shell: path(shell) })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME && !name.contains(char::is_control) && !name.starts_with(['+', '-', '#'])
}

/// Decimal digits alone; -1 is nobody's.
fn id(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// The ids of all groups that have this member.
fn groups(group: &[u8], member: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for line in group.split(|b| *b == b'\n') {
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        let [_, _, gid, members] = fields.as_slice() else { continue };
        let Some(gid) = id(gid).filter(|_| members.split(|b| *b == b',').any(|one| one == member.as_bytes())) else { continue };
        if !found.contains(&gid) && found.len() < GROUPS {
            found.push(gid);
        }
    }
    found
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::text(&self.name).fmt(f)
    }
}

impl Tree {
    /// The user of this name or number, by `etc/passwd` and `etc/group`.
    ///
    /// # Errors
    /// There is none; or one of the files is no regular file, or too long.
    pub fn user(&self, wanted: &str) -> Result<User, Error> {
        let passwd = self.read(c"etc/passwd")?.unwrap_or_default();
        let group = self.read(c"etc/group")?.unwrap_or_default();
        let missing = || Error::new(Kind::Tree, format!("There is no user '{}' in {}", Escaped::text(wanted), self.inside(c"etc/passwd")));
        User::find(&passwd, &group, wanted).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        # a comment\n\
        1000:x:5:5::/odd:/bin/sh\n\
        alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh\n\
        alice:x:1001:1001::/second:/bin/sh\n\
        nohome:x:7:7:::\n\
        +nis::::::\n\
        short:x:8:8\n\
        long:x:9:9:::/bin/sh:more\n\
        big:x:4294967296:1::/:/bin/sh\n\
        minus:x:-1:1::/:/bin/sh\n\
        last:x:4294967295:1::/:/bin/sh\n\
        \x1b[2J:x:10:10::/:/bin/sh\n\
        \xff:x:11:11::/:/bin/sh\n";
    const GROUP: &[u8] =
        b"root:x:0:\nsudo:x:27:bob,alice\nadm:x:4:alice\nsudo2:x:27:alice\nodd:x:-3:alice\nali:x:99:ali,alice2\nbad:x:98\nalice:x:1000:\n";

    fn find(wanted: &str) -> Option<User> {
        User::find(PASSWD, GROUP, wanted)
    }

    #[test]
    fn by_name_and_by_number() {
        let alice = find("alice").unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups.as_slice()), (1000, 1000, &[4, 27, 1000][..]));
        assert_eq!((alice.home.to_str(), alice.shell.unwrap().to_str()), (Some("/home/alice"), Some("/bin/zsh")));
        // A name goes before a number.
        assert_eq!(find("1000").unwrap().uid, 5);
        assert_eq!(find("1001").unwrap().home.to_str(), Some("/second"));
        let root = find("0").unwrap();
        assert_eq!((root.name.as_str(), root.groups.as_slice()), ("root", &[][..]));
        assert_eq!(find("nohome").unwrap(), User { name: "nohome".into(), uid: 7, gid: 7, groups: vec![7], home: "/".into(), shell: None });
    }

    #[test]
    fn what_is_no_user_is_none() {
        for wanted in
            ["", "bob", "+nis", "short", "long", "big", "minus", "last", "4294967295", "10", "11", "-1", "01x", "+0", " 0", "# a comment"]
        {
            assert_eq!(find(wanted), None, "{wanted}");
        }
    }

    #[test]
    fn root_is_there_without_a_file() {
        for wanted in ["root", "0", "00"] {
            let root = User::find(b"", b"", wanted).unwrap();
            assert_eq!((root.uid, root.gid, root.home.to_str(), root.shell), (0, 0, Some("/root"), None));
        }
        assert_eq!(User::find(b"\n::::::\n\xff", b"", "alice"), None);
        assert_eq!(User::find(b"", b"", "1000"), None);
    }
}
