//! Whether a client still takes what it is sent. What counts is what it has acknowledged, not what the socket's buffer took:
//! that is megabytes, which a client that has stopped never gets, and which a slow one needs minutes for.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What a client has to achieve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// The longest time without any progress.
    pub(super) stall_timeout: Duration,
    /// Bytes in a second, averaged over that time.
    pub(super) min_rate: u64,
}

/// What was seen of a client while it was sent something.
#[derive(Debug)]
pub(super) struct Progress {
    acknowledged: u64,
    /// When that was first seen.
    at: Instant,
    /// Where the average begins.
    begun: (Instant, u64),
}

impl Progress {
    pub(super) fn new(acknowledged: u64, now: Instant) -> Self {
        Self { acknowledged, at: now, begun: (now, acknowledged) }
    }

    /// Bytes that the client had acknowledged when they were last looked at.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The average begins anew.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.begun = (now, self.acknowledged);
    }

    /// Takes in what the client has acknowledged by now. Returns whether that is enough.
    pub(super) fn is_enough(&mut self, acknowledged: u64, now: Instant, demand: Demand) -> bool {
        if acknowledged > self.acknowledged {
            (self.acknowledged, self.at) = (acknowledged, now);
        }
        let (since, from) = self.begun;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= demand.stall_timeout {
            self.begun = (now, acknowledged);
            let wanted = u128::from(demand.min_rate) * elapsed.as_millis() / 1000;
            if u128::from(acknowledged.saturating_sub(from)) < wanted {
                return false;
            }
        }
        now.saturating_duration_since(self.at) < demand.stall_timeout
    }
}

/// Bytes that were handed to the socket and that the client has not acknowledged (`SIOCOUTQ`, tcp(7)). None where there is no
/// way to know.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(super) fn unacknowledged(socket: impl AsFd) -> Option<u64> {
    use rustix::ioctl::{Getter, ioctl};
    /// Has the number of `TIOCOUTQ`.
    const SIOCOUTQ: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: for a socket this call writes one `int` and nothing else.
    let count = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) };
    count.ok().and_then(|count| count.try_into().ok())
}

/// There is no way to know.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn unacknowledged(_: impl AsFd) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client that takes so many bytes in each second of a minute lasts that long; if not, until when.
    fn lasts(min_rate: u64, taken: impl Fn(u64) -> u64) -> Result<(), u64> {
        let demand = Demand { stall_timeout: Duration::from_secs(10), min_rate };
        let begun = Instant::now();
        let (mut progress, mut acknowledged) = (Progress::new(0, begun), 0);
        for second in 1..=60 {
            acknowledged += taken(second);
            if !progress.is_enough(acknowledged, begun + Duration::from_secs(second), demand) {
                return Err(second);
            }
        }
        Ok(())
    }

    #[test]
    fn who_stops_is_told_from_who_is_slow() {
        assert_eq!(lasts(0, |_| 0), Err(10));
        assert_eq!(lasts(0, |_| 1), Ok(()));
        assert_eq!(lasts(100, |_| 99), Err(10));
        assert_eq!(lasts(100, |_| 100), Ok(()));
        assert_eq!(lasts(100, |second| if second % 8 == 0 { 800 } else { 0 }), Err(10));
        assert_eq!(lasts(100, |second| if second % 5 == 0 { 500 } else { 0 }), Ok(()));
        assert_eq!(lasts(0, |second| if second % 9 == 0 { 1 } else { 0 }), Ok(()));
        assert_eq!(lasts(0, |second| u64::from(second <= 33)), Err(43));
    }
}
