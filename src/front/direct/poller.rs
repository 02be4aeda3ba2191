//! Which connections are ready. One poller for all workers, and each change is reported once, to one of them: what has been
//! there before is not reported again, unless it is asked for (edge-triggered, `epoll(7)`). Elsewhere than on Linux a source
//! is reported once and not again before it is armed.

use std::io;

/// What happened to a source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) key: u64,
    /// There is something to read, or the end of it.
    pub(super) readable: bool,
    /// A read may give less than there is, and the rest is not reported: the end stands behind it, or urgent data in it.
    pub(super) reads_short: bool,
}

/// What is waited for.
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

    use super::{BATCH, Event, Interest, WOKEN, io};

    /// What is reported of a source.
    const CHANGES: epoll::EventFlags = epoll::EventFlags::IN
        .union(epoll::EventFlags::OUT)
        .union(epoll::EventFlags::PRI)
        .union(epoll::EventFlags::RDHUP)
        .union(epoll::EventFlags::ET);

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

        pub(in super::super) fn iter(&self) -> impl Iterator<Item = Event> {
            let end = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            self.0.iter().map(move |event| {
                // They are packed: there is no reference to one.
                let flags = event.flags;
                Event {
                    key: event.data.u64(),
                    readable: flags.intersects(epoll::EventFlags::IN | end),
                    reads_short: flags.intersects(epoll::EventFlags::PRI | end),
                }
            })
        }
    }

    impl Poller {
        pub(in super::super) fn new() -> io::Result<Self> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &bell, epoll::EventData::new_u64(WOKEN), epoll::EventFlags::IN)?;
            Ok(Self { epoll, bell })
        }

        /// Reports what is there now, and all that changes from now on.
        pub(in super::super) fn add(&self, source: impl AsFd, key: u64, _: Interest) -> io::Result<()> {
            Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(key), CHANGES)?)
        }

        /// Says what is waited for, when there is nothing left of that. Nothing to do here: it is reported by itself.
        pub(in super::super) fn arm(&self, _: impl AsFd, _: u64, _: Interest) -> io::Result<()> {
            Ok(())
        }

        /// Reports what is there now, behind all others that are ready.
        pub(in super::super) fn rearm(&self, source: impl AsFd, key: u64, _: Interest) -> io::Result<()> {
            Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(key), CHANGES)?)
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
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::num::NonZeroUsize;
    use std::sync::{Mutex, PoisonError, TryLockError};
    use std::time::Duration;

    use polling::{AsRawSource, AsSource};

    use super::{BATCH, Event, Interest, WOKEN, io};

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

        pub(in super::super) fn iter(&self) -> impl Iterator<Item = Event> {
            // An end of the wait without an event says that the poller was woken.
            let woken =
                (self.0.is_empty() && self.1).then_some(Event { key: WOKEN, readable: false, reads_short: false });
            let event =
                |event: polling::Event| Event { key: event.key as u64, readable: event.readable, reads_short: false };
            self.0.iter().map(event).chain(woken)
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

        /// Says what is waited for, when there is nothing left of that.
        pub(in super::super) fn arm(&self, source: impl AsSource, key: u64, interest: Interest) -> io::Result<()> {
            self.0.modify(source, event(key, interest))
        }

        /// Reports what is there now, behind all others that are ready.
        pub(in super::super) fn rearm(&self, source: impl AsSource, key: u64, interest: Interest) -> io::Result<()> {
            self.arm(source, key, interest)
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

    fn event(key: u64, interest: Interest) -> polling::Event {
        match interest {
            Interest::Read => polling::Event::readable(key as usize),
            Interest::Write => polling::Event::writable(key as usize),
        }
    }
}
