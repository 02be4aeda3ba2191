//! What a client has sent: from its socket into the buffer of a worker, where it stays until it is used.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::limits;

/// What has come of a connection and is not used yet, in the buffer of a worker.
pub(super) struct Input {
    pub(super) buffer: Vec<u8>,
    pub(super) begin: usize,
    end: usize,
}

impl Input {
    pub(super) fn new(mut buffer: Vec<u8>, held: &[u8]) -> Self {
        // After a panic there is none.
        buffer.resize(limits::HEAD, 0);
        let end = held.len().min(buffer.len());
        if let (Some(room), Some(held)) = (buffer.get_mut(..end), held.get(..end)) {
            room.copy_from_slice(held);
        }
        Self { buffer, begin: 0, end }
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    pub(super) fn is_full(&self) -> bool {
        self.end - self.begin == self.buffer.len()
    }

    /// Reads what has come: nothing at its end. What does not fill the room is all that there is
    /// for now, unless an event has said otherwise.
    pub(super) fn receive(&mut self, socket: impl AsFd, unread: &mut bool) -> Result<&[u8], Errno> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let before = self.end;
        let received = receive(socket, self.buffer.get_mut(before..).unwrap_or_default());
        self.end += received.unwrap_or(0);
        *unread = self.end == self.buffer.len();
        received?;
        Ok(self.buffer.get(before..self.end).unwrap_or_default())
    }
}

pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::net::recv(&socket, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _)) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
