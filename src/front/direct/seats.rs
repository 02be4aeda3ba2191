//! How many workers are at work: one, and another one while there is more to do than one can, up to one for each processor;
//! and one more for each that a slow disk holds up, which also gets what that one has taken and does not come to. The others
//! stand by, asleep: who is woken for nothing, or pushes another one out, only costs time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::processors;

/// How often to look while there is something to do. A worker that is at the same thing at two looks is held up.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// How long there has to be something to do without a pause before another worker is called.
pub(super) const BACKLOG: Duration = Duration::from_millis(1);

pub(super) struct Seats {
    /// For workers that nothing holds up.
    most: usize,
    /// Workers that help the first one.
    helpers: AtomicUsize,
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
    /// Odd within a turn, and another one for each thing that is done in it.
    count: AtomicU32,
    /// The count at the last look.
    seen: AtomicU32,
    /// Another worker was given a seat in place of this one.
    held_up: AtomicBool,
    batch: Mutex<Batch>,
}

/// What a worker does in its turn, one after the other.
#[derive(Default)]
struct Batch {
    /// The count at its beginning.
    begun: u32,
    keys: Vec<u64>,
}

impl Seats {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        let processors = processors();
        let turn = || Turn {
            count: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            held_up: AtomicBool::new(false),
            batch: Mutex::default(),
        };
        Self {
            most: processors.min(workers),
            helpers: AtomicUsize::new(0),
            seats: Mutex::new(Count { taken: 0, allowed: 1, closed: false }),
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

    /// Calls another worker.
    pub(super) fn call(&self) {
        // Looked at without the lock first: it is asked again and again while all are at work.
        if self.helpers.load(Ordering::Relaxed) + 1 < self.most {
            let mut count = self.lock();
            if self.helpers.fetch_add(1, Ordering::Relaxed) + 1 < self.most {
                count.allowed += 1;
                self.changed.notify_one();
            } else {
                self.helpers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Gives up the seat of a worker that has nothing to do, unless it is the last one. Returns whether it was given up.
    pub(super) fn stand(&self) -> bool {
        if self.helpers.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut count = self.lock();
        if self.helpers.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.helpers.fetch_sub(1, Ordering::Relaxed);
        count.allowed -= 1;
        count.taken -= 1;
        true
    }

    /// The turn of this worker begins, with what has these keys; returns whether who looks has to be woken.
    pub(super) fn begin(&self, worker: usize, keys: impl Iterator<Item = u64>) -> bool {
        if let Some(turn) = self.turns.get(worker) {
            let count = turn.count.load(Ordering::Relaxed).wrapping_add(1);
            let mut batch = turn.batch.lock().unwrap_or_else(PoisonError::into_inner);
            batch.begun = count;
            batch.keys.clear();
            batch.keys.extend(keys);
            turn.count.store(count, Ordering::Release);
        }
        // With the one in `look`: either that sees the turn, or this sees that nobody looks.
        fence(Ordering::SeqCst);
        self.dozing.load(Ordering::Relaxed) && self.dozing.swap(false, Ordering::Relaxed)
    }

    /// The turn of this worker goes on with something else.
    pub(super) fn go_on(&self, worker: usize) {
        if let Some(turn) = self.turns.get(worker) {
            turn.count.store(turn.count.load(Ordering::Relaxed).wrapping_add(2), Ordering::Release);
        }
    }

    /// The turn of this worker ends. False if it was held up, and has lost its seat.
    pub(super) fn end(&self, worker: usize) -> bool {
        let Some(turn) = self.turns.get(worker) else { return true };
        turn.count.store(turn.count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        // With the one in `hold_up`: either that sees the end of the turn, or this sees that its seat was given away.
        fence(Ordering::SeqCst);
        if !turn.held_up.load(Ordering::Relaxed) {
            return true;
        }
        let mut count = self.lock();
        if !turn.held_up.swap(false, Ordering::Relaxed) {
            return true;
        }
        count.allowed -= 1;
        count.taken -= 1;
        false
    }

    /// Whether there is a worker that no disk holds up.
    pub(super) fn are_free(&self) -> bool {
        self.turns.iter().any(|turn| !turn.held_up.load(Ordering::Relaxed))
    }

    /// Gives a seat to another worker for each that is held up; `left` gets what such a one is at, and what it has not begun.
    /// False if nothing has happened since the last look: then [`begin`](Self::begin) tells when something does.
    pub(super) fn look(&self, left: &mut Vec<u64>) -> bool {
        // Before the look: what begins behind it is told.
        self.dozing.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut active = false;
        for turn in &self.turns {
            let count = turn.count.load(Ordering::Acquire);
            let still = turn.seen.swap(count, Ordering::Relaxed) == count;
            let within = count % 2 == 1;
            active |= within || !still;
            if within && still && !turn.held_up.load(Ordering::Relaxed) {
                self.hold_up(turn, count, left);
            }
        }
        if active {
            self.dozing.store(false, Ordering::Relaxed);
        }
        active
    }

    /// Workers that are within a turn.
    pub(super) fn busy(&self) -> usize {
        self.turns.iter().filter(|turn| turn.count.load(Ordering::Relaxed) % 2 == 1).count()
    }

    /// Gives a seat to another worker in place of one that is held up at this count.
    fn hold_up(&self, turn: &Turn, count: u32, left: &mut Vec<u64>) {
        let mut seats = self.lock();
        turn.held_up.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if turn.count.load(Ordering::Acquire) != count {
            // It goes on.
            turn.held_up.store(false, Ordering::Relaxed);
            return;
        }
        seats.allowed += 1;
        self.changed.notify_one();
        let batch = turn.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let done = count.wrapping_sub(batch.begun) as usize / 2;
        left.extend(batch.keys.iter().skip(done));
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
    use super::super::schedule::Schedule;
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn counts(seats: &Seats) -> (usize, usize) {
        let count = seats.lock();
        (count.taken, count.allowed)
    }

    /// Seats for four workers on two processors.
    fn two_of_four() -> Seats {
        Seats { most: 2, ..Seats::new(4) }
    }

    #[test]
    fn another_one_works_while_the_disk_holds_one_up() {
        let seats = two_of_four();
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
            seats.begin(0, 10..14);
            seats.go_on(0);
            let mut left = Vec::new();
            let mut look = || seats.look(&mut left);
            assert!(look());
            assert!(sitting.try_recv().is_err(), "nobody is held up at the first look");
            assert!(look());
            sitting.recv().unwrap();
            assert!(look());
            assert_eq!(counts(&seats), (2, 2), "one for one, however long it lasts");
            assert_eq!(left, [11, 12, 13], "once, and not what is done");
            assert!(!seats.end(0), "its seat was given away");
            assert_eq!(counts(&seats), (1, 1));
            seats.close();
            assert!(!seats.sit());
        });
    }

    #[test]
    fn a_second_one_helps_and_leaves_and_the_last_one_stays() {
        let seats = two_of_four();
        assert!(seats.sit());
        assert!(!seats.stand(), "the last one");
        (0..3).for_each(|_| seats.call());
        assert_eq!(counts(&seats), (1, 2), "no more than there are processors");
        assert!(seats.sit());
        assert!(seats.stand());
        assert!(!seats.stand());
        assert_eq!(counts(&seats), (1, 1));
    }

    #[test]
    fn where_all_are_held_up_nobody_is_free() {
        let seats = Seats::new(2);
        let look = || seats.look(&mut Vec::new());
        assert!(seats.sit() && seats.are_free());
        assert!(!seats.begin(0, 0..1) && !seats.begin(1, 0..1));
        assert!(look() && seats.are_free(), "nobody is held up at the first look");
        seats.go_on(0);
        assert!(look() && seats.are_free() && seats.sit());
        assert!(look() && !seats.are_free());
        seats.end(1);
        assert!(seats.are_free());
    }

    #[test]
    fn who_looks_is_woken_once_when_something_happens() {
        let seats = two_of_four();
        let begin = |worker| seats.begin(worker, 0..1);
        let look = || seats.look(&mut Vec::new());
        assert!(!begin(0), "nobody dozes");
        assert!(seats.end(0));
        assert!(look());
        assert!(!look());
        assert!(begin(0));
        assert!(!begin(1));
    }

    /// Where a worker is: one that waits for a seat, that has taken these keys, that is at the first of them, or at its end.
    #[derive(Debug)]
    enum Work {
        Standing,
        Seated,
        Taken(Vec<u64>),
        At(Vec<u64>),
        Done,
    }

    /// The key of what a disk holds up until everything else is done.
    const DISK: u64 = 0;

    /// Three workers on one processor and who watches, in every order with no more changes than these, while four things happen,
    /// one of which a disk holds up. Returns in how many orders.
    fn all_but_the_disk_is_done(changes: usize) -> usize {
        let (mut schedule, mut orders) = (Schedule::default(), 0);
        loop {
            let seats = Seats { most: 1, ..Seats::new(3) };
            // What is ready, and what has still to happen.
            let (mut ready, mut to_come) = (vec![DISK, 1], vec![2, 3]);
            let mut workers = [const { Work::Standing }; 3];
            let mut done = [0; 4];
            // Who watches sleeps until it is woken, and has nothing to look for twice unless somebody has done something.
            let (mut asleep, mut woken, mut looked) = (false, false, 0);
            let (mut left, mut last) = (changes, 0);
            loop {
                let others = done.iter().skip(1).all(|times| *times > 0);
                let can = |who: usize| match workers.get(who) {
                    Some(Work::Standing) => {
                        let (taken, allowed) = counts(&seats);
                        taken < allowed
                    }
                    Some(Work::Seated) => !ready.is_empty(),
                    Some(Work::At(keys)) => keys.first() != Some(&DISK) || others,
                    Some(_) => true,
                    None if who == 3 => (!asleep || woken) && looked < 3,
                    None => !to_come.is_empty(),
                };
                let Some(who) = schedule.next_of(5, &mut left, &mut last, can) else { break };
                looked = if who == 3 { looked + 1 } else { 0 };
                match workers.get_mut(who) {
                    Some(work) => {
                        *work = match std::mem::replace(work, Work::Done) {
                            Work::Standing => {
                                assert!(seats.sit());
                                Work::Seated
                            }
                            // Two at a time.
                            Work::Seated => Work::Taken(ready.drain(..ready.len().min(2)).collect()),
                            Work::Taken(keys) => {
                                woken |= seats.begin(who, keys.iter().copied());
                                Work::At(keys)
                            }
                            Work::At(mut keys) => {
                                done[keys.remove(0) as usize] += 1;
                                seats.go_on(who);
                                if keys.is_empty() { Work::Done } else { Work::At(keys) }
                            }
                            Work::Done => {
                                if seats.end(who) {
                                    Work::Seated
                                } else {
                                    Work::Standing
                                }
                            }
                        }
                    }
                    None if who == 3 => {
                        let mut held_up = Vec::new();
                        woken = false;
                        asleep = !seats.look(&mut held_up);
                        // What is in hand leaves a note.
                        ready.extend(held_up.into_iter().filter(|key| *key != DISK));
                    }
                    None => ready.extend(to_come.pop()),
                }
                let seated = workers.iter().filter(|work| !matches!(work, Work::Standing)).count();
                assert!(counts(&seats).0 == seated, "{seated} have a seat, after {schedule:?}");
            }
            assert!(done.iter().all(|times| *times > 0), "{done:?} after {schedule:?}");
            assert_eq!((counts(&seats), ready.len()), ((1, 1), 0), "after {schedule:?}");
            orders += 1;
            if !schedule.is_another() {
                return orders;
            }
        }
    }

    #[test]
    fn in_whatever_order_a_disk_holds_up_nothing_but_what_it_has_to_bring() {
        let orders = all_but_the_disk_is_done(2);

        assert!(orders > 10_000, "{orders} orders");
    }

    #[test]
    fn seats_are_neither_lost_nor_made_by_who_is_held_up_as_it_goes_on() {
        const TURNS: usize = 20_000;
        let seats = Seats { most: 1, ..Seats::new(3) };
        let working = AtomicUsize::new(3);
        thread::scope(|scope| {
            for worker in 0..3 {
                let (seats, working) = (&seats, &working);
                scope.spawn(move || {
                    for turn in 0..TURNS {
                        // Who is held up has lost its seat by the end of its turn.
                        assert!(seats.sit());
                        seats.begin(worker, 0..3);
                        seats.go_on(worker);
                        if turn % 16 == 0 {
                            thread::yield_now();
                        }
                        if seats.end(worker) {
                            // Nobody leaves but the last: it is as if it were held up.
                            let mut count = seats.lock();
                            count.taken -= 1;
                            drop(count);
                            seats.changed.notify_one();
                        }
                    }
                    working.fetch_sub(1, Ordering::SeqCst);
                });
            }
            let mut left = Vec::new();
            while working.load(Ordering::SeqCst) > 0 {
                seats.look(&mut left);
                assert!(left.drain(..).all(|key| key < 3));
            }
        });
        assert_eq!(counts(&seats), (0, 1));
        assert!(seats.turns.iter().all(|turn| !turn.held_up.load(Ordering::SeqCst)));
    }
}
