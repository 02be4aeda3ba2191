//! What a request asks of a listing.

use std::fmt::{self, Display};

use crate::answer::resource::Visible;
use crate::http::escape::path;
use crate::http::target::{Malformed, Target};
use crate::limits::LISTING_PAGE;

/// Which entries are listed, in which order, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) format: Format,
    pub(super) order: Order,
    /// What the names have to contain, whatever the case of its ASCII letters.
    pub(super) filter: Vec<u8>,
    /// Which names can be asked for.
    visible: Visible,
    /// Whether the folder is the root.
    top: bool,
    /// The part of the JSON that is asked for; none: the whole.
    pub(super) page: Option<Page>,
    /// Whether the page has a link to the folder as one download.
    pub(crate) archive: bool,
}

/// The text that a listing is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: Column,
    pub(super) descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Size,
    Time,
    Type,
}

impl Column {
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Name, "name", "Name"),
        (Self::Size, "size", "Size"),
        (Self::Time, "time", "Modified (UTC)"),
        (Self::Type, "type", "Type"),
    ];
}

/// So many entries at most, from there on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: After,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// With the first entry.
    Nothing,
    /// Behind this name, of the names in their order.
    Name(Vec<u8>),
    /// At this place of the folder, in the order of the folder.
    Place(u64),
}

impl Query {
    /// What stands in the query of the target:
    /// - `?sort=name|size|time|type&order=asc|desc`; what is unknown is as if it were not there;
    /// - `?q=TEXT`;
    /// - of JSON `?limit=N`, and with it `&after=NAME` or `&after=/PLACE`: a name has no slash.
    ///
    /// # Errors
    /// [`Malformed`] if a text is not encoded as it should be, or a limit or a place is no number within its bounds.
    pub(crate) fn of(target: &Target<'_>, format: Format, visible: Visible) -> Result<Self, Malformed> {
        let wanted = target.parameter("sort");
        let known = Column::ALL.iter().find(|(_, word, _)| Some(*word) == wanted);
        let order = Order {
            column: known.map_or(Column::Name, |(column, ..)| *column),
            descending: target.parameter("order") == Some("desc"),
        };
        let filter = target.text("q")?.unwrap_or_default().into_owned();
        let page = if format == Format::Json { Page::of(target)? } else { None };
        Ok(Self { format, order, filter, visible, top: target.path.is_empty(), page, archive: false })
    }

    /// Whether a name is listed, if there is something under it that can be asked for.
    pub(super) fn wants(&self, name: &[u8]) -> bool {
        let filter = &*self.filter;
        let filtered = || filter.is_empty() || name.windows(filter.len()).any(|part| part.eq_ignore_ascii_case(filter));
        self.visible.shows(name, self.top) && filtered()
    }

    /// A reference to the same folder with this query, which ends with the filter, if there is one. `and` stands between two
    /// parameters.
    pub(super) fn link(&self, parameters: impl Display, and: &str) -> String {
        let filter = match &*self.filter {
            b"" => String::new(),
            filter => format!("{and}q={}", path(filter)),
        };
        format!("?{parameters}{filter}")
    }
}

impl Page {
    fn of(target: &Target<'_>) -> Result<Option<Self>, Malformed> {
        let after = match target.text("after")? {
            None => After::Nothing,
            Some(text) => match text.strip_prefix(b"/") {
                Some(place) => After::Place(number(place)?),
                None => After::Name(text.into_owned()),
            },
        };
        match target.text("limit")? {
            Some(limit) => match number(&limit)? {
                limit @ 1.. if limit <= LISTING_PAGE as u64 => Ok(Some(Self { limit: limit as usize, after })),
                _ => Err(Malformed),
            },
            // A place to begin at, and no page that does.
            None if after != After::Nothing => Err(Malformed),
            None => Ok(None),
        }
    }
}

impl Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Name(name) => write!(f, "{}", path(name)),
            Self::Place(place) => write!(f, "/{place}"),
        }
    }
}

