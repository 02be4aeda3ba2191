//! Whose turn it is among clients that share something: each of those who want it gets the same, however many connections it
//! has, and what one leaves is for the others.
//!
//! This is fair queueing by virtual time (generalized processor sharing, Parekh and Gallager 1993). Think of all clients as
//! served at once, each at the same pace: then one number, how much each of them was given, says of everybody how far it is.
//! A client whose takings are more than that shares; all others are up to date, and nothing need be remembered of them. So the
//! table is no larger than what is owed, and nobody is asked whether it still wants its share.
//!
//! All amounts are times: what so many bytes take if one client has everything.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::limits::SHARING_CLIENTS;

/// So much is granted at a time: often enough to be smooth, seldom enough to cost nothing.
pub(super) const PORTION: Duration = Duration::from_millis(50);
/// In so much time everybody who shares has a turn: where there are many, turns are smaller.
pub(super) const ROUND: Duration = Duration::from_millis(500);
/// So far all together may be ahead of what they were given: then who is woken late has lost nothing.
pub(super) const AHEAD: Duration = Duration::from_millis(250);

/// Clients that share something.
#[derive(Debug)]
pub(super) struct Fair {
    /// The moment up to which the time is given out.
    until: Instant,
    /// What each of those who share was given.
    given: Duration,
    clients: HashMap<IpAddr, Client>,
    /// Those who have taken more than they were given, who is even next first.
    sharing: BTreeSet<(Duration, IpAddr)>,
    /// How far all of these may be ahead.
    lent: Duration,
}

#[derive(Debug, Default)]
struct Client {
    /// What it has taken, in the measure of [`Fair::given`].
    taken: Duration,
    /// Its connections that wait for a turn.
    waiting: u32,
    /// How far it may be ahead.
    lent: Duration,
}

/// The place of a connection that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    client: IpAddr,
    /// It comes when everybody was given so much.
    at: Duration,
}

impl Turn {
    /// For whom it counts.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }
}

impl Fair {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            until: now,
            given: Duration::ZERO,
            clients: HashMap::new(),
            sharing: BTreeSet::new(),
            lent: Duration::ZERO,
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Whether anybody has more than it was given.
    pub(super) fn is_shared(&mut self, now: Instant) -> bool {
        self.advance(now);
        !self.sharing.is_empty()
    }

    /// What a connection of this client is to take at a time.
    pub(super) fn portion(&mut self, client: IpAddr, now: Instant) -> Duration {
        self.advance(now);
        let known = self.clients.get(&self.seat(client));
        let waiting = known.map_or(0, |client| client.waiting).saturating_add(1);
        let shares = known.is_some_and(|client| client.taken > self.given);
        let sharing = self.count().saturating_add(u32::from(!shares));
        (ROUND / sharing.saturating_mul(waiting)).min(PORTION)
    }

    /// Takes so much for a connection of this client, which is to wait for its turn.
    pub(super) fn wait(&mut self, client: IpAddr, cost: Duration, now: Instant) -> Turn {
        let client = self.take(client, cost, now);
        let most = (AHEAD / self.count()).min(PORTION);
        let known = self.clients.entry(client).or_default();
        known.waiting = known.waiting.saturating_add(1);
        // Where some had more, as they were fewer, nothing is left for now.
        let others = self.lent.saturating_sub(known.lent);
        known.lent = most.min(AHEAD.saturating_sub(others));
        self.lent = others.saturating_add(known.lent);
        Turn { client, at: known.taken.saturating_sub(known.lent) }
    }

    /// When the turn comes, if nobody else comes; not in the future if it has come.
    pub(super) fn when(&mut self, turn: Turn, now: Instant) -> Instant {
        self.advance(now);
        // Who stood before it may have left.
        let taken = self.clients.get(&turn.client).map_or(Duration::ZERO, |client| client.taken);
        match turn.at.min(taken).checked_sub(self.given) {
            None | Some(Duration::ZERO) => now,
            Some(rest) => self.until.checked_add(rest.saturating_mul(self.count())).unwrap_or(now).max(now),
        }
    }

    /// What it waits for is less now.
    pub(super) fn reduce(&mut self, turn: &mut Turn, cost: Duration) {
        turn.at = turn.at.saturating_sub(cost);
        self.give_back(turn.client, cost);
    }

    /// The connection does not wait any more.
    pub(super) fn leave(&mut self, client: IpAddr) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.waiting = known.waiting.saturating_sub(1);
        }
        self.forget(client);
    }

    /// So much more is taken for this client, or for the one whose seat it has.
    pub(super) fn take(&mut self, client: IpAddr, cost: Duration, now: Instant) -> IpAddr {
        self.advance(now);
        let client = self.seat(client);
        let taken = self.clients.get(&client).map_or(self.given, |client| client.taken.max(self.given));
        self.set(client, taken.saturating_add(cost));
        client
    }

    /// The client gives so much back.
    pub(super) fn give_back(&mut self, client: IpAddr, cost: Duration) {
        if let Some(known) = self.clients.get(&client) {
            self.set(client, known.taken.saturating_sub(cost));
            self.forget(client);
        }
    }

    /// So much of the time is given to somebody else.
    pub(super) fn pause(&mut self, time: Duration, now: Instant) {
        self.advance(now);
        self.until = self.until.checked_add(time).unwrap_or(self.until);
    }

    /// Somebody else gives so much back.
    pub(super) fn resume(&mut self, time: Duration) {
        self.until = self.until.checked_sub(time).unwrap_or(self.until);
    }

    /// Gives out the time up to now: all of it to those who share, the same to each.
    fn advance(&mut self, now: Instant) {
        while let Some((taken, client)) = self.sharing.first().copied() {
            let count = self.count();
            let left = now.saturating_duration_since(self.until);
            let all = taken.saturating_sub(self.given).saturating_mul(count);
            let each = if all > left { left / count } else { taken.saturating_sub(self.given) };
            self.given = self.given.saturating_add(each);
            // Not to now: what does not go into so many is not lost.
            self.until = self.until.checked_add(each.saturating_mul(count)).unwrap_or(now);
            if all > left {
                return;
            }
            // It is even.
            self.set(client, taken);
            self.forget(client);
        }
        self.until = self.until.max(now);
    }

    /// How many share, or one.
    fn count(&self) -> u32 {
        u32::try_from(self.sharing.len()).unwrap_or(u32::MAX).max(1)
    }

    /// For whom a client counts: where there are too many, all for whom there is no room are one.
    fn seat(&self, client: IpAddr) -> IpAddr {
        let room = self.clients.len() < SHARING_CLIENTS || self.clients.contains_key(&client);
        if room { client } else { Ipv4Addr::UNSPECIFIED.into() }
    }

    fn set(&mut self, client: IpAddr, taken: Duration) {
        let known = self.clients.entry(client).or_default();
        self.sharing.remove(&(known.taken, client));
        known.taken = taken;
        if taken > self.given {
            self.sharing.insert((taken, client));
        } else {
            self.lent = self.lent.saturating_sub(std::mem::take(&mut known.lent));
        }
    }

    /// Forgets a client that has what it took, and waits for nothing.
    fn forget(&mut self, client: IpAddr) {
        if self.clients.get(&client).is_some_and(|known| known.taken <= self.given && known.waiting == 0) {
            self.clients.remove(&client);
        }
    }
}
