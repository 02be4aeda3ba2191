//! The direct front: a listener of our own, and workers that never wait for a client.
//!
//! Every socket is non-blocking and registered with one poller that all workers share. It reports a connection once, to one
//! worker, which does as much as goes without waiting, says what the connection waits for next, and takes the next one. So an
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
//! A lack of descriptors or memory pauses the accepting, and nothing else.

mod accept;
mod connection;
mod drain;
mod head;
mod poller;
mod progress;
mod seats;
mod table;

use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::answer::Site;
use crate::config::Config;
use crate::http::date::Clock;
use crate::limits;
use crate::stop::Stop;
use accept::{Candidates, Door};
use connection::{Connection, Next, Spare};
use poller::{Events, Poller, WOKEN};
use seats::{LOOK, Seats};
use table::{Hand, Table};

/// Set in the key of a listening socket; the rest is its number. All other keys are numbers of connections.
const LISTENER: u64 = 1 << 32;
/// How often the cache lets go of what nobody wants.
const TIDY: Duration = Duration::from_secs(30);
/// How often to look whether the last transfer has ended, in a stop.
const ENDING: Duration = Duration::from_millis(10);

/// What the threads of a server have in common.
struct Shared {
    site: Site,
    config: Config,
    stop: Arc<Stop>,
    poller: Poller,
    connections: Table<Box<Connection>>,
    /// Bytes of unfinished heads and of requests sent ahead.
    held: AtomicUsize,
    door: Door,
    idle: Candidates,
    holding: Candidates,
    seats: Seats,
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
    /// When the thread last woke up.
    now: Instant,
    /// Connections that something has happened to while this thread had them in hand.
    notes: Vec<u32>,
}

/// Sets the options that every connection inherits from its listening socket, before the first one comes.
pub(crate) fn prepare(socket: &Socket) -> io::Result<()> {
    // What is sent is whole: there is nothing to wait for.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)
}

/// Serves at the listeners until it is stopped, then waits for the transfers in flight, as long as the configuration says.
pub(crate) fn run(site: Site, listeners: Vec<TcpListener>, config: Config, stop: Arc<Stop>) -> io::Result<()> {
    let most = accept::room(&config, listeners.len());
    let workers = config.workers();
    let shared = Arc::new(Shared {
        site,
        poller: Poller::new()?,
        connections: Table::new(most + limits::REFUSALS),
        held: AtomicUsize::new(0),
        idle: Candidates::default(),
        holding: Candidates::default(),
        door: Door::new(listeners, most, config.max_connections_per_client),
        seats: Seats::new(workers),
        ended: AtomicBool::new(false),
        config,
        stop,
    });
    shared.door.open(&shared.poller)?;
    let pool = threadpool::Builder::new()
        .num_threads(workers)
        .thread_name("worker".into())
        .thread_stack_size(limits::WORKER_STACK);
    // It panics if the system has no thread more.
    let pool = catch_unwind(|| pool.build())
        .map_err(|_| io::Error::other(format!("{workers} worker threads cannot be started")))?;
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
    shared.door.close(&shared.poller);
    let deadline = Instant::now() + shared.config.drain;
    while shared.connections.count() > 0 && Instant::now() < deadline {
        watcher.sweep();
        std::thread::sleep(ENDING);
    }
    match shared.connections.count() {
        0 => log::info!("all transfers are finished"),
        count => log::warn!("connections that are cut off: {count}"),
    }
    shared.ended.store(true, Ordering::Release);
    shared.seats.close();
    shared.poller.wake()?;
    // Who still waits for a disk ends with the process.
    let _ = over.recv_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)));
    Ok(())
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            input: Vec::new(),
            output: Vec::with_capacity(shared.config.buffer_size),
            clock: Clock::default(),
            now: Instant::now(),
            notes: Vec::new(),
        }
    }

    /// Serves whatever is ready, until the end.
    fn work(&mut self, worker: usize) {
        let shared = Arc::clone(&self.shared);
        let mut events = Events::new();
        let mut seated = shared.seats.sit();
        while seated {
            if let Err(error) = shared.poller.wait(&mut events) {
                log::error!("nothing can be waited for: {error}");
                std::thread::sleep(LOOK);
            }
            if shared.seats.begin(worker) {
                shared.stop.wake();
            }
            self.now = Instant::now();
            for key in events.keys() {
                match u32::try_from(key) {
                    Ok(number) => self.serve(number),
                    Err(_) if key == WOKEN => {}
                    Err(_) => self.accept((key - LISTENER) as usize),
                }
            }
            while let Some(number) = self.notes.pop() {
                self.serve(number);
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
    fn serve(&mut self, number: u32) {
        let shared = Arc::clone(&self.shared);
        let Some(mut hand) = shared.connections.call(number) else { return };
        hand.look();
        // A defect in one connection is the end of that connection.
        let turn = |connection: &mut Box<Connection>| {
            catch_unwind(AssertUnwindSafe(|| connection.turn(self))).unwrap_or(Next::Close)
        };
        match hand.as_mut().map(turn) {
            Some(next) => self.settle(number, hand, next),
            None => self.put_down(number, hand),
        }
        while shared.held.load(Ordering::Relaxed) > limits::HEADS_HELD && self.make_room(Spare::Holding) {}
    }

    /// Puts a connection down: its socket is armed for what it waits for, or it is closed.
    fn settle(&mut self, number: u32, mut hand: Hand<'_, Box<Connection>>, next: Next) {
        let shared = Arc::clone(&self.shared);
        if let (Some(connection), Next::Wait(interest)) = (&*hand, next) {
            if shared.poller.arm(connection.socket(), number.into(), interest).is_ok() {
                return self.put_down(number, hand);
            }
        }
        if let Some(connection) = hand.take() {
            shared.poller.remove(connection.socket());
            shared.held.fetch_sub(connection.held(), Ordering::Relaxed);
            shared.door.leave(connection.client());
            drop(connection);
            // Whatever the note says, it concerns nobody any more.
            let _ = hand.put_down();
            shared.connections.release(number);
        }
    }

    /// Puts a connection down that is armed, and looks at it later if there is a note.
    fn put_down(&mut self, number: u32, hand: Hand<'_, Box<Connection>>) {
        if hand.put_down() {
            self.notes.push(number);
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
            let wait = if shared.seats.look() { LOOK } else { pause.saturating_sub(swept.elapsed()) };
            if shared.stop.wait(wait) {
                return;
            }
            if swept.elapsed() >= pause {
                swept = Instant::now();
                self.sweep();
                shared.door.reopen(&shared.poller);
            }
            if tidied.elapsed() >= TIDY {
                tidied = Instant::now();
                shared.site.tidy();
            }
        }
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
        while let Some(number) = self.notes.pop() {
            self.serve(number);
        }
    }
}
