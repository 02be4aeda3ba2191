//! Copies an answer to a writer that blocks, with [`std::io::copy`].
//!
//! The head and the segments of the body are one reader, so that a head and a small file leave in one write. Small
//! transfers use the buffer that `std::io::copy` has on the stack. Longer ones take a large one out of a [`Pool`], if one is
//! free: `std::io::copy` takes the buffer of a [`BufReader`] for its own. So a worker whose client has stalled holds little,
//! and however many workers there are, the large buffers are few.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use super::pace::{Pace, Part, Share};
use crate::answer::{Answer, Body, Position};
use crate::http::date::Clock;
use crate::limits::{LARGE_BUFFERS, LARGE_TURN, SMALL_BUFFER, SMALL_TURN};

/// The large buffers that the workers of a server share.
pub(crate) struct Pool {
    idle: Mutex<Buffers>,
    buffer_size: usize,
}

struct Buffers {
    made: Vec<BufReader<Outgoing>>,
    /// How many may still be made.
    left: usize,
}

impl Pool {
    /// Of buffers of so many bytes. Each is made when it is first wanted.
    pub(crate) fn new(buffer_size: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::new(Buffers { made: Vec::new(), left: LARGE_BUFFERS }), buffer_size })
    }

    /// Lends a buffer, if one is free.
    fn take(&self) -> Option<Lent<'_>> {
        let mut idle = self.lock();
        let buffer = idle.made.pop().or_else(|| {
            idle.left = idle.left.checked_sub(1)?;
            Some(BufReader::with_capacity(self.buffer_size, Outgoing::default()))
        })?;
        Some(Lent { buffer, pool: self })
    }

    fn lock(&self) -> MutexGuard<'_, Buffers> {
        // Whatever happened to the thread that held it, the list is whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back when it is dropped, even by a panic.
struct Lent<'a> {
    buffer: BufReader<Outgoing>,
    pool: &'a Pool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // What was read and not taken is nobody's. After a panic there is a file, too.
        self.buffer.consume(self.buffer.buffer().len());
        *self.buffer.get_mut() = Outgoing::default();
        let buffer = std::mem::replace(&mut self.buffer, BufReader::with_capacity(0, Outgoing::default()));
        self.pool.lock().made.push(buffer);
    }
}

/// One worker's means to send answers, one after the other.
pub(crate) struct Copier {
    outgoing: Outgoing,
    clock: Clock,
    pool: Arc<Pool>,
    pace: Option<Arc<Pace>>,
    /// For whom it copies.
    client: Option<IpAddr>,
    /// Bytes of the last head.
    head: u64,
}

/// Why an answer did not arrive whole.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The body could not be read to its end.
    Source(io::Error),
    /// The client did not take it.
    Client(io::Error),
}

