//! The names in a folder: as the file system has them, some at a time; or the smallest behind a name, whatever their number.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io;

/// A folder that is read some names at a time. In between nothing is held but the folder.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: File,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    names: rustix::fs::Dir,
}

/// Bytes of names, as the kernel writes them, that are read at once by who wants all of them.
pub(crate) const MANY: usize = 8 << 10;

impl Reader {
    /// Whether there are places in a folder that another reader can go to.
    pub(crate) const PLACES: bool = cfg!(any(target_os = "linux", target_os = "android"));

    /// Of an open folder, which nobody else reads.
    pub(crate) fn new(folder: File) -> io::Result<Self> {
        Ok(Self {
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            names: rustix::fs::Dir::read_from(&folder)?,
            folder,
        })
    }

    pub(crate) fn folder(&self) -> &File {
        &self.folder
    }

    /// Reads on behind the entry of this place, from the first one at place 0.
    ///
    /// # Errors
    /// Those of `lseek(2)`: the file system knows no such place. One that it does not know and takes all the same leads somewhere
    /// into the folder, or behind its end.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn go_to(&mut self, place: u64) -> io::Result<()> {
        Ok(rustix::fs::seek(&self.folder, rustix::fs::SeekFrom::Start(place)).map(drop)?)
    }

    /// Reads from the first entry on. There are no other places.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn go_to(&mut self, place: u64) -> io::Result<()> {
        if place != 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.names.rewind();
        Ok(())
    }

    /// Visits the next names, as many as stand in so many bytes, each with the place behind it, until `visit` returns false: what of
    /// them was not visited is passed over, and found again from the last place. Returns whether there may be more.
    ///
    /// # Errors
    /// Those of `getdents(2)`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn some<const BYTES: usize>(&mut self, mut visit: impl FnMut(&[u8], u64) -> bool) -> io::Result<bool> {
        use rustix::io::Errno;
        let mut room = [const { std::mem::MaybeUninit::uninit() }; BYTES];
        let mut names = rustix::fs::RawDir::new(&self.folder, &mut room);
        loop {
            match names.next() {
                // A folder that was removed has no entries.
                None | Some(Err(Errno::NOENT)) => return Ok(false),
                Some(Err(Errno::INTR)) => continue,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if !matches!(name, b"." | b"..") && !visit(name, entry.next_entry_cookie()) {
                        return Ok(true);
                    }
                }
            }
            if names.is_buffer_empty() {
                return Ok(true);
            }
        }
    }

    /// Visits the next names until `visit` returns false. Returns whether there may be more.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn some<const BYTES: usize>(&mut self, mut visit: impl FnMut(&[u8], u64) -> bool) -> io::Result<bool> {
        // As many as there are on Linux if the names are short.
        for _ in 0..BYTES / 24 {
            let Some(entry) = self.names.read() else { return Ok(false) };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !visit(name, 0) {
                break;
            }
        }
        Ok(true)
    }

    /// Visits all names from the first one on, until `visit` returns false.
    ///
    /// # Errors
    /// Those of [`some`](Self::some).
    pub(crate) fn all(&mut self, mut visit: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        self.go_to(0)?;
        let mut wanted = true;
        while wanted
            && self.some::<MANY>(|name, _| {
                wanted = visit(name);
                wanted
            })?
        {}
        Ok(())
    }
}

/// Names of a folder, sorted by their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) names: Vec<Box<[u8]>>,
    /// Whether there are others behind them.
    pub(crate) more: bool,
}

/// What a name costs beside its bytes, about.
pub(crate) const NAME: usize = 32;

