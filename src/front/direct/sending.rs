//! An answer that is on its way: what the socket did not take yet, as plain data, and the next piece of it.

use std::io::{self, ErrorKind};

use socket2::Socket;

use crate::answer::{Body, Position, Segment};
use crate::send::copy::Failure;
use crate::send::slice;

/// What is still to be sent of an answer.
pub(super) struct Sending {
    /// What of the head.
    pub(super) head: Box<[u8]>,
    pub(super) body: Body,
    pub(super) position: Position,
    /// Bytes of the body; none if only its end tells.
    pub(super) left: Option<u64>,
}

impl Sending {
    /// Whether nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.head.is_empty() && self.left == Some(0)
    }

    /// Sends some bytes: how many, none if the socket is full.
    pub(super) fn some(
        &mut self,
        socket: &Socket,
        most: u64,
        buffer: &mut Vec<u8>,
        by_kernel: bool,
    ) -> Result<Option<usize>, Failure> {
        if !self.head.is_empty() {
            let sent = slice::bytes(socket, &self.head, self.left != Some(0))?;
            self.head = self.head.get(sent.unwrap_or(0)..).unwrap_or_default().into();
            return Ok(sent);
        }
        let segment = self.body.segment(self.position.segment).map_err(Failure::Source)?;
        let at = self.position.offset;
        let length = segment.as_ref().map_or(0, Segment::length);
        let sent = match segment {
            Some(Segment::Bytes(bytes)) if bytes.is_empty() => Some(0),
            Some(Segment::Bytes(bytes)) => {
                let bytes = bytes.get(at as usize..).unwrap_or_default();
                // Of what has no known length nobody knows whether more follows at once.
                slice::bytes(socket, bytes, self.left.is_some_and(|left| left > bytes.len() as u64))?
            }
            Some(Segment::Slice { file, range }) => {
                let count = usize::try_from(length.saturating_sub(at).min(most)).unwrap_or(usize::MAX);
                slice::slice(socket, file, range.start + at, count, buffer, by_kernel)?
            }
            None if self.left.is_none() => {
                self.left = Some(0);
                return Ok(Some(0));
            }
            None => return Err(Failure::Source(io::Error::other("the body is shorter than was said"))),
        };
        let count = sent.unwrap_or(0) as u64;
        self.left = self.left.map(|left| left.saturating_sub(count));
        self.position.offset += count;
        if self.position.offset >= length {
            self.position = Position { segment: self.position.segment + 1, offset: 0 };
        }
        Ok(sent)
    }
}

/// Appends so many bytes of a body, which leave with its head.
pub(super) fn append(output: &mut Vec<u8>, body: &mut Body, position: &mut Position, left: u64) -> io::Result<()> {
    if let Some(Segment::Bytes(bytes)) = body.segment(0)? {
        if bytes.len() as u64 == left {
            output.extend_from_slice(&bytes);
            *position = Position { segment: 1, offset: 0 };
            return Ok(());
        }
    }
    let mut filled = output.len();
    output.resize(filled + left as usize, 0);
    while let Some(rest) = output.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match body.read(position, rest) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
