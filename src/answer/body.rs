//! The body of an answer: a sequence of segments, made when they are wanted.
//!
//! A segment is some bytes or a slice of an open file, and the length of the whole is known beforehand, but for what is read
//! from folders of any size. Any place in a body is a [`Position`], so that every body can be stopped and resumed anywhere with nothing kept in between, and a part of
//! any body is found by passing over segments. They are asked for in their order, or from the first one on again: what is
//! made of a whole tree of folders need not remember where all of them were.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::archive::Archive;
use super::listing::Listing;
use super::representation::Opened;

/// A piece of a [`Body`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Segment<'a> {
    /// Bytes in memory.
    Bytes(Cow<'a, [u8]>),
    /// Bytes of an open file.
    Slice {
        /// The file. Read it at an offset, as `pread` and `sendfile` do: its own position may be shared and is never used.
        file: &'a File,
        /// The byte offsets in the file, half-open: from `start` up to, but not including, `end`.
        range: Range<u64>,
    },
}

impl Segment<'_> {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { range, .. } => range.end.saturating_sub(range.start),
        }
    }
}

/// A place in a [`Body`]; the default is its beginning. [`Body::read`] moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The index of the segment, from 0.
    pub segment: usize,
    /// The offset in that segment, in bytes.
    pub offset: u64,
}

/// The body of an [`Answer`](crate::Answer), which is read while it is sent.
///
/// It is a sequence of [`Segment`]s, bytes in memory or a range of an open file, which are made when they are asked for. A body of any
/// size takes little memory: an open file, or the names of a folder. There are two ways to send it:
/// - [`read`](Self::read) into a buffer, from a [`Position`] on. Nothing but the position has to be kept in between, so a transfer can
///   pause anywhere;
/// - [`segment`](Self::segment) by segment, for those who send ranges of files by `sendfile(2)`.
///
/// Both read from the file system and may wait for a disk: in an asynchronous program call them where that is allowed, e.g. in
/// `spawn_blocking` of tokio, one buffer at a time (`examples/hyper` in the repository does so).
///
/// ```
/// use brooklet::{Body, Position};
///
/// fn send(mut body: Body, out: &mut impl std::io::Write) -> std::io::Result<()> {
///     let mut buffer = vec![0; 64 * 1024];
///     let mut position = Position::default();
///     loop {
///         match body.read(&mut position, &mut buffer)? {
///             0 => return Ok(()),
///             count => out.write_all(&buffer[..count])?,
///         }
///     }
/// }
///
/// let mut sent = Vec::new();
/// send(Body::bytes("Hello"), &mut sent)?;
/// assert_eq!(sent, b"Hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Body(Content);

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    Slice(Opened, Range<u64>),
    Parts(Box<Parts>),
    Listing(Box<Listing>),
    Archive(Box<Archive>),
    Chunked(Box<Chunked>),
}

impl Default for Body {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Body {
    /// An empty body.
    pub const EMPTY: Self = Self(Content::Bytes(Vec::new()));

    /// A body of these bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Content::Bytes(bytes.into()))
    }

    /// A body of a half-open range of byte offsets in an open file; empty if the range ends before it begins.
    pub fn slice(file: File, range: Range<u64>) -> Self {
        Self::opened(Opened::File(file), range)
    }

    pub(super) fn opened(opened: Opened, range: Range<u64>) -> Self {
        Self(Content::Slice(opened, range))
    }

    pub(super) fn parts(parts: Parts) -> Self {
        Self(Content::Parts(Box::new(parts)))
    }

    pub(super) fn listing(listing: Box<Listing>) -> Self {
        Self(Content::Listing(listing))
    }

    pub(super) fn archive(archive: Archive) -> Self {
        Self(Content::Archive(Box::new(archive)))
    }

