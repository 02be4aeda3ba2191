//! A slice of a file to a socket that does not block: by the kernel where it can, else through a buffer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::copy::Failure;
use crate::answer::shortened;

/// More follows at once: what is sent need not leave by itself (`send(2)`).
#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE: SendFlags = SendFlags::MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MORE: SendFlags = SendFlags::empty();

/// A broken connection is an error, not a signal.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// Sends as many of the bytes as the socket takes; `more` says that others follow. Returns how many, none if the socket is full.
pub(crate) fn bytes(socket: impl AsFd, bytes: &[u8], more: bool) -> Result<Option<usize>, Failure> {
    let flags = if more { QUIET | MORE } else { QUIET };
    loop {
        match rustix::net::send(&socket, bytes, flags) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::Client(error.into())),
        }
    }
}

/// Sends bytes of a file from `offset` on, `count` of them at most: by the kernel, if it may and can, else through the buffer. By the
/// kernel is faster, but what the client has not taken keeps pages of the file in memory until then.
/// Returns how many, none if the socket is full.
///
/// # Errors
/// [`Failure::Source`] if the file cannot be read, or has no bytes there.
pub(crate) fn slice(
    socket: impl AsFd,
    file: &File,
    offset: u64,
    count: usize,
    buffer: &mut Vec<u8>,
    by_kernel: bool,
) -> Result<Option<usize>, Failure> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if by_kernel {
        if let Some(sent) = in_kernel(&socket, file, offset, count) {
            return sent;
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = by_kernel;
    copied(socket, file, offset, count, buffer)
}

/// By `sendfile(2)`; none if the file system cannot.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_kernel(socket: impl AsFd, file: &File, mut offset: u64, count: usize) -> Option<Result<Option<usize>, Failure>> {
    loop {
        return Some(match rustix::fs::sendfile(&socket, file, Some(&mut offset), count) {
            Ok(0) => Err(Failure::Source(shortened())),
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => continue,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return None,
            Err(error @ (Errno::IO | Errno::STALE)) => Err(Failure::Source(error.into())),
            Err(error) => Err(Failure::Client(error.into())),
        });
    }
}

/// Through the buffer. What the socket does not take is read again next time: nothing is kept.
fn copied(
    socket: impl AsFd,
    file: &File,
    offset: u64,
    count: usize,
    buffer: &mut Vec<u8>,
) -> Result<Option<usize>, Failure> {
    buffer.resize(buffer.capacity(), 0);
    let count = count.min(buffer.len());
    let (room, _) = buffer.split_at_mut(count);
    let read = loop {
        match file.read_at(room, offset) {
            Ok(0) => return Err(Failure::Source(shortened())),
            Ok(read) => break read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Source(error)),
        }
    };
    bytes(socket, room.get(..read).unwrap_or_default(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_copy_resumes_where_the_socket_was_full() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let content: Vec<u8> = (0..16 << 20).map(|i: u32| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let (mut offset, mut full, mut buffer) = (0, 0, Vec::with_capacity(64 << 10));
        let (mut received, mut piece) = (Vec::new(), vec![0; 1 << 20]);
        while offset < content.len() {
            match copied(&socket, &file, offset as u64, usize::MAX, &mut buffer) {
                Ok(Some(count)) => offset += count,
                Ok(None) => {
                    full += 1;
                    let count = client.read(&mut piece).unwrap();
                    received.extend_from_slice(&piece[..count]);
                }
                Err(failure) => panic!("{failure:?}"),
            }
        }
        let end = copied(&socket, &file, offset as u64, 1, &mut buffer);
        assert!(matches!(end, Err(Failure::Source(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
        drop(socket);
        client.read_to_end(&mut received).unwrap();
        assert!(full > 0 && received == content);
    }
}
