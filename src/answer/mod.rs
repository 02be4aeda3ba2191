//! From a request to an answer: all decisions of the server. No socket, no clock of its own, and no file is written.
//!
//! The steps of [`Site::answer`], each of which may end in a refusal:
//! 1. the client is one that may ask (`access`);
//! 2. the method is one that is served (`method`);
//! 3. the request names a host and a target that can be a path (`target`);
//! 4. what the path names is opened beneath the root: a file, or a folder's index or listing (`resource`), unless
//!    `_redirects` leads elsewhere;
//! 5. the preconditions, then the range select what of the file is sent (`representation`);
//! 6. the fields of `_headers` are set (`site_files`);
//! 7. a HEAD gets the same head and no body.
//!
//! A refusal becomes a page in one place, `refuse`.

mod access;
mod archive;
mod body;
mod cache;
mod listing;
mod page;
mod representation;
mod resource;
mod selection;
mod site_files;
mod tar;
mod walk;

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;
use tiny_http::{Method, StatusCode};

use access::Admitted;
use archive::Archives;
pub(crate) use body::shortened;
pub use body::{Body, Position, Segment};
use body::{Parts, content_range};
use cache::Cache;
pub(crate) use listing::Size;
use listing::{Format, Listing};
use representation::{Held, Representation};
use resource::{Resource, Sought};
pub(crate) use selection::Selection;
use site_files::{SiteFiles, SiteRules};

use crate::auth::Auth;
use crate::config::processors;
use crate::http::range::{Selected, select};
use crate::http::request::Request;
use crate::http::target::Target;
use crate::http::validator::{Outcome, Validators, evaluate, range_applies};
use crate::http::{accept, escape};
use crate::limits;
use crate::rules::Rules;
use crate::seldom::Seldom;
use crate::tree::{Found, Tree};

/// The methods that are served (RFC 9110 section 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

/// The file at the root that is sent where nothing is found, if it is there.
const NOT_FOUND: &[u8] = b"404.html";

/// A folder that is served, or a single file: answers requests without owning a socket or a thread.
///
/// The folder is opened once and held: another one put in its place later, under the same name, is not seen. Everything beneath it is
/// looked up for every request, so a changed file is served changed at once, cached or not. Nothing outside the folder is read, unless
/// [`Rules::symlinks`] says so, and nothing is written.
///
/// Of a single file, which is the answer to every path, the folder around it is held: a file that takes its place is seen.
///
/// It can be shared by any number of threads. A call waits for the file system, and for nothing else.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use std::time::SystemTime;
/// use brooklet::{Request, Rules, Site, tiny_http::Method};
///
/// std::fs::write(folder.join("about.html"), "<h1>About</h1>")?;
/// let rules = Rules { clean_urls: true, ..Rules::default() };
/// let site = Site::open(folder)?.with_rules(rules).with_cache(1 << 20);
///
/// let request = Request::new(&Method::Head, "/about").with("Host", "example.org");
/// let answer = site.answer(&request, SystemTime::now());
/// assert_eq!((answer.status.0, answer.content_length), (200, Some(14)));
/// assert_eq!(answer.body.length(), Some(0)); // it was HEAD
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Site {
    tree: Tree,
    /// Its `headers` are the fields of every answer.
    rules: Rules,
    /// `_headers` and `_redirects`; none where they are plain files.
    site_files: Option<Arc<SiteFiles>>,
    cache: Cache,
    /// Seed of the boundaries of multipart answers, which no file can have guessed.
    seed: RandomState,
    boundaries: AtomicU64,
    /// Bytes of the listings that are being sent.
    listed: Arc<AtomicUsize>,
    archives: Archives,
    /// Who may come in, if not everybody.
    auth: Option<Arc<Auth>>,
}

/// The files that tell a site something, beside what it serves.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    tree: Tree,
    site_files: Option<Arc<SiteFiles>>,
    auth: Option<Arc<Auth>>,
}

