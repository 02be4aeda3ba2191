//! The pure functions that every request passes through, by themselves, for `cargo bench`. No part of the interface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::answer::Position;
use crate::http::range::{Selected, select};
use crate::http::target::Target;
use crate::http::validator::{Outcome, Validators, Version, evaluate};
use crate::{Request, Site, front, send};

/// Whether these bytes begin with the head of a request.
pub fn head(bytes: &[u8]) -> bool {
    front::direct::is_head(bytes)
}

/// Whether this target can be a path.
pub fn target(target: &str) -> bool {
    Target::parse(target).is_ok()
}

/// Whether this value of `Range` selects something of so many bytes.
pub fn range(field: &str, length: u64) -> bool {
    matches!(select(field, length), Selected::Ranges(_))
}

/// The validators of some file.
#[derive(Debug)]
pub struct File(Validators);

impl File {
    /// The value of its `ETag`.
    pub fn etag(&self) -> String {
        self.0.etag.to_string()
    }
}

impl Default for File {
    fn default() -> Self {
        let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let version = Version { device: 1, inode: 2, length: 3, modified, changed: 4 };
        Self(Validators::new(&version, modified + Duration::from_secs(1000)))
    }
}

/// Whether the preconditions of the request let it have the file.
pub fn precondition(request: &Request<'_>, file: &File) -> bool {
    evaluate(request, &file.0) == Outcome::Proceed
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
