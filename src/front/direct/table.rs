//! The connections. Who wants to do something with one takes it in hand, so no connection is ever in two hands; and nobody
//! waits for the other: who finds it in another hand leaves a note, and whoever puts it down reads the notes.
//!
//! A socket is armed before its connection is put down, so its next event may come before that: then there is a note. A number
//! may be given to another connection while an event of the old one is still on its way: that costs the new one a look at
//! its socket and nothing else.

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
        self.slot(number)?.note.store(true, Ordering::SeqCst);
        // With the one in `put_down`: either who has it sees the note, or we see that it is put down.
        fence(Ordering::SeqCst);
        self.take(number)
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
    /// Says that from now on everything is looked at that has happened so far.
    pub(super) fn look(&mut self) {
        self.slot.note.swap(false, Ordering::SeqCst);
    }

    /// Returns whether there is a note of what has happened since the last look: then somebody has to look again.
    #[must_use = "nobody else will look"]
    pub(super) fn put_down(self) -> bool {
        let slot = self.slot;
        drop(self.connection);
        fence(Ordering::SeqCst);
        slot.note.load(Ordering::SeqCst)
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
