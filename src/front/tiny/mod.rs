//! The tiny_http front: the listener of the crate [`tiny_http`], and workers that block.
//!
//! A pool of threads takes requests from [`tiny_http::Server::recv`], asks the [`Site`] for the answer and copies it to the
//! client with [`std::io::copy`]. A worker stays with its transfer until the end, so the workers are the transfers at once.
//!
//! # For clients that can be trusted
//! tiny_http reads the heads by itself, in one thread for each connection. What can be mended from outside is mended here:
//! - no call that writes waits longer than the stall timeout, none that reads longer than the idle timeout: the options of the
//!   listening socket are inherited by every connection. The first two waits for a client that has stalled may end with
//!   what the socket still took, so its transfer ends after up to three of them;
//! - head and small body leave in one write, with TCP_NODELAY: not one write for each field, waiting for each other;
//! - a request whose body tiny_http would read into memory of the length that the client names, or whose framing tiny_http
//!   does not understand as RFC 9112 does, is refused and its connection closed, see [Bodies](self#bodies);
//! - an answer that cannot be finished closes its connection, so that no other answer is taken for its rest;
//! - when the accept thread of tiny_http ends, for want of descriptors, another one is started;
//! - connections that come at once and that tiny_http forgets are freed by a connection of our own.
//!
//! What cannot be mended from outside:
//! - the head has no bound in size or time, so one client can fill the memory with an endless head, or with requests sent
//!   ahead without reading the answers;
//! - each connection costs a thread;
//! - requests sent ahead on one connection each hold a worker while the first is answered, so one client of a large file can
//!   hold them all;
//! - a request of version 2.0 or 3.0 costs a thread and two descriptors for good: tiny_http waits for itself;
//! - connections accepted before a new accept thread had to be started are served by one thread, one request after the other;
//! - tiny_http answers some malformed requests by itself (400, 417, without a body), closes connections that send other
//!   than ASCII, and takes a line that begins with a space for a field of its own, where RFC 9112 section 5.2 has a
//!   continuation: do not let it share connections with a proxy that passes such lines on;
//! - in a stop, a connection that it has accepted at the last moment may be lost: nobody knows of those that it has not read from;
//! - a thread of it panics, which is seen on stderr and hurts nobody, when a client has gone before its first request is read.
//!
//! # Bodies
//! A file server has no use for them. tiny_http has read a body of up to 1 KiB before it hands the request over. Any larger
//! one is refused: the answer goes out and the connection is closed. That answer has no length, and says
//! `Connection: upgrade`: tiny_http has no other way to answer before it reads the body. One of more than
//! [`UNREAD_BODY`](crate::limits::UNREAD_BODY) bytes must never be dropped, because tiny_http then allocates its length and
//! the process is aborted if it cannot: such a request is forgotten, and costs a thread and two descriptors for good.
//!
//! # Closing a connection
//! tiny_http keeps the socket for itself. On Linux the front finds it among the descriptors of the process
//! (`pidfd_getfd(2)`) and shuts it down. Where that is not to be had (other systems, containers that forbid the call),
//! a broken answer is left without an end until the client gives up, and a worker that takes a further request of the same
//! connection waits for good.

mod acceptor;
mod sever;

use std::io::{self, Write};
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant, SystemTime};

use socket2::Socket;

use super::{Start, answer_or_500, outcome_of, pool};
use crate::answer::{Answer, Site};
use crate::budget::Plan;
use crate::config::Config;
use crate::http::request::Request;
use crate::limits;
use crate::send;
use crate::send::copy::{Copier, Failure, Pool};
use crate::send::pace::Pace;
use crate::stop::Stop;
use crate::traffic::{Asked, Gauges, Outcome, Ticket, Traffic};
use acceptor::Acceptor;

/// The large buffers of all who call [`Site::respond`].
static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| Pool::new(limits::BUFFER_SIZE));

