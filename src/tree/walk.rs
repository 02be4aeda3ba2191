//! Resolves a path beneath a root where the kernel cannot: one folder after the other, by handle, reading the symbolic
//! links itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::{Errno, Result};

use super::READ;
use crate::limits;

/// A folder on the way needs no right to be read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PASS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens `path`, which may hold any segments. The handles of all folders on the way are kept, so that the `..` of a link
/// leads to where it came from and, at the root, nowhere. `links`: whether they are followed.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], links: bool) -> Result<OwnedFd> {
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut left: Vec<Vec<u8>> = segments(path).collect();
    let mut followed = 0;
    while let Some(name) = left.pop() {
        if name == b".." {
            way.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let here = way.last().map_or(root, AsFd::as_fd);
        let flags = if left.is_empty() { READ } else { PASS | OFlags::DIRECTORY };
        match openat(here, &*name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(last) if left.is_empty() => return Ok(last),
            Ok(_) if way.len() == limits::DEPTH => return Err(Errno::NAMETOOLONG),
            Ok(folder) => way.push(folder),
            // The error for a link differs from system to system: whether it is one is asked by reading it.
            Err(error) => {
                let Ok(target) = readlinkat(here, &*name, Vec::new()) else { return Err(error) };
                followed += 1;
                if !links || followed > limits::SYMLINKS {
                    return Err(Errno::LOOP);
                }
                if target.as_bytes().starts_with(b"/") {
                    return Err(Errno::XDEV);
                }
                left.extend(segments(target.as_bytes()));
            }
        }
    }
    openat(way.last().map_or(root, AsFd::as_fd), c".", READ, Mode::empty())
}

/// The segments of a path, the last one first.
fn segments(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/').rev().filter(|s| !matches!(*s, b"" | b".")).map(<[u8]>::to_vec)
}
