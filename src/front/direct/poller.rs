//! Which connections are ready. One poller for all workers; each source is reported once, to one of them, and not again before
//! it is armed anew.

use std::io;

/// What a source is armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// There is something to read, or the end of it.
    Read,
    /// There is room to write.
    Write,
}

pub(super) use system::{Events, Poller};

/// The key that reports [`Poller::wake`].
pub(super) const WOKEN: u64 = (1 << 31) - 1;

/// Events that a worker takes at a time: enough to make one wait worth it, few enough to leave some for the others.
const BATCH: usize = 8;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

    use super::{BATCH, Interest, WOKEN, io};

    pub(in super::super) struct Poller {
        epoll: OwnedFd,
        /// Readable once the poller was woken: for every worker, for good.
        bell: OwnedFd,
    }

    pub(in super::super) struct Events(Vec<epoll::Event>);

    impl Events {
        pub(in super::super) fn new() -> Self {
            Self(Vec::with_capacity(BATCH))
        }

        pub(in super::super) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(in super::super) fn keys(&self) -> impl Iterator<Item = u64> {
            self.0.iter().map(|event| event.data.u64())
        }
    }

    impl Poller {
        pub(in super::super) fn new() -> io::Result<Self> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &bell, epoll::EventData::new_u64(WOKEN), epoll::EventFlags::IN)?;
            Ok(Self { epoll, bell })
        }

        pub(in super::super) fn add(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(key), flags(interest))?)
        }

        pub(in super::super) fn arm(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(key), flags(interest))?)
        }

        /// Must be called before the source is closed. Nothing to do here: what is closed is forgotten.
        pub(in super::super) fn remove(&self, _: impl AsFd) {}

        /// Takes what is ready; `patient`: waits until something is.
        pub(in super::super) fn take(&self, events: &mut Events, patient: bool) -> io::Result<()> {
            const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
            events.0.clear();
            let most = if patient { None } else { Some(&AT_ONCE) };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events.0), most) {
                Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }

        /// Ends all waits, those to come too.
        pub(in super::super) fn wake(&self) -> io::Result<()> {
            rustix::io::write(&self.bell, &1u64.to_ne_bytes())?;
            Ok(())
        }
    }

    fn flags(interest: Interest) -> epoll::EventFlags {
        epoll::EventFlags::ONESHOT
            | match interest {
                Interest::Read => epoll::EventFlags::IN,
                Interest::Write => epoll::EventFlags::OUT,
            }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::num::NonZeroUsize;
    use std::sync::{Mutex, PoisonError, TryLockError};
    use std::time::Duration;

    use polling::{AsRawSource, AsSource, Event};

    use super::{BATCH, Interest, WOKEN, io};

    /// The mutex is held by whoever waits: to a second one the poller would return at once, with nothing.
    pub(in super::super) struct Poller(polling::Poller, Mutex<()>);

    /// The second says whether they were waited for.
    pub(in super::super) struct Events(polling::Events, bool);

    impl Events {
        pub(in super::super) fn new() -> Self {
            Self(polling::Events::with_capacity(NonZeroUsize::new(BATCH).unwrap_or(NonZeroUsize::MIN)), false)
        }

        pub(in super::super) fn is_empty(&self) -> bool {
            self.0.is_empty() && !self.1
        }

        pub(in super::super) fn keys(&self) -> impl Iterator<Item = u64> {
            // An end of the wait without an event says that the poller was woken.
            let woken = (self.0.is_empty() && self.1).then_some(WOKEN);
            self.0.iter().map(|event| event.key as u64).chain(woken)
        }
    }

    impl Poller {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self(polling::Poller::new()?, Mutex::new(())))
        }

        #[allow(unsafe_code)]
        pub(in super::super) fn add(&self, source: impl AsRawSource, key: u64, interest: Interest) -> io::Result<()> {
            // SAFETY: whoever closes a source that was added calls `remove` before.
            unsafe { self.0.add(source, event(key, interest)) }
        }

        pub(in super::super) fn arm(&self, source: impl AsSource, key: u64, interest: Interest) -> io::Result<()> {
            self.0.modify(source, event(key, interest))
        }

        /// Must be called before the source is closed.
        pub(in super::super) fn remove(&self, source: impl AsSource) {
            // It fails for what is not there.
            let _ = self.0.delete(source);
        }

        /// Takes what is ready; `patient`: waits until something is.
        pub(in super::super) fn take(&self, events: &mut Events, patient: bool) -> io::Result<()> {
            events.0.clear();
            events.1 = patient;
            let _waiting = match self.1.try_lock() {
                Ok(waiting) => waiting,
                Err(TryLockError::WouldBlock) if !patient => return Ok(()),
                Err(_) => self.1.lock().unwrap_or_else(PoisonError::into_inner),
            };
            self.0.wait(&mut events.0, if patient { None } else { Some(Duration::ZERO) }).map(drop)
        }

        /// Ends the wait of one worker; who leaves wakes the next.
        pub(in super::super) fn wake(&self) -> io::Result<()> {
            self.0.notify()
        }
    }

    fn event(key: u64, interest: Interest) -> Event {
        match interest {
            Interest::Read => Event::readable(key as usize),
            Interest::Write => Event::writable(key as usize),
        }
    }
}
