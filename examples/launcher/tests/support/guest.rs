//! A guest that root is logged in to, on its console.

use std::time::Duration;

use super::{Terminal, boot_time, within};

/// A shell in a container, on a terminal.
pub struct Guest {
    pub terminal: Terminal,
    asked: u32,
}

/// What a command said, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub said: String,
    pub status: i32,
    command: String,
}

impl Guest {
    /// Waits for the login prompt, and logs in as root, who has no password.
    pub fn log_in(mut terminal: Terminal) -> Guest {
        terminal.expect("login:", boot_time());
        terminal.send("root\n");
        terminal.expect("# ", within(20));
        Guest::in_shell(terminal)
    }

    /// Of a terminal that shows a shell's prompt. The shell is replaced by one that shows neither prompts nor what it is sent.
    pub fn in_shell(mut terminal: Terminal) -> Guest {
        terminal.send("stty -echo; PS1= PS2= exec sh\n");
        terminal.send("PS1=; PS2=; export SYSTEMD_PAGER=cat PAGER=cat; echo 'shell' is there\n");
        terminal.expect("shell is there\n", within(20));
        Guest { terminal, asked: 0 }
    }

    /// Runs a command; its standard input is empty.
    pub fn run(&mut self, command: &str) -> Answer {
        self.run_within(command, within(30))
    }

    /// [`Guest::run`], with another limit.
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Answer {
        self.asked += 1;
        let mark = format!("@@{}:", self.asked);
        self.terminal.send(&format!("{{ {command}\n}} </dev/null 2>&1; printf '\\n%s%s:%s@@\\n' @@ {} $?\n", self.asked));
        let said = self.terminal.expect(&mark, limit);
        let status = self.terminal.expect("@@\n", within(10));
        let said = said.strip_suffix(&mark).unwrap_or(&said).trim_matches('\n').to_owned();
        let status = status.trim_end_matches("@@\n").parse().unwrap_or_else(|e| panic!("{command}: no status but {status:?}: {e}"));
        Answer { said, status, command: command.to_owned() }
    }

    /// Runs a command that has to succeed; what it said.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> String {
        self.run(command).ok()
    }

    /// Runs a command that ends the shell, or the machine.
    pub fn last(&mut self, command: &str) {
        self.terminal.send(&format!("{command}\n"));
    }

    /// Powers it off; the launcher has to end with 0 and say so.
    #[track_caller]
    pub fn power_off(mut self, machine: &str) -> String {
        self.last("systemctl poweroff");
        self.terminal.expect(&format!("Container {machine} has been shut down."), within(60));
        assert_eq!(self.terminal.finish(within(10)), Some(0), "{}", self.terminal.text());
        self.terminal.text()
    }
}

impl Answer {
    /// What it said, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.command, self.said);
        self.said
    }

    /// What it said, if it failed.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.status, 0, "{} succeeded\n{}", self.command, self.said);
        self.said
    }
}
