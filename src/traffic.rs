//! What becomes of requests, for who wants to know: each one at its end, those that are on their way, and sums.
//!
//! Where nobody wants to know a request costs one look at one word. Otherwise what a log says of it is kept until its end is
//! certain, cut to [`TOLD_TARGET`] and [`TOLD_FIELD`] bytes, so that slow clients with long targets hold no more memory.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::Level;
use tiny_http::Method;

use crate::answer::{Answer, Selection, Site};
use crate::downloads::Downloads;
use crate::http::request::Request;
use crate::limits::{TOLD_AHEAD, TOLD_FIELD, TOLD_TARGET};
use crate::seldom::Seldom;

/// A request and what became of it, as [`Server::observe`](crate::Server::observe) reports it at its end. It has no
/// password in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The address of the client, or of the proxy before it; `None` if it came through a Unix socket.
    pub client: Option<SocketAddr>,
    /// The method; empty if what came could not be parsed as a request.
    pub method: Box<str>,
    /// The request target as it stood in the request line, neither decoded nor escaped, cut after 1,024 bytes (then it ends in three
    /// dots); empty if what came could not be parsed. It is what a client said: escape it before it is shown.
    pub target: Box<str>,
    /// The version of HTTP, major and minor.
    pub version: (u8, u8),
    /// The name of the user, if a password was asked for and was right.
    pub user: Option<Box<str>>,
    /// `Referer`, cut after 256 bytes.
    pub referer: Option<Box<str>>,
    /// `User-Agent`, cut after 256 bytes.
    pub user_agent: Option<Box<str>>,
    /// The status code of the answer.
    pub status: u16,
    /// The length in bytes of the body that was to be sent; `None` if that was not known.
    pub expected: Option<u64>,
    /// Bytes of the body that reached the client. If it did not take all: those that it acknowledged (direct front on Linux), or those
    /// that its socket took (elsewhere).
    pub sent: u64,
    /// When the head of the request was complete.
    pub started: SystemTime,
    /// From then on until the socket had taken the whole answer, or until it was given up.
    pub duration: Duration,
    /// How the request ended.
    pub outcome: Outcome,
}

/// How a request ended, whatever its status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The client has the whole answer. On the tiny-http front: the socket took all of it.
    Done,
    /// The client closed the connection, or it broke, before the end.
    ClientLeft,
    /// The client was cut off because it took too little for too long ([`Config::stall_timeout`](crate::Config::stall_timeout),
    /// [`Config::min_rate`](crate::Config::min_rate)).
    TooSlow,
    /// The file changed while it was sent, or could not be read to its end.
    SourceFailed,
    /// The server stopped, and did not wait for it any longer ([`Config::drain`](crate::Config::drain)). Only the direct front tells of
    /// these.
    CutOff,
}

impl Outcome {
    /// Every outcome, with its name in logs.
    pub const ALL: &[(&str, Self)] = &[
        ("done", Self::Done),
        ("client-left", Self::ClientLeft),
        ("too-slow", Self::TooSlow),
        ("source-failed", Self::SourceFailed),
        ("cut-off", Self::CutOff),
    ];

    /// Its name in logs.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, outcome)| *outcome == self).map_or("", |(name, _)| name)
    }
}

/// Hears of each request at its end, on the thread that served it, which it must not keep waiting.
type Observer = Box<dyn Fn(&Exchange) + Send + Sync>;

/// What a front has at this moment; none once it has ended.
type Probe = Box<dyn Fn() -> Option<Gauges> + Send + Sync>;

/// What a front has, and how much of it is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gauges {
    /// Connections, and how many there may be; none where the front does not know.
    pub(crate) connections: Option<(usize, usize)>,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Those of them that do something at this moment; none where each has one transfer.
    pub(crate) busy: Option<usize>,
}

/// The requests of a server.
#[derive(Default)]
pub(crate) struct Traffic {
    observers: Vec<Observer>,
    downloads: Option<Downloads>,
    /// Whether somebody wants to know what is on its way, and the sums.
    counted: bool,
    /// Whether requests are logged, if that is wanted of the log.
    logged: bool,
    /// Requests whose answers may not have arrived, though their connections are at the next one.
    ahead: AtomicUsize,
    counts: Arc<Counts>,
}

/// What is counted of a server. Handles share it, and may outlive the server.
#[derive(Default)]
pub(crate) struct Counts {
    /// By where they are in memory.
    running: Mutex<HashMap<usize, Arc<Running>>>,
    totals: Totals,
    /// The most bytes that were ever known to be sent: a counter never falls.
    sent: AtomicU64,
    /// Looks at the front, when somebody asks.
    gauges: OnceLock<Probe>,
}

