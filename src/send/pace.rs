//! How fast answers may leave: each connection for itself, and all of them together.
//!
//! A token bucket is kept as the moment at which all that was taken from it is paid for: who wants to send takes some bytes, and
//! learns from when on they may leave. So those who wait are served in the order in which they came, nobody is woken in vain,
//! and nothing has to be refilled. The time is an argument; who waits for it is the front's matter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::PACED_WAIT;

/// So much is granted at a time: often enough to be smooth, seldom enough to cost nothing.
const PORTION: Duration = Duration::from_millis(50);
/// The least that is granted, in bytes.
const LEAST: u64 = 512;
/// Bytes that are granted before it is known how long an answer is.
const SMALL: u64 = 2048;
/// In so much time everybody who shares a line has a turn: where there are many, turns are smaller.
const ROUND: Duration = Duration::from_millis(500);
/// What was not used up for so long may be made up for: a thread is never woken on the dot.
const SLACK: Duration = Duration::from_millis(100);

/// The rates of a server.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second for each connection; 0: any number.
    each: u64,
    line: Option<Line>,
}

/// What all connections share.
#[derive(Debug)]
struct Line {
    /// Bytes in a second.
    rate: u64,
    /// When all that leaves is paid for.
    all: Mutex<Instant>,
    /// When what left with the beginnings of answers is: these do not wait behind long transfers, but for one another.
    begun: Mutex<Instant>,
    /// Long transfers that have been granted something.
    sharers: AtomicUsize,
}

/// What one connection was granted.
#[derive(Debug)]
pub(crate) struct Share {
    /// When what it was granted is paid for by its own rate.
    paid: Instant,
    /// Bytes that it may send.
    granted: u64,
    /// Bytes in a second at which it was paid for among the beginnings of answers; 0: it was not.
    begun: u64,
    /// From when on.
    at: Instant,
    /// Whether it counts among those who share the line.
    counted: bool,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The beginning of an answer, or all of one that is short.
    Beginning,
    /// More of a long one.
    Rest,
}

impl Pace {
    /// So many bytes in a second for each connection, and for all together; 0: any number. None if there is nothing to pace.
    pub(crate) fn new(each: u64, total: u64, now: Instant) -> Option<Self> {
        let line = (total > 0).then(|| Line {
            rate: total,
            all: Mutex::new(now),
            begun: Mutex::new(now),
            sharers: AtomicUsize::new(0),
        });
        (each > 0 || line.is_some()).then_some(Self { each, line })
    }

    /// Bytes of which it is no matter that they leave at once.
    pub(crate) fn portion(&self) -> u64 {
        let rates = [self.each, self.line.as_ref().map_or(0, |line| line.rate)];
        let portions = rates.into_iter().filter(|rate| *rate > 0).map(|rate| portion(rate, PORTION));
        portions.min().unwrap_or(u64::MAX)
    }

    /// From when on the bearer of the share may send [`Share::granted`] bytes.
    pub(crate) fn ask(&self, share: &mut Share, part: Part, now: Instant) -> Instant {
        if share.granted > 0 {
            return share.at;
        }
        let mut bytes = match part {
            Part::Beginning => SMALL,
            Part::Rest => u64::MAX,
        };
        if self.each > 0 {
            bytes = bytes.min(portion(self.each, PORTION));
        }
        if let Some(line) = &self.line {
            bytes = bytes.min(line.portion(share, part));
        }
        share.granted = bytes;
        share.at = self.take(share, part, bytes, now);
        share.at
    }

    /// Whether the beginnings of answers wait for one another for too long.
    pub(crate) fn is_crowded(&self, now: Instant) -> bool {
        self.line.as_ref().is_some_and(|line| lock(&line.begun).saturating_duration_since(now) > PACED_WAIT)
    }

    /// So many bytes were sent, which may be more than were granted.
    pub(crate) fn sent(&self, share: &mut Share, part: Part, bytes: u64, now: Instant) {
        let more = bytes.saturating_sub(share.granted);
        share.granted = share.granted.saturating_sub(bytes);
        if share.granted == 0 {
            self.leave(share);
        }
        if more > 0 {
            self.take(share, part, more, now);
        }
    }

    /// What was granted and is not sent any more is for the others.
    pub(crate) fn give_back(&self, share: &mut Share) {
        let bytes = std::mem::take(&mut share.granted);
        let refund = |paid: &mut Instant, rate| *paid = paid.checked_sub(time(bytes, rate)).unwrap_or(*paid);
        if self.each > 0 {
            refund(&mut share.paid, self.each);
        }
        if let Some(line) = &self.line {
            refund(&mut lock(&line.all), line.rate);
            if share.begun > 0 {
                refund(&mut lock(&line.begun), share.begun);
            }
        }
        self.leave(share);
    }