impl Sources {
    /// Reads them again.
    ///
    /// # Errors
    /// What cannot be used, in one line. What it said before holds on.
    pub(crate) fn read_again(&self, now: SystemTime) -> Result<(), String> {
        let users = self.auth.as_ref().map(|auth| ("the file of users", auth.reload().err()));
        let rules = self.site_files.as_ref().map(|files| files.read_again(&self.tree, now));
        let (mut failed, mut done) = (Vec::new(), Vec::new());
        for (name, trouble) in users.into_iter().chain(rules.into_iter().flatten()) {
            match trouble {
                Some(trouble) => failed.push(trouble),
                None => done.push(name),
            }
        }
        match (failed.is_empty(), done.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(failed.join("; ")),
            (false, false) => Err(format!("{}; reloaded: {}", failed.join("; "), done.join(", "))),
        }
    }
}

/// A response as plain data: what a client is to be sent. Made by [`Site::answer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields. The sender adds `Date`, `Content-Length` and, where it needs them, `Connection` and `Transfer-Encoding`.
    pub fields: Fields,
    /// The value of `Content-Length`, in bytes. With HEAD it is the length of the body that GET would have got.
    ///
    /// `None` with 204 and 304, which have none, and where the length is not known before the body has been read, as with the listing of a
    /// very large folder: then send it in chunks (RFC 9112 section 7.1), or end the connection behind it.
    pub content_length: Option<u64>,
    /// The body; empty with HEAD.
    pub body: Body,
    /// Whether it is for somebody who was let in, by the name and password of the request if there have to be some.
    pub(crate) admitted: bool,
}

/// A field: its name and its value.
pub(crate) type Field = (Cow<'static, str>, Cow<'static, str>);

/// The header fields of an [`Answer`], as names and values (RFC 9110 section 5). None has CR or LF in it.
#[derive(Debug, Default)]
pub struct Fields {
    /// Of the whole of a representation in the cache.
    shared: Option<Arc<Representation>>,
    own: Vec<Field>,
}

impl Fields {
    /// Every name with its value, in the order in which they are to be sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = self.shared.as_deref().map_or(&[][..], |representation| &representation.fields);
        shared.iter().chain(&self.own).map(|(name, value)| (&**name, &**value))
    }

    /// The value of the first field of this name, compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn push(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.own.push((name.into(), value.into()));
    }

    /// Appends the lines of all of them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.shared.as_deref().map_or(b"", |representation| &representation.lines));
        self.own.iter().for_each(|(name, value)| field_line(out, name, value));
    }
}

