//! The direct front: a listener of our own, and workers that never wait for a client.
//!
//! Every socket is non-blocking and registered with one poller that all workers share. It reports each change once, to one
//! worker, which does as much as goes without waiting for the client, puts the connection down, and takes the next one. So an
//! idle connection, a slow head and a stalled transfer cost a descriptor and some hundred bytes, and no thread. Buffers belong
//! to the workers. A worker waits for the disk alone, and there are more workers than processors for that.
//!
//! # Bounds
//! - connections, in all and from one client; at the limit the one that is idle longest makes room, else the newcomer is told
//!   to come again (503);
//! - the head of a request in bytes, fields and time, and the memory of all unfinished heads together;
//! - bodies that nobody asked for, in bytes and time;
//! - the time that a client may take nothing, and the rate at which it has to take something;
//! - what one connection gets in its turn, so that a fast client of a large file does not keep others waiting.
//!
//! Where descriptors or memory are lacking newcomers wait, and nobody else.
//!
//! `sendfile(2)` knows no MSG_NOSIGNAL: a program that embeds this must ignore SIGPIPE, as programs in Rust do by themselves.

mod accept;
mod alarms;
mod connection;
mod drain;
mod head;
mod input;
mod paced;
mod poller;
mod progress;
mod seats;
mod sending;
mod table;
mod tickets;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::budget::Plan;
use crate::config::Config;
use crate::front::{Service, Start, pool};
use crate::http::date::Clock;
use crate::limits;
use crate::listen::is_unix;
use crate::send::pace::Pace;
use crate::stop::Stop;
use crate::traffic::{Gauges, Outcome, Traffic};
use accept::{Candidates, Door};
use alarms::Alarms;
use connection::{Connection, Next, Spare};
use poller::{Event, Events, Interest, Poller, WOKEN};
use seats::{BACKLOG, LOOK, Seats};
use table::{Hand, Table};

/// The least key of a listening socket. Those below are numbers of connections. All fit into 32 bits, as keys do elsewhere.
const LISTENER: u64 = 1 << 30;
/// How often to look whether the last transfer has ended, in a stop.
const ENDING: Duration = Duration::from_millis(10);

/// What the threads of a server have in common.
struct Shared {
    service: Service,
    config: Config,
    plan: Plan,
    stop: Arc<Stop>,
    poller: Poller,
    connections: Table<Box<Connection>>,
    /// Bytes of unfinished heads and of requests sent ahead.
    held: AtomicUsize,
    door: Door,
    idle: Mutex<Candidates>,
    holding: Mutex<Candidates>,
    seats: Seats,
    /// None: everything leaves as fast as it is taken.
    pace: Option<Pace>,
    alarms: Alarms,
    traffic: Arc<Traffic>,
    /// The workers are to end.
    ended: AtomicBool,
}

/// What belongs to a thread that serves.
struct Worker {
    shared: Arc<Shared>,
    /// For what a client sends.
    input: Vec<u8>,
    /// For what it is sent.
    output: Vec<u8>,
    clock: Clock,
    /// When what is being done began.
    now: Instant,
}

/// Reads the head at the beginning of these bytes; none if it goes on. The request, its body (none, or of a length, or in
/// chunks), whether the connection lasts, and the bytes of the head; or the status that refuses it.
#[cfg(feature = "parts")]
pub(crate) fn read_head(
    bytes: &[u8],
) -> Option<Result<(crate::http::request::Request<'_>, Option<Option<u64>>, bool, usize), u16>> {
    let (head, used) = match head::parse(bytes) {
        head::Parsed::Partial => return None,
        head::Parsed::Whole(head, used) => (head, used),
        head::Parsed::Refused(status) => return Some(Err(status)),
    };
    let body = match head.framing {
        drain::Framing::Empty => None,
        drain::Framing::Length(length) => Some(Some(length)),
        drain::Framing::Chunked => Some(None),
    };
    Some(Ok((head.request, body, head.persistent, used)))
}