    fn leave(&self, share: &mut Share) {
        if let (Some(line), true) = (&self.line, std::mem::take(&mut share.counted)) {
            line.sharers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn take(&self, share: &mut Share, part: Part, bytes: u64, now: Instant) -> Instant {
        let own = if self.each > 0 { pay(&mut share.paid, bytes, self.each, now) } else { now };
        let Some(line) = &self.line else { return own };
        let all = pay(&mut lock(&line.all), bytes, line.rate, now);
        share.begun = if part == Part::Beginning { line.of_beginnings() } else { 0 };
        own.max(match share.begun {
            0 => all,
            rate => pay(&mut lock(&line.begun), bytes, rate, now),
        })
    }
}

impl Line {
    /// Bytes in a second for the beginnings of answers: beside long transfers half of all, so that neither starves.
    fn of_beginnings(&self) -> u64 {
        if self.sharers.load(Ordering::Relaxed) == 0 { self.rate } else { self.rate.div_ceil(2) }
    }

    /// What one of those who share it is granted at a time.
    fn portion(&self, share: &mut Share, part: Part) -> u64 {
        let others = match part {
            Part::Rest if !share.counted => {
                share.counted = true;
                self.sharers.fetch_add(1, Ordering::Relaxed)
            }
            _ => self.sharers.load(Ordering::Relaxed),
        };
        let sharers = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        portion(self.rate, (ROUND / sharers).min(PORTION))
    }
}

impl Share {
    pub(crate) fn new(now: Instant) -> Self {
        Self { paid: now, granted: 0, begun: 0, at: now, counted: false }
    }

    /// Bytes that it may send, since the moment that [`Pace::ask`] told.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Whether its bearer waits for the clock.
    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.granted > 0 && self.at > now
    }
}

/// Adds so many bytes to what is paid for at that moment; returns from when on they may leave.
fn pay(paid: &mut Instant, bytes: u64, rate: u64, now: Instant) -> Instant {
    let from = (*paid).max(now.checked_sub(SLACK).unwrap_or(now));
    *paid = from.checked_add(time(bytes, rate)).unwrap_or(from);
    from
}

fn time(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What so much time is worth, in bytes.
fn portion(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST)
}

fn lock(paid: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    paid.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1 << 20;

    /// Bytes that each of so many connections gets in so many seconds, if each is woken so much late.
    fn sent(pace: &Pace, connections: usize, seconds: u32, late: Duration, begun: Instant) -> Vec<u64> {
        let mut all: Vec<_> = (0..connections).map(|_| (begun, Share::new(begun), 0)).collect();
        loop {
            // Whoever waits for the least moment goes on.
            let (at, share, count) = all.iter_mut().min_by_key(|(at, ..)| *at).unwrap();
            if *at > begun + seconds * SECOND {
                return all.into_iter().map(|(.., count)| count).collect();
            }
            let now = *at;
            let until = pace.ask(share, Part::Rest, now);
            if until > now {
                *at = until + late;
                continue;
            }
            *count += share.granted();
            pace.sent(share, Part::Rest, share.granted(), now);
        }
    }

    fn is_about(count: u64, expected: u64) -> bool {
        count.abs_diff(expected) * 20 <= expected
    }

    #[test]
    fn each_gets_its_rate_and_all_together_theirs() {
        let begun = Instant::now();
        assert!(Pace::new(0, 0, begun).is_none());
        for late in [Duration::ZERO, Duration::from_millis(7)] {
            for rate in [1024, 100_000, MIB, 1000 * MIB] {
                let each = Pace::new(rate, 0, begun).unwrap();
                assert!(sent(&each, 3, 20, late, begun).iter().all(|count| is_about(*count, 20 * rate)), "{rate}");
                for connections in [1, 7, 50] {
                    let total = Pace::new(0, rate, begun).unwrap();
                    let shares = sent(&total, connections, 20, late, begun);
                    let sum = shares.iter().sum();
                    assert!(is_about(sum, 20 * rate), "{rate}: {sum} by {connections}");
                }
            }
        }
    }

    #[test]
    fn who_share_a_line_get_the_same() {
        let begun = Instant::now();
        let pace = Pace::new(0, MIB, begun).unwrap();
        let shares = sent(&pace, 50, 20, Duration::ZERO, begun);
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 2 * portion(MIB, PORTION), "{least} to {most}");
    }

