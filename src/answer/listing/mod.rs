//! The listing of a folder, as a page for people and as JSON for programs.
//!
//! Up to some number of entries are read, sorted and held while they are sent: the names and what is shown of each; the text
//! is rendered some rows at a time. Of a larger folder only as many entries are held as are rendered at once: they come in the
//! order of the folder, which is read while it is sent, and the length of the text is not known before its end. A page of the
//! JSON is held, whatever the folder.

mod query;
mod text;

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use query::{After, Column, Page};
pub(crate) use query::{Format, Query};
pub(crate) use text::Size;

use super::Refusal;
use crate::http::media_type;
use crate::limits::{LISTING_NAMES, LISTING_ROWS, LISTING_SORTED, LISTINGS_HELD};
use crate::tree::{Entry, MANY, Reader, Tree};

/// Bytes of names that are read for one segment of a listing that is not held: some 32 names.
const SOME: usize = 1 << 10;
/// How often they are read for one segment, if none of them is wanted.
const TRIES: usize = 64;

/// Entries of a folder, ready to be rendered.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The path of the folder, without slashes around it.
    path: Vec<u8>,
    query: Query,
    entries: Entries,
    /// Whether the entries are in the order that was asked for, else in that of the folder.
    sorted: bool,
    /// The query of the page behind this one.
    next: Option<String>,
    /// Where the entries come from, if they are not held.
    stream: Option<Box<Stream>>,
    share: Share,
}

/// What is held of a folder.
#[derive(Debug, Default)]
struct Entries {
    /// All names, one behind the other.
    names: Vec<u8>,
    rows: Vec<Row>,
    /// How many there were before these.
    before: u64,
    /// What there is in all, these included.
    folders: u64,
    files: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Row {
    /// Bytes.
    length: u64,
    /// Seconds since 1970.
    modified: i64,
    /// Where the name begins in `names`.
    name: u32,
    /// Bytes of the name.
    name_length: u16,
    folder: bool,
}

/// A folder that is read while its listing is sent.
#[derive(Debug)]
struct Stream {
    tree: Tree,
    reader: Reader,
    /// The segment whose entries are held; 0: none yet.
    at: usize,
    /// The segment behind the last entries, once they were read.
    end: Option<usize>,
}

impl Listing {
    /// Reads an open folder: what a client could ask for, no more.
    pub(super) fn read(
        tree: &Tree,
        folder: File,
        path: &[u8],
        query: Query,
        held: &Arc<AtomicUsize>,
    ) -> Result<Self, Refusal> {
        let mut listing = Self {
            path: path.to_vec(),
            entries: Entries::default(),
            sorted: true,
            next: None,
            stream: None,
            share: Share { held: Arc::clone(held), bytes: 0 },
            query,
        };
        let mut reader = Reader::new(folder)?;
        match listing.query.page.clone() {
            Some(page) => listing.read_page(tree, &mut reader, &page)?,
            None if listing.read_whole(&mut reader, LISTING_SORTED)? => {
                listing.entries.look(tree, reader.folder(), &listing.path);
                listing.entries.sort(&listing.query);
            }
            None => {
                reader.go_to(0)?;
                listing.entries = Entries::default();
                listing.sorted = false;
                listing.stream = Some(Box::new(Stream { tree: tree.clone(), reader, at: 0, end: None }));
            }
        }
        let Entries { names, rows, .. } = &mut listing.entries;
        names.shrink_to_fit();
        rows.shrink_to_fit();
        listing.share.settle(names.capacity() + rows.capacity() * size_of::<Row>());
        Ok(listing)
    }

    pub(super) fn format(&self) -> Format {
        self.query.format
    }

    /// Whether its text is known now, else when the folder is read.
    pub(super) fn is_held(&self) -> bool {
        self.stream.is_none()
    }

