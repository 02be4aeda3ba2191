//! One listening socket, and the tiny_http server that accepts at it: a new one whenever the accept thread of the old has
//! ended, as it does when there is no descriptor left for a moment.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tiny_http::Server;

use super::Shared;
use crate::front::TIDY;
use crate::listen::{Listener, Place};
use crate::seldom::Seldom;
use crate::send::copy::Copier;

/// How often tiny_http is looked after.
const WATCH: Duration = Duration::from_millis(100);
/// After this time tiny_http has done with a connection that came what it does.
const SETTLED: Duration = Duration::from_millis(10);
/// How long tiny_http finds nobody to accept before it ends, in a stop.
const PAUSE: Duration = Duration::from_millis(5);
/// The most connections of our own, one after the other, when connections have come.
const NUDGES: usize = 256;
/// How long to wait before a new one is tried, so that there are at most so many in a second.
const RETRY: Duration = Duration::from_millis(500);
/// Descriptors that must be free before a try: for the listener, and for a connection and what it asks for.
const SPARE: usize = 4;

pub(super) struct Acceptor {
    listener: Listener,
    server: Mutex<Arc<Server>>,
    /// Where that server lies in memory.
    address: AtomicUsize,
    /// There was a request here since somebody looked.
    active: AtomicBool,
    /// Nobody is accepted any more.
    closed: AtomicBool,
}

impl Acceptor {
    /// Begins to accept.
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        let server = Arc::new(accept_at(&listener)?);
        let address = AtomicUsize::new(Arc::as_ptr(&server).addr());
        let (active, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { listener, server: Mutex::new(server), address, active, closed })
    }

    /// The server that accepts now.
    pub(super) fn server(&self) -> Arc<Server> {
        Arc::clone(&self.current())
    }

    fn current(&self) -> MutexGuard<'_, Arc<Server>> {
        // Nothing is left half done when a thread panics here: there is one assignment.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the server that accepts now. No lock: it is asked for every request.
    pub(super) fn is_current(&self, server: &Arc<Server>) -> bool {
        self.address.load(Ordering::Acquire) == Arc::as_ptr(server).addr()
    }

    /// Whether nobody is accepted any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the listening when nobody waits to be accepted any more, but not later than that moment. Connections stay. Returns
    /// a server that has accepted the last of them, if there were some.
    pub(super) fn close(&self, shared: &Shared, latest: Instant) -> Option<Arc<Server>> {
        // From its next try on, for which a connection of our own wakes it, tiny_http ends where it finds nobody. With several
        // servers at one port somebody else may be woken.
        let _ = self.listener.socket().set_read_timeout(Some(PAUSE));
        let wake = || self.address().is_some_and(|address| TcpStream::connect_timeout(&address, RETRY).is_ok());
        self.until_abandoned(latest, wake);
        let mut last = None;
        if self.listener.is_handed_over() {
            // Whoever has it next is to find it as it was.
            let _ = self.listener.socket().set_read_timeout(None);
        } else {
            std::thread::sleep(self.listener.turn_away());
            if self.listener.is_pending() {
                last = accept_at(&self.listener).ok().map(Arc::new);
                self.until_abandoned(latest, || true);
            }
        }
        self.closed.store(true, Ordering::Release);
        self.listener.shut();
        let server = self.server();
        (0..shared.plan.workers).for_each(|_| server.unblock());
        last
    }

    /// Does this now and then until tiny_http has ended its accept thread, or it fails.
    fn until_abandoned(&self, latest: Instant, attempt: impl Fn() -> bool) {
        for _ in 0..NUDGES {
            let goes_on = attempt();
            std::thread::sleep(SETTLED);
            if !goes_on || is_abandoned(&self.listener) || Instant::now() >= latest {
                return;
            }
        }
    }

    /// Where a connection of our own gets here.
    fn address(&self) -> Option<SocketAddr> {
        let Place::Ip(mut address) = *self.listener.place() else { return None };
        if address.ip().is_unspecified() {
            let v4 = address.is_ipv4();
            address.set_ip(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Some(address)
    }

    /// Begins to accept anew if `ended` is still the server that accepts.
    pub(super) fn reopen(&self, ended: &Arc<Server>, why: &dyn Display, shared: &Arc<Shared>) {
        let mut current = self.current();
        if !Arc::ptr_eq(&current, ended) || shared.stop.is_set() {
            return;
        }
        static ENDED: Seldom = Seldom::new();
        ENDED.warn(format_args!("no connection can be accepted: {why}; trying again"));
        *current = loop {
            if shared.stop.wait(RETRY) {
                return;
            }
            let spare: io::Result<Vec<_>> = (0..SPARE).map(|_| self.listener.socket().try_clone()).collect();
            match spare.map(drop).and_then(|()| accept_at(&self.listener)) {
                Ok(server) => break Arc::new(server),
                Err(error) => log::debug!("not yet: {error}"),
            }
        };
        self.address.store(Arc::as_ptr(&current).addr(), Ordering::Release);
        drop(current);
        static AGAIN: Seldom = Seldom::new();
        AGAIN.warn(format_args!("connections are accepted again"));
        (0..shared.plan.workers).for_each(|_| ended.unblock());
        let (old, heir) = (Arc::clone(ended), Arc::clone(shared));
        let heir = std::thread::Builder::new().name("heir".into()).spawn(move || inherit(&old, &heir));
        if let Err(error) = heir {
            log::warn!("the connections of before are not served any more: {error}");
        }
    }

    /// Looks after tiny_http until the stop.
    pub(super) fn watch(&self, shared: &Arc<Shared>) {
        let (mut held, mut nudged, mut tidied) = (0, Instant::now(), Instant::now());
        // The timeout of reading bounds the accepting, too: tiny_http would take it for an error and end.
        let most = shared.config.idle_timeout / 2;
        while !shared.stop.wait(WATCH) {
            shared.stop.mark();
            // Before the look: what dies behind it is seen next time, what is new is not blamed.
            let server = self.server();
            if self.listener.is_pending() && is_abandoned(&self.listener) {
                self.reopen(&server, &"tiny_http has ended its accept thread", shared);
            }
            // New connections show as descriptors; where as many have gone, there were requests.
            let now = descriptors();
            if self.active.swap(false, Ordering::Relaxed) || now != held || nudged.elapsed() >= most {
                self.nudge(shared);
                (held, nudged) = (now, Instant::now());
            }
            if tidied.elapsed() >= TIDY {
                shared.site.tidy();
                tidied = Instant::now();
            }
        }
    }

    /// Says that there was a request.
    pub(super) fn mark(&self) {
        // Read first: the workers do not take the memory of the flag from each other when it is set already.
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::Relaxed);
        }
    }

    /// Frees connections that tiny_http has accepted and forgotten.
    ///
    /// It hands a connection to an idle thread of its own as long as it counts one, but counts it until that has woken up: of
    /// several connections that come at once, some wait for a thread that serves another one already, for as long as
    /// that lasts. A further connection makes tiny_http start a further thread, which, as this one is closed at once,
    /// takes a forgotten one. When no thread was started, some thread is idle, so none is forgotten.
    fn nudge(&self, shared: &Shared) {
        let Some(address) = self.address() else { return };
        for _ in 0..NUDGES {
            let before = threads();
            let connected = TcpStream::connect_timeout(&address, RETRY);
            if connected.map(drop).is_err() || shared.stop.wait(SETTLED) || threads() <= before {
                return;
            }
        }
    }
}

