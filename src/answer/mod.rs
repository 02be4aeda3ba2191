//! From a request to an answer: all decisions of the server. No socket, no clock of its own, and nothing is written.
//!
//! The steps of [`Site::answer`], each of which may end in a refusal:
//! 1. the method is one that is served (`method`);
//! 2. the request names a host and a target that can be a path (`target`);
//! 3. what the path names is opened beneath the root: a file, or a folder's index or listing (`Site::resource`);
//! 4. the preconditions, then the range select what of the file is sent (`representation`);
//! 5. a HEAD gets the same head and no body.
//!
//! A refusal becomes a page in one place, `refuse`.

mod body;
mod listing;
mod page;

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;
use tiny_http::{Method, StatusCode};

pub use body::{Body, Position, Segment};
use body::{Parts, content_range};
use listing::{Format, Listing};

use crate::http::range::{Selected, select};
use crate::http::request::Request;
use crate::http::target::Target;
use crate::http::validator::{Outcome, Validators, Version, evaluate, range_applies};
use crate::http::{accept, date, escape, media_type};
use crate::tree::{Found, Tree};

/// The methods that are served (RFC 9110 section 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The file that a folder is represented by, if it is there.
const INDEX: &[u8] = b"index.html";
/// The file at the root that is sent where nothing is found, if it is there.
const NOT_FOUND: &[u8] = b"404.html";

/// A folder that is served.
///
/// The folder is opened once and held: what is later put in its place under the same name is not seen. Everything beneath
/// it is read anew for every request, so a changed file is served changed at once. Nothing outside is ever read, and
/// nothing is written.
///
/// A `Site` is asked by any number of threads at once.
#[derive(Debug)]
pub struct Site {
    tree: Tree,
    /// Seed of the boundaries of multipart answers, which no file can have guessed.
    seed: RandomState,
    boundaries: AtomicU64,
    /// Entries of the listings that are being sent.
    listed: Arc<AtomicUsize>,
}

/// A decision: what a client is to be sent, as plain data.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// Fields by name and value, without `Date`, `Content-Length` and `Connection`, which the sender adds.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
    /// The value of `Content-Length` in bytes; none where the status forbids one (204, 304). With HEAD it is that of the
    /// body that GET would have got.
    pub content_length: Option<u64>,
    /// The body, empty with HEAD.
    pub body: Body,
}

impl Answer {
    fn new(status: u16, body: Body) -> Self {
        Self { status: StatusCode(status), fields: Vec::with_capacity(8), content_length: Some(body.length()), body }
    }

    fn without_content(status: u16) -> Self {
        Self { content_length: None, ..Self::new(status, Body::EMPTY) }
    }

    fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The answer that says no more than this status, for a front that refuses a request by itself.
    pub(crate) fn error(status: u16, request: &Request<'_>) -> Self {
        refuse(&Refusal::from(status), request, None).to(request)
    }

    /// As the method wants it: HEAD gets the same head and no body.
    fn to(self, request: &Request<'_>) -> Self {
        match request.method {
            Method::Head => Self { body: Body::EMPTY, ..self },
            _ => self,
        }
    }
}

/// Why there is no representation: the status, and the one field that goes with it.
struct Refusal {
    status: u16,
    field: Option<(&'static str, Cow<'static, str>)>,
}

impl From<u16> for Refusal {
    fn from(status: u16) -> Self {
        let field = match status {
            405 => Some(("Allow", Cow::Borrowed(ALLOW))),
            // The shortage is one of descriptors or memory, and passes with the next transfer that ends.
            503 => Some(("Retry-After", Cow::Borrowed("1"))),
            _ => None,
        };
        Self { status, field }
    }
}

/// The only place where an error of the operating system becomes a status. What it does not tell, a client need not know.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let status = match Errno::from_io_error(&error) {
            Some(Errno::ACCESS | Errno::PERM) => 403,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR) => 503,
            Some(Errno::IO | Errno::STALE) => 500,
            _ => 404,
        };
        if status >= 500 {
            log::warn!("a file could not be opened: {error}");
        }
        Self::from(status)
    }
}

