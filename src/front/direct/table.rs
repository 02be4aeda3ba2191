//! The connections. Who wants to do something with one takes it in hand, so no connection is ever in two hands; and nobody
//! waits for the other: who finds it in another hand leaves a note, and whoever puts it down reads the notes. What a note is
//! about is known only to who left it: it is answered by another report of all that there is.
//!
//! What happens to a socket before its connection is put down is told to somebody else: then there is a note, and it is told
//! once more. A number may be given to another connection while an event of the old one is still on its way: that costs the
//! new one some looks at its socket and nothing else.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// Slots that are made at once.
const CHUNK: usize = 64;

/// Bounded; the memory of a slot is taken when it is first needed.
pub(super) struct Table<T> {
    chunks: Box<[OnceLock<Box<[Slot<T>]>>]>,
    numbers: Mutex<Numbers>,
}

struct Slot<T> {
    /// Something has happened to the connection that nobody has looked at yet.
    note: AtomicBool,
    /// Locked while it is in hand.
    connection: Mutex<Option<T>>,
}

struct Numbers {
    /// Those that were used before, the last one first.
    free: Vec<u32>,
    /// The least that was never used.
    next: u32,
    most: u32,
}

/// A slot in hand.
pub(super) struct Hand<'a, T> {
    slot: &'a Slot<T>,
    connection: MutexGuard<'a, Option<T>>,
}

impl<T> Table<T> {
    /// Of so many at most.
    pub(super) fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let chunks = (most as usize).div_ceil(CHUNK);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            numbers: Mutex::new(Numbers { free: Vec::new(), next: 0, most }),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let numbers = lock(&self.numbers);
        numbers.next as usize - numbers.free.len()
    }

    /// An empty slot in hand, and its number. None if all are taken.
    pub(super) fn reserve(&self) -> Option<(u32, Hand<'_, T>)> {
        let number = {
            let mut numbers = lock(&self.numbers);
            match numbers.free.pop() {
                Some(number) => number,
                None if numbers.next < numbers.most => {
                    numbers.next += 1;
                    numbers.next - 1
                }
                None => return None,
            }
        };
        let new = || Slot { note: AtomicBool::new(false), connection: Mutex::new(None) };
        self.chunks.get(number as usize / CHUNK)?.get_or_init(|| (0..CHUNK).map(|_| new()).collect());
        let slot = self.slot(number)?;
        // Who looks at an empty slot does not keep it for long.
        Some((number, Hand { slot, connection: lock(&slot.connection) }))
    }

    /// Gives the number to whoever has it next. Its slot must be empty, and put down.
    pub(super) fn release(&self, number: u32) {
        let mut numbers = lock(&self.numbers);
        numbers.free.push(number);
        if numbers.free.len() == numbers.next as usize {
            (numbers.free, numbers.next) = (Vec::new(), 0);
        }
    }

    /// Leaves a note that something has happened, and takes the slot in hand if nobody else has it.
    pub(super) fn call(&self, number: u32) -> Option<Hand<'_, T>> {
        self.leave_note(number);
        self.take(number)
    }

    fn leave_note(&self, number: u32) {
        if let Some(slot) = self.slot(number) {
            slot.note.store(true, Ordering::SeqCst);
            // With the one in `is_noted`: either who has it sees the note, or we see that it is put down.
            fence(Ordering::SeqCst);
        }
    }

    /// Takes the slot of this number in hand if nobody else has it. It may be empty by now.
    pub(super) fn take(&self, number: u32) -> Option<Hand<'_, T>> {
        let slot = self.slot(number)?;
        let connection = match slot.connection.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Hand { slot, connection })
    }

    /// The numbers that are given, and some others.
    pub(super) fn numbers(&self) -> std::ops::Range<u32> {
        0..lock(&self.numbers).next
    }

    fn slot(&self, number: u32) -> Option<&Slot<T>> {
        self.chunks.get(number as usize / CHUNK)?.get()?.get(number as usize % CHUNK)
    }
}