/// Appends the line of a field (RFC 9112 section 5).
pub(crate) fn field_line(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(!name.is_empty() && !value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: Body) -> Self {
        let content_length = body.length();
        Self { status: StatusCode(status), fields: Fields::default(), content_length, body, admitted: false }
    }

    fn without_content(status: u16) -> Self {
        Self { content_length: None, ..Self::new(status, Body::EMPTY) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Sets a field in place of that of the same name.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        set_fields(&mut self.fields.own, &[(name.into(), value.into())]);
        self
    }

    /// The answer that says no more than this status, for a front that refuses a request by itself.
    pub(crate) fn error(status: u16, request: &Request<'_>) -> Self {
        refuse(&Refusal::from(status), request, None).to(request)
    }

    /// As the method wants it: HEAD gets the same head and no body.
    pub(crate) fn to(self, request: &Request<'_>) -> Self {
        match request.method {
            Method::Head => Self { body: Body::EMPTY, ..self },
            _ => self,
        }
    }
}

/// Why there is no representation: the status, and the one field that goes with it.
struct Refusal {
    status: u16,
    field: Option<Field>,
}

impl From<u16> for Refusal {
    fn from(status: u16) -> Self {
        let field = match status {
            405 => Some(("Allow".into(), ALLOW.into())),
            // The shortage is one of descriptors or memory, and passes with the next transfer that ends.
            503 => Some(("Retry-After".into(), "1".into())),
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
            static SELDOM: Seldom = Seldom::new();
            SELDOM.warn(format_args!("a file could not be opened: {error}"));
        }
        Self::from(status)
    }
}

impl Site {
    /// Opens the folder to be served, or the folder of the single file. It answers by [`Rules::default`], without a cache, to everybody.
    ///
    /// # Errors
    /// Those of `open(2)`: the path does not exist, is neither a folder nor a file, or may not be read.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let tree = Tree::new(root.as_ref())?;
        Ok(Self {
            site_files: tree.only().is_none().then(Arc::default),
            tree,
            rules: Rules::default(),
            cache: Cache::new(0),
            seed: RandomState::new(),
            boundaries: AtomicU64::new(0),
            listed: Arc::default(),
            archives: Archives::new(processors()),
            auth: None,
        })
    }

    /// Answers by these rules. They are not checked: call [`Rules::validate`] before, if they come from elsewhere.
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.tree.symlinks = rules.symlinks;
        let headers = rules.fields();
        // Beside a file that is served alone nothing is looked for.
        let rules = match self.tree.only() {
            Some(_) => Rules { precompressed: Vec::new(), spa: None, site_files: false, ..rules },
            None => rules,
        };
        let site_files = rules.site_files.then(Arc::default);
        Self { rules: Rules { headers, ..rules }, site_files, ..self }.private()
    }

    /// Caches the content of small files, and larger ones as open files (64 at most), in up to so many bytes of memory. For every request
    /// what is cached is compared with the file system. Call [`tidy`](Self::tidy) now and then.
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: Cache::new(bytes), ..self }
    }

    /// Bounds how many folders are walked through at once for the lengths and tags of archives ([`Rules::archive`]). A walk keeps the
    /// calling thread busy for as long as it takes to look at every file. Further requests for archives are answered 503. Default: as many
    /// as there are processors.
    pub fn with_archive_walks(self, walks: usize) -> Self {
        Self { archives: Archives::new(walks), ..self }
    }

    /// Holds no more than so many bytes of listings while they are sent; so many archives, with so many bytes of names for the one
    /// that is alone.
    pub(crate) fn with_room(self, listings: usize, (archives, names): (usize, usize)) -> Self {
        // The rest counts as taken.
        self.listed.store(limits::LISTINGS_HELD.saturating_sub(listings), Ordering::Relaxed);
        Self { archives: self.archives.within(archives, names), ..self }
    }

    /// Drops from the cache what nobody has asked for since the last call. A [`Server`](crate::Server) does so every 30 s.
    pub fn tidy(&self) {
        self.cache.tidy();
    }

    /// The rules that `_headers` and `_redirects` make, if there are some. They are read when they are asked for.
    pub(crate) fn site_rules(&self, now: SystemTime) -> Option<Arc<SiteRules>> {
        self.site_files.as_ref()?.rules(&self.tree, now)
    }

    /// What of it can be read again, while it is asked.
    pub(crate) fn sources(&self) -> Sources {
        Sources { tree: self.tree.clone(), site_files: self.site_files.clone(), auth: self.auth.clone() }
    }

    /// Answers a request at the time `now`, usually [`SystemTime::now`].
    ///
    /// Every request has an answer: what cannot be served is a status of 4xx or 5xx with a page or a text. The call opens files and
    /// reads folders; the content of larger files is read with the [`Body`].
    pub fn answer(&self, request: &Request<'_>, now: SystemTime) -> Answer {
        let admitted = self.admit(request, now);
        let is_in = matches!(admitted, Ok(Admitted::In));
        // Who may not come in learns nothing of what is there.
        let site = if is_in { self.site_rules(now) } else { None };
        let decided = admitted.and_then(|_| self.decide(request, site.as_deref(), now));
        let mut answer = match decided {
            Ok(answer) => answer,
            Err(refusal) => refuse(&refusal, request, Some(&self.tree)),
        };
        // What is shared has them already.
        if answer.fields.shared.is_none() {
            set_fields(&mut answer.fields.own, &self.rules.headers);
            self.keep_private(&mut answer.fields.own);
        }
        if let Some(site) = site {
            self.set_fields_of(&site, &mut answer, request.target);
        }
        Answer { admitted: is_in, ..answer.to(request) }
    }

    /// Sets the fields that `_headers` has for this target.
    #[cold]
    fn set_fields_of(&self, site: &SiteRules, answer: &mut Answer, target: &str) {
        if let Some(target) = Target::parse(target).ok().and_then(|target| self.beneath_prefix(target)) {
            site.set_fields(answer, &target);
        }
    }

    /// In place of 404, for who goes to a page of an application.
    fn stand_in(&self, refusal: &Refusal, request: &Request<'_>, now: SystemTime) -> Option<Answer> {
        let path = self.rules.spa.as_ref().filter(|_| refusal.status == 404)?;
        // Named, not only let in by `*/*`: who asks for a script or a picture is told that it is not there.
        let (_, 1..) = accept::preference(request.accept.as_deref(), "text", "html")? else { return None };
        let Ok(Sought::File(held)) = self.negotiate(request, path.as_bytes(), now) else { return None };
        let mut answer = select_from(request, held, || self.boundary());
        answer.fields.push("Vary", "Accept");
        Some(answer)
    }

    /// What the target names behind the prefix; none without the prefix.
    fn beneath_prefix<'a>(&self, target: Target<'a>) -> Option<Target<'a>> {
        match &self.rules.prefix {
            Some(prefix) => target.beneath(prefix),
            None => Some(target),
        }
    }

    fn decide(&self, request: &Request<'_>, site: Option<&SiteRules>, now: SystemTime) -> Result<Answer, Refusal> {
        method(request)?;
        match target(request)? {
            Some(target) if *request.method != Method::Options => {
                let target = self.beneath_prefix(target).ok_or(Refusal::from(404))?;
                match self.resource_or_redirect(request, &target, site, now) {
                    Ok(Resource::File(held)) => {
                        let mut answer = select_from(request, held, || self.boundary());
                        let name = || target.asks_for("download").then(|| self.name(&target)).flatten();
                        if let (200 | 206, Some(name)) = (answer.status.0, name()) {
                            answer.fields.push("Content-Disposition", escape::attachment(name));
                        }
                        Ok(answer)
                    }
                    Ok(Resource::Folder(listing)) => Ok(folder(listing)),
                    Ok(Resource::Archive(answer)) => Ok(*answer),
                    Ok(Resource::Elsewhere(status, location)) => Ok(redirect(status, location)),
                    Ok(Resource::Missing(held)) => Ok(missing(held)),
                    Err(refusal) => self.stand_in(&refusal, request, now).ok_or(refusal),
                }
            }
            // What can be done is the same everywhere, whether there is a file or not.
            _ => Ok(self.options()),
        }
    }

    /// What can be done, also for a browser that asks on behalf of a page of another origin (a CORS preflight request).
    fn options(&self) -> Answer {
        let answer = Answer::without_content(204).with("Allow", ALLOW);
        match self.rules.cors {
            Some(_) => answer
                .with("Access-Control-Allow-Methods", ALLOW)
                // `*` does not stand for this one.
                .with("Access-Control-Allow-Headers", "*, Authorization")
                .with("Access-Control-Max-Age", "86400"),
            None => answer,
        }
    }

    fn boundary(&self) -> String {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(self.boundaries.fetch_add(1, Ordering::Relaxed));
        format!("{:016x}", hasher.finish())
    }
}