/// Sums since the start.
#[derive(Debug, Default)]
struct Totals {
    /// Requests by the first digit of the status, from 1 on.
    statuses: [AtomicU64; 5],
    /// Requests in the order of [`Outcome::ALL`].
    outcomes: [AtomicU64; 5],
    /// Bytes of bodies that went to clients and were told of.
    sent: AtomicU64,
}

/// A snapshot of what a [`Server`](crate::Server) does and has done, see [`Handle::statistics`](crate::Handle::statistics).
///
/// `transfers`, `requests`, [`outcome`](Self::outcome) and `bytes_sent` are kept only if [`Config::statistics`] or
/// [`Config::admin`] is set, and are 0 otherwise. The values are read one after the other while the server works: they need not
/// add up exactly.
///
/// [`Config::statistics`]: crate::Config::statistics
/// [`Config::admin`]: crate::Config::admin
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Open connections. `None` where that is not known: on the tiny-http front, and while the server does not run.
    pub connections: Option<usize>,
    /// The most connections that may be open at once, [`Config::max_connections`](crate::Config::max_connections) or less. `None`
    /// as with `connections`.
    pub max_connections: Option<usize>,
    /// Worker threads; 0 while the server does not run.
    pub workers: usize,
    /// Worker threads that are busy at this moment. On the tiny-http front, where a worker stays with its transfer: as many
    /// as there are `transfers`.
    pub busy_workers: usize,
    /// Answers on their way that were too long to leave at once.
    pub transfers: usize,
    /// Requests that have ended since the start, by the class of their status code (RFC 9110 section 15): 1xx, 2xx, 3xx, 4xx,
    /// 5xx.
    pub requests: [u64; 5],
    /// Bytes of bodies that were sent since the start, those of the transfers on their way included. It never falls.
    pub bytes_sent: u64,
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; 5],
}

impl Statistics {
    /// Requests that have ended this way since the start.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        let all = Outcome::ALL.iter().zip(self.outcomes);
        all.filter(|((_, known), _)| *known == outcome).map(|(_, count)| count).sum()
    }
}

/// An answer that is on its way, and did not leave at once.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) target: Box<str>,
    pub(crate) status: u16,
    /// Bytes of the body; none if nobody knows.
    pub(crate) expected: Option<u64>,
    pub(crate) begun: SystemTime,
    sent: AtomicU64,
}

impl Running {
    /// Bytes of the body that the socket took, about.
    pub(crate) fn sent(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        self.expected.map_or(sent, |expected| sent.min(expected))
    }
}

/// A request as it came.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request<'a>,
    /// The method as it stood there.
    pub(crate) method: &'a str,
    pub(crate) client: Option<SocketAddr>,
    /// Who was asked; none for what is no request.
    pub(crate) site: Option<&'a Site>,
    /// How long it has waited for its answer to begin.
    pub(crate) waited: Duration,
    pub(crate) now: SystemTime,
}

/// What is kept of a request until its end.
#[derive(Debug)]
pub(crate) struct Ticket {
    exchange: Exchange,
    /// What of which file it brings, if downloads are counted.
    selection: Option<Selection>,
    begun: Instant,
    running: Option<Arc<Running>>,
    finished: bool,
    /// Whether it is one of [`Traffic::ahead`].
    ahead: bool,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").finish_non_exhaustive()
    }
}

impl Traffic {
    /// Has each request told to one more.
    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    /// Has each request logged, where that much is logged.
    pub(crate) fn log(&mut self) {
        self.logged = true;
    }

    /// Keeps what is on its way, and the sums.
    pub(crate) fn count(&mut self) {
        self.counted = true;
    }

    /// Counts complete downloads.
    pub(crate) fn count_downloads(&mut self, downloads: Downloads) {
        self.downloads = Some(downloads);
    }

