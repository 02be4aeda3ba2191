//! Validators and preconditions (RFC 9110 sections 8.8 and 13): whether a client's copy is still the right one.

use std::fmt::{self, Display, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::date;
use super::request::Request;

/// How long a modification time may still hide a second change: clocks of file systems tick coarsely.
const SETTLING: Duration = Duration::from_secs(2);
/// 1980-01-01. A time before says that somebody wiped it (reproducible builds, Nix), not when the file changed.
const MEANINGFUL: Duration = Duration::from_secs(315_532_800);

/// What the file system says about an open file, as far as validators need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// Bytes.
    pub(crate) length: u64,
    /// When the content changed.
    pub(crate) modified: SystemTime,
    /// The number of the file system.
    pub(crate) device: u64,
    /// The number of the file in it.
    pub(crate) inode: u64,
    /// When content or attributes changed, in nanoseconds since 1970; unlike `modified` it cannot be set.
    pub(crate) changed: i128,
}

impl Version {
    /// Whether no change of before `now` can have been missed: a file system that ticks coarsely gives the same times to
    /// what happens within a tick. Times ahead of the clock say nothing.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.modified).unwrap_or_default();
        age >= SETTLING && nanos(now) - self.changed >= SETTLING.as_nanos() as i128
    }
}

/// The validators of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// `ETag`
    pub(crate) etag: EntityTag,
    /// `Last-Modified`, in whole seconds. None while the date could not tell two versions apart.
    pub(crate) last_modified: Option<SystemTime>,
}

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag {
    /// What stands between the quotes.
    pub(crate) opaque: String,
    /// Whether the tag is weak: good for revalidation, not for joining ranges.
    pub(crate) weak: bool,
}

impl Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

impl Validators {
    /// The validators of a file as it is at the time `now`.
    ///
    /// They come from size and modification time alone, so that replicas agree. While the file is so young (or its time so
    /// near in the future) that it may change again unseen, the tag is weak and the date is left out. Where the
    /// modification time lies before 1980 it says nothing: inode and change time stand in the tag instead.
    pub(crate) fn new(version: &Version, now: SystemTime) -> Self {
        let nanos = nanos(version.modified);
        let meaningful = nanos >= MEANINGFUL.as_nanos() as i128;
        let settled = match now.duration_since(version.modified) {
            Ok(age) => age >= SETTLING,
            Err(ahead) => ahead.duration() >= SETTLING,
        };
        let mut opaque = String::with_capacity(32);
        let _ = write!(opaque, "{:x}-{:x}", nanos, version.length);
        if !meaningful {
            let _ = write!(opaque, "-{:x}-{:x}", version.inode, version.changed);
        }
        // A date in the future is none (RFC 9110 section 8.8.2.1).
        let last_modified =
            (meaningful && settled && version.modified <= now && date::format(version.modified).is_some())
                .then(|| date::whole_seconds(version.modified));
        Self { etag: EntityTag { opaque, weak: !settled }, last_modified }
    }
}

fn nanos(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// What the preconditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: the client wanted another version.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 section 13.2.2.
pub(crate) fn evaluate(request: &Request<'_>, validators: &Validators) -> Outcome {
    let since = |field: &Option<_>| {
        let date = field.as_deref().and_then(date::parse)?;
        Some(validators.last_modified? <= date)
    };
    // 1 and 2: If-Match, or else If-Unmodified-Since.
    let wanted = match &request.if_match {
        Some(list) => any_tag(list, |tag, weak| !weak && !validators.etag.weak && tag == validators.etag.opaque),
        None => since(&request.if_unmodified_since).unwrap_or(true),
    };
    if !wanted {
        return Outcome::Failed;
    }
    // 3 and 4: If-None-Match, or else If-Modified-Since.
    let known = match &request.if_none_match {
        Some(list) => any_tag(list, |tag, _| tag == validators.etag.opaque),
        None => since(&request.if_modified_since).unwrap_or(false),
    };
    if known { Outcome::NotModified } else { Outcome::Proceed }
}

/// Whether `Range` may be obeyed (step 5, RFC 9110 section 13.1.5): without `If-Range`, or if it names this very version.
pub(crate) fn range_applies(request: &Request<'_>, validators: &Validators) -> bool {
    let Some(field) = request.if_range.as_deref().map(str::trim_ascii) else { return true };
    match next_tag(field) {
        Some((tag, weak, "")) => !weak && !validators.etag.weak && tag == validators.etag.opaque,
        Some(_) => false,
        // A date is only sent once it is strong, see `Validators::new`.
        None => validators.last_modified.is_some() && date::parse(field) == validators.last_modified,
    }
}

/// Whether some tag of the list fulfils `matches(opaque, weak)`, or the list is `*`. What follows a malformed tag is
/// not read.
fn any_tag(list: &str, mut matches: impl FnMut(&str, bool) -> bool) -> bool {
    if list.trim_ascii() == "*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((tag, weak, behind)) = next_tag(rest) else { return false };
        if matches(tag, weak) {
            return true;
        }
        rest = behind;
    }
}

