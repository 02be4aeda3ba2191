//! What the program and whoever supervises it tell each other, as systemd has it: sockets that listen already
//! (`sd_listen_fds(3)`), and that the program is ready, alive or about to end (`sd_notify(3)`).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::server::Handle;

/// The number of the first descriptor that is handed over.
const FIRST: RawFd = 3;
/// Descriptors that can be handed over: more than anybody has addresses.
const SOCKETS: RawFd = 256;
/// How often to look whether the server has begun.
const LOOK: Duration = Duration::from_millis(10);
/// How long a server that is alive may do without a look after itself: twice as long as it says.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a message may wait for a supervisor that is busy.
const BUSY: Duration = Duration::from_secs(5);

/// The sockets that were handed over to this process (`LISTEN_FDS`, `LISTEN_PID`); mostly none. To be called before anything is
/// opened, and once. No process that this one starts inherits them.
///
/// # Errors
/// What was handed over is not there, in one line.
pub fn sockets() -> Result<Vec<OwnedFd>, String> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        // They are for another one, or there are none.
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).filter(|count| *count <= SOCKETS);
    let count = count.ok_or_else(|| format!("LISTEN_FDS: not a number of sockets from 0 to {SOCKETS}"))?;
    (FIRST..FIRST + count).map(socket).collect()
}

#[allow(unsafe_code)]
fn socket(number: RawFd) -> Result<OwnedFd, String> {
    // SAFETY: it lasts for one call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|error| format!("LISTEN_FDS: descriptor {number}: {error}"))?;
    // SAFETY: it is open, and whoever started us has said that it is ours. Nothing else was opened yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whoever wants to know how the program is.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    /// How long the program may say nothing.
    watchdog: Option<Duration>,
    /// Whether it was told of the end.
    stopping: Mutex<bool>,
}

impl Supervisor {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`), if it names one.
    ///
    /// # Errors
    /// It cannot be reached, or wants what cannot be, in one line.
    pub fn from_environment() -> Result<Option<Self>, String> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let Some(name) = set("NOTIFY_SOCKET") else { return Ok(None) };
        let failed = |error| format!("NOTIFY_SOCKET: cannot reach {}: {error}", name.to_string_lossy());
        let socket = reach(&name).map_err(failed)?;
        let own = set("WATCHDOG_PID").is_none_or(|pid| *pid == *std::process::id().to_string());
        let watchdog = match set("WATCHDOG_USEC").filter(|_| own) {
            Some(time) => {
                let microseconds = time.to_str().and_then(|time| time.parse().ok()).filter(|time| *time > 0);
                Some(Duration::from_micros(microseconds.ok_or("WATCHDOG_USEC: not a number of microseconds")?))
            }
            None => None,
        };
        Ok(Some(Self { socket, watchdog, stopping: Mutex::new(false) }))
    }

    /// Says when the server has begun; from then on, as often as it was asked to, that it is alive while it is; and when it begins
    /// to stop, whoever wants that. Never returns if there is a watchdog.
    pub fn watch(&self, server: &Handle, status: &str) {
        // One that has nothing to wait for may stop before it looks for the first time.
        while server.heartbeats() == 0 && !server.is_stopping_within(LOOK) {}
        self.tell(&format!("READY=1\nSTATUS={status}"));
        let pause = self.watchdog.map_or(Duration::MAX, |watchdog| (watchdog / 2).max(LOOK));
        let (mut looks, mut seen) = (server.heartbeats(), Instant::now());
        while !server.is_stopping_within(pause) {
            let now = server.heartbeats();
            if now != looks {
                (looks, seen) = (now, Instant::now());
            }
            if seen.elapsed() < PATIENCE {
                self.tell("WATCHDOG=1");
            }
        }
        self.stopping();
        // The server waits for the last transfers, and looks after itself no more.
        while self.watchdog.is_some() {
            self.tell("WATCHDOG=1");
            std::thread::sleep(pause);
        }
    }

    /// Says that the end has begun, unless that was said.
    pub fn stopping(&self) {
        let mut told = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *told, true) {
            self.tell("STOPPING=1");
        }
    }

    fn tell(&self, text: &str) {
        if let Err(error) = self.socket.send(text.as_bytes()) {
            log::warn!("the supervisor cannot be told {text:?}: {error}");
        }
    }
}

/// A name that begins with `@` is in no file system.
fn reach(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(BUSY))?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}