impl<T> Hand<'_, T> {
    /// Says that what has happened so far will be reported again.
    pub(super) fn clear_note(&mut self) {
        self.slot.note.swap(false, Ordering::SeqCst);
    }

    /// Returns whether there is a note: then it has to be reported again.
    #[must_use = "nobody else will see to it"]
    pub(super) fn put_down(self) -> bool {
        let slot = self.slot;
        drop(self.connection);
        slot.is_noted()
    }
}

impl<T> Slot<T> {
    fn is_noted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.note.load(Ordering::SeqCst)
    }
}

impl<T> Deref for Hand<'_, T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.connection
    }
}

impl<T> DerefMut for Hand<'_, T> {
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.connection
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A connection whose turn panicked is closed by whoever caught it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Schedule;
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    #[test]
    fn numbers_are_given_again_and_never_twice() {
        let table = Table::new(100);
        let take = |value| {
            let (number, mut hand) = table.reserve()?;
            *hand = Some(value);
            assert!(!hand.put_down());
            Some(number)
        };
        let all: Vec<_> = (0..100).map_while(take).collect();
        assert_eq!((all.len(), table.count(), take(100)), (100, 100, None));
        for number in &all[10..20] {
            assert_eq!(table.take(*number).unwrap().take(), Some(*number));
            table.release(*number);
        }
        let again: Vec<_> = (0..100).map_while(take).collect();
        assert_eq!((again.len(), table.count()), (10, 100));
        assert!(again.iter().all(|number| all[10..20].contains(number)));
        all.iter().for_each(|number| {
            table.take(*number).unwrap().take();
            table.release(*number);
        });
        assert_eq!((table.count(), table.numbers()), (0, 0..0));
    }

    /// The socket and the poller: input that nobody has read, and whether there is an event that nobody has taken. It is there
    /// once, however much comes, and not again for what was there before.
    #[derive(Default)]
    struct Kernel {
        unread: usize,
        event: bool,
    }

    /// Where somebody is: a worker that serves events, or who watches, and comes so often. Each step is one access to what is
    /// shared. A worker knows of its event whether there was something to read, and reads only then.
    enum At<'a> {
        Waiting,
        Told(bool),
        Busy(bool),
        Noted(bool),
        Reading(Hand<'a, usize>, bool),
        PuttingDown(Hand<'a, usize>),
        Listening(&'a Slot<usize>),
        TakingAgain,
        LookingAgain(Hand<'a, usize>),
        AskingAgain(Hand<'a, usize>),
    }

    struct Actor<'a> {
        at: At<'a>,
        /// Comes so often without an event.
        watches: Option<usize>,
    }

    impl<'a> Actor<'a> {
        fn can(&self, kernel: &Kernel) -> bool {
            match self.at {
                At::Waiting => self.watches.map_or(kernel.event, |left| left > 0),
                _ => true,
            }
        }

        fn step(&mut self, kernel: &mut Kernel, table: &'a Table<usize>) {
            self.at = match std::mem::replace(&mut self.at, At::Waiting) {
                At::Waiting => match &mut self.watches {
                    Some(left) => {
                        *left -= 1;
                        table.take(0).map_or(At::Waiting, At::PuttingDown)
                    }
                    None => {
                        kernel.event = false;
                        At::Told(kernel.unread > 0)
                    }
                },
                At::Told(readable) => table.take(0).map_or(At::Busy(readable), |hand| At::Reading(hand, readable)),
                At::Busy(readable) => {
                    table.leave_note(0);
                    At::Noted(readable)
                }
                At::Noted(readable) => table.take(0).map_or(At::Waiting, |hand| At::Reading(hand, readable)),
                At::Reading(mut hand, readable) => {
                    if readable {
                        *hand.as_mut().unwrap() += std::mem::take(&mut kernel.unread);
                    }
                    At::PuttingDown(hand)
                }
                At::PuttingDown(hand) => {
                    let slot = hand.slot;
                    drop(hand);
                    At::Listening(slot)
                }
                At::Listening(slot) if slot.is_noted() => At::TakingAgain,
                At::Listening(_) => At::Waiting,
                At::TakingAgain => table.take(0).map_or(At::Waiting, At::LookingAgain),
                At::LookingAgain(mut hand) => {
                    hand.clear_note();
                    At::AskingAgain(hand)
                }
                At::AskingAgain(hand) => {
                    kernel.event |= kernel.unread > 0;
                    At::PuttingDown(hand)
                }
            };
        }
    }

    /// Runs a client that sends three times, two workers and who watches, in every order with no more changes between them than
    /// these. Returns in how many orders.
    fn in_every_order(changes: usize) -> usize {
        let (mut schedule, mut orders) = (Schedule::default(), 0);
        loop {
            let table = Table::new(1);
            let (_, mut hand) = table.reserve().unwrap();
            *hand = Some(0);
            assert!(!hand.put_down());
            // A new socket is reported though there is nothing to read.
            let mut kernel = Kernel { unread: 0, event: true };
            let mut actors: Vec<_> = [None, None, Some(2)].map(|watches| Actor { at: At::Waiting, watches }).into();
            let (mut to_send, mut last, mut left) = (3, 0, changes);
            loop {
                let can = |who: usize| match actors.get(who) {
                    Some(actor) => actor.can(&kernel),
                    None => to_send > 0,
                };
                let Some(who) = schedule.next_of(actors.len() + 1, &mut left, &mut last, can) else { break };
                match actors.get_mut(who) {
                    Some(actor) => actor.step(&mut kernel, &table),
                    None => {
                        to_send -= 1;
                        kernel.unread += 1;
                        kernel.event = true;
                    }
                }
            }
            let read = table.take(0).unwrap().unwrap();
            assert_eq!((read, kernel.unread, kernel.event), (3, 0, false), "after {schedule:?}");
            orders += 1;
            if !schedule.is_another() {
                return orders;
            }
        }
    }

    #[test]
    fn in_whatever_order_nothing_is_missed_and_nothing_is_in_two_hands() {
        let orders = in_every_order(3);
        assert!(orders > 10_000, "{orders} orders");
    }

    /// Two sockets, one after the other in the same slot. The first one has ended, and says so; into the second one somebody
    /// sends.
    #[derive(Default)]
    struct Socket {
        unread: usize,
        event: bool,
        /// Whether the poller knows it.
        known: bool,
    }

    impl Socket {
        fn send(&mut self) {
            self.unread += 1;
            self.event = self.known;
        }
    }

    /// A connection: its socket, and what was read of it.
    type Conn = (usize, usize);

    /// Where somebody is who serves, watches or accepts, with the calls of `Worker::serve`, `settle`, `put_down` and `admit`.
    enum Place<'a> {
        Idle,
        Told(bool),
        Missed(bool),
        InHand(Hand<'a, Conn>, bool),
        Down(Hand<'a, Conn>),
        Again,
        Closing(Hand<'a, Conn>),
        Releasing,
        Adding(Hand<'a, Conn>),
        Placing(Hand<'a, Conn>),
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Role {
        Serves,
        Watches,
        Accepts,
    }

    fn step<'a>(place: Place<'a>, role: Role, sockets: &mut [Socket; 2], table: &'a Table<Conn>) -> Place<'a> {
        match place {
            Place::Idle => match role {
                Role::Serves => {
                    let socket = sockets.iter_mut().find(|socket| socket.event).unwrap();
                    socket.event = false;
                    Place::Told(socket.unread > 0)
                }
                Role::Watches => table.take(0).map_or(Place::Idle, Place::Down),
                Role::Accepts => table.reserve().map_or(Place::Idle, |(_, hand)| Place::Adding(hand)),
            },
            Place::Told(readable) => {
                table.take(0).map_or(Place::Missed(readable), |hand| Place::InHand(hand, readable))
            }
            Place::Missed(readable) => table.call(0).map_or(Place::Idle, |hand| Place::InHand(hand, readable)),
            Place::InHand(mut hand, readable) => match hand.as_mut() {
                Some((0, _)) if readable && sockets[0].unread > 0 => Place::Closing(hand),
                Some((socket, read)) => {
                    *read += if readable { std::mem::take(&mut sockets[*socket].unread) } else { 0 };
                    Place::Down(hand)
                }
                None => Place::Down(hand),
            },
            Place::Down(hand) => {
                if hand.put_down() {
                    Place::Again
                } else {
                    Place::Idle
                }
            }
            Place::Again => {
                let Some(mut hand) = table.take(0) else { return Place::Idle };
                hand.clear_note();
                if let Some((socket, _)) = *hand {
                    sockets[socket].event |= sockets[socket].unread > 0;
                }
                Place::Down(hand)
            }
            Place::Closing(mut hand) => {
                assert_eq!(hand.take(), Some((0, 0)), "it is closed once");
                sockets[0] = Socket::default();
                let _ = hand.put_down();
                Place::Releasing
            }
            Place::Releasing => {
                table.release(0);
                Place::Idle
            }
            Place::Adding(hand) => {
                (sockets[1].known, sockets[1].event) = (true, true);
                Place::Placing(hand)
            }
            Place::Placing(mut hand) => {
                assert!(hand.is_none(), "two connections in one place");
                *hand = Some((1, 0));
                Place::Down(hand)
            }
        }
    }

    #[test]
    fn in_whatever_order_a_connection_that_takes_the_place_of_another_one_misses_nothing() {
        let (mut schedule, mut orders) = (Schedule::default(), 0);
        loop {
            let table = Table::new(1);
            let (_, mut hand) = table.reserve().unwrap();
            *hand = Some((0, 0));
            assert!(!hand.put_down());
            // It has ended, and a worker is told of something else about it meanwhile.
            let mut sockets = [Socket { unread: 1, event: true, known: true }, Socket::default()];
            let mut actors = [Role::Serves, Role::Serves, Role::Watches, Role::Accepts].map(|role| (role, Place::Idle));
            let (mut to_tell, mut to_send, mut looks, mut left, mut last) = (1, 2, 1, 2, 0);
            loop {
                let held = table.take(0).is_none();
                let can = |who: usize| match actors.get(who) {
                    Some((Role::Serves, Place::Idle)) => sockets.iter().any(|socket| socket.event),
                    Some((Role::Watches, Place::Idle)) => looks > 0,
                    // Who looks at an empty place is waited for.
                    Some((Role::Accepts, Place::Idle)) => table.count() == 0 && !held,
                    Some(_) => true,
                    None if who == 4 => to_tell > 0 && sockets[0].known,
                    None => to_send > 0,
                };
                let Some(who) = schedule.next_of(6, &mut left, &mut last, can) else { break };
                match actors.get_mut(who) {
                    Some((role, place)) => {
                        looks -= usize::from(*role == Role::Watches && matches!(place, Place::Idle));
                        *place = step(std::mem::replace(place, Place::Idle), *role, &mut sockets, &table);
                    }
                    None if who == 4 => {
                        to_tell -= 1;
                        sockets[0].event = true;
                    }
                    None => {
                        to_send -= 1;
                        sockets[1].send();
                    }
                }
            }
            let came = *table.take(0).expect("nobody has it in hand");
            let nothing = sockets.iter().all(|socket| socket.unread == 0 && !socket.event);
            assert_eq!((came, nothing, table.count()), (Some((1, 2)), true, 1), "after {schedule:?}");
            orders += 1;
            if !schedule.is_another() {
                break;
            }
        }
        assert!(orders > 10_000, "{orders} orders");
    }

    #[test]
    fn threads_that_call_at_the_same_time_miss_nothing() {
        const CALLS: usize = 20_000;
        let table = Table::new(1);
        let (_, mut hand) = table.reserve().unwrap();
        *hand = Some(0);
        assert!(!hand.put_down());
        let unread = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..CALLS {
                        unread.fetch_add(1, Ordering::SeqCst);
                        let mut called = table.call(0);
                        while let Some(mut hand) = called {
                            hand.clear_note();
                            *hand.as_mut().unwrap() += unread.swap(0, Ordering::SeqCst);
                            called = if hand.put_down() { table.take(0) } else { None };
                        }
                    }
                });
            }
        });
        assert_eq!((*table.take(0).unwrap(), unread.into_inner()), (Some(4 * CALLS), 0));
    }
}
