//! The wish to stop, shared by all threads of a server.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Set once, never taken back.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.lock()
    }

    /// Waits until it is set, but no longer than this; returns whether it is.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), most, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A flag is whole whatever happened to the thread that held it.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