impl Reader {
    /// The smallest names greater than `after` of those that are wanted: `most` of them, and no more than take up so many
    /// bytes of memory, but one in any case. Found in one pass over the folder, so a name that stays comes once, whatever else
    /// comes and goes: ask again behind the last of them for those that follow.
    ///
    /// # Errors
    /// Those of [`some`](Self::some).
    pub(crate) fn names_after(
        &mut self,
        after: &[u8],
        most: usize,
        bytes: usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Names> {
        let mut smallest: BinaryHeap<Box<[u8]>> = BinaryHeap::new();
        let mut held = 0;
        // The smallest name that there was no room for: a greater one would leave a gap.
        let mut end: Option<Box<[u8]>> = None;
        self.all(|name| {
            if name > after && end.as_deref().is_none_or(|end| name < end) && wanted(name) {
                held += name.len() + NAME;
                smallest.push(name.into());
                while smallest.len() > 1 && (smallest.len() > most || held > bytes) {
                    let Some(greatest) = smallest.pop() else { break };
                    held -= greatest.len() + NAME;
                    end = Some(greatest);
                }
            }
            true
        })?;
        Ok(Names { names: smallest.into_sorted_vec(), more: end.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn reader(names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Reader, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(OsStr::from_bytes(name.as_ref())), "").unwrap();
        }
        (Reader::new(File::open(folder.path()).unwrap()).unwrap(), folder)
    }

    #[test]
    fn all_names_come_and_again() {
        let names: BTreeSet<Vec<u8>> = (0..1000).map(|i| format!("{i:0>100}").into_bytes()).collect();
        let (mut reader, _folder) = reader(&names);
        for _ in 0..2 {
            let mut found = BTreeSet::new();
            reader.all(|name| found.insert(name.to_vec())).unwrap();
            assert_eq!(found, names);
        }
        let mut count = 0;
        reader.all(|_| (count += 1, count < 500).1).unwrap();
        assert_eq!(count, 500);
    }

    #[test]
    fn another_reader_goes_on_from_any_place() {
        let names: BTreeSet<Vec<u8>> = (0..300).map(|i| format!("name {i}").into_bytes()).collect();
        let (mut one, folder) = reader(&names);
        let (mut found, mut place) = (Vec::new(), 0);
        while Reader::PLACES {
            let mut step = 0;
            let more = one.some::<1024>(|name, behind| {
                (step, place) = (step + 1, behind);
                found.push(name.to_vec());
                // Not at the end of what was read.
                step < 7
            });
            if !more.unwrap() {
                break;
            }
            one = Reader::new(File::open(folder.path()).unwrap()).unwrap();
            one.go_to(place).unwrap();
        }
        assert_eq!(found.len(), if Reader::PLACES { 300 } else { 0 });
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>().len(), found.len());
    }

    #[test]
    fn a_place_that_makes_no_sense_does_no_harm() {
        let (mut reader, _folder) = reader((0..100).map(|i| i.to_string()));
        for place in [1, 2, 77, u64::from(u32::MAX), i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            let mut count = 0;
            if reader.go_to(place).is_ok() {
                while reader.some::<MANY>(|_, _| (count += 1, true).1).unwrap_or(false) {}
            }
            assert!(count <= 100, "{place}");
        }
    }

    #[test]
    fn a_folder_that_is_removed_has_no_names() {
        let (mut reader, folder) = reader(["a"]);
        drop(folder);
        assert_eq!(reader.names_after(b"", 10, 1000, |_| true).unwrap(), Names { names: Vec::new(), more: false });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn page_after_page_gives_all_that_is_wanted_in_order(
            names in proptest::collection::btree_set("[a-c\u{e4}]{1,12}", 0..60),
            most in 1usize..20, bytes in 0usize..400,
        ) {
            let (mut reader, _folder) = reader(&names);
            let wanted = |name: &[u8]| name.contains(&b'a');
            let (mut found, mut after) = (Vec::new(), Vec::new());
            loop {
                let page = reader.names_after(&after, most, bytes, wanted).unwrap();
                prop_assert!(page.names.len() <= most);
                let held: usize = page.names.iter().map(|name| name.len() + NAME).sum();
                prop_assert!(held <= bytes || page.names.len() == 1);
                after = page.names.last().map(|name| name.to_vec()).unwrap_or_default();
                found.extend(page.names);
                if !page.more {
                    break;
                }
            }
            let expected: Vec<_> = names.iter().filter(|name| wanted(name.as_bytes())).collect();
            let found: Vec<_> = found.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
