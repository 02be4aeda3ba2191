//! Who is let in: the listening sockets, how many connections there may be, and what happens when there is no room.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::Socket;

use super::connection::{Connection, Next, Peer, Spare};
use super::poller::{Interest, Poller};
use super::{LISTENER, Worker};
use crate::budget::Plan;
use crate::limits;
use crate::listen::Listener;
use crate::network;
use crate::seldom::Seldom;

/// Connections that are accepted in one turn, and have their first turn in it.
const ACCEPTS: usize = 4;
/// Connections to make room with that are found in one search.
const CANDIDATES: usize = 64;
/// How long a search that found none counts.
const PATIENCE: Duration = Duration::from_millis(50);

/// The listening sockets and the count of who is inside.
pub(super) struct Door {
    listeners: Vec<Listener>,
    most: usize,
    inside: AtomicUsize,
    /// Connections of one client at most; 0: any number.
    most_of_one: usize,
    clients: Mutex<HashMap<IpAddr, usize>>,
    /// Nothing is accepted for want of descriptors or memory, and that was said.
    paused: AtomicBool,
    /// Nobody is accepted any more.
    shut: AtomicBool,
}

/// How many connections there may be: as many as the configuration says, if there are two descriptors for each (the socket and
/// a file). The process is allowed more descriptors if they are wanted (`setrlimit(2)`).
pub(super) fn room(plan: &Plan, listeners: usize) -> usize {
    // Of the three that an archive needs one is the file.
    let archives = 2 * plan.archives().0;
    let own = limits::DESCRIPTORS_SPARE + limits::CACHED_FILES + limits::REFUSALS + archives;
    let admin = if plan.admin { 2 * limits::ADMIN_CONNECTIONS } else { 0 };
    let others = own + admin + plan.workers + listeners;
    let wanted = (2 * plan.connections + others) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < wanted {
        let more = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // It says whether it was allowed.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum });
        allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    }
    let others = (others as u64).min(allowed / 2);
    let most = usize::try_from((allowed - others) / 2).unwrap_or(usize::MAX).clamp(1, plan.connections);
    if most < plan.connections {
        log::info!(
            "{most} connections at once, not {}: {allowed} descriptors are allowed, and it takes {wanted} (ulimit -n, or \
             LimitNOFILE of a unit); --max-connections {most} asks for no more",
            plan.connections
        );
    }
    most
}

impl Door {
    pub(super) fn new(listeners: Vec<Listener>, most: usize, most_of_one: usize) -> Self {
        Self {
            listeners,
            most,
            inside: AtomicUsize::new(0),
            most_of_one,
            clients: Mutex::default(),
            paused: AtomicBool::new(false),
            shut: AtomicBool::new(false),
        }
    }

    /// Begins to accept.
    pub(super) fn open(&self, poller: &Poller) -> io::Result<()> {
        for (number, listener) in self.listeners.iter().enumerate() {
            poller.add(listener.socket(), LISTENER + number as u64, Interest::Read)?;
        }
        Ok(())
    }

    /// Tries again to accept, after a pause. Where there was none it does no harm.
    pub(super) fn reopen(&self, poller: &Poller) {
        (0..self.listeners.len()).for_each(|number| self.rearm(poller, number));
    }

    /// Sees to it that somebody accepts who waits at this listening socket.
    pub(super) fn rearm(&self, poller: &Poller, number: usize) {
        let Some(listener) = self.listeners.get(number) else { return };
        // If it fails, whoever watches tries again.
        let _ = poller.rearm(listener.socket(), LISTENER + number as u64, Interest::Read);
    }

    /// Lets nobody come any more; who has come already is still accepted. Returns how long somebody may be half way.
    pub(super) fn turn_away(&self) -> Duration {
        self.listeners.iter().map(Listener::turn_away).max().unwrap_or_default()
    }

    /// Whether somebody waits to be accepted, whom nobody else will accept.
    pub(super) fn is_awaited(&self) -> bool {
        self.listeners.iter().any(|listener| !listener.is_handed_over() && listener.is_pending())
    }

