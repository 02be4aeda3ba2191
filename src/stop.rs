//! The wish to stop, shared by all threads of a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set once, never taken back.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    set: AtomicBool,
    /// Held while the flag is set, so that who is about to wait does not miss it.
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.set.store(true, Ordering::Release);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Asked for every request: no lock.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it is set, but no longer than this; returns whether it is.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(waiting, most, |()| !self.is_set());
        self.is_set()
    }
}
