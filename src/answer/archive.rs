//! A folder as one download: all that lies beneath it as a tar, made while it is sent.
//!
//! The folder is walked twice, in the same order. The first walk opens no file: it tells the length of the archive to the
//! byte, and its entity tag, which is made of the names, sizes and times of all that is in it. The second one is the body. A part
//! of an archive is found by walking up to it. What is held is the path that the walk is at and a bounded number of names,
//! however many files there are and however large they are.
//!
//! What has changed between the two walks, or while it is sent, is an error of the body: so nobody takes a mixture of two
//! versions for one, and the next attempt gets another tag.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::body::{Body, Segment, content_range};
use super::tar::{self, Member};
use super::walk::{Folder, Walk, changed};
use super::{Answer, Refusal, Site, Wanted, refuse, wanted};
use crate::http::escape;
use crate::http::request::Request;
use crate::http::target::Target;
use crate::http::validator::{EntityTag, Validators, Version};
use crate::limits::{ARCHIVE_NAMES, ARCHIVE_NAMES_MIN, ARCHIVES};
use crate::seldom::Seldom;
use crate::tree::{Found, version_of};

/// A folder as a tar, ready to be sent.
#[derive(Debug)]
pub(super) struct Archive {
    folder: Folder,
    /// What the first walk has come to.
    summary: Summary,
    /// What of the archive is sent.
    range: Range<u64>,
    walk: Walk,
    /// Bytes of the archive before the piece that is next.
    at: u64,
    /// What follows the header that was given last: a file, and the zeros behind it.
    content: Option<Version>,
    padding: usize,
    /// The number of the segment in `piece`, counted from 1.
    number: usize,
    piece: Piece,
    /// An error is one for good: behind it the walk is somewhere else.
    broken: bool,
    /// Archives that are being sent, this one included.
    _place: Place,
}

/// What is known of an archive before it is made.
#[derive(Debug)]
struct Summary {
    length: u64,
    /// Of names, sizes and times.
    hash: u64,
    /// The last time at which something of it changed.
    changed: i128,
    weak: bool,
}

/// What is sent next.
#[derive(Debug)]
enum Piece {
    None,
    Bytes(Vec<u8>),
    Slice { file: File, version: Version, range: Range<u64>, ends: bool },
}

impl Site {
    /// The folder as a tar.
    pub(super) fn archive(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        now: SystemTime,
    ) -> Result<Answer, Refusal> {
        let Found::Folder(folder) = self.tree.open(&target.path)? else { return Err(Refusal::from(404)) };
        let name = match target.path.rsplit(|byte| *byte == b'/').next() {
            // What the root is called, a client need not know, and replicas may call it differently.
            None | Some(b"") => b"files",
            Some(name) => name,
        };
        let _walking = self.archives.walk().ok_or(Refusal::from(503))?;
        let place = self.archives.send().ok_or(Refusal::from(503))?;
        let folder = Folder {
            tree: self.tree.clone(),
            folder,
            name: name.into(),
            top: target.path.is_empty(),
            visible: self.visible(),
            names: self.archives.names(),
        };
        // The folder is there: what cannot be read of it now may be readable soon, and is not to be taken for nothing.
        let failed = |error: io::Error| {
            static SELDOM: Seldom = Seldom::new();
            let path = String::from_utf8_lossy(&target.path);
            SELDOM.warn(format_args!("no archive of /{path} was made: {error}"));
            Refusal::from(503)
        };
        let mut archive = Archive::new(folder, now, place).map_err(failed)?;
        let validators = archive.validators();
        let fresh = |answer: Answer| answer.with("ETag", validators.etag.to_string()).with("Cache-Control", "no-cache");
        let range = match wanted(request, &validators, archive.length()) {
            Wanted::Nothing => return Ok(fresh(Answer::without_content(304))),
            Wanted::Refusal(refusal) => return Ok(fresh(refuse(&refusal, request, None))),
            Wanted::Ranges(ranges) => <[_; 1]>::try_from(ranges).ok().map(|[range]| range),
            Wanted::Whole => None,
        };
        let content_range = range.as_ref().map(|range| content_range(range, archive.length()));
        if let Some(range) = range {
            archive.select(range).map_err(failed)?;
        }
        let status = if content_range.is_some() { 206 } else { 200 };
        let mut answer = fresh(Answer::new(status, Body::archive(archive)))
            .with("Content-Type", "application/x-tar")
            .with("X-Content-Type-Options", "nosniff")
            .with("Accept-Ranges", "bytes")
            .with("Content-Disposition", escape::attachment(&[name, b".tar"].concat()));
        if let Some(content_range) = content_range {
            answer.fields.push("Content-Range", content_range);
        }
        Ok(answer)
    }
}

