//! How much memory a server takes for a crowd of slow clients.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::crowd::Crowd;
use super::limit::Limit;
use super::server::Server;
use super::{MIB, Result, file, process};

/// How often the memory is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for clients that have got nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to knock while there are such clients.
const NUDGE: Duration = Duration::from_millis(200);
/// How often each client reads.
const PACE: Duration = Duration::from_millis(20);

/// So many clients for a file of so many MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) size: u64,
}

/// What became of a server under a load.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) server: &'static str,
    pub(crate) load: Load,
    /// Seconds since the start, and the bytes that were resident.
    pub(crate) samples: Vec<(f64, u64)>,
    /// Bytes before the first client came.
    pub(crate) rest: u64,
    /// The most bytes that were resident at any time.
    pub(crate) peak: u64,
    /// Clients that get the file.
    pub(crate) served: usize,
    /// It was ended by the limit.
    pub(crate) killed: bool,
}

impl Run {
    /// Whether it could not bear the load.
    pub(crate) fn failed(&self) -> bool {
        self.killed || self.served < self.load.clients
    }

    /// What became of the server, in a word or two.
    pub(crate) fn fate(&self) -> &'static str {
        match (self.killed, self.failed()) {
            (true, _) => "killed",
            (_, true) => "serves some",
            _ => "survives",
        }
    }

    /// Bytes that each client costs, if it could bear them.
    pub(crate) fn per_client(&self) -> Option<u64> {
        let each = self.peak.saturating_sub(self.rest) / self.load.clients.max(1) as u64;
        Some(each).filter(|_| !self.failed())
    }
}

/// Where it is measured: the files that are served, and a limit for whoever serves them.
pub(crate) struct Lab {
    folder: PathBuf,
    limit: Limit,
}

impl Lab {
    /// In this folder; what a server may take is limited to so many bytes.
    pub(crate) fn new(folder: &Path, limit: u64) -> Result<Self> {
        Self::with(folder, Limit::new(limit))
    }

    pub(crate) fn with(folder: &Path, limit: Limit) -> Result<Self> {
        // Each client has a descriptor. If there are not enough, some are not let in.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        fs::create_dir_all(folder.join("files"))?;
        // A server may want the whole path.
        Ok(Self { folder: folder.canonicalize()?, limit })
    }

    pub(crate) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Starts the server, lets the clients come after `lead`, and holds them for so long, and until all are served.
    pub(crate) fn run(&self, server: &Server, load: Load, lead: Duration, hold: Duration) -> Result<Run> {
        let name = file(&self.folder.join("files"), load.size * MIB)?;
        let mut running = server.start(&self.folder.join("files"), &self.folder.join("server"))?;
        let process = running.process();
        let rest = process::memory(process).ok_or("a server ends at once")?.resident;
        self.limit.apply(process)?;
        let (over, watch) = mpsc::channel::<()>();
        let watcher = thread::spawn(move || watch_memory(process, &watch));
        thread::sleep(lead);
        let mut crowd = Crowd::new(running.address, &name, load.clients);
        let begun = Instant::now();
        let mut killed = false;
        let mut nudged = begun;
        while !killed && (begun.elapsed() < hold || crowd.hopes() && begun.elapsed() < hold + PATIENCE) {
            crowd.sip();
            if crowd.hopes() && nudged.elapsed() > NUDGE {
                // tiny_http may leave a connection waiting until another one comes.
                nudged = Instant::now();
                let _ = TcpStream::connect_timeout(&running.address, NUDGE);
            }
            thread::sleep(PACE);
            self.limit.enforce(process);
            if let Some(status) = running.ended()? {
                if status.signal().is_none() {
                    return Err(format!("{} ends by itself: {status}", server.name).into());
                }
                killed = true;
            }
        }
        let served = crowd.served();
        drop(crowd);
        thread::sleep(lead);
        drop(over);
        let (samples, peak) = watcher.join().map_err(|_| "the watcher has panicked")?;
        Ok(Run { server: server.name, load, samples, rest, peak: peak.max(rest), served, killed })
    }
}

/// Samples until it is over, or the process has gone.
fn watch_memory(process: u32, over: &mpsc::Receiver<()>) -> (Vec<(f64, u64)>, u64) {
    let begun = Instant::now();
    let (mut samples, mut peak) = (Vec::new(), 0);
    while let Some(memory) = process::memory(process) {
        samples.push((begun.elapsed().as_secs_f64(), memory.resident));
        // What happens between two samples counts, too.
        peak = memory.peak.max(peak);
        if over.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    (samples, peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_server() {
        let load = Load { clients: 4, size: 1 };
        let run = Run { server: "", load, samples: Vec::new(), rest: 100, peak: 500, served: 4, killed: false };
        let fate = |run: Run| (run.fate(), run.per_client());
        assert_eq!(fate(run.clone()), ("survives", Some(100)));
        assert_eq!(fate(Run { served: 3, ..run.clone() }), ("serves some", None));
        assert_eq!(fate(Run { killed: true, ..run }), ("killed", None));
    }
}
