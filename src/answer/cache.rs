//! Representations that are wanted often: the content of small files, the open files of larger ones.
//!
//! What is kept is not out of date, as far as the file system tells of a change (through a memory map a page may change again
//! and again before its time does). Before it is used, one look at each folder on the way to the file and one at the file
//! itself (`statx(2)`) tells whether it is still the same one, unchanged, and where it was. Only what was found without
//! symbolic links is kept, so that a link that was put in the way is noticed, wherever it leads.

use std::collections::VecDeque;
use std::collections::hash_map::{HashMap, RandomState};
use std::hash::BuildHasher;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::representation::{Held, Representation, Source};
use crate::limits::{CACHED_CONTENT, CACHED_FILES};
use crate::tree::Tree;

/// Paths that are remembered as asked for once. What is asked for again before another one took its place may be kept.
const ASKED: usize = 1024;
/// While there is no room, one in so many of those is kept in place of another one: a walk through thousands of files drives
/// little out, and what is asked for all the time comes in all the same.
const EXCHANGED: u32 = 64;
/// What stands behind the path of a file that is kept as a variant of another one: no path holds it.
pub(super) const VARIANT: &[u8] = b"\0";
/// Bytes that an entry costs beside its path and its content.
const OVERHEAD: usize = 1024;

/// Bounded in bytes and in open files.
#[derive(Debug)]
pub(super) struct Cache {
    /// Bytes; 0: nothing is kept.
    limit: usize,
    hasher: RandomState,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// The paths of all entries, next to go first.
    queue: VecDeque<Arc<[u8]>>,
    /// Bytes of all entries.
    bytes: usize,
    /// Entries that are open files.
    files: usize,
    /// The hashes of paths that were asked for, each at its place.
    asked: Vec<u32>,
    /// How often there was no room.
    crowded: u32,
}

#[derive(Debug)]
struct Entry {
    representation: Arc<Representation>,
    bytes: usize,
    /// Asked for since it was last considered to go.
    wanted: bool,
}

impl Entry {
    /// Its content is being sent. To let go of it would give nothing back: slow clients could hold any number of files.
    fn is_lent(&self) -> bool {
        !self.is_file() && Arc::strong_count(&self.representation) > 1
    }

    fn is_file(&self) -> bool {
        matches!(self.representation.source, Source::File(_))
    }
}