impl Copier {
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self {
            outgoing: Outgoing::default(),
            clock: Clock::default(),
            pool: Arc::clone(pool),
            pace: None,
            client: None,
            head: 0,
        }
    }

    /// Waits before it sends, so that no more leaves than is wanted.
    pub(crate) fn paced(self, pace: Option<Arc<Pace>>) -> Self {
        Self { pace, ..self }
    }

    /// What comes now is for this client.
    pub(crate) fn serve(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// Sends head and body and flushes the writer. Returns the number of bytes.
    pub(crate) fn send(
        &mut self,
        answer: Answer,
        now: SystemTime,
        connection: Option<&str>,
        to: &mut dyn Write,
    ) -> Result<u64, Failure> {
        // If the last transfer ended in a panic, it has left something.
        self.outgoing.clear();
        super::head(&mut self.outgoing.head, &answer, self.clock.date(now), connection);
        self.head = self.outgoing.head.len() as u64;
        // Known to be long: it needs no small beginning.
        let small = answer.content_length.is_none_or(|length| length < SMALL_BUFFER as u64);
        self.finish(answer.body, small, to)
    }

    /// Bytes of the head that was sent last.
    pub(crate) fn head_length(&self) -> u64 {
        self.head
    }

    /// Sends a body alone, and flushes the writer. Returns the number of bytes.
    pub(crate) fn send_body(&mut self, body: Body, to: &mut dyn Write) -> Result<u64, Failure> {
        self.outgoing.clear();
        self.finish(body, true, to)
    }

    fn finish(&mut self, body: Body, small: bool, to: &mut dyn Write) -> Result<u64, Failure> {
        self.outgoing.body = body;
        let share = || Share::new(self.client, Instant::now());
        self.outgoing.pace = self.pace.as_ref().map(|pace| (Arc::clone(pace), share()));
        let sent = self.copy(small, to).and_then(|count| to.flush().map(|()| count));
        let source_failed = self.outgoing.failed;
        // The file is closed now, not with the next transfer.
        self.outgoing.clear();
        sent.map_err(|error| if source_failed { Failure::Source(error) } else { Failure::Client(error) })
    }

    fn copy(&mut self, small: bool, to: &mut dyn Write) -> io::Result<u64> {
        let mut count = if small { self.copy_some(SMALL_BUFFER as u64, to)? } else { 0 };
        if self.outgoing.turn > 0 {
            return Ok(count);
        }
        let pool = Arc::clone(&self.pool);
        while self.outgoing.turn == 0 {
            // Who waits for the clock needs no large one.
            count += match pool.take().filter(|_| self.pace.is_none()) {
                Some(mut large) => self.copy_more(&mut large.buffer, to)?,
                None => self.copy_some(SMALL_TURN, to)?,
            };
        }
        Ok(count)
    }

    /// Copies no more than so many bytes through the small buffer. A function of its own, so that the buffer is on the stack
    /// only while it is used.
    #[inline(never)]
    fn copy_some(&mut self, most: u64, to: &mut dyn Write) -> io::Result<u64> {
        self.outgoing.turn = most;
        io::copy(&mut self.outgoing, to)
    }

    /// Copies on through a large buffer, for a turn.
    #[inline(never)]
    fn copy_more(&mut self, large: &mut BufReader<Outgoing>, to: &mut dyn Write) -> io::Result<u64> {
        self.outgoing.turn = LARGE_TURN;
        std::mem::swap(large.get_mut(), &mut self.outgoing);
        let copied = io::copy(large, to);
        std::mem::swap(large.get_mut(), &mut self.outgoing);
        copied
    }
}

/// A head and a body as one reader.
#[derive(Default)]
struct Outgoing {
    head: Vec<u8>,
    head_sent: usize,
    body: Body,
    position: Position,
    /// Bytes until it pretends to be at its end, so that the buffer can be exchanged.
    turn: u64,
    pace: Option<(Arc<Pace>, Share)>,
    failed: bool,
}

impl Outgoing {
    /// Forgets everything but the memory of the head.
    fn clear(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        if let Some((pace, share)) = &mut self.pace {
            pace.give_back(share);
        }
        *self = Self { head, ..Self::default() };
    }

    /// Which part of the answer comes next.
    fn part(&self) -> Part {
        if self.head_sent < self.head.len() { Part::Beginning } else { Part::Rest }
    }

    /// The most that is read at a time, in bytes. What begins an answer leaves in one piece, and is paid for behind it.
    fn most(&self) -> u64 {
        match &self.pace {
            Some((pace, share)) if self.part() == Part::Rest => pace.portion(share, Instant::now()).min(self.turn),
            _ => self.turn,
        }
    }

    /// Waits until so many bytes may be sent, as far as that is paced.
    fn wait(&mut self, part: Part, bytes: usize) {
        if let (Some((pace, share)), true) = (&mut self.pace, bytes > 0) {
            let mut now = Instant::now();
            loop {
                let at = pace.ask(share, part, now);
                if at <= now {
                    break;
                }
                std::thread::sleep(at.saturating_duration_since(now));
                now = Instant::now().max(at);
            }
            pace.sent(share, part, bytes as u64, now);
        }
    }
}

