//! One connection as plain data, and what a worker does with it in its turn: as much as goes without waiting.

use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use socket2::Socket;
use tiny_http::Method;

use super::Worker;
use super::drain::{Framing, Passing};
use super::head::{self, Expect, Head, Parsed};
use super::input::{Input, receive};
use super::paced::Paced;
use super::poller::{Event, Interest};
use super::progress::{Demand, Progress, unacknowledged};
use super::sending::{Sending, append};
use super::tickets::Tickets;
use crate::answer::{Answer, Body, Position};
use crate::front::{answer_or_500, outcome_of};
use crate::http::request::Request;
use crate::limits;
use crate::seldom::Seldom;
use crate::send::copy::Failure;
use crate::send::pace::{Pace, Part};
use crate::send::{self, slice};
use crate::traffic::{Asked, Outcome, Ticket, Traffic};

/// Requests that a connection is answered in one turn. Who has sent more ahead waits until others had theirs.
const REQUESTS: usize = 32;
/// Bytes that are sent in one turn, about.
const TURN: u64 = 1 << 20;
/// Segments without a byte that are passed over in one turn: each may have taken a look at some names of a folder.
const EMPTY: usize = 32;
/// A body of so many bytes leaves with its head, in one call. It costs less to copy it than to call twice.
const SMALL: u64 = 32 << 10;

/// How long a connection has before it counts as idle though nothing was ever asked on it.
const GRACE: Duration = Duration::from_millis(500);
/// Bytes that are left to the kernel when a connection is closed, whether the client takes them or not.
const KERNELS: u64 = 16 << 10;

/// A client that is connected.
pub(super) struct Connection {
    socket: Socket,
    peer: Peer,
    /// Whether it counts among those that there may be.
    counted: bool,
    state: State,
    /// What it waits for.
    pub(super) waits: Interest,
    /// Whether there may be something to read of which no event tells any more.
    unread: bool,
    /// Whether even a read that gave less than there was room for may have left something.
    reads_short: bool,
    /// When the state, or what it waits for, began.
    since: Instant,
    /// What was read and belongs to what comes next.
    held: Vec<u8>,
    /// Whether what is held was looked at, and is no whole head.
    partial: bool,
    /// Bytes that the socket took from us.
    sent: u64,
    /// How the client does, as long as it has not acknowledged everything.
    progress: Option<Box<Progress>>,
    /// What it may send and from when on, if there is a rate.
    paced: Option<Box<Paced>>,
    /// What is to be told of its requests, in terms of [`Connection::sent`].
    tickets: Tickets,
    /// The client of a Unix socket was seen to close it with something unread.
    reset: bool,
}

/// Where a connection comes from: over a Unix socket from no address.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) Option<SocketAddr>);

impl Peer {
    pub(super) fn ip(self) -> Option<IpAddr> {
        self.0.map(|address| address.ip())
    }
}

/// What a connection waits for.
enum State {
    /// A request, or the rest of its head if something is held.
    Head,
    /// The rest of a body that nobody asked for. The request is answered.
    Body(Passing),
    /// Room for more of an answer.
    Sending(Box<Sending>, Then),
    /// The client's end. It has been told ours, and may send so many bytes until it has noticed.
    Linger(usize),
    /// Nothing but that the client takes what the kernel holds for it, which must not be more than there are connections for.
    Parting,
}

/// What follows an answer.
#[derive(Clone, Copy)]
enum Then {
    /// The next request, behind this body.
    Next(Option<Passing>),
    /// The end.
    Close,
    /// The end, with more on its way from the client: if it were closed at once, the answer would be lost.
    Linger,
}

/// What others may need more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spare {
    /// The room of a connection that waits for a request of which nothing has come.
    Idle,
    /// The memory of what a connection holds of requests.
    Holding,
}

/// What becomes of a connection that can go no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for this, of which nothing is left now.
    Wait(Interest),
    /// It can go on, when the others had their turn.
    Yield,
    /// It can go on at that moment.
    Until(Instant),
    /// It waits for whoever watches.
    Rest,
    /// It is over.
    Close,
}

/// Whether a step changed the state, so that there is another one; else what becomes of the connection.
type Step = Result<(), Next>;

const READ: Step = Err(Next::Wait(Interest::Read));
const WRITE: Step = Err(Next::Wait(Interest::Write));
const YIELD: Step = Err(Next::Yield);
const CLOSE: Step = Err(Next::Close);