/// Sets these fields, all lines of them, in place of those of the same name.
fn set_fields(fields: &mut Vec<Field>, headers: &[(String, String)]) {
    fields.retain(|(known, _)| !headers.iter().any(|(name, _)| known.eq_ignore_ascii_case(name)));
    fields.extend(headers.iter().map(|(name, value)| (name.clone().into(), value.clone().into())));
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
        Some(host) => {
            host.is_empty() || !host.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'/' | b'@'))
        }
    };
    if malformed {
        return Err(Refusal::from(400));
    }
    if *request.method == Method::Options && request.target == "*" {
        return Ok(None);
    }
    Target::parse(request.target).map(Some).map_err(|_| Refusal::from(400))
}

/// What of a representation a client is to have.
enum Wanted {
    Whole,
    /// These bytes, none of them twice.
    Ranges(Vec<std::ops::Range<u64>>),
    /// It has it already.
    Nothing,
    Refusal(Refusal),
}

fn wanted(request: &Request<'_>, validators: &Validators, length: u64) -> Wanted {
    match evaluate(request, validators) {
        Outcome::Failed => return Wanted::Refusal(Refusal::from(412)),
        Outcome::NotModified => return Wanted::Nothing,
        Outcome::Proceed => {}
    }
    // Range is defined for GET alone (RFC 9110 section 14.2).
    let selected = match request.range.as_deref() {
        Some(range) if *request.method == Method::Get && range_applies(request, validators) => select(range, length),
        _ => Selected::Whole,
    };
    match selected {
        Selected::Whole => Wanted::Whole,
        Selected::Ranges(ranges) => Wanted::Ranges(ranges),
        Selected::Unsatisfiable => {
            let field = Some(("Content-Range".into(), format!("bytes */{length}").into()));
            Wanted::Refusal(Refusal { status: 416, field })
        }
    }
}