    #[test]
    fn hundreds_wait_moments_for_one_another_not_minutes() {
        let begun = Instant::now();
        let pace = Pace::new(0, MIB, begun).unwrap();
        let shares = sent(&pace, 300, 10, Duration::ZERO, begun);
        assert!(is_about(shares.iter().sum(), 10 * MIB) && shares.iter().all(|count| *count > 0));
    }

    #[test]
    fn the_beginnings_of_answers_do_not_wait_behind_long_transfers_but_count() {
        let begun = Instant::now();
        let pace = Pace::new(0, 100_000, begun).unwrap();
        let mut long: Vec<_> = (0..50).map(|_| Share::new(begun)).collect();
        for share in &mut long {
            pace.ask(share, Part::Rest, begun);
        }
        let behind = *lock(&pace.line.as_ref().unwrap().all);
        assert!(behind > begun + SECOND);
        let mut short = Share::new(begun);
        assert!(pace.ask(&mut short, Part::Beginning, begun) <= begun);
        pace.sent(&mut short, Part::Beginning, 100_000, begun);
        assert_eq!(*lock(&pace.line.as_ref().unwrap().all), behind + SECOND);
        // The next one of them does wait.
        let next = pace.ask(&mut Share::new(begun), Part::Beginning, begun);
        assert!(next > begun + SECOND && next <= begun + 2 * SECOND, "{:?}", next - begun);
    }

    #[test]
    fn neither_long_transfers_nor_beginnings_starve_and_the_sum_is_what_it_is() {
        let begun = Instant::now();
        let pace = Pace::new(0, MIB, begun).unwrap();
        let mut all: Vec<_> = (0..80).map(|_| (begun, Share::new(begun), 0)).collect();
        let end = begun + 20 * SECOND;
        loop {
            let next = all.iter().enumerate().min_by_key(|(_, (at, ..))| *at).map(|(number, _)| number).unwrap();
            let part = if next < 20 { Part::Rest } else { Part::Beginning };
            let (at, share, count) = &mut all[next];
            let now = *at;
            if now > end {
                break;
            }
            *at = pace.ask(share, part, now).max(now);
            if *at == now {
                let bytes = if part == Part::Rest { share.granted() } else { 30_000 };
                *count += bytes;
                pace.sent(share, part, bytes, now);
            }
        }
        let sums = [&all[..20], &all[20..]].map(|all| all.iter().map(|(.., count)| count).sum::<u64>());
        assert!(is_about(sums[0] + sums[1], 20 * MIB), "{sums:?}");
        assert!(sums.iter().all(|sum| *sum * 20 > 8 * 20 * MIB), "{sums:?}");
    }

    #[test]
    fn who_leaves_has_taken_no_more_than_it_was_sent() {
        let begun = Instant::now();
        for part in [Part::Beginning, Part::Rest] {
            let pace = Pace::new(50_000, 100_000, begun).unwrap();
            let mut share = Share::new(begun);
            for _ in 0..1000 {
                pace.ask(&mut share, part, begun);
                pace.give_back(&mut share);
            }
            assert!(pace.ask(&mut share, part, begun) <= begun, "{part:?}");
        }
    }

    #[test]
    fn an_answer_that_is_short_costs_what_it_is() {
        let begun = Instant::now();
        let pace = Pace::new(0, 50_000, begun).unwrap();
        for _ in 0..1000 {
            let mut share = Share::new(begun);
            pace.ask(&mut share, Part::Beginning, begun);
            pace.sent(&mut share, Part::Beginning, 200, begun);
            pace.give_back(&mut share);
        }
        let next = pace.ask(&mut Share::new(begun), Part::Beginning, begun);
        assert!(next <= begun + time(200_000, 50_000), "{:?}", next - begun);
        assert!(!pace.is_crowded(begun) && !pace.is_crowded(begun + SECOND));
    }

    #[test]
    fn however_many_share_a_line_each_has_what_it_is_worth() {
        let begun = Instant::now();
        let pace = Pace::new(0, 1000 * MIB, begun).unwrap();
        let mut shares: Vec<_> = (0..2000).map(|_| Share::new(begun)).collect();
        for share in &mut shares {
            pace.ask(share, Part::Rest, begun);
        }
        let least = shares.iter().map(Share::granted).min().unwrap();
        assert!(least >= 200_000, "{least}");
    }
}