    /// Reads all names. Returns false, with some of them, if there are more than `most`, or than there is room for.
    fn read_whole(&mut self, reader: &mut Reader, most: usize) -> io::Result<bool> {
        let Self { query, entries, share, .. } = self;
        let mut fits = true;
        reader.all(|name| {
            if query.wants(name) {
                let names = entries.names.len() + name.len();
                let room = names + (entries.rows.len() + 1) * size_of::<Row>();
                fits = entries.rows.len() < most && names <= LISTING_NAMES && share.reaches(room.next_power_of_two());
                if fits {
                    entries.push(name);
                }
            }
            fits
        })?;
        Ok(fits)
    }

    fn read_page(&mut self, tree: &Tree, reader: &mut Reader, page: &Page) -> Result<(), Refusal> {
        // A page may have fewer entries than were asked for.
        let mut limit = page.limit;
        let names = |limit: usize| LISTING_NAMES.min(limit * NAME);
        while !self.share.reaches(2 * names(limit) + limit * size_of::<Row>()) {
            limit /= 2;
            if limit == 0 {
                return Err(Refusal::from(503));
            }
        }
        let after = match &page.after {
            After::Nothing if Reader::PLACES && !self.is_small(reader)? => After::Place(0),
            After::Nothing => After::Name(Vec::new()),
            other => other.clone(),
        };
        let next = match after {
            After::Place(place) => self.read_behind_place(reader, place, limit, names(limit))?,
            After::Name(name) => self.read_behind_name(reader, &name, limit, names(limit))?,
            After::Nothing => None,
        };
        self.entries.look(tree, reader.folder(), &self.path);
        let next = next.map(|next| format!("format=json&limit={}&after={next}", page.limit));
        self.next = next.map(|next| self.query.link(next, "&"));
        Ok(())
    }

    /// Whether there are no more entries than are sorted.
    fn is_small(&self, reader: &mut Reader) -> io::Result<bool> {
        let mut count = 0;
        reader.all(|name| {
            count += usize::from(self.query.wants(name));
            count <= LISTING_SORTED
        })?;
        Ok(count <= LISTING_SORTED)
    }

    /// Reads the smallest names behind this one. Returns behind which others follow.
    fn read_behind_name(
        &mut self,
        reader: &mut Reader,
        after: &[u8],
        limit: usize,
        bytes: usize,
    ) -> io::Result<Option<After>> {
        let found = reader.names_after(after, limit, bytes, |name| self.query.wants(name))?;
        let next = found.names.last().filter(|_| found.more).map(|name| After::Name(name.to_vec()));
        found.names.into_iter().for_each(|name| self.entries.push(&name));
        Ok(next)
    }

    /// Reads the names that follow at this place. Returns the one at which others do.
    fn read_behind_place(
        &mut self,
        reader: &mut Reader,
        place: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<After>, Refusal> {
        self.sorted = false;
        reader.go_to(place).map_err(|_| Refusal::from(400))?;
        let Self { query, entries, .. } = self;
        let (mut next, mut full) = (place, false);
        while !full
            && reader.some::<MANY>(|name, behind| {
                if query.wants(name) {
                    full = entries.rows.len() == limit || entries.names.len() + name.len() > bytes;
                    if full {
                        return false;
                    }
                    entries.push(name);
                }
                next = behind;
                true
            })?
        {}
        Ok(full.then_some(After::Place(next)))
    }

    /// Bytes of its text, if it is known now.
    pub(super) fn length(&self) -> Option<u64> {
        self.is_held().then(|| (0..).map_while(|index| self.text(index)).map(|text| text.len() as u64).sum())
    }

    /// The text of this number: first the head, then the rows, then the foot.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub(super) fn segment(&mut self, index: usize) -> io::Result<Option<Vec<u8>>> {
        if let Some(mut stream) = self.stream.take() {
            let read = self.go_on(&mut stream, index);
            self.stream = Some(stream);
            read?;
        }
        Ok(self.text(index))
    }