/// Passes over a body that comes in these pieces, of a length or in chunks. How many bytes belong to it, and whether it is over;
/// none if it is refused.
#[cfg(feature = "parts")]
pub(crate) fn pass_body<'a>(length: Option<u64>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(usize, bool)> {
    let framing = length.map_or(drain::Framing::Chunked, drain::Framing::Length);
    let Some(mut passing) = drain::Passing::new(framing) else { return Some((0, true)) };
    let mut passed = 0;
    for piece in pieces {
        passed += passing.pass(piece).ok()?;
    }
    Some((passed, passing.is_over()))
}

/// Sets the options that every connection inherits from its listening socket, before the first one comes.
pub(crate) fn prepare(socket: &Socket, plan: &Plan) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if !is_unix(socket)? {
        // What is sent is whole: there is nothing to wait for.
        socket.set_tcp_nodelay(true)?;
        if plan.send_buffer > 0 {
            socket.set_send_buffer_size(send_buffer(plan))?;
        }
    }
    Ok(())
}

/// What the system is to be told, which on Linux takes twice as much, for what it needs beside the bytes (`socket(7)`).
fn send_buffer(plan: &Plan) -> usize {
    if cfg!(target_os = "linux") { plan.send_buffer / 2 } else { plan.send_buffer }
}

/// Serves at the listeners until it is stopped, then waits for the transfers in flight, as long as the configuration says.
pub(crate) fn run(service: Service, start: Start) -> io::Result<()> {
    let Start { listeners, config, plan, stop, traffic } = start;
    let most = match &service {
        Service::Site(_) => accept::room(&plan, listeners.len()),
        // It has those that the other one leaves.
        Service::Admin(_) => plan.connections,
    };
    let workers = plan.workers;
    let shared = Arc::new(Shared {
        service,
        poller: Poller::new()?,
        connections: Table::new(most + limits::REFUSALS),
        held: AtomicUsize::new(0),
        idle: Mutex::default(),
        holding: Mutex::default(),
        door: Door::new(listeners, most, config.max_connections_per_client),
        seats: Seats::new(workers),
        pace: Pace::new(config.rate, config.rate_total, Instant::now()),
        alarms: Alarms::default(),
        traffic,
        ended: AtomicBool::new(false),
        config,
        plan,
        stop,
    });
    shared.door.open(&shared.poller)?;
    let seen = Arc::downgrade(&shared);
    shared.traffic.gauge(move || seen.upgrade().map(|shared| shared.gauges()));
    let pool = pool(workers)?;
    // Nothing is ever sent through it: it ends with the last worker.
    let (working, over) = mpsc::channel::<()>();
    for number in 0..workers {
        let (shared, working) = (Arc::clone(&shared), working.clone());
        pool.execute(move || {
            Worker::new(&shared).work(number);
            drop(working);
        });
    }
    drop(working);
    let mut watcher = Worker::new(&shared);
    watcher.watch();
    let begun = Instant::now();
    let deadline = begun + shared.config.drain;
    let mut pass_time = || {
        watcher.sweep();
        watcher.relieve();
        watcher.ring();
        std::thread::sleep(ENDING);
    };
    // Who has connected by then is not told that there is nobody.
    let last_call = shared.door.turn_away();
    while Instant::now() < deadline && (shared.door.is_awaited() || begun.elapsed() < last_call) {
        shared.door.reopen(&shared.poller);
        pass_time();
    }
    shared.door.close(&shared.poller);
    // Who has just come in counts from its first turn on.
    let inside = || shared.connections.count().max(shared.door.inside());
    while inside() > 0 && Instant::now() < deadline {
        pass_time();
    }
    // Whoever looks at the page of a server that has ended sees that it has.
    if shared.service.site().is_some() {
        match inside() {
            0 => log::info!("all transfers are finished"),
            count => log::warn!("connections that are cut off: {count}"),
        }
    }
    shared.ended.store(true, Ordering::Release);
    shared.cut_off();
    shared.seats.close();
    shared.poller.wake()?;
    // Who still waits for a disk ends with the process.
    let _ = over.recv_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)));
    Ok(())
}

impl Shared {
    /// What there is of it at this moment, and how much of that is at work.
    fn gauges(&self) -> Gauges {
        let (inside, most) = (self.door.inside(), self.door.most());
        Gauges {
            connections: Some((inside.min(most), most)),
            workers: self.plan.workers,
            busy: Some(self.seats.busy()),
        }
    }