impl Connection {
    pub(super) fn new(socket: Socket, peer: Peer, counted: bool, now: Instant) -> Self {
        Self {
            socket,
            peer,
            counted,
            state: State::Head,
            waits: Interest::Read,
            unread: true,
            reads_short: false,
            since: now,
            held: Vec::new(),
            partial: false,
            sent: 0,
            progress: None,
            paced: None,
            tickets: Tickets::default(),
            reset: false,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Where it comes from, if it counts.
    pub(super) fn client(&self) -> Option<Peer> {
        self.counted.then_some(self.peer)
    }

    /// Bytes that it holds of requests.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Since when it has what is to be spared, if it has.
    pub(super) fn since(&self, spare: Spare) -> Option<Instant> {
        let spared = match spare {
            Spare::Idle => {
                let idle = matches!(self.state, State::Head) && self.held.is_empty();
                // Who has just come may be about to ask: else a crowd of newcomers pushes itself out, and nobody is served.
                let settled = self.sent > 0 || self.since.elapsed() >= GRACE;
                idle && settled && self.is_done()
            }
            // Who waits for the clock will be served, and is one of not too many.
            Spare::Holding => !self.held.is_empty() && !self.waits_for_clock(Instant::now()),
        };
        spared.then_some(self.since)
    }

    /// Says that there is no room, and that the client is to come again.
    pub(super) fn refuse(&mut self, worker: &mut Worker) -> Next {
        match self.reject(worker, b"", 503) {
            Ok(()) => self.turn(worker),
            Err(next) => next,
        }
    }

    /// Hears what happened.
    pub(super) fn hear(&mut self, event: Event) {
        self.unread |= event.readable;
        self.reads_short |= event.reads_short;
    }

    /// Goes as far as it can without waiting.
    pub(super) fn turn(&mut self, worker: &mut Worker) -> Next {
        let mut input = Input::new(std::mem::take(&mut worker.input), &self.held);
        worker.shared.held.fetch_sub(self.held.len(), Ordering::Relaxed);
        self.held = Vec::new();
        let next = self.go(worker, &mut input);
        if next == Next::Wait(Interest::Read) {
            // There is nothing to send for now.
            self.give_back(worker.shared.pace.as_ref());
        }
        // Behind the last answer nothing is read that would be used.
        let rest = if matches!(self.state, State::Linger(_)) { b"" } else { input.rest() };
        if next != Next::Close && !rest.is_empty() {
            self.held = rest.to_vec();
            worker.shared.held.fetch_add(rest.len(), Ordering::Relaxed);
        }
        worker.input = input.buffer;
        next
    }

    fn go(&mut self, worker: &mut Worker, input: &mut Input) -> Next {
        let mut answered = 0;
        let until = self.sent + TURN;
        loop {
            let step = match self.state {
                State::Head if input.rest().is_empty() && !self.unread && !self.reads_short => READ,
                State::Head if answered >= REQUESTS || self.sent >= until => YIELD,
                State::Head => {
                    answered += 1;
                    self.read_head(worker, input)
                }
                State::Body(_) => self.pass_body(worker, input),
                State::Sending(..) => self.send(worker, until),
                State::Linger(_) => self.linger(worker),
                // Who has gone for good, or has everything, tells of it.
                State::Parting => match self.is_broken() || self.is_done() {
                    true => CLOSE,
                    false => Err(Next::Rest),
                },
            };
            if let Err(next) = step {
                return next;
            }
        }
    }

    /// Goes on if an answer may begin by now, as far as that is paced. False if too many others wait for that.
    fn may_begin(&mut self, worker: &Worker) -> Result<bool, Next> {
        let Some(pace) = &worker.shared.pace else { return Ok(true) };
        let full = worker.shared.held.load(Ordering::Relaxed) > limits::HEADS_HELD / 2;
        let now = Instant::now();
        let client = self.peer.ip();
        self.paced.get_or_insert_with(|| Box::new(Paced::new(client, now))).begin(pace, now, full).map_err(until)
    }

    /// Bytes that may be sent by now of what has begun, as far as that is paced.
    fn granted(&mut self, worker: &Worker) -> Result<u64, Next> {
        let Some(pace) = &worker.shared.pace else { return Ok(u64::MAX) };
        let now = Instant::now();
        let client = self.peer.ip();
        let paced = self.paced.get_or_insert_with(|| Box::new(Paced::new(client, now)));
        paced.ask(pace, Part::Rest, now).map(|()| paced.granted()).map_err(until)
    }

    /// So many bytes went into the socket.
    fn took(&mut self, worker: &Worker, part: Part, bytes: u64) {
        self.sent += bytes;
        self.tickets.sent(self.sent);
        if let (Some(pace), Some(paced)) = (&worker.shared.pace, &mut self.paced) {
            paced.sent(pace, part, bytes);
        }
    }

    /// Leaves to others what it was granted and does not send for now.
    pub(super) fn give_back(&mut self, pace: Option<&Pace>) {
        if let (Some(pace), Some(paced)) = (pace, &mut self.paced) {
            paced.give_back(pace);
        }
    }

    /// How long the request that begins to be answered has waited for that, because of a rate.
    fn waited(&mut self) -> Duration {
        self.paced.as_mut().map_or(Duration::ZERO, |paced| paced.waited(Instant::now()))
    }

    fn waits_for_clock(&self, now: Instant) -> bool {
        self.paced.as_ref().is_some_and(|paced| paced.waits(now))
    }

    /// Reads a head and begins to answer it.
    fn read_head(&mut self, worker: &mut Worker, input: &mut Input) -> Step {
        let mut look = !self.partial && !input.rest().is_empty();
        loop {
            if look {
                match head::parse(input.rest()) {
                    Parsed::Whole(mut head, used) => {
                        head.request.client = self.peer.ip();
                        self.partial = false;
                        if !self.may_begin(worker)? {
                            return self.refuse_request(worker, &head.request, head.method, 503);
                        }
                        let step = self.respond(worker, &head, input.rest().len() > used);
                        input.begin += used;
                        return step;
                    }
                    Parsed::Refused(status) => return self.reject(worker, input.rest(), status),
                    Parsed::Partial => {}
                }
            }
            if input.is_full() {
                return self.reject(worker, input.rest(), head::too_long(input.rest()));
            }
            let first = input.rest().is_empty();
            if first {
                self.since = worker.now;
            }
            match input.receive(&self.socket, &mut self.unread) {
                Ok([]) if first => return self.end(worker, Then::Close, Ok(())),
                // Half a head, and nothing more will come.
                Ok([]) => return self.reject(worker, input.rest(), 400),
                // Only the end of a line can make it whole: drop by drop it is not looked at for each drop.
                Ok(new) => look = new.contains(&b'\n'),
                Err(Errno::AGAIN) => {
                    self.partial = !input.rest().is_empty();
                    return READ;
                }
                Err(error) => return self.lost(error),
            }
        }
    }

    fn respond(&mut self, worker: &mut Worker, head: &Head<'_>, more: bool) -> Step {
        let now = SystemTime::now();
        let request = &head.request;
        let too_long = matches!(head.framing, Framing::Length(length) if length > limits::DRAINED as u64);
        let mut answer = match head.expect {
            _ if request.target.len() > limits::TARGET => Answer::error(414, request),
            Expect::Other => Answer::error(417, request),
            _ => answer_or_500(request, || worker.shared.service.answer(request, now)),
        };
        // What would have been fine without the body is refused because of it.
        if too_long && answer.status.0 < 400 {
            answer = Answer { admitted: answer.admitted, ..Answer::error(413, request) };
        }
        let ends_with_it = send::frame(&mut answer, request.version);
        let passing = Passing::new(head.framing);
        // Who waits and is not told to go on may send the body or leave it: where the next request begins is not certain.
        let awaited = passing.is_some() && head.expect != Expect::Nothing;
        let interim = awaited && answer.status.0 < 400;
        let lasts =
            head.persistent && !too_long && !ends_with_it && (interim || !awaited) && !worker.shared.stop.is_draining();
        let then = match lasts {
            true => Then::Next(passing),
            false if passing.is_some() || more => Then::Linger,
            false => Then::Close,
        };
        let connection = match lasts {
            true => (request.version < (1, 1)).then_some("keep-alive"),
            false => Some("close"),
        };
        let site = worker.shared.service.site();
        let asked = Asked { request, method: head.method, client: self.peer.0, site, waited: self.waited(), now };
        let ticket = worker.shared.traffic.begin(asked, &answer);
        worker.output.clear();
        if interim {
            worker.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        send::head(&mut worker.output, &answer, worker.clock.date(now), connection);
        let left = match request.method {
            Method::Head => Some(0),
            _ if answer.body.is_sized() => Some(answer.content_length.unwrap_or(0)),
            _ => None,
        };
        self.begin(worker, answer.body, left, then, ticket)
    }

    /// Refuses what is no request, and ends the connection behind the answer.
    fn reject(&mut self, worker: &mut Worker, head: &[u8], status: u16) -> Step {
        let method = if head.starts_with(b"HEAD ") { &Method::Head } else { &Method::Get };
        self.refuse_request(worker, &Request::new(method, ""), "", status)
    }

    /// Refuses a request, and ends the connection behind the answer. `method` as it stood there.
    fn refuse_request(&mut self, worker: &mut Worker, request: &Request<'_>, method: &str, status: u16) -> Step {
        let answer = Answer::error(status, request);
        let now = SystemTime::now();
        let asked = Asked { request, method, client: self.peer.0, site: None, waited: self.waited(), now };
        let ticket = worker.shared.traffic.begin(asked, &answer);
        self.refuse_with(worker, answer, now, ticket)
    }

    fn refuse_with(
        &mut self,
        worker: &mut Worker,
        answer: Answer,
        now: SystemTime,
        ticket: Option<Box<Ticket>>,
    ) -> Step {
        worker.output.clear();
        send::head(&mut worker.output, &answer, worker.clock.date(now), Some("close"));
        let left = answer.body.length();
        self.begin(worker, answer.body, left, Then::Linger, ticket)
    }

    /// Sends the head that stands in the worker's buffer, with as much of the body as goes along.
    fn begin(
        &mut self,
        worker: &mut Worker,
        mut body: Body,
        left: Option<u64>,
        then: Then,
        ticket: Option<Box<Ticket>>,
    ) -> Step {
        self.progress = None;
        let output = &mut worker.output;
        let head = output.len();
        let mut position = Position::default();
        if let Some(left) = left.filter(|left| *left <= SMALL && head + *left as usize <= output.capacity()) {
            if let Err(error) = append(output, &mut body, &mut position, left) {
                static SELDOM: Seldom = Seldom::new();
                SELDOM.warn(format_args!("a file could not be read: {error}"));
                // Nothing was sent of it yet: the client can be told.
                let (answer, mut ticket) = (Answer::error(503, &Request::new(&Method::Get, "")), ticket);
                if let Some(ticket) = &mut ticket {
                    ticket.replace(&answer);
                }
                return self.refuse_with(worker, answer, SystemTime::now(), ticket);
            }
        }
        let taken = output.len() - head;
        if let Some(ticket) = ticket {
            let acknowledged = self.acknowledged();
            self.tickets.add(&worker.shared.traffic, ticket, self.sent + head as u64, acknowledged);
        }
        let more = left.is_none_or(|left| left > taken as u64);
        // The end of the connection follows at once, and leaves in the same segment.
        let last = matches!(then, Then::Close | Then::Linger);
        match slice::bytes(&self.socket, output, more || last) {
            Ok(count) => {
                let count = count.unwrap_or(0);
                self.took(worker, Part::Beginning, count as u64);
                let output = &worker.output;
                if count == output.len() && !more {
                    return self.end(worker, then, Ok(()));
                }
                let behind = count.saturating_sub(head);
                if behind < taken {
                    position = match body.position(behind as u64) {
                        Ok(position) => position,
                        Err(error) => return self.end(worker, then, Err(Failure::Source(error))),
                    };
                }
                let head = output.get(count..head).unwrap_or_default().into();
                let left = left.map(|left| left - behind as u64);
                self.state = State::Sending(Box::new(Sending { head, body, position, left }), then);
                if let Some(ticket) = self.tickets.last() {
                    worker.shared.traffic.lasts(ticket);
                }
                Ok(())
            }
            Err(failure) => self.end(worker, then, Err(failure)),
        }
    }

    /// Sends more of an answer, until so much is sent in all.
    fn send(&mut self, worker: &mut Worker, until: u64) -> Step {
        let mut empty = 0;
        let (then, outcome) = loop {
            let State::Sending(sending, then) = &self.state else { return Ok(()) };
            let then = *then;
            if sending.is_over() {
                break (then, Ok(()));
            }
            if self.sent >= until || empty >= EMPTY {
                return YIELD;
            }
            let granted = self.granted(worker)?;
            let State::Sending(sending, _) = &mut self.state else { return Ok(()) };
            match sending.some(
                &self.socket,
                (until - self.sent).min(granted),
                &mut worker.output,
                worker.shared.plan.by_kernel,
            ) {
                Ok(Some(0)) => empty += 1,
                Ok(Some(count)) => self.took(worker, Part::Rest, count as u64),
                Ok(None) => return WRITE,
                Err(failure) => break (then, Err(failure)),
            }
        };
        let unsized_body = matches!(&self.state, State::Sending(sending, _) if sending.left.is_none());
        if outcome.is_err() && unsized_body {
            // Where the end of the connection is that of the body, an end too early must not look like it.
            let _ = self.socket.set_linger(Some(Duration::ZERO));
        }
        self.end(worker, then, outcome)
    }

    /// What follows an answer that was sent, or cannot be sent to its end.
    fn end(&mut self, worker: &Worker, then: Then, outcome: Result<(), Failure>) -> Step {
        let failed = outcome.is_err();
        match outcome {
            Ok(()) => self.tickets.finish(self.sent),
            Err(failure) => {
                if let Failure::Client(error) = &failure {
                    self.note(Errno::from_io_error(error));
                }
                self.tell_end(&worker.shared.traffic, outcome_of(&failure));
            }
        }
        // The disk may have taken its time since the turn began.
        self.since = Instant::now();
        self.state = match then {
            _ if failed => return CLOSE,
            Then::Close if self.is_done() => return CLOSE,
            Then::Next(None) => State::Head,
            Then::Next(Some(passing)) => State::Body(passing),
            Then::Close | Then::Linger => {
                // An end that does not arrive is none that could be waited for.
                if self.socket.shutdown(Shutdown::Write).is_err() {
                    return CLOSE;
                }
                State::Linger(limits::DRAINED)
            }
        };
        Ok(())
    }

    /// Whether the connection can be closed at once. With something unread it would be reset, and what is still on its way
    /// lost; and what a client does not take, the kernel would hold for minutes, beyond all limits. Where somebody is to be told
    /// whether the client has a small answer, it is waited for, too.
    fn is_done(&self) -> bool {
        let little = self.sent <= KERNELS && self.tickets.is_empty();
        let taken = little || matches!(unacknowledged(&self.socket), None | Some(0));
        taken && matches!(rustix::io::ioctl_fionread(&self.socket), Ok(0))
    }

    /// Bytes of what was sent that the client has for certain; where the system does not tell, all of them.
    fn acknowledged(&mut self) -> u64 {
        // First: the error is there before what was not read is thrown away.
        let unacknowledged = unacknowledged(&self.socket).unwrap_or(0);
        if self.peer.0.is_none() {
            self.is_broken();
        }
        if self.reset {
            return self.progress.as_ref().map_or(0, |progress| progress.acknowledged());
        }
        self.sent.saturating_sub(unacknowledged)
    }

    /// Tells of the requests that nobody was told of yet: they ended like this, unless the client has the whole answer.
    pub(super) fn tell_end(&mut self, traffic: &Traffic, outcome: Outcome) {
        if !self.tickets.is_empty() {
            let acknowledged = self.acknowledged();
            self.tickets.end(traffic, acknowledged, outcome);
        }
    }

    /// The client cannot be read from.
    fn lost(&mut self, error: Errno) -> Step {
        self.note(Some(error));
        CLOSE
    }

    /// Whether the socket has an error, which it tells once.
    fn is_broken(&mut self) -> bool {
        let error = self.socket.take_error();
        if let Ok(Some(error)) = &error {
            self.note(Errno::from_io_error(error));
        }
        !matches!(error, Ok(None))
    }

    /// What was not read when a Unix socket was closed counts as read there, and this error tells of it (unix(7)).
    fn note(&mut self, error: Option<Errno>) {
        self.reset |= self.peer.0.is_none() && error == Some(Errno::CONNRESET);
    }

    /// Passes over the body of a request.
    fn pass_body(&mut self, worker: &Worker, input: &mut Input) -> Step {
        let State::Body(passing) = &mut self.state else { return Ok(()) };
        loop {
            match passing.pass(input.rest()) {
                Ok(used) => input.begin += used,
                // Where the next request begins is not certain, or too far.
                Err(_) => return self.end(worker, Then::Linger, Ok(())),
            }
            if passing.is_over() {
                return self.end(worker, Then::Next(None), Ok(()));
            }
            match input.receive(&self.socket, &mut self.unread) {
                Ok([]) => return self.end(worker, Then::Close, Ok(())),
                Ok(_) => {}
                Err(Errno::AGAIN) => return READ,
                Err(error) => return self.lost(error),
            }
        }
    }

    /// Reads and throws away until the client has seen the end.
    fn linger(&mut self, worker: &mut Worker) -> Step {
        let State::Linger(mut left) = self.state else { return Ok(()) };
        worker.output.resize(worker.output.capacity(), 0);
        loop {
            match receive(&self.socket, &mut worker.output) {
                Ok(0) if !self.is_done() => {
                    self.state = State::Parting;
                    return Ok(());
                }
                Ok(count @ 1..) if count <= left => left -= count,
                Err(Errno::AGAIN) => {
                    self.state = State::Linger(left);
                    return READ;
                }
                Err(error) => return self.lost(error),
                Ok(_) => return CLOSE,
            }
        }
    }

    /// Ends what has lasted too long. None if the connection may stay as it is.
    pub(super) fn overdue(&mut self, worker: &mut Worker) -> Option<Next> {
        if !self.tickets.is_empty() {
            let acknowledged = self.acknowledged();
            self.tickets.acknowledge(&worker.shared.traffic, acknowledged);
        }
        let waited = worker.now.saturating_duration_since(self.since);
        let config = &worker.shared.config;
        match self.state {
            State::Head if self.held.is_empty() && waited < config.idle_timeout => None,
            // It may still be reading the last answer; or before it reads that, nothing of what it has sent ahead is answered.
            State::Head if !self.partial => match self.is_too_slow(worker) {
                Some(slow) => slow.then(|| self.cut(worker)),
                None => self.held.is_empty().then_some(Next::Close),
            },
            State::Head if waited < config.head_timeout => None,
            State::Head => Some(match self.reject(worker, b"", 408) {
                Ok(()) => self.turn(worker),
                Err(next) => next,
            }),
            State::Body(_) | State::Linger(_) if waited < limits::DRAIN_TIMEOUT => None,
            State::Body(_) | State::Linger(_) | State::Parting => match self.is_too_slow(worker) {
                Some(slow) => slow.then(|| self.cut(worker)),
                None => Some(Next::Close),
            },
            State::Sending(..) => (self.is_too_slow(worker) == Some(true)).then(|| self.cut(worker)),
        }
    }

    /// Ends a transfer to a client that is too slow.
    fn cut(&mut self, worker: &Worker) -> Next {
        self.tell_end(&worker.shared.traffic, Outcome::TooSlow);
        // What lies in the socket's buffer is dropped at once: the client would not take it.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
        Next::Close
    }

    /// Whether the client acknowledges too little of what it was sent. None if it has acknowledged everything.
    fn is_too_slow(&mut self, worker: &Worker) -> Option<bool> {
        // Over a Unix socket an error may say that nothing more is known.
        if self.peer.0.is_none() {
            self.acknowledged();
        }
        if self.reset {
            return None;
        }
        let paced = self.waits_for_clock(worker.now);
        let config = &worker.shared.config;
        let demand = Demand { stall_timeout: config.stall_timeout, min_rate: config.min_rate };
        // Where nobody knows what was acknowledged, what the socket took has to do.
        let unacknowledged = unacknowledged(&self.socket);
        let unknown = unacknowledged.is_none() && (paced || !matches!(self.state, State::Sending(..)));
        if unacknowledged == Some(0) || unknown {
            self.progress = None;
            return None;
        }
        let acknowledged = self.sent.saturating_sub(unacknowledged.unwrap_or(0));
        match &mut self.progress {
            Some(progress) => {
                let slow = !progress.is_enough(acknowledged, worker.now, demand);
                if paced {
                    // How fast it is sent something is our matter then, but not that it takes nothing of it.
                    progress.begin_anew(worker.now);
                }
                Some(slow)
            }
            none => {
                *none = Some(Box::new(Progress::new(acknowledged, worker.now)));
                Some(false)
            }
        }
    }

    /// Lets a connection that waits for a request go on to its end: what has come already is still answered. Who has just come
    /// has a moment to ask, and who has begun to ask the time that it has anyway.
    pub(super) fn hang_up(&self) {
        let settled = self.sent > 0 || self.since.elapsed() >= GRACE;
        let silent = self.held.is_empty() && matches!(rustix::io::ioctl_fionread(&self.socket), Ok(0));
        if matches!(self.state, State::Head) && settled && silent {
            // It fails for who has gone already.
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}

/// What becomes of a connection that can go on at this moment, or has an alarm set already.
fn until(at: Option<Instant>) -> Next {
    at.map_or(Next::Rest, Next::Until)
}
