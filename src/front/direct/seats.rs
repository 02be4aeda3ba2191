//! How many workers are at work: one for each processor, so that they do not push each other out, and one more for each that
//! a slow disk holds up. The others stand by, asleep.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often to look while there is something to do. A worker that is in the same turn at two looks is held up.
pub(super) const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Seats {
    seats: Mutex<Count>,
    changed: Condvar,
    turns: Box<[Turn]>,
    /// Who looks wants to be woken when there is something to do.
    dozing: AtomicBool,
}

struct Count {
    taken: usize,
    allowed: usize,
    closed: bool,
}

/// The turns of one worker. A line of the processor's cache for each, as they change all the time.
#[repr(align(64))]
struct Turn {
    /// Odd within a turn.
    count: AtomicU32,
    /// The count at the last look.
    seen: AtomicU32,
    /// Another worker was given a seat in place of this one.
    held_up: AtomicBool,
}

impl Seats {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turn = || Turn { count: AtomicU32::new(0), seen: AtomicU32::new(0), held_up: AtomicBool::new(false) };
        Self {
            seats: Mutex::new(Count { taken: 0, allowed: processors.min(workers), closed: false }),
            changed: Condvar::new(),
            turns: (0..workers).map(|_| turn()).collect(),
            dozing: AtomicBool::new(false),
        }
    }

    /// Waits for a seat. False if none is wanted any more.
    pub(super) fn sit(&self) -> bool {
        let full = |count: &mut Count| count.taken >= count.allowed && !count.closed;
        let mut count = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        count.taken += 1;
        !count.closed
    }

    /// The turn of this worker begins; returns whether who looks has to be woken.
    pub(super) fn begin(&self, worker: usize) -> bool {
        if let Some(turn) = self.turns.get(worker) {
            turn.count.store(turn.count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        }
        self.dozing.load(Ordering::Relaxed) && self.dozing.swap(false, Ordering::Relaxed)
    }

    /// The turn of this worker ends. False if it was held up, and has lost its seat.
    pub(super) fn end(&self, worker: usize) -> bool {
        let Some(turn) = self.turns.get(worker) else { return true };
        turn.count.store(turn.count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        if !turn.held_up.load(Ordering::Relaxed) {
            return true;
        }
        let mut count = self.lock();
        turn.held_up.store(false, Ordering::Relaxed);
        count.allowed -= 1;
        count.taken -= 1;
        false
    }

    /// Gives a seat to another worker for each that is held up. False if nothing has happened since the last look: then
    /// [`begin`](Self::begin) tells when something does.
    pub(super) fn look(&self) -> bool {
        let mut active = false;
        for turn in &self.turns {
            let count = turn.count.load(Ordering::Acquire);
            let still = turn.seen.swap(count, Ordering::Relaxed) == count;
            let within = count % 2 == 1;
            active |= within || !still;
            if within && still && !turn.held_up.load(Ordering::Relaxed) {
                let mut seats = self.lock();
                turn.held_up.store(true, Ordering::Relaxed);
                seats.allowed += 1;
                self.changed.notify_one();
            }
        }
        self.dozing.store(!active, Ordering::Relaxed);
        active
    }

    /// Nobody needs a seat any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn counts(seats: &Seats) -> (usize, usize) {
        let count = seats.lock();
        (count.taken, count.allowed)
    }

    /// Seats for four workers, one of which may be at work.
    fn one_of_four() -> Seats {
        let seats = Seats::new(4);
        seats.lock().allowed = 1;
        seats
    }

    #[test]
    fn another_one_works_while_the_disk_holds_one_up() {
        let seats = one_of_four();
        thread::scope(|scope| {
            let (sat, sitting) = mpsc::channel();
            assert!(seats.sit());
            for _ in 1..4 {
                let (seats, sat) = (&seats, sat.clone());
                scope.spawn(move || {
                    if seats.sit() {
                        sat.send(()).unwrap();
                    }
                });
            }
            seats.begin(0);
            assert!(seats.look());
            assert!(sitting.try_recv().is_err(), "nobody is held up at the first look");
            assert!(seats.look());
            sitting.recv().unwrap();
            assert!(seats.look());
            assert_eq!(counts(&seats), (2, 2), "one for one, however long it lasts");
            assert!(!seats.end(0), "its seat was given away");
            assert_eq!(counts(&seats), (1, 1));
            seats.close();
            assert!(!seats.sit());
        });
    }

    #[test]
    fn who_looks_is_woken_once_when_something_happens() {
        let seats = one_of_four();
        assert!(!seats.begin(0), "nobody dozes");
        assert!(seats.end(0));
        assert!(seats.look());
        assert!(!seats.look());
        assert!(seats.begin(0));
        assert!(!seats.begin(1));
    }
}