/// A number of nothing but digits.
fn number(text: &[u8]) -> Result<u64, Malformed> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(target: &str, format: Format) -> Result<Query, Malformed> {
        Query::of(&Target::parse(target).unwrap(), format, Visible { hidden: false, site_files: true })
    }

    #[test]
    fn the_query_chooses_the_order() {
        for (target, column, descending) in [
            ("/", Column::Name, false),
            ("/?sort=size&order=desc", Column::Size, true),
            ("/?order=desc&sort=time", Column::Time, true),
            ("/?sort=type&order=up", Column::Type, false),
            ("/?sort=<script>", Column::Name, false),
        ] {
            assert_eq!(query(target, Format::Html).unwrap().order, Order { column, descending }, "{target}");
        }
    }

    #[test]
    fn the_query_chooses_a_page() {
        let name = |name: &str| After::Name(name.into());
        for (target, expected) in [
            ("/", Ok(None)),
            ("/?limit=1", Ok(Some((1, After::Nothing)))),
            ("/?limit=10000&after=a%2Bb%FF+c", Ok(Some((10_000, After::Name(b"a+b\xff c".to_vec()))))),
            ("/?after=&limit=7", Ok(Some((7, name(""))))),
            ("/?limit=7&after=a/b", Ok(Some((7, name("a/b"))))),
            ("/?limit=7&after=/0", Ok(Some((7, After::Place(0))))),
            // As who builds queries of parameters encodes it.
            ("/?limit=7&after=%2F18446744073709551615", Ok(Some((7, After::Place(u64::MAX))))),
            ("/?limit=7&after=/18446744073709551616", Err(Malformed)),
            ("/?limit=7&after=/", Err(Malformed)),
            ("/?limit=7&after=/-1", Err(Malformed)),
            ("/?limit=7&after=/1/", Err(Malformed)),
            ("/?limit=7&after=%", Err(Malformed)),
            ("/?limit=7&after=%4g", Err(Malformed)),
            ("/?after=a", Err(Malformed)),
            ("/?limit=0", Err(Malformed)),
            ("/?limit=10001", Err(Malformed)),
            ("/?limit=", Err(Malformed)),
            ("/?limit=+1", Err(Malformed)),
            ("/?limit=-1", Err(Malformed)),
            ("/?limit=1e3", Err(Malformed)),
            ("/?limit=99999999999999999999", Err(Malformed)),
        ] {
            let page = query(target, Format::Json).map(|query| query.page.map(|page| (page.limit, page.after)));
            assert_eq!(page, expected, "{target}");
            // A page for people has no pages.
            assert!(query(target, Format::Html).is_ok_and(|query| query.page.is_none()), "{target}");
        }
    }

    #[test]
    fn the_query_chooses_names() {
        for (target, names) in [
            ("/", [true, true, true]),
            ("/?q=", [true, true, true]),
            ("/?q=READ", [true, false, false]),
            ("/?q=%c3%84", [false, true, false]),
            // Only ASCII letters are alike.
            ("/?q=%c3%a4", [false, false, false]),
            ("/?q=a+b", [false, false, true]),
            ("/?q=a%2Bb", [false, false, false]),
            ("/?q=%00", [false, false, false]),
            ("/?q=%ff", [false, false, true]),
        ] {
            let query = query(target, Format::Html).unwrap();
            let names_wanted = [b"Readme", "\u{c4}".as_bytes(), b"\xffa b"].map(|name| query.wants(name));
            assert_eq!(names_wanted, names, "{target}");
        }
        let long = query(&format!("/?q={}", "a".repeat(8000)), Format::Html).unwrap();
        assert!(!long.wants(&[b'a'; 255]));
        assert!(query("/?q=%", Format::Html).is_err() && query("/?q=%a", Format::Json).is_err());
        let query = query("/?q=a%22+%26%ff/", Format::Html).unwrap();
        assert_eq!(query.link("sort=size", "&amp;"), "?sort=size&amp;q=a%22%20%26%FF/");
    }
}