/// The entity tag that a text begins with: opaque part, weakness, the text behind it.
fn next_tag(text: &str) -> Option<(&str, bool, &str)> {
    let (weak, quoted) = match text.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let (opaque, behind) = quoted.strip_prefix('"')?.split_once('"')?;
    Some((opaque, weak, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_http::Method;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn version(modified: Duration) -> Version {
        Version { device: 1, length: 0x1234, modified: UNIX_EPOCH + modified, inode: 7, changed: 9 }
    }

    fn validators(modified: Duration) -> Validators {
        Validators::new(&version(modified), UNIX_EPOCH + NOW)
    }

    #[test]
    fn what_a_modification_time_is_worth() {
        let second = Duration::from_secs(1);
        let rows = [
            ("old", NOW - 1000 * second, false, true),
            ("settled", NOW - 2 * second, false, true),
            ("young", NOW - 2 * second + Duration::from_nanos(1), true, false),
            ("this instant", NOW, true, false),
            ("a moment ahead", NOW + second, true, false),
            ("far ahead", NOW + 1000 * second, false, false),
            ("1980", MEANINGFUL, false, true),
            ("before 1980", MEANINGFUL - second, false, false),
            ("1970", Duration::ZERO, false, false),
        ];
        for (name, modified, weak, dated) in rows {
            let found = validators(modified);
            assert_eq!((found.etag.weak, found.last_modified.is_some()), (weak, dated), "{name}");
        }
        assert_eq!(
            validators(Duration::from_nanos(1_700_000_000_000_000_255)).etag.to_string(),
            "\"17979cfe362a00ff-1234\""
        );
        assert_eq!(validators(second).etag.to_string(), "\"3b9aca00-1234-7-9\"");
        let before_1970 = Version { modified: UNIX_EPOCH - second, ..version(second) };
        assert!(Validators::new(&before_1970, UNIX_EPOCH + NOW).last_modified.is_none());
    }

    #[test]
    fn preconditions() {
        use Outcome::{Failed, NotModified, Proceed};
        let strong = validators(Duration::new(1_700_000_000, 5));
        let (tag, modified) = (strong.etag.to_string(), "Tue, 14 Nov 2023 22:13:20 GMT");
        let (earlier, later) = ("Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:21 GMT");
        let weak_tag = format!("W/{tag}");
        let list = format!("\"a,b\", {tag} , \"c\"");
        let rows: &[(&str, &[(&str, &str)], Outcome)] = &[
            ("none", &[], Proceed),
            ("if-match", &[("If-Match", &tag)], Proceed),
            ("if-match list", &[("If-Match", &list)], Proceed),
            ("if-match any", &[("If-Match", "*")], Proceed),
            ("if-match weak", &[("If-Match", &weak_tag)], Failed),
            ("if-match other", &[("If-Match", "\"x\"")], Failed),
            ("if-match malformed", &[("If-Match", "x")], Failed),
            ("unmodified since then", &[("If-Unmodified-Since", modified)], Proceed),
            ("unmodified since later", &[("If-Unmodified-Since", later)], Proceed),
            ("unmodified since earlier", &[("If-Unmodified-Since", earlier)], Failed),
            ("unmodified since malformed", &[("If-Unmodified-Since", "x")], Proceed),
            ("if-match goes first", &[("If-Match", &tag), ("If-Unmodified-Since", earlier)], Proceed),
            ("if-none-match", &[("If-None-Match", &tag)], NotModified),
            ("if-none-match list", &[("If-None-Match", &list)], NotModified),
            ("if-none-match weak", &[("If-None-Match", &weak_tag)], NotModified),
            ("if-none-match any", &[("If-None-Match", "*")], NotModified),
            ("if-none-match other", &[("If-None-Match", "\"x\"")], Proceed),
            ("if-none-match unquoted", &[("If-None-Match", tag.trim_matches('"'))], Proceed),
            ("modified since then", &[("If-Modified-Since", modified)], NotModified),
            ("modified since later", &[("If-Modified-Since", later)], NotModified),
            ("modified since earlier", &[("If-Modified-Since", earlier)], Proceed),
            ("modified since malformed", &[("If-Modified-Since", "x")], Proceed),
            ("if-none-match goes first", &[("If-None-Match", "\"x\""), ("If-Modified-Since", later)], Proceed),
            ("412 goes before 304", &[("If-Match", "\"x\""), ("If-None-Match", &tag)], Failed),
        ];
        for (name, fields, expected) in rows {
            let request = fields.iter().fold(Request::new(&Method::Get, "/"), |r, (name, value)| r.with(name, value));
            assert_eq!(evaluate(&request, &strong), *expected, "{name}");
        }
        let undated = validators(Duration::from_secs(1));
        let request = Request::new(&Method::Get, "/").with("If-Modified-Since", modified);
        assert_eq!(evaluate(&request, &undated), Proceed);
    }

    #[test]
    fn if_range() {
        let strong = validators(Duration::new(1_700_000_000, 5));
        let weak = validators(NOW);
        let (tag, modified) = (strong.etag.to_string(), "Tue, 14 Nov 2023 22:13:20 GMT");
        let weak_tag = weak.etag.to_string();
        let bare_weak = weak_tag.trim_start_matches("W/").to_owned();
        for (validators, field, expected) in [
            (&strong, tag.as_str(), true),
            (&strong, "\"x\"", false),
            (&strong, &format!("W/{tag}"), false),
            (&strong, &format!("{tag}, {tag}"), false),
            (&strong, modified, true),
            (&strong, "Tue, 14 Nov 2023 22:13:21 GMT", false),
            (&strong, "x", false),
            (&strong, "", false),
            (&weak, &weak_tag, false),
            (&weak, &bare_weak, false),
            (&weak, "x", false),
        ] {
            let request = Request::new(&Method::Get, "/").with("If-Range", field);
            assert_eq!(range_applies(&request, validators), expected, "{field}");
        }
        assert!(range_applies(&Request::new(&Method::Get, "/"), &weak));
    }
}
