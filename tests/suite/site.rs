//! Folders to serve, and servers for them: one for each front there is.

use std::fs::{File, FileTimes};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use brooklet::{Config, Front, Handle, Server, Statistics};
use tempfile::TempDir;

use crate::client::{Client, Response, get};

/// A guard against what must never happen; nothing is expected to take nearly so long.
pub(crate) const NEVER: Duration = Duration::from_secs(20);

/// The modification time of every file of a [`Folder`]: long ago, and with a fraction of a second.
pub(crate) const OLD: Duration = Duration::new(1_700_000_000, 5);
/// The same as HTTP says it.
pub(crate) const OLD_DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

/// Every front, each of which a behaviour has to be the same on. Its name is printed, so that a failure shows it.
pub(crate) fn fronts() -> impl Iterator<Item = Front> {
    Front::ALL.iter().map(|(name, front)| {
        println!("front: {name}");
        *front
    })
}

/// A folder to be served, with room beside it for what must not be.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.root()).unwrap();
        folder
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// The path of what stands below the root (or beside it: `../x`).
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// Writes an old file, and the folders it lies in.
    pub(crate) fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        date(&path, UNIX_EPOCH + OLD);
        self
    }

    pub(crate) fn folder(&self, name: impl AsRef<Path>) -> &Self {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    pub(crate) fn link(&self, name: impl AsRef<Path>, to: impl AsRef<Path>) -> &Self {
        std::os::unix::fs::symlink(to, self.path(name)).unwrap();
        self
    }
}

/// Sets the modification time of a file.
pub(crate) fn date(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// So many bytes without a pattern, always the same for the same seed (xorshift).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A server that runs. When it is dropped it is stopped, and must have ended well.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    handle: Handle,
    /// When [`Server::run`] returned, and what.
    outcome: mpsc::Receiver<(Instant, io::Result<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn start(front: Front, folder: &Folder) -> Self {
        Self::with(Self::config(front, folder))
    }

    /// What a test starts from: any free port, and no long wait for what a test has left standing.
    pub(crate) fn config(front: Front, folder: &Folder) -> Config {
        let drain = Duration::from_secs(1);
        Config { root: folder.root(), port: 0, front, workers: Some(16), drain, ..Config::default() }
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::run(Server::bind(config).expect("it can be started"))
    }

    pub(crate) fn run(server: Server) -> Self {
        let (address, handle) = (server.addresses()[0], server.handle());
        let (ended, outcome) = mpsc::channel();
        let thread = Some(std::thread::spawn(move || {
            let outcome = server.run();
            // The test may have ended already.
            let _ = ended.send((Instant::now(), outcome));
        }));
        Self { address, handle, outcome, thread }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.client().exchange(get(target))
    }

    pub(crate) fn stop(&self) {
        self.handle.stop();
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.handle.statistics()
    }

    pub(crate) fn reload(&self) -> Result<(), String> {
        self.handle.reload()
    }

    /// Waits until [`Server::run`] has returned, well; when it did.
    pub(crate) fn ended(&self) -> Instant {
        let (at, outcome) = self.outcome.recv_timeout(NEVER).expect("run returns");
        outcome.expect("the server ends well");
        at
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.handle.stop();
        let joined = self.thread.take().map_or(Ok(()), JoinHandle::join);
        // A second panic would hide the first.
        if !std::thread::panicking() {
            joined.expect("the server does not panic");
            // Nothing is there if the test has looked itself.
            self.outcome.try_iter().for_each(|(_, outcome)| outcome.expect("the server ends well"));
        }
    }
}