impl Site {
    /// Answers a request of a tiny_http server of yours. Returns when the client has the answer or has gone: it keeps the calling thread
    /// until then. For clients that can be trusted, see [`front::tiny`](crate::front::tiny).
    ///
    /// Set TCP_NODELAY and a timeout for writing on the listening socket before tiny_http has it
    /// ([`tiny_http::Server::from_listener`]): connections inherit both, and without the timeout a client that takes nothing keeps its
    /// thread for good. Do not set one for reading, which would end tiny_http's accepting. `examples/tiny_http.rs` in the repository
    /// shows it.
    ///
    /// Only a [`Server`](crate::Server) makes good what goes wrong in tiny_http's accept thread: when that ends, one of the threads in
    /// [`tiny_http::Server::recv`] is told, the others wait for ever, and connections that come at once may wait for each other.
    ///
    /// # Errors
    /// The answer was not sent to its end: the client left, or the file could not be read. The next request can be answered.
    pub fn respond(&self, request: tiny_http::Request) -> io::Result<()> {
        let answered = respond(&mut Copier::new(&POOL), request, false, None, |r, now| self.answer(r, now));
        match answered {
            Ok(_) => Ok(()),
            Err(Failure::Source(error) | Failure::Client(error)) => Err(error),
        }
    }
}

/// What the threads of a server have in common.
struct Shared {
    site: Site,
    config: Config,
    plan: Plan,
    stop: Arc<Stop>,
    pool: Arc<Pool>,
    pace: Option<Arc<Pace>>,
    traffic: Arc<Traffic>,
    /// Requests that are being answered.
    serving: AtomicUsize,
}

/// Sets the options that every connection inherits from its listening socket, before the first one comes.
pub(crate) fn prepare(socket: &Socket, config: &Config) -> io::Result<()> {
    // One that was handed over may be otherwise.
    socket.set_nonblocking(false)?;
    // Without it the second write of an answer waits for the acknowledgement of the first, up to 40 ms.
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(config.idle_timeout))?;
    socket.set_write_timeout(Some(config.stall_timeout))
}

/// Serves at the listeners until it is stopped, then waits for the transfers in flight, as long as the configuration says.
pub(crate) fn run(site: Site, start: Start) -> io::Result<()> {
    let Start { listeners, config, plan, stop, traffic } = start;
    let workers = plan.workers * listeners.len();
    let shared = Arc::new(Shared {
        site,
        pool: Pool::new(plan.buffer_size),
        pace: Pace::new(config.rate, config.rate_total, Instant::now()).map(Arc::new),
        config,
        plan,
        stop,
        traffic,
        serving: AtomicUsize::new(0),
    });
    let seen = Arc::downgrade(&shared);
    // More is not told: tiny_http holds the connections.
    let gauges = Gauges { connections: None, workers, busy: None };
    shared.traffic.gauge(move || seen.upgrade().map(|_| gauges));
    let acceptors: io::Result<Vec<_>> =
        listeners.into_iter().map(|listener| Acceptor::new(listener).map(Arc::new)).collect();
    let acceptors = acceptors?;
    let pool = pool(workers)?;
    // Nothing is ever sent through it: it ends with the last worker.
    let (working, ended) = mpsc::channel::<()>();
    for acceptor in &acceptors {
        for _ in 0..shared.plan.workers {
            let (acceptor, shared, working) = (Arc::clone(acceptor), Arc::clone(&shared), working.clone());
            pool.execute(move || {
                work(&acceptor, &shared);
                drop(working);
            });
        }
    }
    std::thread::scope(|scope| {
        for acceptor in &acceptors {
            scope.spawn(|| acceptor.watch(&shared));
        }
    });
    let deadline = Instant::now() + shared.config.drain;
    for last in acceptors.iter().filter_map(|acceptor| acceptor.close(&shared, deadline)) {
        // They begin as the workers end.
        for _ in 0..shared.plan.workers {
            let (last, shared, working) = (Arc::clone(&last), Arc::clone(&shared), working.clone());
            pool.execute(move || {
                finish(&last, &mut shared.copier(), &shared);
                drop(working);
            });
        }
    }
    drop(working);
    match ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        // Who only waits for a request has nothing that could be cut off.
        Err(mpsc::RecvTimeoutError::Timeout) if shared.serving.load(Ordering::Relaxed) > 0 => {
            log::warn!("transfers that are cut off: {}", shared.serving.load(Ordering::Relaxed));
        }
        _ => log::info!("all transfers are finished"),
    }
    Ok(())
}

