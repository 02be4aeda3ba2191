//! The listing of a folder, as a page for people and as JSON for programs.
//!
//! Kept are the names and what is shown of each; the text is rendered some rows at a time, when they are sent.

use std::cmp::Ordering;
use std::fmt::{self, Display, Write};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

use super::page;
use crate::http::escape::{Html, Json, path};
use crate::http::target::Target;
use crate::http::{date, media_type};
use crate::limits::{LISTING_ENTRIES, LISTING_ROWS, LISTINGS_HELD};
use crate::tree::{Entry, Tree};

/// Entries that a listing has room for at first: most folders have no more.
const SOME: usize = 1000;

/// Entries of a folder, ready to be rendered.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The path of the folder, without slashes around it.
    path: Vec<u8>,
    /// All names, one behind the other.
    names: Vec<u8>,
    rows: Vec<Row>,
    /// Whether there are more entries than are listed.
    cut: bool,
    /// Entries of all listings that are being sent, these included.
    held: Arc<AtomicUsize>,
    /// As many of them are ours.
    reserved: usize,
    order: Order,
    format: Format,
}

#[derive(Debug)]
struct Row {
    /// Where the name begins and ends in `names`.
    name: (usize, usize),
    entry: Entry,
}

/// The text that a listing is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    column: Column,
    descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Size,
    Time,
    Type,
}

impl Column {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Name, "name", "Name"),
        (Self::Size, "size", "Size"),
        (Self::Time, "time", "Modified (UTC)"),
        (Self::Type, "type", "Type"),
    ];
}

impl Order {
    /// The order that the query asks for: `?sort=name|size|time|type&order=asc|desc`; by name if it asks for none.
    fn of(target: &Target<'_>) -> Self {
        let wanted = target.parameter("sort");
        let known = Column::ALL.iter().find(|(_, word, _)| Some(*word) == wanted);
        Self {
            column: known.map_or(Column::Name, |(column, ..)| *column),
            descending: target.parameter("order") == Some("desc"),
        }
    }
}

impl Listing {
    /// Reads an open folder, as far as the names are wanted.
    pub(crate) fn read(
        tree: &Tree,
        folder: &File,
        target: &Target<'_>,
        format: Format,
        wanted: impl Fn(&[u8]) -> bool,
        held: &Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let mut listing = Self {
            path: target.path.to_vec(),
            names: Vec::new(),
            rows: Vec::new(),
            cut: false,
            held: Arc::clone(held),
            reserved: 0,
            order: Order::of(target),
            format,
        };
        let mut full = false;
        let visit = |name: &[u8], entry| {
            listing.cut = listing.rows.len() == LISTING_ENTRIES;
            full = !listing.cut && !listing.reserve();
            if !listing.cut && !full {
                listing.push(name, entry);
            }
            !listing.cut && !full
        };
        tree.entries(folder, &target.path, visit, wanted)?;
        if full {
            // As if there were no memory: for this purpose there is none.
            return Err(rustix::io::Errno::NOMEM.into());
        }
        listing.held.fetch_sub(listing.reserved - listing.rows.len(), Atomic::Relaxed);
        listing.reserved = listing.rows.len();
        listing.sort();
        Ok(listing)
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Sees to it that there is room for another entry: for some, then for as many as there can be, so that of several large
    /// listings at once the first ones are read to their ends. False if others have the room.
    fn reserve(&mut self) -> bool {
        let more = match self.reserved {
            reserved if reserved > self.rows.len() => return true,
            0 => SOME,
            reserved => LISTING_ENTRIES - reserved,
        };
        let room = |held| Some(held + more).filter(|held| *held <= LISTINGS_HELD);
        let reserved = self.held.fetch_update(Atomic::Relaxed, Atomic::Relaxed, room).is_ok();
        self.reserved += if reserved { more } else { 0 };
        reserved
    }

    fn push(&mut self, name: &[u8], entry: Entry) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.rows.push(Row { name: (start, self.names.len()), entry });
    }

    fn sort(&mut self) {
        fn letters(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
            name.iter().map(u8::to_ascii_lowercase)
        }
        let Self { names, rows, order, .. } = self;
        rows.sort_unstable_by(|a, b| {
            let (left, right) = (name(names, a), name(names, b));
            let by_column = match order.column {
                Column::Name => Ordering::Equal,
                Column::Size => a.entry.length.cmp(&b.entry.length),
                Column::Time => a.entry.modified.cmp(&b.entry.modified),
                Column::Type => media_type::of(left).cmp(media_type::of(right)),
            };
            let ordering = by_column.then_with(|| letters(left).cmp(letters(right))).then_with(|| left.cmp(right));
            // Folders stand first, whichever way the rest is turned.
            b.entry.folder.cmp(&a.entry.folder).then(if order.descending { ordering.reverse() } else { ordering })
        });
    }

