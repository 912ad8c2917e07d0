//! The machine, and who uses its processors.

use std::fmt::Write;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Where figures come from.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// The share of all processors that others used just before the run and just after it, where the
    /// system tells.
    pub(crate) others: Option<(f64, f64)>,
}

impl Machine {
    pub(crate) fn new(others: Option<(f64, f64)>) -> Self {
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = processors.lines().find_map(|line| {
            line.strip_prefix("model name")
                .and_then(|rest| rest.split_once(": "))
                .map(|(_, name)| name)
        });
        Machine {
            processor: name.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            others,
        }
    }

    /// Says how quiet it was, if that is known.
    pub(crate) fn write_quietness(&self, page: &mut String) -> std::fmt::Result {
        let Some((before, after)) = self.others else { return Ok(()) };
        writeln!(
            page,
            "Others used {:.0} % of the processors in the second before the run, and {:.0} % in the \
             second after it (what they did in between is not known): on a machine that is not quiet \
             figures are too low.\n",
            100.0 * before,
            100.0 * after,
        )
    }
}

/// The share of all processors that is used during a second in which nothing is measured.
pub(crate) fn others() -> Option<f64> {
    let (used, total) = processor_time()?;
    std::thread::sleep(Duration::from_secs(1));
    let (used_later, total_later) = processor_time()?;
    Some((used_later - used) / (total_later - total))
}

/// Used and total, since the system started, of all processors together.
fn processor_time() -> Option<(f64, f64)> {
    let statistics = std::fs::read_to_string("/proc/stat").ok()?;
    let times: Vec<f64> = statistics
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let total = times.iter().sum();
    Some((total - times.get(3)? - times.get(4)?, total))
}

/// What this process has used of the processors since it began, the kernel's part of it included.
pub(crate) fn own_time() -> Duration {
    let seconds =
        |time: TimeVal| Duration::new(time.tv_sec().cast_unsigned(), 1_000 * time.tv_usec() as u32);
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(Duration::ZERO, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The most memory that this process has had at a time, in bytes, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1_024 * kibibytes)
}