/// What a worker does until the stop: it takes a request, answers it, and takes the next.
fn work(acceptor: &Acceptor, shared: &Arc<Shared>) {
    let mut copier = shared.copier();
    let mut server = acceptor.server();
    loop {
        match receive(acceptor, &server) {
            Ok(request) => {
                acceptor.mark();
                shared.serve(&mut copier, request);
            }
            Err(_) if acceptor.is_closed() => break,
            Err(error) => {
                acceptor.reopen(&server, &error, shared);
                server = acceptor.server();
            }
        }
    }
    finish(&server, &mut copier, shared);
}

/// Answers what tiny_http has accepted before it ended, and what of it is only being read.
fn finish(server: &tiny_http::Server, copier: &mut Copier, shared: &Shared) {
    let mut heard = Instant::now();
    while heard.elapsed() < LAST {
        match server.recv_timeout(LAST) {
            Ok(Some(request)) => {
                shared.serve(copier, request);
                heard = Instant::now();
            }
            // It may have been the wake-up of another worker.
            _ => {
                server.unblock();
                std::thread::sleep(LAST / 30);
            }
        }
    }
    server.unblock();
}

/// How long a worker listens on after the end of the accepting.
const LAST: Duration = Duration::from_millis(150);

/// How often a worker looks for a request, and lets others run in between, before it sleeps. Under load the next request is
/// there by then, and to fall asleep and be woken costs more than to look.
const LOOKS: usize = 4;

