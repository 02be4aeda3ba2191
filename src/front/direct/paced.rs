//! What a connection may send and from when on, if there is a rate.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::send::pace::{Pace, Part, Share};

/// Of one connection.
pub(super) struct Paced {
    share: Share,
    /// The last moment for which an alarm was set.
    alarm: Option<Instant>,
    /// When the beginning of an answer was first asked for, until that begins.
    asked: Option<Instant>,
}

impl Paced {
    pub(super) fn new(client: Option<IpAddr>, now: Instant) -> Self {
        Self { share: Share::new(client, now), alarm: None, asked: None }
    }

    /// Whether something may be sent by now; else when, unless an alarm is set for that.
    pub(super) fn ask(&mut self, pace: &Pace, part: Part, now: Instant) -> Result<(), Option<Instant>> {
        let at = pace.ask(&mut self.share, part, now);
        if at <= now {
            return Ok(());
        }
        // Where something else has happened meanwhile, the alarm is set already.
        let set = self.alarm.replace(at) == Some(at);
        Err((!set).then_some(at))
    }

    /// The same for the beginning of an answer. False if it would wait for too long, or there is no room (`full`) to wait.
    pub(super) fn begin(&mut self, pace: &Pace, now: Instant, full: bool) -> Result<bool, Option<Instant>> {
        let waits = self.share.granted() > 0;
        self.asked.get_or_insert(now);
        match self.ask(pace, Part::Beginning, now) {
            Ok(()) => Ok(true),
            Err(_) if (full && !waits) || pace.is_crowded(&self.share, now) => {
                self.give_back(pace);
                Ok(false)
            }
            Err(next) => Err(next),
        }
    }

    /// How long the answer that begins now, or is refused, was waited for.
    pub(super) fn waited(&mut self, now: Instant) -> Duration {
        self.asked.take().map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked))
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