    /// Tells of the requests that the stop does not wait for. Who has one in hand finds a note, and does so in turn.
    fn cut_off(&self) {
        for number in self.connections.numbers() {
            if let Some(hand) = self.connections.call(number) {
                self.tell_cut_off(hand);
            }
        }
    }

    fn tell_cut_off(&self, mut hand: Hand<'_, Box<Connection>>) {
        if let Some(connection) = hand.as_mut() {
            connection.tell_end(&self.traffic, Outcome::CutOff);
        }
        // Nobody looks at it any more.
        let _ = hand.put_down();
    }

    /// Counts a connection out that is about to be closed.
    fn count_out(&self, connection: &mut Connection) {
        connection.tell_end(&self.traffic, Outcome::ClientLeft);
        connection.give_back(self.pace.as_ref());
        self.held.fetch_sub(connection.held(), Ordering::Relaxed);
        self.door.leave(connection.client());
    }
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            input: Vec::new(),
            output: Vec::with_capacity(shared.plan.buffer_size),
            clock: Clock::default(),
            now: Instant::now(),
        }
    }

    /// Serves whatever is ready, until the end.
    fn work(&mut self, worker: usize) {
        let shared = Arc::clone(&self.shared);
        let mut events = Events::new();
        // Since when there has always been something to do.
        let mut busy = None;
        let mut seated = shared.seats.sit();
        while seated {
            let mut taken = shared.poller.take(&mut events, false);
            if events.is_empty() {
                busy = None;
                if shared.seats.stand() {
                    seated = shared.seats.sit();
                    continue;
                }
                taken = shared.poller.take(&mut events, true);
            }
            if let Err(error) = taken {
                log::error!("nothing can be waited for: {error}");
                std::thread::sleep(LOOK);
            }
            if shared.seats.begin(worker, events.iter().map(|event| event.key)) {
                shared.stop.wake();
            }
            self.now = Instant::now();
            if self.now.saturating_duration_since(*busy.get_or_insert(self.now)) >= BACKLOG {
                busy = None;
                shared.seats.call();
            }
            for event in events.iter() {
                match event.key {
                    WOKEN => {}
                    LISTENER.. => self.accept((event.key - LISTENER) as usize),
                    number => self.serve(number as u32, event),
                }
                while shared.held.load(Ordering::Relaxed) > limits::HEADS_HELD && self.make_room(Spare::Holding) {}
                shared.seats.go_on(worker);
            }
            if shared.ended.load(Ordering::Acquire) {
                // Where one call wakes one worker, this wakes the next.
                let _ = shared.poller.wake();
                return;
            }
            seated = shared.seats.end(worker) || shared.seats.sit();
        }
    }

    /// Gives a connection its turn, or leaves that to whoever has it in hand.
    fn serve(&mut self, number: u32, event: Event) {
        let shared = Arc::clone(&self.shared);
        let free = shared.connections.take(number);
        // All who are in nobody's hand are told of by now.
        if shared.ended.load(Ordering::Acquire) {
            return free.into_iter().for_each(|hand| shared.tell_cut_off(hand));
        }
        let Some(mut hand) = free.or_else(|| shared.connections.call(number)) else { return };
        self.now = Instant::now();
        // A defect in one connection is the end of that connection.
        let turn = |connection: &mut Box<Connection>| {
            connection.hear(event);
            catch_unwind(AssertUnwindSafe(|| connection.turn(self))).unwrap_or(Next::Close)
        };
        match hand.as_mut().map(turn) {
            Some(next) => self.settle(number, hand, next),
            None => self.put_down(number, hand),
        }
    }

    /// Puts a connection down that waits for what comes next, or closes it.
    fn settle(&mut self, number: u32, mut hand: Hand<'_, Box<Connection>>, next: Next) {
        // One that has just come was not there yet when the others were told of.
        if next != Next::Close && self.shared.ended.load(Ordering::Acquire) {
            return self.shared.tell_cut_off(hand);
        }
        let poller = &self.shared.poller;
        let goes_on = hand.as_mut().is_some_and(|connection| match next {
            Next::Wait(interest) => {
                connection.waits = interest;
                poller.arm(connection.socket(), number.into(), interest).is_ok()
            }
            Next::Yield => {
                connection.waits = Interest::Write;
                poller.rearm(connection.socket(), number.into(), Interest::Write).is_ok()
            }
            Next::Until(at) => {
                connection.waits = Interest::Write;
                if self.shared.alarms.set(at, number) {
                    self.shared.stop.wake();
                }
                true
            }
            Next::Rest => true,
            Next::Close => false,
        });
        if goes_on {
            return self.put_down(number, hand);
        }
        if let Some(mut connection) = hand.take() {
            self.shared.poller.remove(connection.socket());
            self.shared.count_out(&mut connection);
            drop(connection);
            // Whatever the note says, it concerns nobody any more.
            let _ = hand.put_down();
            self.shared.connections.release(number);
        }
    }

    /// Puts a connection down. If there is a note, an event was taken up in vain: then it is to be reported again, to whoever has
    /// time, since who watches must not wait for a disk.
    fn put_down(&self, number: u32, hand: Hand<'_, Box<Connection>>) {
        let mut noted = hand.put_down();
        while noted {
            let Some(mut hand) = self.shared.connections.take(number) else { return };
            hand.clear_note();
            // Behind it: a note of the end is left after that is set.
            if self.shared.ended.load(Ordering::Acquire) {
                return self.shared.tell_cut_off(hand);
            }
            if let Some(connection) = hand.as_ref() {
                // It fails only for lack of memory; then a deadline ends it.
                let _ = self.shared.poller.rearm(connection.socket(), number.into(), connection.waits);
            }
            noted = hand.put_down();
        }
    }

    /// Watches over the deadlines, and over workers that are held up, until the stop.
    fn watch(&mut self) {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let timeouts = [config.head_timeout, config.idle_timeout, config.stall_timeout, limits::DRAIN_TIMEOUT];
        let pause = (timeouts.into_iter().min().unwrap_or(limits::DRAIN_TIMEOUT) / 4).max(LOOK);
        let (mut swept, mut tidied) = (Instant::now(), Instant::now());
        loop {
            if shared.seats.are_free() {
                shared.stop.mark();
            }
            let mut wait = if self.relieve() { LOOK } else { pause.saturating_sub(swept.elapsed()) };
            if let Some(next) = self.ring() {
                wait = wait.min(next);
            }
            if shared.stop.wait(wait) {
                return;
            }
            if swept.elapsed() >= pause {
                swept = Instant::now();
                self.sweep();
                shared.door.reopen(&shared.poller);
            }
            if tidied.elapsed() >= shared.service.tidies() {
                tidied = Instant::now();
                shared.service.tidy();
            }
        }
    }

    /// Looks after workers that are held up; false if nothing has happened since the last time. What such a one does not come to
    /// is reported again, to others.
    fn relieve(&self) -> bool {
        let mut left = Vec::new();
        let active = self.shared.seats.look(&mut left);
        for key in left {
            match key {
                WOKEN => {}
                LISTENER.. => self.shared.door.rearm(&self.shared.poller, (key - LISTENER) as usize),
                number => self.report(number as u32),
            }
        }
        active
    }

    /// Has all that there is of a connection reported again.
    fn report(&self, number: u32) {
        if let Some(hand) = self.shared.connections.call(number) {
            self.put_down(number, hand);
        }
    }

    /// Lets those go on for whom the time has come; returns how long it is until then for the next one.
    fn ring(&self) -> Option<Duration> {
        let (shared, now) = (&self.shared, Instant::now());
        while let Some(number) = shared.alarms.take(now) {
            self.report(number);
        }
        shared.alarms.next().map(|next| next.saturating_duration_since(now))
    }

    /// Ends what has lasted too long. Who is being served is passed over.
    fn sweep(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.now = Instant::now();
        for number in shared.connections.numbers() {
            let Some(mut hand) = shared.connections.take(number) else { continue };
            let stopping = shared.stop.is_set();
            let overdue = hand.as_mut().and_then(|connection| {
                if stopping {
                    connection.hang_up();
                }
                catch_unwind(AssertUnwindSafe(|| connection.overdue(self))).unwrap_or(Some(Next::Close))
            });
            match overdue {
                Some(next) => self.settle(number, hand, next),
                None => self.put_down(number, hand),
            }
        }
    }
}

#[cfg(test)]
mod schedule;
