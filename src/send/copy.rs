//! Copies an answer to a writer that blocks, with [`std::io::copy`], through the buffer of one worker.
//!
//! The head and the segments of the body are one reader, so that a head and a small file leave in one write. `std::io::copy`
//! takes the buffer of a [`BufReader`] for its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::SystemTime;

use crate::answer::{Answer, Body, Position};
use crate::limits::{YOUNG_READ, YOUNG_TRANSFER};

/// One worker's means to send answers, one after the other.
pub(crate) struct Copier {
    /// Through this goes what is short, and the beginning of what is long.
    young: BufReader<Outgoing>,
    /// Bytes of the buffer for what is long. It exists while such a transfer lasts.
    buffer_size: usize,
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
    /// With a buffer of so many bytes.
    pub(crate) fn new(buffer_size: usize) -> Self {
        Self { young: BufReader::with_capacity(buffer_size.min(YOUNG_READ), Outgoing::default()), buffer_size }
    }

    /// Sends head and body and flushes the writer. Returns the number of bytes.
    pub(crate) fn send(
        &mut self,
        answer: Answer,
        now: SystemTime,
        connection: Option<&str>,
        to: &mut impl Write,
    ) -> Result<u64, Failure> {
        let outgoing = self.young.get_mut();
        super::head(&mut outgoing.head, &answer, now, connection);
        self.send_body(answer.body, to)
    }

    /// Sends a body, behind what is prepared of a head, and flushes the writer. Returns the number of bytes.
    pub(crate) fn send_body(&mut self, body: Body, to: &mut impl Write) -> Result<u64, Failure> {
        let outgoing = self.young.get_mut();
        outgoing.body = body;
        outgoing.left = YOUNG_TRANSFER;
        let mut copied = io::copy(&mut self.young, to);
        if copied.is_ok() && self.young.get_ref().left == 0 {
            let mut outgoing = std::mem::take(self.young.get_mut());
            outgoing.left = u64::MAX;
            let mut grown = BufReader::with_capacity(self.buffer_size, outgoing);
            copied = io::copy(&mut grown, to).map(|rest| YOUNG_TRANSFER + rest);
            *self.young.get_mut() = grown.into_inner();
        }
        let copied = copied.and_then(|count| to.flush().map(|()| count));
        let source_failed = self.young.get_ref().failed;
        // What was not taken is nobody's, and the file is closed.
        self.young.consume(self.young.buffer().len());
        self.young.get_mut().clear();
        copied.map_err(|error| if source_failed { Failure::Source(error) } else { Failure::Client(error) })
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
    left: u64,
    failed: bool,
}

impl Outgoing {
    /// Forgets everything but the memory of the head.
    fn clear(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        *self = Self { head, ..Self::default() };
    }
}

impl Read for Outgoing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
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
        self.left -= count as u64;
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
        let mut copier = Copier::new(100_000);
        for length in [0, 1, 1000, YOUNG_TRANSFER - 1, YOUNG_TRANSFER, YOUNG_TRANSFER + 1, YOUNG_TRANSFER + 300_000, 5]
        {
            let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
            let sent = copier.send(answer(content(length)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
            assert_eq!(sent, to.bytes.len() as u64);
            let end = to.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            assert!(to.bytes.starts_with(b"HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"));
            assert_eq!(to.bytes[end..], content(length));
        }
    }

    #[test]
    fn a_head_and_a_small_body_are_one_write_and_a_large_body_grows_into_the_buffer() {
        let mut copier = Copier::new(100_000);
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        copier.send(answer(content(1000)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
        assert_eq!(to.sizes.len(), 1);
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        copier.send(answer(content(2 * YOUNG_TRANSFER)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap();
        assert_eq!(to.sizes.iter().max(), Some(&100_000));
        assert_eq!(to.sizes[0], YOUNG_READ);
    }

    #[test]
    fn after_a_failure_nothing_of_the_old_answer_is_in_the_next() {
        let mut copier = Copier::new(100_000);
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: 2 };
        let failure = copier.send(answer(content(1_000_000)), SystemTime::UNIX_EPOCH, None, &mut to).unwrap_err();
        assert!(matches!(failure, Failure::Client(_)));
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        copier.send(answer(b"next".to_vec()), SystemTime::UNIX_EPOCH, Some("close"), &mut to).unwrap();
        assert!(to.bytes.starts_with(b"HTTP/1.1 404 ") && to.bytes.ends_with(b"\r\nConnection: close\r\n\r\nnext"));
    }

    #[test]
    fn a_file_that_shrinks_is_told_from_a_client_that_left() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(50_000).unwrap();
        let mut copier = Copier::new(100_000);
        let mut to = Writes { bytes: Vec::new(), sizes: Vec::new(), most: usize::MAX };
        let answer = Answer { body: Body::slice(file, 0..60_000), ..answer(Vec::new()) };
        let failure = copier.send(answer, SystemTime::UNIX_EPOCH, None, &mut to).unwrap_err();
        assert!(matches!(failure, Failure::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof));
        assert!(to.bytes.len() > 50_000);
    }
}