/// Serves the connections that an ended server has accepted, one request after the other, until they are silent for as long
/// as none of them lives.
fn inherit(old: &Server, shared: &Shared) {
    let mut copier = Copier::new(&shared.pool);
    let silence = shared.config.idle_timeout.saturating_add(shared.config.stall_timeout);
    let mut heard = Instant::now();
    while heard.elapsed() < silence && !shared.stop.is_set() {
        match old.recv_timeout(RETRY) {
            Ok(Some(request)) => {
                shared.serve(&mut copier, request);
                heard = Instant::now();
            }
            // Perhaps this was the wake-up of a worker that comes back from a long transfer.
            Ok(None) => {
                old.unblock();
                std::thread::sleep(SETTLED);
            }
            Err(_) => {}
        }
    }
}

/// A tiny_http server at this socket. It starts threads and panics if it cannot.
fn accept_at(listener: &Listener) -> io::Result<Server> {
    let listener = TcpListener::from(listener.socket().try_clone()?);
    catch_unwind(|| Server::from_listener(listener, None))
        .map_err(|_| io::Error::other("no thread can be started"))?
        .map_err(io::Error::other)
}

/// The number of descriptors of this process, 0 where that is not to be had.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The number of threads of this process, 0 where that is not to be had.
fn threads() -> u64 {
    std::fs::metadata("/proc/self/task").map_or(0, |folder| folder.nlink())
}

/// Whether the only descriptor of this socket is our own. Not known if there is no descriptor to find out with.
#[cfg(target_os = "linux")]
fn is_abandoned(listener: &Listener) -> bool {
    use std::os::fd::{AsFd, AsRawFd};
    let folder = std::path::Path::new("/proc/self/fd");
    let Ok(socket) = folder.join(listener.as_fd().as_raw_fd().to_string()).read_link() else { return false };
    let Ok(all) = folder.read_dir() else { return false };
    let holders = all.filter_map(|entry| entry.ok()?.path().read_link().ok()).filter(|held| *held == socket);
    holders.count() == 1
}

/// There is no way to know.
#[cfg(not(target_os = "linux"))]
fn is_abandoned(_: &Listener) -> bool {
    false
}