impl Cache {
    /// Of so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, hasher: RandomState::new(), kept: Mutex::default() }
    }

    /// The representation at this path, or the [`VARIANT`], if it is kept and still the one.
    pub(super) fn get(&self, tree: &Tree, path: &[u8]) -> Option<Arc<Representation>> {
        if self.limit == 0 {
            return None;
        }
        let found = self.lock().entries.get_mut(path).map(|entry| {
            entry.wanted = true;
            Arc::clone(&entry.representation)
        })?;
        if found.place.as_ref().is_some_and(|place| tree.is_still(file_of(path), place)) {
            return Some(found);
        }
        self.lock().remove(path, Some(&found));
        None
    }

    /// Keeps what was found at this path, if it may be asked for again and nothing can change unseen.
    pub(super) fn offer(&self, tree: &Tree, path: &[u8], fresh: Representation, now: SystemTime) -> Held {
        if self.limit == 0 || !fresh.version.is_settled(now) || !self.is_asked_again(path) {
            return Held::Fresh(Box::new(fresh));
        }
        let Source::File(file) = &fresh.source else { return Held::Fresh(Box::new(fresh)) };
        let small = usize::try_from(fresh.version.length).ok().filter(|length| *length <= CACHED_CONTENT);
        let bytes = OVERHEAD + 2 * path.len() + small.unwrap_or(0);
        let mut kept = self.lock();
        if !kept.admits(bytes, small.is_none(), self.limit) || !kept.make_room(bytes, small.is_none(), self.limit) {
            drop(kept);
            return Held::Fresh(Box::new(fresh));
        }
        drop(kept);
        let content = small.and_then(|length| {
            let mut content = vec![0; length].into_boxed_slice();
            file.read_exact_at(&mut content, 0).ok()?;
            Some(content)
        });
        // Behind the reading: what is as it was when the file was opened has not changed in between.
        let Some(place) = tree.place(file_of(path)).filter(|place| place.version == fresh.version) else {
            return Held::Fresh(Box::new(fresh));
        };
        let source = content.map_or(fresh.source, Source::Content);
        let representation = Arc::new(Representation { source, place: Some(place), ..fresh }.with_lines());
        let entry = Entry { representation: Arc::clone(&representation), bytes, wanted: false };
        self.lock().insert(path, entry, self.limit);
        Held::Kept(representation)
    }

    /// Lets go what nobody has asked for since the last time, so that no file is held open for good.
    pub(super) fn tidy(&self) {
        let mut kept = self.lock();
        for _ in 0..kept.queue.len() {
            kept.consider();
        }
        if kept.entries.is_empty() {
            *kept = Kept::default();
        }
    }

    fn is_asked_again(&self, path: &[u8]) -> bool {
        let hash = self.hasher.hash_one(path);
        let (place, mark) = (hash as usize % ASKED, (hash >> 32) as u32 | 1);
        let mut kept = self.lock();
        kept.asked.resize(ASKED, 0);
        kept.asked.get_mut(place).is_some_and(|asked| std::mem::replace(asked, mark) == mark)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic leaves an entry too many in the queue at worst, which is passed over.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of the file.
fn file_of(key: &[u8]) -> &[u8] {
    key.strip_suffix(VARIANT).unwrap_or(key)
}

impl Kept {
    /// Whether another entry of so many bytes is to be kept; `open`: it is an open file.
    fn admits(&mut self, bytes: usize, open: bool, limit: usize) -> bool {
        if self.bytes + bytes <= limit && !(open && self.files >= CACHED_FILES) {
            return true;
        }
        self.crowded = self.crowded.wrapping_add(1);
        bytes <= limit && self.crowded % EXCHANGED == 0
    }

    fn insert(&mut self, path: &[u8], entry: Entry, limit: usize) {
        self.remove(path, None);
        // Others may have been faster; all workers at once may exceed the bound by an entry each.
        self.make_room(entry.bytes, entry.is_file(), limit);
        let path: Arc<[u8]> = path.into();
        self.bytes += entry.bytes;
        self.files += usize::from(entry.is_file());
        self.queue.push_back(Arc::clone(&path));
        self.entries.insert(path, entry);
    }

    /// Lets others go until another entry of so many bytes has room; `open`: it is an open file. False if there is none.
    fn make_room(&mut self, bytes: usize, open: bool, limit: usize) -> bool {
        let fits = |kept: &Self| kept.bytes + bytes <= limit && !(open && kept.files >= CACHED_FILES);
        // Twice around: the first time may find all of them wanted.
        for _ in 0..2 * self.queue.len() {
            if fits(self) {
                break;
            }
            self.consider();
        }
        fits(self)
    }

    /// Lets the next one go, or says that it must be asked for again before its next turn.
    fn consider(&mut self) {
        let Some(path) = self.queue.pop_front() else { return };
        match self.entries.get_mut(&path) {
            Some(entry) if entry.wanted || entry.is_lent() => {
                entry.wanted = false;
                self.queue.push_back(path);
            }
            Some(_) => self.forget(&path),
            None => {}
        }
    }

    /// Removes the entry at this path, if it is this one.
    fn remove(&mut self, path: &[u8], only: Option<&Arc<Representation>>) {
        let Some(entry) = self.entries.get(path) else { return };
        if only.is_none_or(|only| Arc::ptr_eq(only, &entry.representation)) {
            self.queue.retain(|queued| **queued != *path);
            self.forget(path);
        }
    }

    fn forget(&mut self, path: &[u8]) {
        if let Some(entry) = self.entries.remove(path) {
            self.bytes -= entry.bytes;
            self.files -= usize::from(entry.is_file());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;
    use crate::tree::Found;
    use std::time::Duration;

    /// A time at which everything of now is settled.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    fn ask(cache: &Cache, tree: &Tree, path: &str, now: SystemTime) -> bool {
        if cache.get(tree, path.as_bytes()).is_some() {
            return true;
        }
        let Ok(Found::File(file, version)) = tree.open(path.as_bytes()) else { return false };
        let fresh = Representation::new(file, version, "text/plain".into(), &Rules::default(), now);
        let _ = cache.offer(tree, path.as_bytes(), fresh, now);
        false
    }

    #[test]
    fn what_is_asked_for_twice_is_kept_within_the_bounds() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..200 {
            std::fs::write(folder.path().join(format!("small-{number}")), vec![0; 1000]).unwrap();
            std::fs::write(folder.path().join(format!("large-{number}")), vec![0; CACHED_CONTENT + 1]).unwrap();
        }
        let (tree, cache) = (Tree::new(folder.path()).unwrap(), Cache::new(100_000));
        let names: Vec<_> =
            (0..200).flat_map(|number| [format!("small-{number}"), format!("large-{number}")]).collect();
        assert!(!ask(&cache, &tree, "small-0", later()) && !ask(&cache, &tree, "small-0", later()));
        assert!(ask(&cache, &tree, "small-0", later()), "the third time it is there");
        for name in &names {
            (0..3).for_each(|_| _ = ask(&cache, &tree, name, later()));
            // While there is no room, only now and then one comes in.
            let kept = cache.lock();
            assert!(kept.bytes <= 100_000 && kept.files <= CACHED_FILES && kept.queue.len() == kept.entries.len());
            assert_eq!(kept.bytes, kept.entries.values().map(|entry| entry.bytes).sum::<usize>());
            assert_eq!(kept.files, kept.entries.values().filter(|entry| entry.is_file()).count());
        }
        let tries = (0..10 * EXCHANGED).take_while(|_| !ask(&cache, &tree, "large-199", later())).count();
        assert!((1..=2 * EXCHANGED as usize).contains(&tries), "{tries} tries");
        cache.tidy();
        assert!(ask(&cache, &tree, "large-199", later()), "it was wanted");
        cache.tidy();
        cache.tidy();
        let kept = cache.lock();
        assert_eq!((kept.entries.len(), kept.queue.len(), kept.bytes, kept.files), (0, 0, 0, 0));
    }

    #[test]
    fn what_is_being_sent_counts_until_its_end() {
        let folder = tempfile::tempdir().unwrap();
        (0..100).for_each(|number| std::fs::write(folder.path().join(number.to_string()), vec![0; 10_000]).unwrap());
        let (tree, cache) = (Tree::new(folder.path()).unwrap(), Cache::new(50_000));
        let mut lent = Vec::new();
        for name in (0..100).map(|number: usize| number.to_string()) {
            for _ in 0..2 * EXCHANGED {
                ask(&cache, &tree, &name, later());
                lent.extend(cache.get(&tree, name.as_bytes()));
            }
            cache.tidy();
            assert!(cache.lock().bytes <= 50_000);
        }
        lent.sort_by_key(Arc::as_ptr);
        lent.dedup_by_key(|lent| Arc::as_ptr(lent));
        assert_eq!(lent.len(), 4, "as many as there is room for");
        drop(lent);
        let tries = (0..10 * EXCHANGED).take_while(|_| !ask(&cache, &tree, "99", later())).count();
        assert!(tries <= 2 * EXCHANGED as usize, "{tries} tries");
    }

    #[test]
    fn what_may_change_unseen_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "file").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::fs::write(folder.path().join("folder/file"), "file").unwrap();
        std::os::unix::fs::symlink("folder", folder.path().join("to-folder")).unwrap();
        let (tree, cache) = (Tree::new(folder.path()).unwrap(), Cache::new(100_000));
        for (path, now, kept) in [
            ("file", SystemTime::now(), false),
            ("link", later(), false),
            ("to-folder/file", later(), false),
            ("file", later(), true),
            ("folder/file", later(), true),
        ] {
            (0..3).for_each(|_| _ = ask(&cache, &tree, path, now));
            assert_eq!(ask(&cache, &tree, path, now), kept, "{path}");
        }
    }

    #[test]
    fn what_has_changed_is_not_used() {
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().join("root");
        let file = root.join("folder/file");
        let changes: [(&str, &dyn Fn()); 6] = [
            ("content", &|| std::fs::write(&file, "ELIF").unwrap()),
            ("another file", &|| std::fs::rename(root.join("other"), &file).unwrap()),
            ("gone", &|| std::fs::remove_file(&file).unwrap()),
            ("a link", &|| {
                std::fs::rename(&file, lab.path().join("moved")).unwrap();
                std::os::unix::fs::symlink(lab.path().join("moved"), &file).unwrap();
            }),
            ("the folder is a link", &|| {
                std::fs::rename(root.join("folder"), lab.path().join("moved-folder")).unwrap();
                std::os::unix::fs::symlink(lab.path().join("moved-folder"), root.join("folder")).unwrap();
            }),
            ("another folder", &|| {
                std::fs::rename(root.join("folder"), root.join("away")).unwrap();
                std::fs::create_dir(root.join("folder")).unwrap();
                std::fs::hard_link(root.join("away/file"), &file).unwrap();
            }),
        ];
        for (name, change) in changes {
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(root.join("folder")).unwrap();
            std::fs::write(root.join("other"), "file").unwrap();
            std::fs::write(&file, "file").unwrap();
            let (tree, cache) = (Tree::new(&root).unwrap(), Cache::new(100_000));
            (0..2).for_each(|_| _ = ask(&cache, &tree, "folder/file", later()));
            assert!(ask(&cache, &tree, "folder/file", later()), "{name}");
            change();
            assert!(cache.get(&tree, b"folder/file").is_none(), "{name}");
        }
    }
}
