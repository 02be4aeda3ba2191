//! What a connection may send and from when on, if there is a rate.

use std::time::Instant;

use super::connection::Next;
use crate::send::pace::{Pace, Part, Share};

/// Of one connection.
pub(super) struct Paced {
    share: Share,
    /// The last moment for which an alarm was set.
    alarm: Option<Instant>,
}

impl Paced {
    pub(super) fn new(now: Instant) -> Self {
        Self { share: Share::new(now), alarm: None }
    }

    /// Goes on if something may be sent by now; else what becomes of the connection.
    pub(super) fn ask(&mut self, pace: &Pace, part: Part, now: Instant) -> Result<(), Next> {
        let at = pace.ask(&mut self.share, part, now);
        if at <= now {
            return Ok(());
        }
        // Where something else has happened meanwhile, the alarm is set already.
        match self.alarm.replace(at) {
            Some(set) if set == at => Err(Next::Rest),
            _ => Err(Next::Until(at)),
        }
    }

    /// Goes on if an answer may begin by now. False if others wait for that too long, or have not the room (`full`) to wait.
    pub(super) fn begin(&mut self, pace: &Pace, now: Instant, full: bool) -> Result<bool, Next> {
        let waits = self.share.granted() > 0;
        match self.ask(pace, Part::Beginning, now) {
            Ok(()) => Ok(true),
            Err(_) if !waits && (full || pace.is_crowded(now)) => {
                self.give_back(pace);
                Ok(false)
            }
            Err(next) => Err(next),
        }
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, pace: &Pace, part: Part, bytes: u64) {
        pace.sent(&mut self.share, part, bytes, Instant::now());
    }

    /// Leaves to others what it was granted and does not send for now.
    pub(super) fn give_back(&mut self, pace: &Pace) {
        pace.give_back(&mut self.share);
    }

    /// Bytes that may be sent.
    pub(super) fn granted(&self) -> u64 {
        self.share.granted()
    }

    /// Whether it waits for the clock.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.share.waits(now)
    }
}