    fn text(&self, index: usize) -> Option<Vec<u8>> {
        let rows = &self.entries.rows;
        // The rows of this segment, and which segment is the foot.
        let (from, count, foot) = match &self.stream {
            Some(stream) => (0, rows.len(), stream.end.unwrap_or(usize::MAX)),
            None => (index.saturating_sub(1) * LISTING_ROWS, LISTING_ROWS, rows.len().div_ceil(LISTING_ROWS) + 1),
        };
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = match index {
            0 => self.head(&mut text),
            index if index < foot => {
                let mut rows = rows.iter().enumerate().skip(from).take(count);
                rows.try_for_each(|(number, row)| self.row(&mut text, self.entries.before + number as u64, row))
            }
            index if index == foot => self.foot(&mut text),
            _ => return None,
        };
        Some(text.into_bytes())
    }

    /// Reads on to the entries of this segment, or from the first one on again.
    fn go_on(&mut self, stream: &mut Stream, index: usize) -> io::Result<()> {
        if (1..stream.at).contains(&index) {
            stream.reader.go_to(0)?;
            (stream.at, stream.end) = (0, None);
            self.entries = Entries::default();
        }
        while stream.at < index && stream.end.is_none() {
            let Self { query, entries, path, .. } = self;
            entries.forget();
            let mut more = true;
            for _ in 0..TRIES {
                more = stream.reader.some::<SOME>(|name, _| {
                    if query.wants(name) {
                        entries.push(name);
                    }
                    true
                })?;
                if !more || !entries.rows.is_empty() {
                    break;
                }
            }
            entries.look(&stream.tree, stream.reader.folder(), path);
            stream.at += 1;
            if !more {
                stream.end = Some(stream.at + 1);
            }
        }
        Ok(())
    }
}

/// Bytes that a name may take up while it is sought, at most.
const NAME: usize = 255 + 32;

impl Entries {
    /// Takes in a name, of which nothing else is known.
    fn push(&mut self, name: &[u8]) {
        // No system has longer ones than that.
        if let (Ok(start), Ok(name_length)) = (u32::try_from(self.names.len()), u16::try_from(name.len())) {
            self.names.extend_from_slice(name);
            self.rows.push(Row { length: 0, modified: 0, name: start, name_length, folder: false });
        }
    }

    /// Looks at what is under the names, in an open folder at `path`. Left out is what cannot be asked for.
    fn look(&mut self, tree: &Tree, folder: &File, path: &[u8]) {
        let Self { names, rows, folders, files, bytes, .. } = self;
        rows.retain_mut(|row| {
            let Some(Entry { folder, length, modified }) = tree.entry(folder, path, row.name(names)) else {
                return false;
            };
            *(if folder { &mut *folders } else { &mut *files }) += 1;
            *bytes = bytes.saturating_add(length);
            (row.folder, row.length, row.modified) = (folder, length, seconds(modified));
            true
        });
    }

    /// Makes room for those that follow.
    fn forget(&mut self) {
        self.before += self.rows.len() as u64;
        self.rows.clear();
        self.names.clear();
    }

    fn sort(&mut self, query: &Query) {
        fn letters(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
            name.iter().map(u8::to_ascii_lowercase)
        }
        let Self { names, rows, .. } = self;
        rows.sort_unstable_by(|a, b| {
            let (left, right) = (a.name(names), b.name(names));
            let by_column = match query.order.column {
                Column::Name => Ordering::Equal,
                Column::Size => a.length.cmp(&b.length),
                Column::Time => a.modified.cmp(&b.modified),
                Column::Type => media_type::of(left).cmp(media_type::of(right)),
            };
            let ordering = by_column.then_with(|| letters(left).cmp(letters(right))).then_with(|| left.cmp(right));
            // Folders stand first, whichever way the rest is turned.
            b.folder.cmp(&a.folder).then(if query.order.descending { ordering.reverse() } else { ordering })
        });
    }
}

impl Row {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let start = self.name as usize;
        names.get(start..start + usize::from(self.name_length)).unwrap_or_default()
    }

    fn modified(&self) -> SystemTime {
        let distance = Duration::from_secs(self.modified.unsigned_abs());
        match self.modified < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        }
        .unwrap_or(UNIX_EPOCH)
    }
}

/// Whole seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    let whole = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(until) => -whole(until.duration()) - 1,
    }
}

