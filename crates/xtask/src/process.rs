//! Child processes that cannot outlive their owner.
//!
//! Every child leads a process group of its own, so that a Ctrl-C reaches only this process and a
//! child can be ended with all that it started. The signal handler does no more than set a flag:
//! whoever waits for something looks at it ([`check_interrupted`]), gives up, and the guards end
//! the children on the way out, as they do after an error or a panic.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// What a shell reports for a command that ended by Ctrl-C.
pub(crate) const INTERRUPTED_EXIT_CODE: u8 = 130;

/// How often something that is waited for is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// How long a process may take to end after it was asked to, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, SIGTERM and SIGHUP make [`interrupted`] true instead of ending the process.
pub(crate) fn watch_signals() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst))
        .context("the signal handler could not be set")
}

/// Whether the process was asked to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// An error if the process was asked to end.
pub(crate) fn check_interrupted() -> Result<()> {
    if interrupted() { bail!("interrupted") } else { Ok(()) }
}

/// A running child, ended with its whole process group when dropped.
pub(crate) struct Process {
    child: Child,
    /// What asks it to end.
    end_signal: Signal,
    ended: bool,
}

impl Process {
    /// Starts `command` in a process group of its own, without standard input.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        Ok(Self { child, end_signal: Signal::SIGTERM, ended: false })
    }

    /// Asks the process to end by another signal than SIGTERM.
    pub(crate) fn ended_by(mut self, end_signal: Signal) -> Self {
        self.end_signal = end_signal;
        self
    }

    /// The process id, which is also its group's.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The exit status, if it has ended by itself.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end; an interrupt or the deadline ends the process and is an error.
    pub(crate) fn wait(mut self, deadline: Option<Duration>) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                // What it left behind in its group (a test binary of a killed cargo) ends here.
                self.end();
                return Ok(status);
            }
            check_interrupted()?;
            if deadline.is_some_and(|deadline| start.elapsed() > deadline) {
                bail!("no end after {} s", start.elapsed().as_secs());
            }
            sleep(POLL);
        }
    }

    /// Gives the process up to live on: nothing ends it when this one does.
    pub(crate) fn leave_running(mut self) {
        self.ended = true;
    }

    /// Ends the process, its group and its descendants, at the latest after [`GRACE`].
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let id = self.child.id();
        let child = &mut self.child;
        end_tree(id, self.end_signal, || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends process `id`, the group that it leads, and its descendants in other groups: LocalStack
/// starts some of its servers in sessions of their own, and those survive it.
pub(crate) fn end_tree(id: u32, signal: Signal, mut has_ended: impl FnMut() -> bool) {
    let leader = pid(id);
    let descendants = descendants(id);
    let start = Instant::now();
    // A group or process that is gone already is what is wanted: errors say no more than that.
    let _ = killpg(leader, signal);
    while !has_ended() && start.elapsed() < GRACE {
        sleep(POLL);
    }
    let _ = killpg(leader, Signal::SIGKILL);
    for descendant in descendants {
        let _ = kill(pid(descendant), Signal::SIGKILL);
    }
}

/// Whether process `id` exists and its command line contains `part`: ids are used again.
pub(crate) fn runs(id: u32, part: &str) -> bool {
    let line = std::fs::read_to_string(format!("/proc/{id}/cmdline"));
    line.unwrap_or_else(|_| ps(&["-p", &id.to_string(), "-o", "command="])).contains(part)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}

fn descendants(ancestor: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, parent) in parents() {
        children.entry(parent).or_default().push(id);
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(id) = open.pop() {
        let next = children.remove(&id).unwrap_or_default();
        found.extend(&next);
        open.extend(next);
    }
    found
}

/// Every process with its parent, from /proc where there is one (a small image has no `ps`).
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return ps(&["-A", "-o", "pid=,ppid="])
            .lines()
            .filter_map(|line| {
                let (id, parent) = line.trim().split_once(char::is_whitespace)?;
                Some((id.parse().ok()?, parent.trim().parse().ok()?))
            })
            .collect();
    };
    entries
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // pid (command) state parent …: the command may contain anything, parentheses too.
            let (_, after_command) = stat.rsplit_once(')')?;
            Some((id, after_command.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

fn ps(arguments: &[&str]) -> String {
    let output = Command::new("ps").args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::{POLL, Process, runs};

    #[test]
    fn dropping_a_process_ends_what_it_started() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 301 & echo $!; wait"]).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut shell).unwrap();
        let mut line = String::new();
        let output = process.child().stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let grandchild = line.trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let wait_until = |wanted: bool| {
            while runs(grandchild, "sleep") != wanted {
                assert!(Instant::now() < deadline, "{grandchild} should have changed");
                std::thread::sleep(POLL);
            }
        };
        wait_until(true);
        drop(process);
        wait_until(false);
    }

    #[test]
    fn a_process_that_takes_too_long_is_ended() {
        let process = Process::spawn(Command::new("sleep").arg("302")).unwrap();
        let id = process.id();
        assert!(process.wait(Some(POLL)).is_err());
        assert!(!runs(id, "sleep"));
    }
}