/// The next request. An error says that it is time to stop, or that another server accepts by now, or should.
fn receive(acceptor: &Acceptor, server: &Arc<tiny_http::Server>) -> io::Result<tiny_http::Request> {
    for _ in 0..LOOKS {
        match server.try_recv() {
            Ok(Some(request)) => return Ok(request),
            Ok(None) => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    // One of these looks may have swallowed a wake-up; what it was meant to tell was true before.
    if acceptor.is_closed() || !acceptor.is_current(server) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    server.recv()
}

impl Shared {
    fn copier(&self) -> Copier {
        Copier::new(&self.pool).paced(self.pace.clone())
    }

    fn serve(&self, copier: &mut Copier, request: tiny_http::Request) {
        // A failure is the end of one transfer, is said in the log, and concerns nobody else.
        let tell = Some((&*self.traffic, &self.site));
        copier.serve(request.remote_addr().map(SocketAddr::ip));
        self.serving.fetch_add(1, Ordering::Relaxed);
        let _ = respond(copier, request, self.stop.is_draining(), tell, |request, now| self.site.answer(request, now));
        self.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers one request; `last` says that the connection is to be closed behind it, `tell` to whom its end is told.
fn respond(
    copier: &mut Copier,
    request: tiny_http::Request,
    last: bool,
    tell: Option<(&Traffic, &Site)>,
    answer: impl FnOnce(&Request<'_>, SystemTime) -> Answer,
) -> Result<u64, Failure> {
    let now = SystemTime::now();
    let peer = request.remote_addr().copied();
    let body = Unread::of(&request);
    let (mut answer, version, mut ticket) = {
        let plain = plain(&request);
        let answer = decide(&plain, request.headers().len(), body, |plain| answer(plain, now));
        let asked = |site| Asked {
            request: &plain,
            method: plain.method.as_str(),
            client: peer,
            site: Some(site),
            waited: Duration::ZERO,
            now,
        };
        let ticket = tell.and_then(|(traffic, site)| traffic.begin(asked(site), &answer));
        (answer, plain.version, ticket)
    };
    if let (Some((traffic, _)), Some(ticket)) = (tell, &mut ticket) {
        traffic.lasts(ticket);
    }
    let closes = closes(&request);
    let ends_with_it = send::frame(&mut answer, version);
    let persistence = persistence(&request, last || closes || ends_with_it);
    // Bytes of the body that left.
    let mut left = 0;
    let sent = match body {
        Unread::Nothing => {
            let mut writer = Counted { writer: request.into_writer(), count: 0, ticket: ticket.as_deref() };
            let sent = guarded(|| copier.send(answer, now, persistence, &mut writer));
            let Counted { writer, count, .. } = writer;
            left = count.saturating_sub(copier.head_length());
            match &sent {
                Err(failure) if !is_gone(failure) => give_up(writer, peer, closes, ends_with_it),
                // tiny_http would let the client wait for more.
                Ok(_) if ends_with_it && !closes => give_up(writer, peer, false, false),
                // In a stop the client may do it, too.
                Ok(_) if last && !closes => {
                    peer.map(sever::sever);
                    drop(writer);
                }
                _ => drop(writer),
            }
            sent
        }
        _ => guarded(|| refuse(copier, request, answer)).inspect(|count| left = *count),
    };
    if let Some((traffic, _)) = tell {
        let outcome = sent.as_ref().err().map_or(Outcome::Done, outcome_of);
        if let Some(ticket) = ticket {
            traffic.end(ticket, left, outcome);
        }
    }
    sent
}

/// Counts what the socket takes.
struct Counted<'a> {
    writer: Box<dyn Write + Send>,
    count: u64,
    ticket: Option<&'a Ticket>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.count += count as u64;
        if let Some(ticket) = self.ticket {
            ticket.sent(self.count);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The answer, or the refusal that the head or the body deserves.
fn decide(request: &Request<'_>, fields: usize, body: Unread, answer: impl FnOnce(&Request<'_>) -> Answer) -> Answer {
    let refused = match body {
        Unread::Malformed => Some(400),
        _ if request.target.len() > limits::TARGET => Some(414),
        _ if fields > limits::FIELDS => Some(431),
        _ => None,
    };
    let answer = match refused {
        Some(status) => Answer::error(status, request),
        None => answer_or_500(request, || answer(request)),
    };
    match body {
        // What would have been fine without it is refused because of it.
        Unread::Bytes(_) | Unread::Chunks if answer.status.0 < 400 => {
            Answer { admitted: answer.admitted, ..Answer::error(413, request) }
        }
        _ => answer,
    }
}

/// A panic while sending is a defect of ours, and the answer is not finished.
fn guarded(send: impl FnOnce() -> Result<u64, Failure>) -> Result<u64, Failure> {
    let panicked = || Err(Failure::Source(io::Error::other("the server panicked")));
    catch_unwind(AssertUnwindSafe(send)).unwrap_or_else(|_| panicked())
}

/// The request as the core wants it.
fn plain(request: &tiny_http::Request) -> Request<'_> {
    let version = request.http_version();
    let mut plain = Request::new(request.method(), request.url());
    plain.version = (version.0, version.1);
    plain.client = request.remote_addr().map(SocketAddr::ip);
    for header in request.headers() {
        plain.push(header.field.as_str().as_str(), header.value.as_str());
    }
    plain
}

/// Whether tiny_http closes the connection behind this request. It looks at the first field alone, and for a word anywhere
/// in it.
fn closes(request: &tiny_http::Request) -> bool {
    let field = request.headers().iter().find(|header| header.field.equiv("Connection"));
    let value = field.map(|header| header.value.as_str().to_ascii_lowercase()).unwrap_or_default();
    let old = *request.http_version() == (1, 0);
    value.contains("close") || value.contains("upgrade") || (old && !value.contains("keep-alive"))
}

/// The value of `Connection` in the answer. Version 1.0 must be told that the connection stays (RFC 9112 section 9.3).
fn persistence(request: &tiny_http::Request, close: bool) -> Option<&'static str> {
    match close {
        true => Some("close"),
        false => (*request.http_version() <= (1, 0)).then_some("keep-alive"),
    }
}

/// The body of a request, as far as tiny_http has left it in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// There is none, or it is read.
    Nothing,
    /// So many bytes.
    Bytes(usize),
    /// Chunks, or whatever else `Transfer-Encoding` names.
    Chunks,
    /// Where the request ends is not certain: its length is no number, or there are two (tiny_http sees no body then, or
    /// takes the first one), or a value has a line end in it, which another server may take for that of the field.
    Malformed,
}

impl Unread {
    fn of(request: &tiny_http::Request) -> Self {
        let fields = || request.headers().iter();
        if fields().any(|header| header.value.as_str().contains(['\r', '\n', '\0'])) {
            return Self::Malformed;
        }
        if fields().any(|header| header.field.equiv("Transfer-Encoding")) {
            return Self::Chunks;
        }
        let mut lengths = fields().filter(|header| header.field.equiv("Content-Length"));
        let Some(length) = lengths.next() else { return Self::Nothing };
        let digits = length.value.as_str();
        let length = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        let expected = || fields().any(|header| header.field.equiv("Expect"));
        match length {
            None => Self::Malformed,
            Some(_) if lengths.next().is_some() => Self::Malformed,
            Some(0) => Self::Nothing,
            Some(length) if length <= limits::READ_BODY && !expected() => Self::Nothing,
            Some(length) => Self::Bytes(length),
        }
    }
}

/// Answers a request whose body stands unread in the connection, and closes the connection.
///
/// The way is [`tiny_http::Request::upgrade`], the only one that answers before the body is read. It writes the head by
/// itself, without a length: the body of the answer ends with the connection.
fn refuse(copier: &mut Copier, request: tiny_http::Request, answer: Answer) -> Result<u64, Failure> {
    let (peer, length) = (request.remote_addr().copied(), request.body_length());
    let fields = answer.fields.iter().chain([("Server", "brooklet")]);
    let headers = fields.filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value).ok());
    let head = tiny_http::Response::new(answer.status, headers.collect(), io::empty(), Some(0), None);
    let mut stream = request.upgrade("HTTP/1.1", head);
    let sent = copier.send_body(answer.body, &mut stream);
    // Both ways: tiny_http reads on when the request is dropped, and must not wait for what never comes.
    let severed = peer.is_some_and(sever::sever);
    if severed && length.is_none_or(|length| length <= limits::UNREAD_BODY) {
        drop(stream);
    } else {
        let length = length.map_or("unknown".into(), |length| length.to_string());
        log::error!("a request with a body of length {length} is kept for good: tiny_http could not drop it safely");
        mem::forget(stream);
    }
    sent
}