/// The memory of all listings that are being sent, and how much of that is ours.
#[derive(Debug, Default)]
struct Share {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Sees to it that so many bytes are ours. False if others have the room.
    fn reaches(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let room = |held| Some(held + more).filter(|held| *held <= LISTINGS_HELD);
        let reached = more == 0 || self.held.fetch_update(Atomic::Relaxed, Atomic::Relaxed, room).is_ok();
        self.bytes += if reached { more } else { 0 };
        reached
    }

    /// Gives back what is ours but for so many bytes.
    fn settle(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.held.fetch_sub(less, Atomic::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::answer::resource::Visible;
    use crate::http::target::Target;
    use query::Order;

    fn query(target: &str, format: Format) -> Query {
        Query::of(&Target::parse(target).unwrap(), format, Visible { hidden: false, site_files: true }).unwrap()
    }

    /// A listing of that many entries, some folders, no two of the same size or time.
    pub(crate) fn listing(count: usize) -> Listing {
        let mut listing = Listing {
            path: b"a/b".to_vec(),
            query: query("/", Format::Html),
            entries: Entries::default(),
            sorted: true,
            next: None,
            stream: None,
            share: Share::default(),
        };
        for i in 0..count {
            listing.entries.push(format!("name {}", (i * 7919) % 1009).as_bytes());
            let row = listing.entries.rows.last_mut().unwrap();
            (row.folder, row.length, row.modified) = (i % 5 == 0, (i * i) as u64, i as i64 * 86_400);
        }
        listing.entries.sort(&listing.query);
        listing
    }

    /// A folder with so many files.
    fn folder(count: usize) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..count {
            std::fs::write(folder.path().join(format!("file {i}")), "x".repeat(i)).unwrap();
        }
        let tree = Tree::new(folder.path()).unwrap();
        (folder, tree)
    }

    fn opened(tree: &Tree) -> File {
        match tree.open(b"") {
            Ok(crate::tree::Found::Folder(root)) => root,
            _ => panic!("the root is a folder"),
        }
    }

    fn read(tree: &Tree, query: Query, held: &Arc<AtomicUsize>) -> Result<Listing, u16> {
        Listing::read(tree, opened(tree), b"", query, held).map_err(|refusal| refusal.status)
    }

    /// The same, not held, and one entry more.
    pub(crate) fn stream(count: usize) -> (tempfile::TempDir, Listing) {
        let (folder, tree) = folder(count + 1);
        let held = Arc::new(AtomicUsize::new(LISTINGS_HELD));
        let listing = read(&tree, query("/", Format::Html), &held).unwrap();
        assert!(!listing.is_held());
        (folder, listing)
    }

    fn text(listing: &mut Listing) -> String {
        let segments = (0..).map_while(|index| listing.segment(index).unwrap());
        segments.map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn what_all_listings_hold_is_bounded_and_given_back() {
        let (_folder, tree) = folder(100);
        // Others hold most of it.
        let others = LISTINGS_HELD - 64 * 1024;
        let held = Arc::new(AtomicUsize::new(others));
        let html = query("/", Format::Html);
        let first = read(&tree, html.clone(), &held).unwrap();
        let one = held.load(Atomic::Relaxed) - others;
        assert!(first.is_held() && (100 * 30..100 * 40).contains(&one), "{one}");
        let mut all = vec![first];
        while all.last().unwrap().is_held() {
            all.push(read(&tree, html.clone(), &held).unwrap());
            assert!(held.load(Atomic::Relaxed) <= LISTINGS_HELD);
        }
        let unsorted = all.len() - 1;
        assert!((64 * 1024 / one / 2..=64 * 1024 / one).contains(&unsorted), "{unsorted}");
        // A page is as long as there is room for it.
        let page = |limit: usize| read(&tree, query(&format!("/?limit={limit}"), Format::Json), &held);
        let (mut pages, mut lengths) = (Vec::new(), Vec::new());
        while let Ok(page) = page(50) {
            lengths.push(page.entries.rows.len());
            pages.push(page);
        }
        assert!(lengths.is_sorted_by(|a, b| a >= b) && lengths.ends_with(&[1]) && lengths[0] < 50, "{lengths:?}");
        assert_eq!(page(1).map(drop), Err(503));
        assert_eq!(pages.pop().unwrap().next.unwrap(), "?format=json&limit=50&after=file%200");
        drop((all, pages));
        assert_eq!(held.load(Atomic::Relaxed), others);
    }

    #[test]
    fn what_is_not_held_holds_the_same_in_the_order_of_the_folder() {
        let (_folder, tree) = folder(500);
        for format in [Format::Html, Format::Json] {
            for (target, count) in [("/", 500), ("/?q=FILE+4", 111), ("/?q=nothing", 0)] {
                let query = query(target, format);
                let held = Arc::default();
                let whole = text(&mut read(&tree, query.clone(), &held).unwrap());
                held.store(LISTINGS_HELD, Atomic::Relaxed);
                let mut stream = read(&tree, query, &held).unwrap();
                let streamed = text(&mut stream);
                let rows = |text: &str| {
                    let lines = text.lines().filter(|line| line.contains("file%20"));
                    let mut rows: Vec<_> = lines.map(|line| line.trim_end_matches(',').to_owned()).collect();
                    rows.sort();
                    rows
                };
                assert_eq!(rows(&whole), rows(&streamed), "{target}");
                assert_eq!(rows(&whole).len(), count);
                let foot = |text: &str| text.split("<footer>").nth(1).map(str::to_owned);
                assert_eq!(foot(&whole), foot(&streamed), "{target}");
                let unsorted = |text: &str| text.contains("Not sorted") || text.contains("\"sorted\":false");
                // What is nothing needs no room.
                assert_eq!((unsorted(&whole), unsorted(&streamed)), (false, count > 0));
                // From the beginning, and each segment twice.
                let mut again = String::new();
                for index in 0.. {
                    let segment = stream.segment(index).unwrap();
                    assert_eq!(segment, stream.segment(index).unwrap());
                    let Some(segment) = segment else { break };
                    again += std::str::from_utf8(&segment).unwrap();
                }
                assert_eq!(again, streamed);
                assert!(stream.entries.rows.len() < 64);
            }
        }
    }

    #[test]
    fn what_is_sorted_has_a_bound() {
        let (_folder, tree) = folder(20);
        for (most, fits) in [(19, false), (20, true)] {
            let mut listing = listing(0);
            assert_eq!(listing.read_whole(&mut Reader::new(opened(&tree)).unwrap(), most).unwrap(), fits);
            assert_eq!(listing.entries.rows.len(), most);
        }
    }

    #[test]
    fn rows_are_sorted_by_any_column_and_folders_stand_first() {
        for column in Column::ALL.map(|(column, ..)| column) {
            for descending in [false, true] {
                let mut listing = listing(100);
                listing.query.order = Order { column, descending };
                listing.entries.sort(&listing.query);
                let Entries { names, rows, .. } = &listing.entries;
                assert!(rows.is_sorted_by_key(|row| !row.folder));
                for kind in [true, false] {
                    let mut rows: Vec<_> = rows.iter().filter(|r| r.folder == kind).collect();
                    if descending {
                        rows.reverse();
                    }
                    assert!(match column {
                        Column::Name | Column::Type => rows.is_sorted_by_key(|r| r.name(names)),
                        Column::Size => rows.is_sorted_by_key(|r| r.length),
                        Column::Time => rows.is_sorted_by_key(|r| r.modified),
                    });
                }
            }
        }
    }

    #[test]
    fn times_are_kept_to_the_second() {
        assert_eq!(size_of::<Row>(), 24);
        for (nanoseconds, kept) in [(0, 0), (1_999_999_999, 1), (-1, -1), (-86_400_000_000_001, -86_401)] {
            let distance = Duration::from_nanos(i64::unsigned_abs(nanoseconds));
            let time = if nanoseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
            assert_eq!(seconds(time), kept, "{nanoseconds}");
            let row = Row { length: 0, modified: kept, name: 0, name_length: 0, folder: false };
            assert_eq!(seconds(row.modified() + Duration::from_nanos(1)), kept);
        }
    }
}
