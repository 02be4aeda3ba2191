//! `_headers` and `_redirects` as they are now: read at the start, and again when they change.
//!
//! They are looked at once a second at most, by whichever request comes first in it; the others go on with what is known.
//! Where there are no rules a request costs one look at one number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Answer, Field};
use crate::http::site_files::{Parsed, Path, headers, redirects};
use crate::http::target::Target;
use crate::http::validator::Version;
use crate::limits::SITE_FILE;
use crate::tree::{Found, Tree};

const HEADERS: &str = "_headers";
const REDIRECTS: &str = "_redirects";

/// Whether this is the path of one of the files. Some file systems take capitals for small letters.
pub(super) fn is_one(path: &[u8]) -> bool {
    [HEADERS, REDIRECTS].iter().any(|name| path.eq_ignore_ascii_case(name.as_bytes()))
}

/// What is known of the files.
#[derive(Debug)]
pub(super) struct SiteFiles {
    /// The second of the last look, times two, and one more if there are rules.
    looked: AtomicU64,
    rules: RwLock<Arc<SiteRules>>,
    /// In the hand of who looks.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    headers: Kept<headers::Rule>,
    redirects: Kept<redirects::Rule>,
}

/// The rules of a site at one time.
#[derive(Debug, Default)]
pub(crate) struct SiteRules {
    headers: Arc<Parsed<headers::Rule>>,
    redirects: Arc<Parsed<redirects::Rule>>,
}

/// One of the files.
#[derive(Debug)]
struct Kept<R> {
    /// The version that was read; none if it may change again unseen.
    version: Option<Version>,
    parsed: Arc<Parsed<R>>,
    /// Why it could not be read at the last look, if it is there.
    trouble: Option<io::ErrorKind>,
}

impl<R> Default for Kept<R> {
    fn default() -> Self {
        Self { version: None, parsed: Arc::default(), trouble: None }
    }
}

impl Default for SiteFiles {
    fn default() -> Self {
        Self { looked: AtomicU64::new(NEVER), rules: RwLock::default(), known: Mutex::default() }
    }
}

/// No time of any request.
const NEVER: u64 = u64::MAX - 1;