    /// The text of this number: first the head, then the rows, then the foot.
    pub(super) fn segment(&self, index: usize) -> Option<Vec<u8>> {
        let chunks = self.rows.len().div_ceil(LISTING_ROWS);
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = match index {
            0 => match self.format {
                Format::Html => self.head(&mut text),
                Format::Json => write!(text, "{{\"path\":\"{}\",\"entries\":[", Json(&self.shown_path())),
            },
            index if index <= chunks => {
                let from = (index - 1) * LISTING_ROWS;
                let mut rows = self.rows.iter().enumerate().skip(from).take(LISTING_ROWS);
                rows.try_for_each(|(number, row)| self.row(&mut text, number, row))
            }
            index if index == chunks + 1 => match self.format {
                Format::Html => self.foot(&mut text),
                Format::Json => writeln!(text, "\n],\"truncated\":{}}}", self.cut),
            },
            _ => return None,
        };
        Some(text.into_bytes())
    }

    fn shown_path(&self) -> Vec<u8> {
        let slash: &[u8] = if self.path.is_empty() { b"" } else { b"/" };
        [b"/", &*self.path, slash].concat()
    }

    fn head(&self, out: &mut String) -> fmt::Result {
        page::open(out, format_args!("Index of {}", Html(&self.shown_path())))?;
        let depth = if self.path.is_empty() { 0 } else { self.path.split(|b| *b == b'/').count() };
        // Wherever a proxy has put us, these links lead there.
        let up = |steps: usize| if steps == 0 { "./".to_owned() } else { "../".repeat(steps) };
        write!(out, "<nav aria-label=\"Path\"><h1><a href=\"{}\" title=\"The top folder\">/</a>", up(depth))?;
        for (number, segment) in self.path.split(|b| *b == b'/').take(depth).enumerate() {
            if number + 1 == depth {
                write!(out, "<b aria-current=\"page\"><bdi>{}</bdi></b>/", Html(segment))?;
            } else {
                write!(out, "<a href=\"{}\"><bdi>{}</bdi></a>/", up(depth - 1 - number), Html(segment))?;
            }
        }
        out.write_str("</h1></nav>\n<table>\n<thead><tr>")?;
        for (column, word, title) in Column::ALL {
            let current = column == self.order.column;
            let (state, arrow) = match (current, self.order.descending) {
                (false, _) => ("none", ""),
                (true, false) => ("ascending", " \u{2191}"),
                (true, true) => ("descending", " \u{2193}"),
            };
            let next = if current && !self.order.descending { "desc" } else { "asc" };
            write!(
                out,
                "<th scope=\"col\" aria-sort=\"{state}\"><a href=\"?sort={word}&amp;order={next}\">{title}{arrow}</a></th>"
            )?;
        }
        out.write_str("</tr></thead>\n<tbody>\n")?;
        if depth > 0 {
            out.write_str(
                "<tr class=\"up\"><td><a href=\"../\">Parent folder</a></td><td></td><td></td><td></td></tr>\n",
            )?;
        }
        if self.rows.is_empty() {
            out.write_str("<tr class=\"none\"><td colspan=\"4\">Nothing is here.</td></tr>\n")?;
        }
        Ok(())
    }

    fn row(&self, out: &mut String, number: usize, row: &Row) -> fmt::Result {
        let name = name(&self.names, row);
        let Entry { folder, length, modified } = row.entry;
        let slash = if folder { "/" } else { "" };
        let media_type = media_type::of(name);
        match self.format {
            Format::Html => {
                let (class, kind) = if folder { (" class=\"folder\"", "folder") } else { ("", media_type) };
                let (url, shown) = (path(name), Html(name));
                write!(out, "<tr{class}><td><a href=\"{url}{slash}\"><bdi>{shown}</bdi></a></td>")?;
                match folder {
                    true => out.write_str("<td></td>")?,
                    false => write!(out, "<td title=\"{length} bytes\">{}</td>", Size(length))?,
                }
                match (date::for_programs(modified), date::for_people(modified)) {
                    (Some(exact), Some(short)) => write!(out, "<td><time datetime=\"{exact}\">{short}</time></td>")?,
                    _ => out.write_str("<td></td>")?,
                }
                writeln!(out, "<td>{}</td></tr>", kind.split(';').next().unwrap_or_default())
            }
            Format::Json => {
                let comma = if number == 0 { "" } else { "," };
                write!(out, "{comma}\n{{\"name\":\"{}\",\"href\":\"{}{slash}\"", Json(name), path(name))?;
                match folder {
                    true => out.write_str(",\"type\":\"folder\"")?,
                    false => write!(
                        out,
                        ",\"type\":\"file\",\"size\":{length},\"media_type\":\"{}\"",
                        Json(media_type.as_bytes())
                    )?,
                }
                match date::for_programs(modified) {
                    Some(exact) => write!(out, ",\"modified\":\"{exact}\"}}"),
                    None => out.write_str("}"),
                }
            }
        }
    }