impl Site {
    /// Opens the folder to be served.
    ///
    /// # Errors
    /// Those of `open(2)`: it is not there, is no folder, or may not be read.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let tree = Tree::new(root.as_ref())?;
        Ok(Self { tree, seed: RandomState::new(), boundaries: AtomicU64::new(0), listed: Arc::default() })
    }

    /// Decides what the request gets at the time `now`. Reads the file system, and nothing else.
    pub fn answer(&self, request: &Request<'_>, now: SystemTime) -> Answer {
        let answer = self.decide(request, now);
        answer.unwrap_or_else(|refusal| refuse(&refusal, request, Some(&self.tree))).to(request)
    }

    fn decide(&self, request: &Request<'_>, now: SystemTime) -> Result<Answer, Refusal> {
        method(request)?;
        match target(request)? {
            Some(target) if *request.method != Method::Options => match self.resource(request, &target)? {
                Resource::File(file) => Ok(representation(request, file, now, || self.boundary())),
                Resource::Folder(listing) => Ok(folder(listing)),
                Resource::Elsewhere(location) => Ok(redirect(location)),
            },
            // What can be done is the same everywhere, whether there is a file or not.
            _ => Ok(Answer::without_content(204).with("Allow", ALLOW)),
        }
    }

    /// What the target names.
    fn resource(&self, request: &Request<'_>, target: &Target<'_>) -> Result<Resource, Refusal> {
        if target.is_hidden() {
            return Err(Refusal::from(404));
        }
        match self.tree.open(&target.path)? {
            // `/file/` names a folder, and there is none.
            Found::File(..) if target.folder => Err(Refusal::from(404)),
            Found::File(file, version) => Ok(Resource::file(file, version, &target.path)),
            Found::Folder(_) if !target.folder => {
                // Made of decoded segments, none empty: it never begins with `//`, which would name another host.
                let query = target.query.map(|query| format!("?{query}")).unwrap_or_default();
                Ok(Resource::Elsewhere(format!("/{}/{query}", escape::path(&target.path))))
            }
            Found::Folder(folder) => {
                let slash: &[u8] = if target.path.is_empty() { b"" } else { b"/" };
                let index = self.tree.open(&[&*target.path, slash, INDEX].concat()).map_err(Refusal::from);
                match index {
                    Ok(Found::File(file, version)) => Ok(Resource::file(file, version, INDEX)),
                    // One that is there and cannot be read is no reason to show what lies beside it.
                    Err(refusal) if refusal.status != 404 => Err(refusal),
                    _ => Ok(Resource::Folder(Listing::read(
                        &self.tree,
                        &folder,
                        target,
                        format(request, target),
                        &self.listed,
                    )?)),
                }
            }
        }
    }

    fn boundary(&self) -> String {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(self.boundaries.fetch_add(1, Ordering::Relaxed));
        format!("{:016x}", hasher.finish())
    }
}

/// What a target names.
enum Resource {
    File(Representation),
    Folder(Listing),
    /// The folder has this address, with a slash at its end.
    Elsewhere(String),
}

impl Resource {
    fn file(file: File, version: Version, name: &[u8]) -> Self {
        Self::File(Representation { file, version, media_type: media_type::of(name) })
    }
}

/// An open file as it is sent.
struct Representation {
    file: File,
    version: Version,
    media_type: &'static str,
}

fn method(request: &Request<'_>) -> Result<(), Refusal> {
    match request.method {
        Method::Get | Method::Head | Method::Options => Ok(()),
        Method::NonStandard(_) => Err(Refusal::from(501)),
        _ => Err(Refusal::from(405)),
    }
}

/// The target; none for `OPTIONS *`, which asks about the server as a whole.
fn target<'a>(request: &Request<'a>) -> Result<Option<Target<'a>>, Refusal> {
    // Exactly one host, and in version 1.1 it is not left out (RFC 9112 section 3.2).
    let malformed = match request.host.as_deref() {
        None => request.version >= (1, 1),
        Some(host) => host.contains([',', ' ', '/', '@']),
    };
    if malformed {
        return Err(Refusal::from(400));
    }
    if *request.method == Method::Options && request.target == "*" {
        return Ok(None);
    }
    Target::parse(request.target).map(Some).map_err(|_| Refusal::from(400))
}

