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

/// One request and what became of it, told when that is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The client, or the proxy before it; none if it came through a Unix socket.
    pub client: Option<SocketAddr>,
    /// The method; empty if what came was no request.
    pub method: Box<str>,
    /// The request target as it stood in the request line, not decoded and not escaped, but with three dots in place of what is
    /// beyond the first 1,024 bytes; empty if what came was no request.
    pub target: Box<str>,
    /// The version as (major, minor).
    pub version: (u8, u8),
    /// Who it was, by name and password.
    pub user: Option<Box<str>>,
    /// `Referer`, cut after 256 bytes.
    pub referer: Option<Box<str>>,
    /// `User-Agent`, cut after 256 bytes.
    pub user_agent: Option<Box<str>>,
    /// The status code of the answer.
    pub status: u16,
    /// Bytes of the body that was to be sent; none if nobody knew before it was read.
    pub expected: Option<u64>,
    /// Bytes of the body that went to the client: those that it has acknowledged, if it did not take all, where the system tells
    /// (direct front on Linux), else those that the socket took.
    pub sent: u64,
    /// When the head of the request was whole.
    pub begun: SystemTime,
    /// How long it took from then on until the socket had taken all, or until it was given up.
    pub time: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The client has the whole answer. On the tiny-http front: its socket has taken it.
    Done,
    /// The client went away before.
    ClientLeft,
    /// The client took too little, or nothing, for too long.
    TooSlow,
    /// The file has changed meanwhile, or could not be read.
    SourceFailed,
    /// The stop did not wait for it.
    CutOff,
}

impl Outcome {
    /// All there are, by their names in logs.
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
    /// By where they are in memory.
    running: Mutex<HashMap<usize, Arc<Running>>>,
    /// Whether requests are logged, if that is wanted of the log.
    logged: bool,
    totals: Totals,
    /// Requests whose answers may not have arrived, though their connections are at the next one.
    ahead: AtomicUsize,
    /// Looks at the front, when somebody asks.
    gauges: OnceLock<Probe>,
}

/// Sums since the start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Requests by the first digit of the status, from 1 on.
    pub(crate) statuses: [AtomicU64; 5],
    /// Requests in the order of [`Outcome::ALL`].
    pub(crate) outcomes: [AtomicU64; 5],
    /// Bytes of bodies that went to clients and were told of.
    pub(crate) sent: AtomicU64,
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
        let _ = self.gauges.set(Box::new(probe));
    }

    /// What the front has at this moment.
    pub(crate) fn gauges(&self) -> Gauges {
        self.gauges.get().and_then(|probe| probe()).unwrap_or_default()
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The answers that are on their way, in no order.
    pub(crate) fn running(&self) -> Vec<Arc<Running>> {
        self.lock().values().cloned().collect()
    }

    /// What is to be kept of a request, for the end of its answer; none if nobody wants to know. `method` as it stood there.
    pub(crate) fn begin(
        &self,
        request: &Request<'_>,
        method: &str,
        client: Option<SocketAddr>,
        answer: &Answer,
        site: Option<&Site>,
        now: SystemTime,
    ) -> Option<Box<Ticket>> {
        if self.observers.is_empty() && !self.counted && self.downloads.is_none() && !self.is_logged() {
            return None;
        }
        Some(self.keep(request, method, client, answer, site, now))
    }

    #[cold]
    fn keep(
        &self,
        request: &Request<'_>,
        method: &str,
        client: Option<SocketAddr>,
        answer: &Answer,
        site: Option<&Site>,
        now: SystemTime,
    ) -> Box<Ticket> {
        let field = |value: &Option<_>| value.as_deref().map(|value| cut(value, TOLD_FIELD));
        // Who was not let in, or was answered before anybody looked at that, may have said any name.
        let user = site.filter(|_| answer.admitted).and_then(|site| site.user(request));
        let nothing = *request.method == Method::Head;
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
                begun: now,
                time: Duration::ZERO,
                outcome: Outcome::Done,
            },
            selection: if self.downloads.is_some() && !nothing { answer.selection() } else { None },
            begun: Instant::now(),
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
            begun: exchange.begun,
            sent: AtomicU64::new(0),
        });
        self.lock().insert(place(&running), Arc::clone(&running));
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
            self.lock().remove(&place(&running));
        }
        exchange.sent = exchange.expected.map_or(sent, |expected| sent.min(expected));
        exchange.outcome = outcome;
        if let (Some(downloads), Some(selection)) = (&self.downloads, selection) {
            let client = exchange.client.map(|client| client.ip());
            downloads.add(client, &exchange.target, selection, exchange.sent, outcome == Outcome::Done);
        }
        if self.counted {
            self.totals.add(&exchange);
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
            let Exchange { method, target, status, sent, time, .. } = &exchange;
            log::debug!("{client} {method:?} {target:?} {status} {sent} bytes, {} in {time:?}", outcome.name());
        }
    }

    fn is_logged(&self) -> bool {
        self.logged && log::log_enabled!(Level::Debug)
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
            self.exchange.time = self.begun.elapsed();
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
        traffic.begin(request, "GET", None, &Answer::error(status, request), None, SystemTime::UNIX_EPOCH)
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
        let running = traffic.running();
        assert_eq!(running.iter().map(|r| (r.sent(), &*r.target, r.status)).collect::<Vec<_>>(), [(7, "/a", 404)]);
        traffic.end(ticket, 8, Outcome::ClientLeft);
        assert!(traffic.running().is_empty());
        let Exchange { method, target, referer, user_agent, sent, outcome, .. } = heard.try_recv().unwrap();
        assert_eq!(
            (&*method, &*target, referer.as_deref(), user_agent.as_deref()),
            ("GET", "/a", Some("b"), Some("c"))
        );
        assert_eq!((sent, outcome.name()), (8, "client-left"));
        let sums = |counters: &[AtomicU64]| counters.iter().map(|c| c.load(Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!(sums(&traffic.totals().statuses), [0, 0, 0, 1, 0]);
        assert_eq!(sums(&traffic.totals().outcomes), [0, 1, 0, 0, 0]);
        assert_eq!(traffic.totals().sent.load(Ordering::Relaxed), 8);
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