    fn foot(&self, out: &mut String) -> fmt::Result {
        let folders = self.rows.iter().filter(|row| row.entry.folder).count();
        let files = self.rows.len() - folders;
        let total = self.rows.iter().fold(0u64, |sum, row| sum.saturating_add(row.entry.length));
        let plural = |count| if count == 1 { "" } else { "s" };
        out.write_str("</tbody>\n</table>\n<footer>")?;
        if self.cut {
            write!(out, "<strong>Only {LISTING_ENTRIES} entries are shown; there are more.</strong> ")?;
        }
        write!(out, "{folders} folder{}, {files} file{}, {}", plural(folders), plural(files), Size(total))?;
        out.write_str(" \u{b7} <a href=\"?format=json\">as JSON</a></footer>\n")?;
        page::close(out)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.held.fetch_sub(self.reserved, Atomic::Relaxed);
    }
}

fn name<'a>(names: &'a [u8], row: &Row) -> &'a [u8] {
    names.get(row.name.0..row.name.1).unwrap_or_default()
}

/// A number of bytes as people read it.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = "B";
        let mut tenths = u128::from(self.0) * 10;
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            // Rounded, 1023.95 KiB is 1024.0: the next unit says that better.
            if tenths < 10_235 {
                break;
            }
            (unit, tenths) = (larger, (tenths + 512) / 1024);
        }
        match unit {
            "B" => write!(f, "{} B", self.0),
            _ => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    /// A listing of that many entries, some folders, no two of the same size or time.
    pub(crate) fn listing(count: usize) -> Listing {
        let order = Order { column: Column::Name, descending: false };
        let mut listing = Listing {
            path: b"a/b".to_vec(),
            names: Vec::new(),
            rows: Vec::new(),
            cut: false,
            held: Arc::default(),
            reserved: 0,
            order,
            format: Format::Html,
        };
        for i in 0..count {
            let modified = UNIX_EPOCH + Duration::from_secs(i as u64 * 86_400);
            let entry = Entry { folder: i % 5 == 0, length: (i * i) as u64, modified };
            listing.push(format!("name {}", (i * 7919) % 1009).as_bytes(), entry);
        }
        listing.sort();
        listing
    }

    #[test]
    fn what_all_listings_hold_is_bounded_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        let Ok(crate::tree::Found::Folder(root)) = tree.open(b"") else { panic!("the root is a folder") };
        let held = Arc::new(AtomicUsize::new(LISTINGS_HELD - SOME));
        let read = || Listing::read(&tree, &root, &Target::parse("/").unwrap(), Format::Html, |_| true, &held);
        let first = read().unwrap();
        assert_eq!(held.load(Atomic::Relaxed), LISTINGS_HELD - SOME + 1);
        assert!(read().is_err());
        drop(first);
        assert_eq!(held.load(Atomic::Relaxed), LISTINGS_HELD - SOME);
        assert!(read().is_ok());
    }

    #[test]
    fn of_several_large_listings_as_many_are_read_as_there_is_room_for() {
        let held = Arc::new(AtomicUsize::new(0));
        let new = |_| {
            let mut listing = listing(0);
            listing.held = Arc::clone(&held);
            listing
        };
        for (count, expected) in [(2, vec![None, None]), (4, vec![None, Some(SOME), Some(SOME), Some(SOME)])] {
            let mut all: Vec<_> = (0..count).map(new).collect();
            // One entry of each after the other, as when they are read at the same time.
            let mut ended = vec![None; count];
            for at in 0..LISTING_ENTRIES {
                for (listing, ended) in all.iter_mut().zip(&mut ended).filter(|(_, ended)| ended.is_none()) {
                    match listing.reserve() {
                        true => listing.push(b"", Entry { folder: false, length: 0, modified: UNIX_EPOCH }),
                        false => *ended = Some(at),
                    }
                }
            }
            assert_eq!(ended, expected);
            drop(all);
            assert_eq!(held.load(Atomic::Relaxed), 0);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1, "1 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1024 * 1024, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn rows_are_sorted_by_any_column_and_folders_stand_first() {
        for column in Column::ALL.map(|(column, ..)| column) {
            for descending in [false, true] {
                let mut listing = listing(100);
                listing.order = Order { column, descending };
                listing.sort();
                assert!(listing.rows.is_sorted_by_key(|row| !row.entry.folder));
                for kind in [true, false] {
                    let mut rows: Vec<_> = listing.rows.iter().filter(|r| r.entry.folder == kind).collect();
                    if descending {
                        rows.reverse();
                    }
                    let names = &listing.names;
                    assert!(match column {
                        Column::Name | Column::Type => rows.is_sorted_by_key(|r| name(names, r)),
                        Column::Size => rows.is_sorted_by_key(|r| r.entry.length),
                        Column::Time => rows.is_sorted_by_key(|r| r.entry.modified),
                    });
                }
            }
        }
    }

    #[test]
    fn the_query_chooses_the_order() {
        for (query, column, descending) in [
            ("/", Column::Name, false),
            ("/?sort=size&order=desc", Column::Size, true),
            ("/?order=desc&sort=time", Column::Time, true),
            ("/?sort=type&order=up", Column::Type, false),
            ("/?sort=<script>", Column::Name, false),
        ] {
            assert_eq!(Order::of(&Target::parse(query).unwrap()), Order { column, descending }, "{query}");
        }
    }
}