    /// The same in chunks (RFC 9112 section 7.1), which tell where it ends.
    pub(crate) fn chunked(self) -> Self {
        Self(Content::Chunked(Box::new(Chunked { body: self, at: None, end: None })))
    }

    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.0, Content::Chunked(_))
    }

    /// Whether its length is known before it is read.
    pub(crate) fn is_sized(&self) -> bool {
        match &self.0 {
            Content::Bytes(_) | Content::Slice(..) | Content::Parts(_) => true,
            Content::Archive(_) => true,
            Content::Listing(listing) => listing.is_held(),
            Content::Chunked(_) => false,
        }
    }

    /// Its length in bytes; `None` if that is not known before it has been read.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::Slice(_, range) => Some(range.end.saturating_sub(range.start)),
            Content::Parts(parts) => {
                Some((0..).map_while(|index| parts.segment(index)).map(|segment| segment.length()).sum())
            }
            Content::Archive(archive) => Some(archive.selected()),
            Content::Listing(listing) => listing.length(),
            Content::Chunked(_) => None,
        }
    }

    /// The ranges of a file of which this has several, and the length of the file.
    pub(super) fn ranges(&self) -> Option<(Vec<Range<u64>>, u64)> {
        match &self.0 {
            Content::Parts(parts) => Some((parts.ranges.clone(), parts.length)),
            _ => None,
        }
    }

    /// The segment of this index; `None` behind the last one. Segments have to be asked for in their order: a call may name the index
    /// behind that of the last call, the same one again, or 0 to begin again.
    ///
    /// # Errors
    /// Those of reading a folder, or of opening a file that the segment is made of. The body cannot be sent to its end then.
    pub fn segment(&mut self, index: usize) -> io::Result<Option<Segment<'_>>> {
        Ok(match &mut self.0 {
            Content::Bytes(bytes) => (index == 0).then_some(Segment::Bytes(Cow::Borrowed(bytes))),
            Content::Slice(opened, range) => (index == 0).then(|| opened.segment(range)),
            Content::Parts(parts) => parts.segment(index),
            Content::Archive(archive) => archive.segment(index)?,
            Content::Listing(listing) => listing.segment(index)?.map(|text| Segment::Bytes(Cow::Owned(text))),
            Content::Chunked(chunked) => return chunked.segment(index),
        })
    }

    /// The position at this byte offset of the body; that of its end if the offset is larger. It passes over the segments before.
    ///
    /// # Errors
    /// Those of [`segment`](Self::segment).
    pub fn position(&mut self, at: u64) -> io::Result<Position> {
        let mut position = Position { segment: 0, offset: at };
        while let Some(segment) = self.segment(position.segment)? {
            if position.offset < segment.length() {
                return Ok(position);
            }
            position.offset -= segment.length();
            position.segment += 1;
        }
        Ok(Position { offset: 0, ..position })
    }

    /// Reads from the position on into the buffer, and moves the position behind what was read. Returns the count of bytes: the whole
    /// buffer, unless the body ends or an error comes before; 0 at the end of the body, and for an empty buffer.
    ///
    /// # Errors
    /// Those of [`segment`](Self::segment) and of reading a file, and [`io::ErrorKind::UnexpectedEof`] if the file has become shorter since
    /// it was opened. Bytes before the error are returned first, and the error by the next call. End the connection then, so that the
    /// client does not take what it has for the whole.
    pub fn read(&mut self, position: &mut Position, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let segment = match self.segment(position.segment) {
                Ok(Some(segment)) => segment,
                Ok(None) => break,
                Err(error) => return if filled > 0 { Ok(filled) } else { Err(error) },
            };
            let left = segment.length().saturating_sub(position.offset);
            if left == 0 {
                *position = Position { segment: position.segment + 1, offset: 0 };
                continue;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (rest, _) = rest.split_at_mut(most);
            let count = match segment {
                Segment::Bytes(bytes) => {
                    let from = bytes.get(position.offset as usize..).and_then(|from| from.get(..most));
                    rest.copy_from_slice(from.unwrap_or_default());
                    most
                }
                Segment::Slice { file, range } => match file.read_at(rest, range.start + position.offset) {
                    Ok(0) => return if filled > 0 { Ok(filled) } else { Err(shortened()) },
                    Ok(count) => count,
                    Err(error) => return if filled > 0 { Ok(filled) } else { Err(error) },
                },
            };
            position.offset += count as u64;
            filled += count;
        }
        Ok(filled)
    }
}

/// The error of a file that has no bytes where it had some when it was opened.
pub(crate) fn shortened() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent")
}

/// Several ranges of one file as multipart/byteranges (RFC 9110 section 14.6): for each a head and a slice, then the end.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) opened: Opened,
    /// Bytes of the whole file.
    pub(super) length: u64,
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) content_type: Cow<'static, str>,
    pub(super) boundary: String,
}

impl Parts {
    fn segment(&self, index: usize) -> Option<Segment<'_>> {
        let boundary = &self.boundary;
        match self.ranges.get(index / 2) {
            Some(range) if index % 2 == 0 => {
                let (content_type, content_range) = (&self.content_type, content_range(range, self.length));
                let head = format!(
                    "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
                );
                Some(Segment::Bytes(Cow::Owned(head.into_bytes())))
            }
            Some(range) => Some(self.opened.segment(range)),
            None if index == self.ranges.len() * 2 => {
                Some(Segment::Bytes(Cow::Owned(format!("\r\n--{boundary}--\r\n").into_bytes())))
            }
            None => None,
        }
    }
}

/// A body in chunks, one for each segment that is not empty, then the last one. A chunk of bytes is one segment, that of a slice
/// are three: so three are counted for each, some of them empty.
#[derive(Debug)]
struct Chunked {
    body: Body,
    /// The segment of the body that was asked for last, and whether it is a slice.
    at: Option<(usize, bool)>,
    /// The number of segments of the body, when it is known.
    end: Option<usize>,
}