/// The answer with a file, or with what of it the client has not yet.
fn representation(
    request: &Request<'_>,
    Representation { file, version, media_type }: Representation,
    now: SystemTime,
    boundary: impl Fn() -> String,
) -> Answer {
    let validators = Validators::new(&version, now);
    let validated = |answer: Answer| {
        let answer = answer.with("ETag", validators.etag.to_string());
        match validators.last_modified.and_then(date::format) {
            Some(date) => answer.with("Last-Modified", date),
            None => answer,
        }
    };
    match evaluate(request, &validators) {
        Outcome::Failed => return validated(refuse(&Refusal::from(412), request, None)),
        Outcome::NotModified => return validated(Answer::without_content(304)),
        Outcome::Proceed => {}
    }
    let length = version.length;
    // Range is defined for GET alone (RFC 9110 section 14.2).
    let selected = match request.range.as_deref() {
        Some(range) if *request.method == Method::Get && range_applies(request, &validators) => select(range, length),
        _ => Selected::Whole,
    };
    let content_type = content_type(media_type);
    let answer = match selected {
        Selected::Whole => Answer::new(200, Body::slice(file, 0..length)).with("Content-Type", content_type),
        Selected::Unsatisfiable => {
            let field = Some(("Content-Range", Cow::Owned(format!("bytes */{length}"))));
            return validated(refuse(&Refusal { status: 416, field }, request, None));
        }
        Selected::Ranges(ranges) => match <[_; 1]>::try_from(ranges) {
            Ok([range]) => {
                let content_range = content_range(&range, length);
                Answer::new(206, Body::slice(file, range))
                    .with("Content-Type", content_type)
                    .with("Content-Range", content_range)
            }
            Err(ranges) => {
                let boundary = boundary();
                let multipart = format!("multipart/byteranges; boundary={boundary}");
                let parts = Parts { file, length, ranges, content_type, boundary };
                Answer::new(206, Body::parts(parts)).with("Content-Type", multipart)
            }
        },
    };
    validated(answer).with("Accept-Ranges", "bytes").with("X-Content-Type-Options", "nosniff")
}

fn content_type(media_type: &'static str) -> Cow<'static, str> {
    match media_type {
        "text/html" => HTML.into(),
        "text/plain" => PLAIN.into(),
        text if media_type::is_text(text) => format!("{text}; charset=utf-8").into(),
        other => other.into(),
    }
}

fn folder(listing: Listing) -> Answer {
    let content_type = match listing.format() {
        Format::Html => HTML,
        Format::Json => "application/json",
    };
    Answer::new(200, Body::listing(listing))
        .with("Content-Type", content_type)
        .with("X-Content-Type-Options", "nosniff")
        .with("Content-Security-Policy", page::POLICY)
        .with("Cache-Control", "no-cache")
        .with("Vary", "Accept")
}

/// What a client reads a listing as: JSON if the query or `Accept` says so, else the page.
fn format(request: &Request<'_>, target: &Target<'_>) -> Format {
    let accepted = |main, sub| accept::preference(request.accept.as_deref(), main, sub);
    match target.parameter("format") {
        Some("json") => Format::Json,
        Some("html") => Format::Html,
        _ if accepted("application", "json") > accepted("text", "html") => Format::Json,
        _ => Format::Html,
    }
}

fn redirect(location: String) -> Answer {
    Answer::new(301, Body::bytes(format!("It is at {location}\n")))
        .with("Content-Type", PLAIN)
        .with("Location", location)
}

/// The answer to what is refused: `404.html` from the root for 404, a small page for who asked for one by name (a
/// browser), else some lines of text.
fn refuse(refusal: &Refusal, request: &Request<'_>, tree: Option<&Tree>) -> Answer {
    let status = refusal.status;
    let wish = accept::preference(request.accept.as_deref(), "text", "html");
    let own = tree.filter(|_| status == 404 && wish.is_some()).map(|tree| tree.open(NOT_FOUND));
    let mut answer = match (own, wish) {
        (Some(Ok(Found::File(file, version))), _) => {
            Answer::new(status, Body::slice(file, 0..version.length)).with("Content-Type", HTML)
        }
        // Named, not only let in by `*/*`: programs send that, and people read what they print.
        (_, Some((_, 1..))) => Answer::new(status, Body::bytes(page::error(status)))
            .with("Content-Type", HTML)
            .with("Content-Security-Policy", page::POLICY),
        _ => Answer::new(status, Body::bytes(page::error_as_text(status))).with("Content-Type", PLAIN),
    };
    answer = answer.with("X-Content-Type-Options", "nosniff").with("Vary", "Accept");
    answer.fields.extend(refusal.field.clone());
    answer
}