/// The answer with a file, or with what of it the client has not yet.
fn select_from(request: &Request<'_>, held: Held, boundary: impl Fn() -> String) -> Answer {
    let validated = |mut answer: Answer| {
        answer.fields.own.extend(held.validating());
        answer
    };
    let length = held.version.length;
    let ranges = match wanted(request, &held.validators, length) {
        Wanted::Nothing => return validated(Answer::without_content(304)),
        Wanted::Refusal(refusal) => return validated(refuse(&refusal, request, None)),
        Wanted::Whole => {
            let (opened, fields) = held.into_parts();
            return Answer { fields, ..Answer::new(200, Body::opened(opened, 0..length)) };
        }
        Wanted::Ranges(ranges) => ranges,
    };
    let mut own = held.fields.clone();
    let (opened, _) = held.into_parts();
    let body = match <[_; 1]>::try_from(ranges) {
        Ok([range]) => {
            own.push(("Content-Range".into(), content_range(&range, length).into()));
            Body::opened(opened, range)
        }
        Err(ranges) => {
            let boundary = boundary();
            let mut content_type = Cow::Borrowed("");
            for (_, value) in own.iter_mut().filter(|(name, _)| name == "Content-Type") {
                let multipart = format!("multipart/byteranges; boundary={boundary}");
                content_type = std::mem::replace(value, multipart.into());
            }
            Body::parts(Parts { opened, length, ranges, content_type, boundary })
        }
    };
    Answer { fields: Fields { shared: None, own }, ..Answer::new(206, body) }
}

fn folder(listing: Box<Listing>) -> Answer {
    let (content_type, policy) = match listing.format() {
        Format::Html => (HTML, page::LISTING_POLICY),
        Format::Json => ("application/json", page::POLICY),
    };
    Answer::new(200, Body::listing(listing))
        .with("Content-Type", content_type)
        .with("X-Content-Type-Options", "nosniff")
        .with("Content-Security-Policy", policy)
        .with("Cache-Control", "no-cache")
        .with("Vary", "Accept")
}

/// A file that says that there is nothing: no version of anything that could be asked for again.
fn missing(held: Held) -> Answer {
    let length = held.version.length;
    let kept = |name: &str| matches!(name, "Content-Type" | "Content-Encoding" | "Vary" | "X-Content-Type-Options");
    let own = held.fields.iter().filter(|(name, _)| kept(name)).cloned().collect();
    let (opened, _) = held.into_parts();
    Answer { fields: Fields { shared: None, own }, ..Answer::new(404, Body::opened(opened, 0..length)) }
}

fn redirect(status: u16, location: String) -> Answer {
    Answer::new(status, Body::bytes(format!("It is at {location}\n")))
        .with("Content-Type", PLAIN)
        .with("X-Content-Type-Options", "nosniff")
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
    answer.fields.own.extend(refusal.field.clone());
    answer
}