    /// Says how to look at the front.
    pub(crate) fn gauge(&self, probe: impl Fn() -> Option<Gauges> + Send + Sync + 'static) {
        // It is said once.
        let _ = self.counts.gauges.set(Box::new(probe));
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// What is to be kept of a request, for the end of its answer; none if nobody wants to know.
    pub(crate) fn begin(&self, asked: Asked<'_>, answer: &Answer) -> Option<Box<Ticket>> {
        if self.observers.is_empty() && !self.counted && self.downloads.is_none() && !self.is_logged() {
            return None;
        }
        Some(self.keep(asked, answer))
    }

    #[cold]
    fn keep(&self, asked: Asked<'_>, answer: &Answer) -> Box<Ticket> {
        let Asked { request, method, client, site, waited, now } = asked;
        let field = |value: &Option<_>| value.as_deref().map(|value| cut(value, TOLD_FIELD));
        // Who was not let in, or was answered before anybody looked at that, may have said any name.
        let user = site.filter(|_| answer.admitted).and_then(|site| site.user(request));
        let nothing = *request.method == Method::Head;
        let begun = Instant::now();
        Box::new(Ticket {
            exchange: Exchange {
                client,
                method: cut(method, TOLD_FIELD),
                target: cut(request.target, TOLD_TARGET),
                version: request.version,
                user: user.map(|user| cut(&user, TOLD_FIELD)),
                referer: field(&request.referer),
                user_agent: field(&request.user_agent),
                status: answer.status.0,
                expected: if nothing { Some(0) } else { answer.body.length() },
                sent: 0,
                started: now.checked_sub(waited).unwrap_or(now),
                duration: Duration::ZERO,
                outcome: Outcome::Done,
            },
            selection: if self.downloads.is_some() && !nothing { answer.selection() } else { None },
            begun: begun.checked_sub(waited).unwrap_or(begun),
            running: None,
            finished: false,
            ahead: false,
        })
    }

    /// The answer did not leave at once.
    pub(crate) fn lasts(&self, ticket: &mut Ticket) {
        if !self.counted || ticket.running.is_some() {
            return;
        }
        let exchange = &ticket.exchange;
        let running = Arc::new(Running {
            client: exchange.client,
            target: exchange.target.clone(),
            status: exchange.status,
            expected: exchange.expected,
            begun: exchange.started,
            sent: AtomicU64::new(0),
        });
        self.counts.lock().insert(place(&running), Arc::clone(&running));
        ticket.running = Some(running);
    }

    /// Whether the end of a request may become certain after the next request of the same connection has come.
    pub(crate) fn may_wait(&self, ticket: &mut Ticket) -> bool {
        let more = |ahead| (ahead < TOLD_AHEAD).then_some(ahead + 1);
        ticket.ahead |= self.ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        ticket.ahead
    }

    /// The end of a request is certain: so many bytes of the body went to the client.
    pub(crate) fn end(&self, mut ticket: Box<Ticket>, sent: u64, outcome: Outcome) {
        ticket.finish();
        let Ticket { mut exchange, selection, running, ahead, .. } = *ticket;
        self.ahead.fetch_sub(ahead.into(), Ordering::Relaxed);
        if let Some(running) = running {
            self.counts.lock().remove(&place(&running));
        }
        exchange.sent = exchange.expected.map_or(sent, |expected| sent.min(expected));
        exchange.outcome = outcome;
        if let (Some(downloads), Some(selection)) = (&self.downloads, selection) {
            let client = exchange.client.map(|client| client.ip());
            downloads.add(client, &exchange.target, selection, exchange.sent, outcome == Outcome::Done);
        }
        if self.counted {
            self.counts.totals.add(&exchange);
        }
        for observer in &self.observers {
            // A defect there is none of whoever serves, or watches, and tells of it.
            if catch_unwind(AssertUnwindSafe(|| observer(&exchange))).is_err() {
                static SELDOM: Seldom = Seldom::new();
                SELDOM.warn(format_args!("an observer of requests has panicked"));
            }
        }
        if self.is_logged() {
            let client = exchange.client.map_or("-".into(), |client| client.to_string());
            let Exchange { method, target, status, sent, duration, .. } = &exchange;
            log::debug!("{client} {method:?} {target:?} {status} {sent} bytes, {} in {duration:?}", outcome.name());
        }
    }

    fn is_logged(&self) -> bool {
        self.logged && log::log_enabled!(Level::Debug)
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl Counts {
    /// All of it at this moment, and the answers that are on their way, in no order.
    pub(crate) fn look(&self) -> (Statistics, Vec<Arc<Running>>) {
        let load = |counters: &[AtomicU64; 5]| counters.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        let gauges = self.gauges.get().and_then(|probe| probe()).unwrap_or_default();
        // The sums first: what ends meanwhile is missed this time, not counted twice.
        let finished = self.totals.sent.load(Ordering::Relaxed);
        let running: Vec<_> = self.lock().values().cloned().collect();
        let sent = running.iter().map(|transfer| transfer.sent()).fold(finished, u64::saturating_add);
        let statistics = Statistics {
            connections: gauges.connections.map(|(inside, _)| inside),
            max_connections: gauges.connections.map(|(_, most)| most),
            workers: gauges.workers,
            busy_workers: gauges.busy.unwrap_or(running.len().min(gauges.workers)),
            transfers: running.len(),
            requests: load(&self.totals.statuses),
            bytes_sent: self.sent.fetch_max(sent, Ordering::Relaxed).max(sent),
            outcomes: load(&self.totals.outcomes),
        };
        (statistics, running)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn add(&self, exchange: &Exchange) {
        let one = |counters: &[AtomicU64], place: usize| {
            if let Some(counter) = counters.get(place) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        one(&self.statuses, usize::from(exchange.status / 100).wrapping_sub(1));
        let outcome = Outcome::ALL.iter().position(|(_, outcome)| *outcome == exchange.outcome);
        one(&self.outcomes, outcome.unwrap_or(usize::MAX));
        self.sent.fetch_add(exchange.sent, Ordering::Relaxed);
    }
}

impl Ticket {
    /// So many bytes of the body have left by now.
    pub(crate) fn sent(&self, bytes: u64) {
        if let Some(running) = &self.running {
            running.sent.store(bytes, Ordering::Relaxed);
        }
    }

    /// The socket has taken everything: what the client makes of it takes its own time.
    pub(crate) fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.exchange.duration = self.begun.elapsed();
        }
    }

    /// Whether the client has all of it will never be known.
    pub(crate) fn forget_download(&mut self) {
        self.selection = None;
    }

    /// In the place of the answer that was to be sent comes one with this status.
    pub(crate) fn replace(&mut self, answer: &Answer) {
        self.selection = None;
        self.exchange.status = answer.status.0;
        self.exchange.expected = answer.body.length();
    }
}

fn place(running: &Arc<Running>) -> usize {
    Arc::as_ptr(running).addr()
}

/// No more than so many bytes of a text, with three dots in place of the rest.
fn cut(text: &str, most: usize) -> Box<str> {
    if text.len() <= most {
        return text.into();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn told(traffic: &Traffic, request: &Request<'_>, status: u16) -> Option<Box<Ticket>> {
        let now = SystemTime::UNIX_EPOCH;
        let asked = Asked { request, method: "GET", client: None, site: None, waited: Duration::ZERO, now };
        traffic.begin(asked, &Answer::error(status, request))
    }

    #[test]
    fn who_wants_to_know_hears_of_the_end_and_what_is_on_its_way_is_counted() {
        let (told_to, heard) = mpsc::channel();
        let mut traffic = Traffic::default();
        let request = Request::new(&Method::Get, "/a").with("Referer", "b").with("User-Agent", "c");
        assert!(told(&traffic, &request, 404).is_none());
        traffic.observe(Box::new(move |exchange| drop(told_to.send(exchange.clone()))));
        traffic.count();
        let mut ticket = told(&traffic, &request, 404).unwrap();
        traffic.lasts(&mut ticket);
        ticket.sent(7);
        let (_, running) = traffic.counts().look();
        assert_eq!(running.iter().map(|r| (r.sent(), &*r.target, r.status)).collect::<Vec<_>>(), [(7, "/a", 404)]);
        traffic.end(ticket, 8, Outcome::ClientLeft);
        let (statistics, running) = traffic.counts().look();
        assert!(running.is_empty());
        let Exchange { method, target, referer, user_agent, sent, outcome, .. } = heard.try_recv().unwrap();
        assert_eq!(
            (&*method, &*target, referer.as_deref(), user_agent.as_deref()),
            ("GET", "/a", Some("b"), Some("c"))
        );
        assert_eq!((sent, outcome.name()), (8, "client-left"));
        assert_eq!(
            (statistics.requests, statistics.outcomes, statistics.bytes_sent),
            ([0, 0, 0, 1, 0], [0, 1, 0, 0, 0], 8)
        );
        assert_eq!((statistics.outcome(Outcome::ClientLeft), statistics.outcome(Outcome::Done)), (1, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut traffic = Traffic::default();
        traffic.count();
        let (long, field) = ("/\u{e4}".repeat(4000), "\u{e4}".repeat(4000));
        let request = Request::new(&Method::Get, &long).with("Referer", &field).with("User-Agent", &field);
        let exchange = told(&traffic, &request, 404).unwrap().exchange;
        assert!(exchange.target.len() <= TOLD_TARGET + 3 && exchange.target.ends_with("..."));
        assert!([exchange.referer, exchange.user_agent].iter().all(|f| f.as_ref().unwrap().len() <= TOLD_FIELD + 3));
        assert_eq!(&*cut("abc", 3), "abc");
    }
}
