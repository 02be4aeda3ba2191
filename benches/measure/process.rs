//! What the operating system says of a process and of those it has started (`proc(5)`).

use std::fs;
use std::time::Duration;

/// The memory of a process and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes that are resident now (`VmRSS`). What two processes share counts twice.
    pub(crate) resident: u64,
    /// The most that each has had, in sum (`VmHWM`).
    pub(crate) peak: u64,
}

/// None if the process has gone.
pub(crate) fn memory(process: u32) -> Option<Memory> {
    let of = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Some(Memory { resident: kib(&status, "VmRSS")? << 10, peak: kib(&status, "VmHWM")? << 10 })
    };
    let first = of(process)?;
    Some(
        descendants(process).into_iter().filter_map(of).fold(first, |sum, memory| Memory {
            resident: sum.resident + memory.resident,
            peak: sum.peak + memory.peak,
        }),
    )
}

/// Time on a processor that the process and its descendants have had, in user mode and in the kernel.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stats = std::iter::once(process).chain(descendants(process)).filter_map(stat);
    let ticks: u64 = stats.map(|stat| stat.ticks).sum();
    // USER_HZ, which is part of the interface of Linux.
    Duration::from_millis(ticks * 10)
}

/// All processes that this one has started, and those that they have.
pub(crate) fn descendants(process: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = numbers.filter_map(|number| Some((number, stat(number)?.parent))).collect();
    let mut found = vec![process];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(number, _)| *number));
        at += 1;
    }
    found.split_off(1)
}

/// A part of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// In user mode and in the kernel, its own and of the children it has waited for.
    ticks: u64,
}

fn stat(process: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold anything, brackets and spaces too.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks })
}

/// The KiB in the line of `/proc/PID/status` with this name.
fn kib(status: &str, name: &str) -> Option<u64> {
    let mut values = status.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next()?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let status = "Name:\tVmRSS\nVmSize:\t  9000 kB\nVmHWM:\t    4100 kB\nVmRSS:\t    4000 kB\nThreads:\t3\n";
        assert_eq!([kib(status, "VmRSS"), kib(status, "VmHWM"), kib(status, "Vm")], [Some(4000), Some(4100), None]);
        let stat = "7 (a) b (c) S 5 7 7 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 99 0 0\n";
        assert_eq!(parse_stat(stat), Some(Stat { parent: 5, ticks: 37 }));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_and_what_it_starts_are_counted() {
        let own = std::process::id();
        // Its child is our grandchild, and ends when its input does.
        let mut shell = std::process::Command::new("sh");
        let mut child = shell.args(["-c", "cat; :"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let grandchild = || descendants(child.id()).into_iter().find(|number| descendants(own).contains(number));
        let begun = std::time::Instant::now();
        while grandchild().is_none() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert!(grandchild().is_some() && descendants(own).contains(&child.id()));
        let memory = memory(own).unwrap();
        assert!(memory.resident > 1 << 20 && memory.peak >= memory.resident, "{memory:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(super::memory(child.id()), None);
    }
}
