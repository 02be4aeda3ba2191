//! A bound for the memory of a server: who exceeds it is killed, and nobody else notices.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::process;

pub(crate) enum Limit {
    /// A memory cgroup of our own: the kernel kills who takes more than that beyond its start.
    Cgroup(PathBuf),
    /// So many resident bytes, which we look after ourselves. A limit of the address space or of the data, which the system
    /// has everywhere, also counts what a thread has reserved for its stack and never uses.
    Watched(u64),
}

impl Limit {
    /// Of so many bytes: by a cgroup where we may make one.
    pub(crate) fn new(bytes: u64) -> Self {
        cgroup(bytes).map_or(Self::Watched(bytes), Self::Cgroup)
    }

    /// Puts a process under the limit, and all that it starts from now on.
    pub(crate) fn apply(&self, process: u32) -> io::Result<()> {
        match self {
            Self::Cgroup(folder) => fs::write(folder.join("cgroup.procs"), process.to_string()),
            Self::Watched(_) => Ok(()),
        }
    }

    /// Ends the process group if it has exceeded what nobody else looks after. To be called often.
    pub(crate) fn enforce(&self, process: u32) {
        if let (Self::Watched(bytes), Some(memory)) = (self, process::memory(process)) {
            if let Some(group) = Pid::from_raw(process as i32).filter(|_| memory.resident > *bytes) {
                // It fails if it has ended by itself.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Cgroup(_) => "a memory cgroup",
            Self::Watched(_) => "a watch",
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Self::Cgroup(folder) = self {
            made().retain(|made| made != folder);
            remove(folder);
        }
    }
}

/// The cgroups that were made and not removed.
fn made() -> MutexGuard<'static, Vec<PathBuf>> {
    static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all cgroups.
pub(crate) fn remove_all() {
    made().drain(..).for_each(|folder| remove(&folder));
}

/// Removes it once nobody is in it any more; who would not end at all keeps it.
fn remove(folder: &Path) {
    let begun = Instant::now();
    while fs::remove_dir(folder).is_err() && begun.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a cgroup, of version 2 or 1, beneath our own or at the top; none if we may not.
fn cgroup(bytes: u64) -> Option<PathBuf> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let top = Path::new("/sys/fs/cgroup");
    let folders = own.lines().flat_map(|line| {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default().trim_start_matches('/');
        match line.split(':').nth(1) {
            Some("") => [(top.join(path), "memory.max"), (top.into(), "memory.max")],
            Some("memory") => {
                let top = top.join("memory");
                [(top.join(path), "memory.limit_in_bytes"), (top, "memory.limit_in_bytes")]
            }
            _ => [(PathBuf::new(), ""), (PathBuf::new(), "")],
        }
    });
    folders.filter(|(_, file)| !file.is_empty()).find_map(|(folder, file)| {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = folder.join(format!("measure-{}-{number}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        // Only what is there is written: a cgroup without the memory controller has no such file.
        let set = |file: &str, value: &str| {
            fs::OpenOptions::new()
                .write(true)
                .open(folder.join(file))
                .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        };
        if set(file, &bytes.to_string()).is_err() {
            let _ = fs::remove_dir(&folder);
            return None;
        }
        // What is swapped out would be beyond the limit. Not every kernel counts it.
        let _ = set("memory.swap.max", "0");
        let _ = set("memory.memsw.limit_in_bytes", &bytes.to_string());
        made().push(folder.clone());
        Some(folder)
    })
}
