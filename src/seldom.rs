//! What may happen with each request, and is said now and then: nobody fills a log with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after a message of a kind the next one is said.
const QUIET: Duration = Duration::from_secs(10);

/// Messages of one kind.
pub(crate) struct Seldom(Mutex<State>);

struct State {
    said: Option<Instant>,
    /// Those that were not said since.
    kept: u64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State { said: None, kept: 0 }))
    }

    /// Warns of it, if that was not done lately.
    pub(crate) fn warn(&self, message: fmt::Arguments<'_>) {
        match self.take(Instant::now()) {
            Some(0) => log::warn!("{message}"),
            Some(kept) => log::warn!("{message}; and {kept} more such since the last one that was said"),
            None => {}
        }
    }

    /// Whether to say it, and how many were not said before.
    fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET) {
            state.kept = state.kept.saturating_add(1);
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_now_and_then_with_a_count() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        let said: Vec<_> = (0..25).map(|second| seldom.take(start + Duration::from_secs(second))).collect();
        let expected = (0..25)
            .map(|second| [(0, 0), (10, 9), (20, 9)].iter().find(|(at, _)| *at == second).map(|(_, kept)| *kept));
        assert_eq!(said, expected.collect::<Vec<Option<u64>>>());
    }
}