/// How many archives there may be at the same time.
#[derive(Debug)]
pub(super) struct Archives {
    sent: Arc<AtomicUsize>,
    /// Archives at once, at most, and the bytes of names of the one that is alone.
    most: usize,
    names: usize,
    walks: Arc<AtomicUsize>,
    /// Folders that are walked through at once, at most.
    most_walks: usize,
}

impl Archives {
    /// So many folders are walked through at once, at most: each walk keeps a thread busy.
    pub(super) fn new(walks: usize) -> Self {
        let (most, names) = (ARCHIVES, ARCHIVE_NAMES);
        Self { sent: Arc::default(), most, names, walks: Arc::default(), most_walks: walks.max(1) }
    }

    /// At most so many at once, and so many bytes of names for the one that is alone.
    pub(super) fn within(self, most: usize, names: usize) -> Self {
        Self { most, names, ..self }
    }

    /// Leave to walk through a folder. None if too many do.
    fn walk(&self) -> Option<Place> {
        Place::take(&self.walks, self.most_walks)
    }

    fn send(&self) -> Option<Place> {
        Place::take(&self.sent, self.most)
    }

    /// Bytes of names that the archive that was taken leave for last may hold: most of what there are where it is the only one.
    fn names(&self) -> usize {
        let count = self.sent.load(Ordering::Relaxed).max(1);
        (self.names / count.saturating_mul(count)).max(ARCHIVE_NAMES_MIN)
    }
}