    /// Accepts nobody any more.
    pub(super) fn close(&self, poller: &Poller) {
        self.shut.store(true, Ordering::Release);
        for listener in &self.listeners {
            poller.remove(listener.socket());
            listener.shut();
        }
    }

    /// Counts a client in, unless there are too many from where it comes. Over a Unix socket everybody comes from nowhere.
    fn enter(&self, client: Peer) -> bool {
        if let Some(client) = client.ip().filter(|_| self.most_of_one > 0) {
            let mut clients = self.clients();
            let count = clients.entry(network::of_client(client)).or_default();
            if *count >= self.most_of_one {
                return false;
            }
            *count += 1;
        }
        self.inside.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a client out, if it counts.
    pub(super) fn leave(&self, client: Option<Peer>) {
        let Some(client) = client else { return };
        self.inside.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = client.ip().filter(|_| self.most_of_one > 0) {
            let (client, mut clients) = (network::of_client(client), self.clients());
            let left = clients.get_mut(&client).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                clients.remove(&client);
            }
        }
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether one more was counted in than there may be.
    fn is_over_full(&self) -> bool {
        self.inside() > self.most
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of those who wait at a listening socket.
enum Backlog {
    /// There may be more.
    More,
    /// There is nobody.
    Empty,
    /// Nobody can be accepted; whoever watches tries again.
    Blocked,
}

impl Worker {
    /// Accepts who waits at this listening socket.
    pub(super) fn accept(&mut self, number: usize) {
        let shared = Arc::clone(&self.shared);
        let Some(listener) = shared.door.listeners.get(number) else { return };
        if shared.door.shut.load(Ordering::Acquire) {
            return;
        }
        let mut backlog = Backlog::More;
        // No more tries than that, too: an error may last.
        for _ in 0..ACCEPTS {
            match accept(listener) {
                Ok(connection) => {
                    if shared.door.paused.load(Ordering::Relaxed) && shared.door.paused.swap(false, Ordering::AcqRel) {
                        static SELDOM: Seldom = Seldom::new();
                        SELDOM.warn(format_args!("connections are accepted again"));
                    }
                    self.admit(connection);
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => {
                        backlog = Backlog::Empty;
                        break;
                    }
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) if self.make_room(Spare::Idle) => {
                    }
                    Some(error) if lasts(error) => {
                        if !shared.door.paused.swap(true, Ordering::AcqRel) {
                            // A client may have it come and go.
                            static SELDOM: Seldom = Seldom::new();
                            SELDOM.warn(format_args!("no connection can be accepted: {error}; trying again"));
                        }
                        backlog = Backlog::Blocked;
                        break;
                    }
                    // The one that was to be accepted has gone, or its network (`accept(2)`).
                    _ => {}
                },
            }
        }
        match backlog {
            // After its end it would report that for ever.
            _ if shared.door.shut.load(Ordering::Acquire) => {}
            Backlog::More => shared.door.rearm(&shared.poller, number),
            // If it fails, whoever watches tries again.
            Backlog::Empty => drop(shared.poller.arm(listener.socket(), LISTENER + number as u64, Interest::Read)),
            Backlog::Blocked => {}
        }
    }

    fn admit(&mut self, (socket, address): (Socket, Option<SocketAddr>)) {
        let shared = Arc::clone(&self.shared);
        let door = &shared.door;
        let peer = Peer(address);
        if address.is_none() && shared.plan.send_buffer > 0 {
            // These do not inherit it. With the system's own choice it can be served as well.
            let _ = socket.set_send_buffer_size(super::send_buffer(&shared.plan));
        }
        // Nobody makes room for who has had its share.
        let mut counted = door.enter(peer);
        if counted && door.is_over_full() && !self.make_room(Spare::Idle) {
            door.leave(Some(peer));
            counted = false;
        }
        if !counted && shared.connections.count().saturating_sub(door.inside()) >= limits::REFUSALS {
            // Even those who are told that there is no room are too many.
            return;
        }
        self.now = Instant::now();
        let mut connection = Box::new(Connection::new(socket, peer, counted, self.now));
        // Often the first request is there already.
        let mut first =
            |connection: &mut Connection| if counted { connection.turn(self) } else { connection.refuse(self) };
        let next = catch_unwind(AssertUnwindSafe(|| first(&mut connection))).unwrap_or(Next::Close);
        let place = if next == Next::Close { None } else { shared.connections.reserve() };
        let Some((number, mut hand)) = place else { return shared.count_out(&mut connection) };
        let added = shared.poller.add(connection.socket(), number.into(), Interest::Read);
        *hand = Some(connection);
        self.settle(number, hand, if added.is_ok() { next } else { Next::Close });
    }
}

/// Whether the next try would fail as well: something is lacking, the socket does not listen any more, or the call is forbidden.
/// Whoever watches tries again.
fn lasts(error: Errno) -> bool {
    let lacking = matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM);
    lacking
        || matches!(error, Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS)
}

/// The connections that have had longest what is to be spared.
#[derive(Default)]
pub(super) struct Candidates {
    /// The one that has had it longest last.
    found: Vec<(Instant, u32)>,
    /// When a search found none.
    fruitless: Option<Instant>,
}

impl Worker {
    /// Closes the connection that has had longest what others need, if one has.
    pub(super) fn make_room(&mut self, spare: Spare) -> bool {
        let shared = Arc::clone(&self.shared);
        let candidates = match spare {
            Spare::Idle => &shared.idle,
            Spare::Holding => &shared.holding,
        };
        // Two searches at once would find the same.
        let mut candidates = candidates.lock().unwrap_or_else(PoisonError::into_inner);
        for search in [false, true] {
            if search {
                // A search looks at all of them: who comes in a crowd does not cause one each.
                if candidates.fruitless.is_some_and(|at| at.elapsed() < PATIENCE) {
                    return false;
                }
                candidates.found = self.longest(spare);
                candidates.fruitless = candidates.found.is_empty().then(Instant::now);
            }
            while let Some((since, number)) = candidates.found.pop() {
                let Some(hand) = shared.connections.take(number) else { continue };
                // It may have had a request since then, or be another one.
                if hand.as_ref().and_then(|connection| connection.since(spare)) == Some(since) {
                    self.settle(number, hand, Next::Close);
                    return true;
                }
                self.put_down(number, hand);
            }
        }
        false
    }

