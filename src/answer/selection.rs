//! Which bytes of which file an answer brings, as it says itself.

use std::ops::Range;

use super::Answer;

/// What of which version of a file, or of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The tag of the version, whether it is strong by now or not.
    pub(crate) tag: Box<str>,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// In the order in which they are sent.
    pub(crate) ranges: Vec<Range<u64>>,
}

impl Answer {
    /// None if it is nothing that could come in ranges.
    pub(crate) fn selection(&self) -> Option<Selection> {
        let field = |name| self.fields.get(name);
        if !matches!(self.status.0, 200 | 206) || field("Accept-Ranges") != Some("bytes") {
            return None;
        }
        let tag = field("ETag")?.trim_start_matches("W/").into();
        let (ranges, length) = match field("Content-Range") {
            Some(value) => content_range(value).map(|(range, length)| (vec![range], length))?,
            None if self.status.0 == 206 => self.body.ranges()?,
            None => self.content_length.map(|length| (vec![0..length], length))?,
        };
        Some(Selection { tag, length, ranges })
    }
}

impl Selection {
    /// What has arrived after so many bytes of the body, which may be all. Of several ranges nothing before that is counted.
    pub(crate) fn arrived(self, sent: u64, done: bool) -> Vec<Range<u64>> {
        match (done, self.ranges.as_slice()) {
            (true, _) => self.ranges,
            (false, [range]) => vec![range.start..range.end.min(range.start.saturating_add(sent))],
            (false, _) => Vec::new(),
        }
    }
}

/// The range and the length in a `Content-Range` of ours (RFC 9110 section 14.4).
fn content_range(value: &str) -> Option<(Range<u64>, u64)> {
    let (range, length) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, length.parse().ok()?))
}