/// Whether the failure says that the connection is no more, so that nothing can follow on it.
fn is_gone(failure: &Failure) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut];
    matches!(failure, Failure::Client(error) if kinds.contains(&error.kind()))
}

/// Ends a connection in the middle of an answer. If the socket is not to be had, the writer is kept for good: tiny_http lets
/// the next answer begin when it is dropped, and the client would take that for the rest of this one. `abort`: with a reset, where
/// the client would take an end for that of the answer.
fn give_up(writer: Box<dyn Write + Send>, peer: Option<SocketAddr>, last: bool, abort: bool) {
    let severed = peer.is_some_and(if abort { sever::abort } else { sever::sever });
    if severed || last {
        drop(writer);
    } else {
        log::error!("a broken transfer could not be closed and is kept until the process ends");
        mem::forget(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Shutdown, TcpStream};

    /// What a tiny_http server sends to a client of these bytes, if `answer` is what answers.
    fn exchange(bytes: &[u8], answer: impl Fn(&Request<'_>) -> Answer) -> String {
        let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
        let address = server.server_addr().to_ip().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut copier = Copier::new(&Pool::new(limits::BUFFER_SIZE));
        for _ in 0..bytes.windows(4).filter(|w| w == b"\r\n\r\n").count() {
            let request = server.recv().unwrap();
            let _ = respond(&mut copier, request, false, None, |request, _| answer(request));
        }
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        received
    }

    #[test]
    fn a_panic_in_one_request_is_answered_500_and_the_next_is_answered() {
        let two = b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\nGET /fine HTTP/1.1\r\nHost: x\r\n\r\n";
        let received = exchange(two, |request| match request.target {
            "/panic" => panic!("on purpose"),
            _ => Answer::error(404, request),
        });
        let statuses: Vec<_> = received.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        assert_eq!(statuses, ["HTTP/1.1 500 Internal Server Error", "HTTP/1.1 404 Not Found"]);
    }

    #[test]
    fn a_panic_while_sending_ends_the_connection() {
        let failure = guarded(|| panic!("on purpose"));
        assert!(matches!(&failure, Err(Failure::Source(_))));
        assert!(failure.is_err_and(|failure| !is_gone(&failure)));
    }
}