impl SiteFiles {
    /// The rules at the time `now`; none if there are none.
    pub(super) fn rules(&self, tree: &Tree, now: SystemTime) -> Option<Arc<SiteRules>> {
        let second = second_of(now);
        let mut looked = self.looked.load(Ordering::Acquire);
        if looked & !1 != second {
            self.look(tree, now, second);
            looked = self.looked.load(Ordering::Acquire);
        }
        (looked & 1 == 1).then(|| Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks whether the files have changed, unless somebody else does.
    fn look(&self, tree: &Tree, now: SystemTime, second: u64) {
        let mut known = match self.known.try_lock() {
            Ok(known) => known,
            // What a panic left is compared with the files as ever.
            Err(TryLockError::Poisoned(known)) => known.into_inner(),
            // As long as nothing was ever looked at, nobody is answered without the rules.
            Err(TryLockError::WouldBlock) if self.looked.load(Ordering::Acquire) == NEVER => {
                self.known.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return,
        };
        let looked = self.looked.load(Ordering::Relaxed);
        if looked & !1 == second {
            // Somebody was quicker.
            return;
        }
        // Before the files: whoever comes while the disk is slow does not even try, if there is something to go on with.
        if looked != NEVER {
            self.looked.store(second | looked & 1, Ordering::Release);
        }
        let [headers, redirects] = known.look(tree, now, false);
        headers.into_iter().chain(redirects).for_each(|trouble| log::warn!("{trouble}"));
        self.set(&known, second);
    }

    /// Reads the files again, whatever was known of them. For each of them its name, and why it cannot be read if it is there;
    /// its rules are those of before then.
    pub(super) fn read_again(&self, tree: &Tree, now: SystemTime) -> [(&'static str, Option<String>); 2] {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let [headers, redirects] = known.look(tree, now, true);
        self.set(&known, second_of(now));
        [(HEADERS, headers), (REDIRECTS, redirects)]
    }

    /// Makes what is known the rules from this second on.
    fn set(&self, known: &Known, second: u64) {
        let (headers, redirects) = (&known.headers.parsed, &known.redirects.parsed);
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&rules.headers, headers) || !Arc::ptr_eq(&rules.redirects, redirects) {
            *rules = Arc::new(SiteRules { headers: Arc::clone(headers), redirects: Arc::clone(redirects) });
        }
        let some = !(headers.rules.is_empty() && redirects.rules.is_empty());
        self.looked.store(second | u64::from(some), Ordering::Release);
    }
}

/// The second of this time, times two.
fn second_of(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() << 1
}

impl Known {
    /// Looks at both files; what is new about those that cannot be read, or all of it if they are to be read `again`.
    fn look(&mut self, tree: &Tree, now: SystemTime, again: bool) -> [Option<String>; 2] {
        [
            self.headers.look(HEADERS, tree, now, again, headers::parse),
            self.redirects.look(REDIRECTS, tree, now, again, redirects::parse),
        ]
    }
}

impl<R: PartialEq> Kept<R> {
    /// Takes what the file says now. A file that is gone says nothing; one that is there and cannot be read leaves what it said
    /// before, and is told of.
    fn look(
        &mut self,
        name: &str,
        tree: &Tree,
        now: SystemTime,
        again: bool,
        parse: impl Fn(&[u8]) -> Parsed<R>,
    ) -> Option<String> {
        let read = match read(tree, name, self.version.filter(|_| !again)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let trouble = Some(error.kind());
                let known = std::mem::replace(&mut self.trouble, trouble) == trouble && !again;
                return (!known).then(|| format!("{name} cannot be read, so what it said before holds: {error}"));
            }
            read => read,
        };
        self.trouble = None;
        let parsed = match read {
            Ok(None) => return None,
            Ok(Some((version, text))) => {
                self.version = Some(version).filter(|version| version.is_settled(now));
                parse(&text)
            }
            Err(_) => {
                self.version = None;
                Parsed::default()
            }
        };
        let changed = *self.parsed != parsed;
        if changed || again {
            for wrong in &parsed.wrong {
                log::warn!("{name}, line {}, is left out: {}", wrong.line, wrong.reason);
            }
            if parsed.more_wrong > 0 {
                log::warn!("{name}: {} more lines are left out", parsed.more_wrong);
            }
        }
        if changed {
            let count = parsed.rules.len();
            log::info!("{name}: {count} rule{}", if count == 1 { "" } else { "s" });
            self.parsed = Arc::new(parsed);
        }
        None
    }
}

/// The file, unless it is the version that is known; a byte more than what counts of it at most.
fn read(tree: &Tree, name: &str, known: Option<Version>) -> io::Result<Option<(Version, Vec<u8>)>> {
    match tree.open(name.as_bytes())? {
        Found::File(_, version) if Some(version) == known => Ok(None),
        Found::File(file, version) => Ok(Some((version, begin(&file, SITE_FILE + 1)?))),
        Found::Folder(_) => Err(io::ErrorKind::NotFound.into()),
    }
}

/// So many bytes, or all there are.
fn begin(file: &File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl SiteRules {
    /// Where else a target leads.
    pub(super) fn redirect(&self, target: &Target<'_>) -> Option<redirects::Redirect> {
        match &*self.redirects.rules {
            [] => None,
            rules => redirects::find(rules, &Path::new(target)),
        }
    }

    /// Gives an answer to this target the fields of its path, in place of those of the same name. How long an answer keeps is
    /// said of what is there, not of an error, which may be over in a moment.
    pub(super) fn set_fields(&self, answer: &mut Answer, target: &Target<'_>) {
        if self.headers.rules.is_empty() {
            return;
        }
        let failed = answer.status.0 >= 400;
        let mut changes = headers::changes(&self.headers.rules, &Path::new(target));
        changes.retain(|(name, _)| !(failed && name.eq_ignore_ascii_case("cache-control")));
        if changes.is_empty() {
            return;
        }
        if let Some(shared) = answer.fields.shared.take() {
            answer.fields.own.splice(0..0, shared.fields.iter().cloned());
        }
        let own = &mut answer.fields.own;
        own.retain(|(known, _)| !changes.iter().any(|(name, _)| known.eq_ignore_ascii_case(name)));
        let set = |(name, value): (&str, Option<String>)| Some::<Field>((name.to_owned().into(), value?.into()));
        own.extend(changes.into_iter().filter_map(set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A folder, and a second of the far future, at which everything is settled.
    fn site(headers: &str) -> (tempfile::TempDir, Tree, impl Fn(u64) -> SystemTime) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(HEADERS), headers).unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        let begin = SystemTime::now() + Duration::from_secs(1000);
        (folder, tree, move |second| begin + Duration::from_secs(second))
    }

    fn fields(files: &SiteFiles, tree: &Tree, now: SystemTime) -> Option<usize> {
        files.rules(tree, now).map(|rules| rules.headers.rules.len())
    }

    #[test]
    fn the_files_are_looked_at_once_a_second_and_what_changes_counts() {
        let (folder, tree, at) = site("/a\n X-A: b\n");
        let (files, path) = (SiteFiles::default(), folder.path().join(HEADERS));
        assert_eq!(fields(&files, &tree, at(0)), Some(1));
        std::fs::write(&path, "/a\n X-A: b\n/b\n X-A: b\n").unwrap();
        assert_eq!(fields(&files, &tree, at(0)), Some(1));
        assert_eq!(fields(&files, &tree, at(1)), Some(2));
        // Also if the clock is set back.
        std::fs::remove_file(&path).unwrap();
        assert_eq!((fields(&files, &tree, at(1)), fields(&files, &tree, at(0))), (Some(2), None));
        assert_eq!(fields(&files, &tree, UNIX_EPOCH - Duration::from_secs(1)), None);
        std::fs::write(folder.path().join(REDIRECTS), "/a /b\n").unwrap();
        assert_eq!((fields(&files, &tree, at(1)), fields(&files, &tree, at(2))), (Some(0), Some(0)));
        std::fs::write(&path, "nothing that counts\n").unwrap();
        std::fs::write(folder.path().join(REDIRECTS), "# nothing\n").unwrap();
        assert_eq!(fields(&files, &tree, at(3)), None);
    }

    #[test]
    fn what_may_have_changed_unseen_is_read_again() {
        let (folder, tree, at) = site("/a\n X-A: b\n");
        let (files, path) = (SiteFiles::default(), folder.path().join(HEADERS));
        let soon = SystemTime::now();
        assert_eq!(fields(&files, &tree, soon), Some(1));
        assert_eq!(files.known.lock().unwrap().headers.version, None);
        assert_eq!(fields(&files, &tree, at(0)), Some(1));
        assert!(files.known.lock().unwrap().headers.version.is_some());
        drop((folder, path));
    }

    #[test]
    fn while_one_looks_the_others_go_on() {
        let (folder, tree, at) = site("/a\n X-A: b\n");
        let files = SiteFiles::default();
        assert_eq!(fields(&files, &tree, at(0)), Some(1));
        std::fs::remove_file(folder.path().join(HEADERS)).unwrap();
        let looking = files.known.lock().unwrap();
        assert_eq!(fields(&files, &tree, at(1)), Some(1));
        drop(looking);
        assert_eq!(fields(&files, &tree, at(1)), None);
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_what_it_said_holds() {
        let (folder, tree, at) = site("/a\n X-A: b\n");
        let (files, path) = (SiteFiles::default(), folder.path().join(HEADERS));
        assert_eq!(fields(&files, &tree, at(0)), Some(1));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/", &path).unwrap();
        let look = |again| {
            let [told, other] = files.known.lock().unwrap().look(&tree, at(1), again);
            (told.is_some(), other.is_some())
        };
        assert_eq!(
            [look(false), look(false), look(true), look(false)],
            [true, false, true, false].map(|told| (told, false))
        );
        assert_eq!(fields(&files, &tree, at(2)), Some(1));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((look(false), fields(&files, &tree, at(3))), ((false, false), None));
    }

    #[test]
    fn only_a_regular_file_beneath_the_root_counts() {
        let (folder, tree, at) = site("/a\n X-A: b\n");
        let path = folder.path().join(HEADERS);
        let mut count = 0;
        let mut look = |put: &dyn Fn()| {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
            put();
            count += 1;
            fields(&SiteFiles::default(), &tree, at(count))
        };
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "/a\n X-A: b\n").unwrap();
        let link = |to: &std::path::Path| std::os::unix::fs::symlink(to, &path).unwrap();
        assert_eq!(look(&|| std::fs::create_dir(&path).unwrap()), None);
        assert_eq!(look(&|| link(outside.path())), None);
        std::fs::write(folder.path().join("beside"), "/a\n X-A: b\n").unwrap();
        assert_eq!(look(&|| link("beside".as_ref())), Some(1));
        assert_eq!(look(&|| std::fs::write(&path, vec![b'x'; 10 * SITE_FILE]).unwrap()), None);
    }
}