    fn longest(&mut self, spare: Spare) -> Vec<(Instant, u32)> {
        let shared = Arc::clone(&self.shared);
        let mut found = Vec::new();
        for number in shared.connections.numbers() {
            let Some(hand) = shared.connections.take(number) else { continue };
            let since = hand.as_ref().and_then(|connection| connection.since(spare));
            found.extend(since.map(|since| (since, number)));
            self.put_down(number, hand);
        }
        found.sort_unstable();
        found.truncate(CANDIDATES);
        found.reverse();
        found
    }
}

/// Accepts one connection, which does not block. One over a Unix socket comes from no address.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn accept(listener: &Listener) -> io::Result<(Socket, Option<SocketAddr>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((socket.into(), peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// Accepts one connection, which does not block. One over a Unix socket comes from no address.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept(listener: &Listener) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (socket, peer) = listener.socket().accept()?;
    let peer = peer.as_socket();
    socket.set_nonblocking(true)?;
    if peer.is_some() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok((socket, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room_for_another_from_there() {
        let door = Door::new(Vec::new(), 10, 2);
        let [one, other] = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| Peer(Some(address.parse().unwrap())));
        assert_eq!([door.enter(one), door.enter(one), door.enter(one), door.enter(other)], [true, true, false, true]);
        door.leave(None);
        assert!(!door.enter(one));
        door.leave(Some(one));
        assert!(door.enter(one));
        assert!((0..5).all(|_| door.enter(Peer(None))), "who has no address is none of those");
        (0..5).for_each(|_| door.leave(Some(Peer(None))));
        [one, one, other].iter().for_each(|client| door.leave(Some(*client)));
        assert!(door.clients().is_empty() && door.inside.load(Ordering::Relaxed) == 0);
    }
}