/// A place among those that there are at the same time.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Archive {
    /// Walks through the folder.
    ///
    /// # Errors
    /// Those of reading a folder. What may not be read is left out.
    fn new(folder: Folder, now: SystemTime, place: Place) -> io::Result<Self> {
        let mut walk = Walk::new(&folder)?;
        let mut summary = Summary { length: tar::END.len() as u64, hash: 0, changed: i128::MIN, weak: false };
        let mut header = Vec::new();
        while let Some((length, version)) = walk.next(&folder)? {
            header.clear();
            tar::header(&mut header, &Member { path: &walk.path, length, modified: version.modified });
            let content = length.unwrap_or(0);
            let bytes = header.len() as u64 + tar::padding(content) as u64;
            let length = summary.length.checked_add(bytes).and_then(|length| length.checked_add(content));
            summary.length = length.ok_or(io::ErrorKind::FileTooLarge)?;
            summary.changed = summary.changed.max(version.changed);
            summary.weak |= Validators::new(&version, now).etag.weak;
        }
        summary.hash = walk.hash.finish();
        Ok(Self {
            walk: Walk::new(&folder)?,
            range: 0..summary.length,
            at: 0,
            content: None,
            padding: 0,
            number: 0,
            piece: Piece::None,
            broken: false,
            _place: place,
            folder,
            summary,
        })
    }

    /// Bytes of the whole.
    pub(super) fn length(&self) -> u64 {
        self.summary.length
    }

    pub(super) fn validators(&self) -> Validators {
        let opaque = format!("{:x}-{:016x}-tar", self.summary.length, self.summary.hash);
        Validators { etag: EntityTag { opaque, weak: self.summary.weak }, last_modified: None }
    }

    /// Only these bytes of it, to the first of which it goes.
    fn select(&mut self, range: Range<u64>) -> io::Result<()> {
        self.range = range;
        self.segment(0).map(drop)
    }

    /// Bytes that are sent.
    pub(super) fn selected(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    pub(super) fn segment(&mut self, index: usize) -> io::Result<Option<Segment<'_>>> {
        if self.broken {
            return Err(changed());
        }
        if index + 1 < self.number {
            (self.walk, self.at) = (Walk::new(&self.folder)?, 0);
            (self.content, self.padding, self.number, self.piece) = (None, 0, 0, Piece::None);
        }
        while self.number <= index {
            self.broken = true;
            self.advance()?;
            self.broken = false;
            self.number += 1;
        }
        Ok(match &self.piece {
            Piece::None => None,
            Piece::Bytes(bytes) => Some(Segment::Bytes(bytes.into())),
            Piece::Slice { file, range, .. } => Some(Segment::Slice { file, range: range.clone() }),
        })
    }

    /// Goes on to the next piece that something is sent of.
    fn advance(&mut self) -> io::Result<()> {
        match mem::replace(&mut self.piece, Piece::None) {
            Piece::Slice { file, version, range, ends } => {
                // What was sent is what was there all the time.
                let mut last = vec![0; usize::from(ends)];
                file.read_exact_at(&mut last, range.end)?;
                is_same(&version_of(&file)?, &version)?;
                if ends {
                    self.piece = Piece::Bytes(last);
                    return Ok(());
                }
            }
            Piece::None | Piece::Bytes(_) => {}
        }
        while self.at < self.range.end {
            if let Some(version) = self.content.take() {
                let range = self.go_on(version.length)?;
                if !range.is_empty() {
                    let Found::File(file, opened) = self.walk.open(&self.folder)? else { return Err(changed()) };
                    is_same(&opened, &version)?;
                    // Where nothing else follows the last byte has to wait until the others were sent and the file is looked
                    // at once more: so what has come whole is of one version.
                    let ends = self.at >= self.range.end;
                    let range = range.start..range.end - u64::from(ends);
                    let empty = range.is_empty();
                    self.piece = Piece::Slice { file, version, range, ends };
                    return if empty { self.advance() } else { Ok(()) };
                }
                continue;
            }
            let mut bytes = vec![0; mem::take(&mut self.padding)];
            match self.walk.next(&self.folder)? {
                Some((_, version)) if version.changed > self.summary.changed => return Err(changed()),
                Some((length, version)) => {
                    let member = Member { path: &self.walk.path, length, modified: version.modified };
                    tar::header(&mut bytes, &member);
                    if let Some(length @ 1..) = length {
                        self.content = Some(version);
                        self.padding = tar::padding(length);
                    }
                }
                None if self.walk.hash.finish() == self.summary.hash => bytes.extend_from_slice(&tar::END),
                // Some of what was sent was not what the tag says, so the end must not come.
                None => return Err(changed()),
            }
            let range = self.go_on(bytes.len() as u64)?;
            if !range.is_empty() {
                bytes.truncate(range.end as usize);
                bytes.drain(..range.start as usize);
                self.piece = Piece::Bytes(bytes);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on by so many bytes; tells which of them are sent. Where the end was to be nothing else may be.
    fn go_on(&mut self, length: u64) -> io::Result<Range<u64>> {
        let begin = self.at;
        self.at = self.at.saturating_add(length);
        let behind = if self.walk.is_over() { 0 } else { tar::END.len() as u64 };
        if self.at.saturating_add(behind) > self.summary.length {
            return Err(changed());
        }
        let within = |end: u64| end.saturating_sub(begin).min(length);
        Ok(within(self.range.start)..within(self.range.end))
    }
}

fn is_same(one: &Version, other: &Version) -> io::Result<()> {
    // A change time alone is that of a permission, or of another hard link.
    let one = Version { changed: other.changed, ..*one };
    if one == *other { Ok(()) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let archives = Archives::new(0);
        let walk = archives.walk();
        assert!(walk.is_some() && archives.walk().is_none());
        drop(walk);
        assert!(archives.walk().is_some());
        let with_names = || archives.send().map(|place| (place, archives.names()));
        let sent: Vec<_> = std::iter::from_fn(with_names).collect();
        assert_eq!((sent.len(), sent.first().map(|(_, names)| *names)), (ARCHIVES, Some(ARCHIVE_NAMES)));
        assert!(sent.iter().map(|(_, names)| names).sum::<usize>() < 5 << 20, "all of them together");
        drop(sent);
        assert!(archives.send().is_some());
    }
}
