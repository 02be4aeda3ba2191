//! The wish to stop, shared by all threads of a server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Two steps, neither of which is taken back: first everybody is still served, and told that it is the last time; then nobody
/// comes in any more. Also whether the server still looks after itself.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    draining: AtomicBool,
    set: AtomicBool,
    /// Held while a flag is set, so that who is about to wait does not miss it.
    waits: Mutex<Waits>,
    changed: Condvar,
    /// How long the first step lasts.
    drain_wait: Duration,
    /// How often there was a look at the server.
    looks: AtomicU64,
}

#[derive(Debug, Default)]
struct Waits {
    /// True for who was woken without a stop.
    woken: bool,
    /// When the second step is due.
    due: Option<Instant>,
}

impl Stop {
    /// One whose first step lasts so long.
    pub(crate) fn new(drain_wait: Duration) -> Self {
        Self { drain_wait, ..Self::default() }
    }

    /// Begins the stop.
    pub(crate) fn begin(&self) {
        let mut waits = self.lock();
        if waits.due.is_none() {
            waits.due = Some(Instant::now() + self.drain_wait);
            self.draining.store(true, Ordering::Release);
            self.set.store(self.drain_wait.is_zero(), Ordering::Release);
        }
        drop(waits);
        self.changed.notify_all();
    }

    /// Ends one wait, or the next one.
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        // More than one may wait, for different things.
        self.changed.notify_all();
    }

    /// Whether there will be an end: from the wish on. Asked for every request: no lock.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether nobody comes in any more.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until nobody comes in any more or somebody is woken, but no longer than this; returns whether nobody does. Some
    /// thread has to wait here, or nobody notices when the second step is due.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut waits = self.lock();
        while !self.is_set() {
            let now = Instant::now();
            if waits.due.is_some_and(|due| due <= now) {
                self.set.store(true, Ordering::Release);
                self.changed.notify_all();
                break;
            }
            if waits.woken || end <= now {
                break;
            }
            let until = waits.due.map_or(end, |due| due.min(end));
            let waited = self.changed.wait_timeout(waits, until.saturating_duration_since(now));
            waits = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        waits.woken = false;
        self.is_set()
    }

    /// Waits until there will be an end, but no longer than this; returns whether there will be.
    #[cfg(feature = "cli")]
    pub(crate) fn is_draining_within(&self, most: Duration) -> bool {
        let not_yet = |_: &mut Waits| !self.is_draining();
        drop(self.changed.wait_timeout_while(self.lock(), most, not_yet));
        self.is_draining()
    }

    /// Says that the server looks after itself, and could do its work.
    pub(crate) fn mark(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was said.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_step_comes_when_it_is_due_and_not_before() {
        let never = Duration::from_secs(24 * 60 * 60);
        let stop = Stop::new(never);
        assert_eq!((stop.is_draining(), stop.is_set(), stop.wait(Duration::ZERO)), (false, false, false));
        stop.begin();
        stop.wake();
        assert_eq!((stop.is_draining(), stop.is_set(), stop.wait(never)), (true, false, false));
        let stop = Stop::new(Duration::from_millis(20));
        stop.begin();
        let due = stop.lock().due;
        stop.begin();
        assert_eq!(stop.lock().due, due, "who asks twice does not put it off");
        while !stop.wait(never) {}
        assert!(due.is_some_and(|due| due <= Instant::now()));
        let stop = Stop::default();
        stop.begin();
        assert_eq!((stop.is_draining(), stop.is_set(), stop.wait(never)), (true, true, true));
    }
}