impl Chunked {
    fn segment(&mut self, index: usize) -> io::Result<Option<Segment<'_>>> {
        let (inner, part) = (index / 3, index % 3);
        let bytes = |bytes: Vec<u8>| Ok(Some(Segment::Bytes(Cow::Owned(bytes))));
        if self.end.is_some_and(|end| inner > end || (inner == end && part > 0)) {
            return Ok(None);
        }
        if part > 0 && self.at == Some((inner, false)) {
            return bytes(Vec::new());
        }
        match self.body.segment(inner)? {
            None => {
                self.end = Some(inner);
                bytes(b"0\r\n\r\n".to_vec())
            }
            // A chunk of no bytes would be the last one.
            Some(segment) if segment.length() == 0 => {
                self.at = Some((inner, false));
                bytes(Vec::new())
            }
            Some(Segment::Bytes(text)) => {
                self.at = Some((inner, false));
                bytes([format!("{:x}\r\n", text.len()).as_bytes(), &*text, b"\r\n"].concat())
            }
            Some(slice) => {
                self.at = Some((inner, true));
                match part {
                    0 => bytes(format!("{:x}\r\n", slice.length()).into_bytes()),
                    1 => Ok(Some(slice)),
                    _ => bytes(b"\r\n".to_vec()),
                }
            }
        }
    }
}

/// The value of `Content-Range` for a range that is not empty.
pub(super) fn content_range(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::listing::tests::{listing, stream};
    use proptest::prelude::*;
    use std::io::Write;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn bodies(content: &[u8], mut cuts: Vec<u64>) -> Vec<Body> {
        let length = content.len() as u64;
        cuts.iter_mut().for_each(|cut| *cut %= length + 1);
        cuts.sort_unstable();
        let ranges = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let parts = Parts {
            opened: Opened::File(file(content)),
            length,
            ranges,
            content_type: "text/plain".into(),
            boundary: "b".into(),
        };
        vec![
            Body::EMPTY,
            Body::bytes(content.to_vec()),
            Body::slice(file(content), 0..length),
            Body::slice(file(content), length / 3..length / 2),
            Body::parts(parts),
            Body::listing(Box::new(listing(content.len() / 4))),
        ]
    }

    fn read(body: &mut Body, mut position: Position, mut left: usize, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while left > 0 {
            let mut buffer = vec![0; step.min(left)];
            let count = body.read(&mut position, &mut buffer).unwrap();
            if count == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..count]);
            left -= count;
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_slice_of_any_body_is_the_slice_of_the_whole(
            content in proptest::collection::vec(any::<u8>(), 0..400),
            cuts in proptest::collection::vec(any::<u64>(), 0..8),
            from in 0usize..2000, count in 0usize..2000, step in 1usize..300,
        ) {
            let (_folder, unsized_listing) = stream(content.len() / 8);
            let chunked = bodies(&content, cuts.clone()).into_iter().map(Body::chunked);
            let mut all: Vec<_> = bodies(&content, cuts.clone()).into_iter().chain(chunked).collect();
            all.push(Body::listing(Box::new(unsized_listing)));
            for body in &mut all {
                let whole = read(body, Position::default(), usize::MAX, 1 << 16);
                prop_assert_eq!(body.length().unwrap_or(whole.len() as u64), whole.len() as u64);
                prop_assert_eq!(body.is_sized(), body.length().is_some());
                let from = from.min(whole.len());
                let until = (from + count).min(whole.len());
                let begin = body.position(from as u64).unwrap();
                let part = read(body, begin, until - from, step);
                prop_assert_eq!(&part[..], &whole[from..until]);
            }
        }
    }

    #[test]
    fn chunks_hold_the_body_and_tell_its_end() {
        let content: Vec<u8> = (0..=255).collect();
        for body in 0..bodies(&content, vec![3, 40, 77, 200]).len() {
            let body = || bodies(&content, vec![3, 40, 77, 200]).remove(body);
            let chunked = read(&mut body().chunked(), Position::default(), usize::MAX, 50);
            let (mut rest, mut whole) = (&chunked[..], Vec::new());
            loop {
                let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
                whole.extend_from_slice(&rest[end + 2..][..size]);
                rest = rest[end + 2 + size..].strip_prefix(b"\r\n").unwrap();
                if size == 0 {
                    break;
                }
            }
            assert_eq!(rest, b"");
            assert_eq!(whole, read(&mut body(), Position::default(), usize::MAX, 1 << 16));
        }
    }

    #[test]
    fn a_multipart_body_reads_as_the_rfc_shows_it() {
        let parts = Parts {
            opened: Opened::File(file(b"0123456789")),
            length: 10,
            ranges: vec![0..2, 8..10],
            content_type: "text/plain".into(),
            boundary: "xyz".into(),
        };
        let expected = "\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                        \r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--xyz--\r\n";
        let whole = read(&mut Body::parts(parts), Position::default(), usize::MAX, 7);
        assert_eq!(String::from_utf8(whole).unwrap(), expected);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_behind_its_last_byte() {
        let file = file(b"0123456789");
        file.set_len(4).unwrap();
        let mut body = Body::slice(file, 0..10);
        let (mut position, mut buffer) = (Position::default(), [0; 8]);
        assert_eq!(body.read(&mut position, &mut buffer).unwrap(), 4);
        let error = body.read(&mut position, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
