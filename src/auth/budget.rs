//! What verifying passwords may cost: how many at once, and how many wrong ones of each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::processors;
use crate::limits;

/// How long it takes until a client that has no try left has all of them again.
const ALL: Duration = limits::AUTH_PAUSE.saturating_mul(limits::AUTH_FAILURES);

/// What is verified now, and who was wrong.
pub(super) struct Budget {
    /// Verifications at once.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The clients for whom something is verified now.
    verifying: Vec<IpAddr>,
    /// When a client has all its tries again, as the time since 1970: each that failed moves that by a pause.
    whole: HashMap<IpAddr, Duration>,
}

/// The right to verify for a client, until it is dropped. It counts as a failure unless something else is said.
pub(super) struct Verifying<'a> {
    budget: &'a Budget,
    client: IpAddr,
}

impl Budget {
    /// At most half of the processors are taken up: the others serve.
    pub(super) fn new() -> Self {
        let processors = processors();
        Self { most: (processors / 2).max(1), state: Mutex::default() }
    }

    /// Lets something be verified for this client at this time since 1970.
    ///
    /// # Errors
    /// When it may come again.
    pub(super) fn begin(&self, client: IpAddr, now: Duration) -> Result<Verifying<'_>, Duration> {
        let mut state = self.state();
        if state.verifying.len() >= self.most || state.verifying.contains(&client) {
            return Err(limits::AUTH_BUSY);
        }
        state.spend(client, now)?;
        state.verifying.push(client);
        Ok(Verifying { budget: self, client })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a try of this client.
    fn spend(&mut self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let most = now.saturating_add(ALL);
        if !self.whole.contains_key(&client) {
            self.make_room(now);
        }
        let whole = self.whole.entry(client).or_default();
        // A clock that was put back must not make anybody wait for longer.
        *whole = (*whole).clamp(now, most);
        let next = whole.saturating_add(limits::AUTH_PAUSE);
        if next > most {
            return Err(next - most);
        }
        *whole = next;
        Ok(())
    }

    /// Forgets who has all its tries, and if that is nobody, who lacks least.
    fn make_room(&mut self, now: Duration) {
        if self.whole.len() < limits::AUTH_CLIENTS {
            return;
        }
        self.whole.retain(|_, whole| *whole > now);
        if self.whole.len() >= limits::AUTH_CLIENTS {
            let least = self.whole.iter().min_by_key(|(_, whole)| **whole).map(|(client, _)| *client);
            least.and_then(|client| self.whole.remove(&client));
        }
    }
}

impl Verifying<'_> {
    /// It was no failure: the client has its try back. What it lacked before it still lacks, or who has one password could
    /// try others without end.
    pub(super) fn succeeded(self) {
        if let Some(whole) = self.budget.state().whole.get_mut(&self.client) {
            *whole = whole.saturating_sub(limits::AUTH_PAUSE);
        }
    }
}

impl Drop for Verifying<'_> {
    fn drop(&mut self) {
        self.budget.state().verifying.retain(|client| *client != self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn budget(most: usize) -> Budget {
        Budget { most, state: Mutex::default() }
    }

    #[test]
    fn few_are_verified_at_once_and_one_of_each_client() {
        let budget = budget(2);
        let begin = |number| budget.begin(client(number), NOW);
        let first = begin(1).unwrap();
        assert_eq!(begin(1).err(), Some(limits::AUTH_BUSY), "one of each client");
        let second = begin(2).unwrap();
        assert_eq!(begin(3).err(), Some(limits::AUTH_BUSY), "two in all");
        drop(first);
        assert!(begin(2).is_err());
        let third = begin(3).unwrap();
        assert!(begin(1).is_err());
        second.succeeded();
        third.succeeded();
        assert!(begin(1).is_ok());
        assert!(budget.state().verifying.is_empty());
    }

    #[test]
    fn who_was_wrong_too_often_has_one_try_for_each_pause() {
        let budget = budget(1);
        let fail = |number, after| budget.begin(client(number), NOW + after).map(drop);
        let tries = |number, after| (0..100).take_while(|_| fail(number, after).is_ok()).count();
        let (none, pause, moment) = (Duration::ZERO, limits::AUTH_PAUSE, Duration::from_millis(1));
        assert_eq!(tries(1, none), 10);
        assert_eq!(fail(1, none), Err(pause));
        assert_eq!(fail(1, pause - moment), Err(moment));
        assert_eq!(tries(2, none), 10, "each client has its own");
        assert_eq!(tries(1, pause), 1);
        assert_eq!(tries(1, 4 * pause), 3);
        assert_eq!(tries(1, 500 * pause), 10, "and no more, however long it was away");
        // The clock is put back, by much.
        assert_eq!(fail(1, none), Err(pause));
        assert_eq!(tries(1, pause), 1, "from there");
        assert!(budget.begin(client(1), Duration::ZERO).is_err());
        assert!(budget.begin(client(1), Duration::MAX).is_ok(), "nothing overflows");
    }

    #[test]
    fn a_right_password_costs_no_try_and_gives_none_back() {
        let budget = budget(1);
        let begin = || budget.begin(client(1), NOW);
        (0..100).for_each(|_| begin().unwrap().succeeded());
        (0..9).for_each(|_| drop(begin().unwrap()));
        (0..100).for_each(|_| begin().unwrap().succeeded());
        drop(begin().unwrap());
        assert!(begin().is_err());
    }

    #[test]
    fn the_clients_who_were_wrong_are_bounded_and_the_worst_are_kept() {
        let budget = budget(1);
        let fail = |number, after| budget.begin(client(number), NOW + after).map(drop);
        while fail(0, Duration::ZERO).is_ok() {}
        for number in 1..10 * limits::AUTH_CLIENTS as u32 {
            assert_eq!(fail(number, Duration::ZERO), Ok(()));
            assert!(budget.state().whole.len() <= limits::AUTH_CLIENTS);
        }
        assert!(fail(0, Duration::ZERO).is_err(), "not forgotten for the sake of who failed once");
        // Those who have all their tries again make room first.
        assert_eq!(fail(1 << 24, limits::AUTH_PAUSE), Ok(()));
        assert_eq!(budget.state().whole.len(), 2);
    }
}
