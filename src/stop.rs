//! The wish to stop, shared by all threads of a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Set once, never taken back.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    set: AtomicBool,
    /// Held while the flag is set, so that who is about to wait does not miss it. True for who was woken without a stop.
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        let woken = self.lock();
        self.set.store(true, Ordering::Release);
        drop(woken);
        self.changed.notify_all();
    }

    /// Ends one wait, or the next one.
    pub(crate) fn wake(&self) {
        *self.lock() = true;
        self.changed.notify_one();
    }

    /// Asked for every request: no lock.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it is set or somebody is woken, but no longer than this; returns whether it is set.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), most, |woken| !*woken && !self.is_set());
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        self.is_set()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
