//! The pure functions that every request passes through, by themselves: for `cargo bench`, and for the properties that hold
//! whatever comes (`tests/suite/properties.rs`). No part of the interface.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::answer::Position;
use crate::http::accept;
use crate::http::range::{Selected, select};
use crate::http::site_files::{Parsed, Path, headers, redirects};
use crate::http::target::Target;
use crate::http::validator::{Outcome, Validators, Version, evaluate, range_applies};
use crate::{Request, Site, front, send};

/// The head of a request.
#[derive(Debug)]
pub struct Head<'a> {
    /// The request.
    pub request: Request<'a>,
    /// Its body: none, of a length, or in chunks, which have none.
    pub body: Option<Option<u64>>,
    /// Whether the connection lasts.
    pub persistent: bool,
    /// Bytes of the head.
    pub used: usize,
}

/// Reads the head at the beginning of these bytes, or says the status that refuses it; none if it goes on.
pub fn head(bytes: &[u8]) -> Option<Result<Head<'_>, u16>> {
    let head = front::direct::read_head(bytes)?;
    Some(head.map(|(request, body, persistent, used)| Head { request, body, persistent, used }))
}

/// Passes over a body in these pieces, of a length or in chunks: how many bytes belong to it, and whether it is over; none if it
/// is refused.
pub fn body<'a>(length: Option<u64>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(usize, bool)> {
    front::direct::pass_body(length, pieces)
}

/// The path, whether that is the name of a folder, and the query; none if this target cannot be a path.
pub fn target(target: &str) -> Option<(Cow<'_, [u8]>, bool, Option<&str>)> {
    Target::parse(target).ok().map(|target| (target.path, target.folder, target.query))
}

/// What this value of `Range` selects of so many bytes: none of it if that does not exist, all of it if there are no ranges.
pub fn range(field: &str, length: u64) -> Option<Vec<Range<u64>>> {
    match select(field, length) {
        Selected::Whole => None,
        Selected::Ranges(ranges) => Some(ranges),
        Selected::Unsatisfiable => Some(Vec::new()),
    }
}

/// The validators of some file.
#[derive(Debug)]
pub struct File(Validators);

impl File {
    /// Of a file that has not been changed for so long.
    pub fn new(age: Duration) -> Self {
        let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let version = Version { device: 1, inode: 2, length: 3, modified, changed: 4 };
        Self(Validators::new(&version, modified + age))
    }

    /// The value of its `ETag`.
    pub fn etag(&self) -> String {
        self.0.etag.to_string()
    }

    /// Whether it has a `Last-Modified`.
    pub fn is_dated(&self) -> bool {
        self.0.last_modified.is_some()
    }
}

impl Default for File {
    fn default() -> Self {
        Self::new(Duration::from_secs(1000))
    }
}

/// What the preconditions of the request come to, as a status: 200, 304 or 412.
pub fn precondition(request: &Request<'_>, file: &File) -> u16 {
    match evaluate(request, &file.0) {
        Outcome::Proceed => 200,
        Outcome::NotModified => 304,
        Outcome::Failed => 412,
    }
}

/// Whether `If-Range` lets the request have a range of the file.
pub fn if_range(request: &Request<'_>, file: &File) -> bool {
    range_applies(request, &file.0)
}

/// How much an `Accept` wants a media type: its weight in thousandths, and how exactly it names it.
pub fn media_type(field: &str, main: &str, sub: &str) -> Option<(u16, u8)> {
    accept::preference(Some(field), main, sub)
}

/// How much an `Accept-Encoding` wants a coding: its weight in thousandths, and whether it names it.
pub fn coding(field: &str, coding: &str) -> Option<(u16, bool)> {
    accept::coding(field, coding)
}

/// A file that makes rules.
#[derive(Debug, PartialEq, Eq)]
pub struct SiteFile {
    /// How many rules there are.
    pub rules: usize,
    /// The lines that are left out, and why; and how many beyond these.
    pub wrong: (Vec<(usize, &'static str)>, usize),
}

impl SiteFile {
    fn of<R>(parsed: &Parsed<R>) -> Self {
        let wrong = parsed.wrong.iter().map(|wrong| (wrong.line, wrong.reason)).collect();
        Self { rules: parsed.rules.len(), wrong: (wrong, parsed.more_wrong) }
    }
}

/// What a `_headers` makes of the fields of what is at this target: each name, and the value, or none if it is taken away.
pub fn headers(file: &[u8], target: &str) -> (SiteFile, Vec<(String, Option<String>)>) {
    let parsed = headers::parse(file);
    let changes = Target::parse(target).map(|target| {
        let changes = headers::changes(&parsed.rules, &Path::new(&target)).into_iter();
        changes.map(|(name, value)| (name.to_owned(), value)).collect()
    });
    (SiteFile::of(&parsed), changes.unwrap_or_default())
}

/// Where a `_redirects` leads from this target: the status, whether also if there is a file, and where to.
pub fn redirects(file: &[u8], target: &str) -> (SiteFile, Option<(u16, bool, String)>) {
    let parsed = redirects::parse(file);
    let found = Target::parse(target).ok().and_then(|target| redirects::find(&parsed.rules, &Path::new(&target)));
    (SiteFile::of(&parsed), found.map(|found| (found.status, found.forced, found.to)))
}

/// Decides what the request gets, and writes head and body of that.
pub fn answer(site: &Site, request: &Request<'_>, now: SystemTime, out: &mut Vec<u8>) {
    let mut answer = site.answer(request, now);
    send::head(out, &answer, None, None);
    let head = out.len();
    out.resize(head + answer.content_length.unwrap_or(0) as usize, 0);
    let body = out.get_mut(head..).unwrap_or_default();
    let read = answer.body.read(&mut Position::default(), body);
    debug_assert!(read.is_ok_and(|count| count == body.len()));
}