impl Read for Outgoing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.part();
        let most = usize::try_from(self.most()).unwrap_or(usize::MAX).min(buffer.len());
        let (buffer, _) = buffer.split_at_mut(most);
        let count = self.head.get(self.head_sent..).unwrap_or_default().read(buffer)?;
        self.head_sent += count;
        let (_, rest) = buffer.split_at_mut(count);
        let count = match self.body.read(&mut self.position, rest) {
            Ok(more) => count + more,
            // What came before the error goes out; the error comes again.
            Err(_) if count > 0 => count,
            Err(error) => {
                self.failed = error.kind() != io::ErrorKind::Interrupted;
                return Err(error);
            }
        };
        self.turn -= count as u64;
        self.wait(part, count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Request;
    use tiny_http::Method;

    /// A writer that counts its writes and fails at the last of so many.
    struct Writes {
        bytes: Vec<u8>,
        sizes: Vec<usize>,
        most: usize,
    }

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.sizes.len() == self.most {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.sizes.push(bytes.len());
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(content: Vec<u8>) -> Answer {
        let request = Request::new(&Method::Get, "/");
        let mut answer = Answer::error(404, &request);
        answer.content_length = Some(content.len() as u64);
        answer.body = Body::bytes(content);
        answer
    }

    fn content(length: u64) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn everything_arrives_through_one_copier_after_the_other() {
        let mut copier = Copier::new(&Pool::new(100_000));
        for length in [
            0,
            1,
            1000,
            8000,
            8192,
            9000,
            108_191,
            108_192,
            2_000_000,
            8192 + LARGE_TURN,
            8193 + LARGE_TURN,
            3 * LARGE_TURN,
            5,
        ] {
            let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
            let sent = copier.send(answer(content(length)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
            assert_eq!(sent, to.bytes.len() as u64);
            let end = to.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            assert!(to.bytes.starts_with(b"HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"));
            assert_eq!(to.bytes[end..], content(length));
        }
    }

    #[test]
    fn a_small_answer_is_one_write_and_a_large_one_takes_a_large_buffer_while_there_is_one() {
        let pool = Pool::new(100_000);
        let write = |length| {
            let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
            Copier::new(&pool).send(answer(content(length)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
            to.sizes
        };
        assert_eq!(write(1000).len(), 1);
        assert_eq!(write(1_000_000)[..2], [100_000, 100_000]);
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.len(), LARGE_BUFFERS);
        assert!(write(SMALL_TURN + 1_000_000).iter().all(|size| *size <= SMALL_BUFFER));
        drop(taken);
        assert_eq!(write(1_000_000)[0], 100_000);
    }

    #[test]
    fn after_a_failure_nothing_of_the_old_answer_is_in_the_next() {
        let mut copier = Copier::new(&Pool::new(100_000));
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: 2 };
        let failure = copier.send(answer(content(1_000_000)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap_err();
        assert!(matches!(failure, Failure::Client(_)));
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        copier.send(answer(b"next".to_vec()), SystemTime::UNIX_EPOCH, Some("close"), &mut to).unwrap();
        assert!(to.bytes.starts_with(b"HTTP/1.1 404 ") && to.bytes.ends_with(b"\r\nConnection: close\r\n\r\nnext"));
    }

    #[test]
    fn after_a_panic_nothing_is_left_and_no_buffer_is_lost() {
        struct Panics;
        impl Write for Panics {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                assert!(bytes.len() <= SMALL_BUFFER, "on purpose");
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut copier = Copier::new(&Pool::new(100_000));
        for _ in 0..=LARGE_BUFFERS {
            let send = || copier.send(answer(content(1_000_000)), SystemTime::UNIX_EPOCH, None, &mut Panics);
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)).is_err());
        }
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        copier.send(answer(b"next".to_vec()), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
        assert!(to.bytes.starts_with(b"HTTP/1.1 404 ") && to.bytes.ends_with(b"\r\n\r\nnext"));
    }

    #[test]
    fn a_file_that_shrinks_is_told_from_a_client_that_left() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(50_000).unwrap();
        let mut copier = Copier::new(&Pool::new(100_000));
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        let answer = Answer { body: Body::slice(file, 0..60_000), ..answer(Vec::new()) };
        let failure = copier.send(answer, SystemTime::UNIX_EPOCH, None, &mut to).unwrap_err();
        assert!(matches!(failure, Failure::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof));
        assert!(to.bytes.len() > 50_000);
    }
}
