//! What is to be told of the requests of one connection. An answer has gone out when the socket has taken it, but only when the
//! client has acknowledged all of it, or is gone, it is certain how the request ended. All of it is counted in bytes that went
//! into the socket since the connection began.

use crate::traffic::{Outcome, Ticket, Traffic};

/// The requests that nobody was told of yet, in their order. All but the last are answered: the client has sent the next one
/// without waiting, and may have read nothing so far.
#[derive(Default)]
pub(super) struct Tickets(Vec<Pending>);

struct Pending {
    ticket: Box<Ticket>,
    /// Where the body of the answer begins.
    begin: u64,
    /// Where the answer ends, once the socket has taken all of it.
    end: Option<u64>,
}

impl Tickets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a request; the body of its answer begins at `begin`. The client has acknowledged so much by now.
    pub(super) fn add(&mut self, traffic: &Traffic, ticket: Box<Ticket>, begin: u64, acknowledged: u64) {
        self.acknowledge(traffic, acknowledged);
        if let Some(mut last) = self.0.pop() {
            if traffic.may_wait(&mut last.ticket) {
                self.0.push(last);
            } else {
                // The end of this one is never certain.
                last.ticket.forget_download();
                last.tell(traffic, u64::MAX, Outcome::Done);
            }
        }
        self.0.push(Pending { ticket, begin, end: None });
    }

    /// What is to be told of the last request, as long as that may change.
    pub(super) fn last(&mut self) -> Option<&mut Ticket> {
        self.0.last_mut().map(|last| &mut *last.ticket)
    }

    /// The socket has taken so much.
    pub(super) fn sent(&self, sent: u64) {
        if let Some(last) = self.0.last() {
            last.ticket.sent(sent.saturating_sub(last.begin));
        }
    }

    /// The socket has taken the last answer, which ends there.
    pub(super) fn finish(&mut self, end: u64) {
        if let Some(last) = self.0.last_mut() {
            last.ticket.finish();
            last.end.get_or_insert(end);
        }
    }

    /// Tells of those whose answers the client has acknowledged.
    pub(super) fn acknowledge(&mut self, traffic: &Traffic, acknowledged: u64) {
        let arrived = self.0.iter().take_while(|pending| pending.end.is_some_and(|end| end <= acknowledged)).count();
        for pending in self.0.drain(..arrived) {
            pending.tell(traffic, acknowledged, Outcome::Done);
        }
    }

    /// Tells of all of them. Those that the client has not acknowledged ended like this.
    pub(super) fn end(&mut self, traffic: &Traffic, acknowledged: u64, outcome: Outcome) {
        self.acknowledge(traffic, acknowledged);
        for pending in std::mem::take(&mut self.0) {
            // What happened to the source of the last one did not happen to those before.
            let whole = pending.end.is_some() && outcome == Outcome::SourceFailed;
            pending.tell(traffic, acknowledged, if whole { Outcome::ClientLeft } else { outcome });
        }
    }
}

impl Pending {
    fn tell(self, traffic: &Traffic, acknowledged: u64, outcome: Outcome) {
        let arrived = self.end.map_or(acknowledged, |end| end.min(acknowledged));
        traffic.end(self.ticket, arrived.saturating_sub(self.begin), outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Answer, Body};
    use crate::http::request::Request;
    use crate::limits::TOLD_AHEAD;
    use crate::traffic::Asked;
    use std::sync::mpsc::{self, Receiver};
    use std::time::{Duration, SystemTime};
    use tiny_http::Method;

    fn traffic() -> (Traffic, Receiver<(u64, Outcome)>) {
        let (tell, told) = mpsc::channel();
        let mut traffic = Traffic::default();
        traffic.observe(Box::new(move |exchange| _ = tell.send((exchange.sent, exchange.outcome))));
        (traffic, told)
    }

    /// Sends the answers to some requests, of which the client reads nothing: the head of each has 10 bytes, the body 100.
    fn answer(tickets: &mut Tickets, traffic: &Traffic, count: u64) {
        let request = Request::new(&Method::Get, "/");
        for number in 0..count {
            let answer = Answer::new(200, Body::bytes([0; 100]));
            let (waited, now) = (Duration::ZERO, SystemTime::UNIX_EPOCH);
            let asked = Asked { request: &request, method: "GET", client: None, site: None, waited, now };
            let ticket = traffic.begin(asked, &answer).unwrap();
            tickets.add(traffic, ticket, number * 110 + 10, 0);
            tickets.finish((number + 1) * 110);
        }
    }

    #[test]
    fn each_is_told_when_the_client_has_all_of_it() {
        let (traffic, told) = traffic();
        let mut tickets = Tickets::default();
        answer(&mut tickets, &traffic, 4);
        assert!(told.try_recv().is_err());
        tickets.acknowledge(&traffic, 109);
        assert!(told.try_recv().is_err());
        tickets.acknowledge(&traffic, 220);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(100, Outcome::Done), (100, Outcome::Done)]);
        tickets.end(&traffic, 270, Outcome::TooSlow);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(40, Outcome::TooSlow), (0, Outcome::TooSlow)]);
        assert!(tickets.is_empty());
    }

    #[test]
    fn not_more_wait_than_there_may_be_in_all() {
        let (traffic, told) = traffic();
        let (mut one, mut other) = (Tickets::default(), Tickets::default());
        answer(&mut one, &traffic, TOLD_AHEAD as u64);
        answer(&mut other, &traffic, 3);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(100, Outcome::Done)]);
        one.end(&traffic, 0, Outcome::ClientLeft);
        other.end(&traffic, 0, Outcome::ClientLeft);
        assert_eq!(told.try_iter().count(), TOLD_AHEAD + 2);
        // There is room again.
        answer(&mut one, &traffic, TOLD_AHEAD as u64);
        assert!(told.try_recv().is_err());
    }
}
