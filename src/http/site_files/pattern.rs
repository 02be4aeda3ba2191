//! The path of a rule: segments, placeholders (`:name`) that are a segment each, and one splat (`*`) that is anything.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::http::target::Target;

/// The name of what a splat stands for.
pub(super) const SPLAT: &str = "splat";

/// What is not visible ASCII. People write `/café`.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');

/// A path of a request, taken apart once for all patterns. A slash at its end makes no difference to them.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    pub(super) target: &'a Target<'a>,
    segments: Vec<&'a [u8]>,
}

/// What each placeholder stands for, by its name.
pub(super) type Captures<'a> = Vec<(&'a str, &'a [u8])>;

/// Matching costs no more than the pattern is long: there is one splat at most, so what stands before it is compared from
/// the front, what stands behind it from the back, and nothing is ever tried again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    front: Vec<Part>,
    splat: Option<Splat>,
}

/// The segment with the splat, and those behind it.
#[derive(Debug, PartialEq, Eq)]
struct Splat {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    back: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Placeholder(String),
}

impl<'a> Path<'a> {
    pub(crate) fn new(target: &'a Target<'a>) -> Self {
        let segments = match &*target.path {
            [] => Vec::new(),
            path => path.split(|byte| *byte == b'/').collect(),
        };
        Self { target, segments }
    }
}

impl Pattern {
    /// Reads the path of a rule, in which both percent-encoded and plain text may stand.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err("rules for a host are not supported");
        }
        if !text.starts_with('/') {
            return Err("a path begins with a slash");
        }
        let encoded = visible(text);
        match Target::parse(&encoded) {
            Ok(Target { query: None, .. }) => {}
            Ok(_) => return Err("rules for a query are not supported"),
            Err(_) => return Err("a path that nobody can ask for"),
        }
        let mut pattern = Self { front: Vec::new(), splat: None };
        for segment in encoded.split('/').filter(|segment| !segment.is_empty()) {
            let part = match segment.split_once('*') {
                Some((_, suffix)) if pattern.splat.is_some() || suffix.contains('*') => {
                    return Err("more than one * in a path");
                }
                Some((prefix, suffix)) => {
                    plain(prefix).and(plain(suffix))?;
                    let (prefix, suffix) = (decode(prefix), decode(suffix));
                    pattern.splat = Some(Splat { prefix, suffix, back: Vec::new() });
                    continue;
                }
                None => match segment.strip_prefix(':').filter(|name| name_at(name) == Some(name)) {
                    Some(name) => Part::Placeholder(name.into()),
                    None => {
                        plain(segment)?;
                        Part::Text(decode(segment))
                    }
                },
            };
            match &mut pattern.splat {
                Some(splat) => splat.back.push(part),
                None => pattern.front.push(part),
            }
        }
        let mut names: Vec<_> = pattern.names().collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair.first() == pair.last()) {
            true => Err("two placeholders of one name"),
            false => Ok(pattern),
        }
    }

    /// Whether a placeholder of this name stands in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let back = self.splat.iter().flat_map(|splat| &splat.back);
        let placeholders = self.front.iter().chain(back).filter_map(|part| match part {
            Part::Placeholder(name) => Some(&**name),
            Part::Text(_) => None,
        });
        placeholders.chain(self.splat.as_ref().map(|_| SPLAT))
    }

    /// What the placeholders stand for, if the path is one of this pattern.
    pub(super) fn captures<'a>(&'a self, path: &Path<'a>) -> Option<Captures<'a>> {
        let mut captures = Vec::new();
        let (front, rest) = path.segments.split_at_checked(self.front.len())?;
        compare(&self.front, front, &mut captures)?;
        let Some(Splat { prefix, suffix, back: parts }) = &self.splat else {
            return rest.is_empty().then_some(captures);
        };
        let (middle, back) = rest.split_at_checked(rest.len().checked_sub(parts.len())?)?;
        // `/a/*` is `/a` as well, `/a/*/b` is not `/a/b`.
        if middle.is_empty() && !parts.is_empty() {
            return None;
        }
        compare(parts, back, &mut captures)?;
        let bytes = &*path.target.path;
        let middle = bytes.get(length(front)..bytes.len() - length(back)).unwrap_or_default();
        captures.push((SPLAT, middle.strip_prefix(&**prefix)?.strip_suffix(&**suffix)?));
        Some(captures)
    }
}

/// Each part to its segment.
fn compare<'a>(parts: &'a [Part], segments: &[&'a [u8]], captures: &mut Captures<'a>) -> Option<()> {
    parts.iter().zip(segments).try_for_each(|(part, segment)| match part {
        Part::Text(text) => (text == segment).then_some(()),
        Part::Placeholder(name) => {
            captures.push((name, segment));
            Some(())
        }
    })
}

/// Bytes of segments, each with its slash.
fn length(segments: &[&[u8]]) -> usize {
    segments.iter().map(|segment| segment.len() + 1).sum()
}

/// The name of a placeholder with which the text begins.
pub(super) fn name_at(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Text without a placeholder, which would be ambiguous within a segment.
fn plain(text: &str) -> Result<(), &'static str> {
    match text.split(':').skip(1).any(|behind| name_at(behind).is_some()) {
        true => Err("a placeholder is a segment of its own (a plain colon is %3A)"),
        false => Ok(()),
    }
}

/// With what is not visible ASCII percent-encoded.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, INVISIBLE).into()
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captured(pattern: &str, target: &str) -> Option<Vec<(String, String)>> {
        let pattern = Pattern::parse(pattern).unwrap();
        let target = Target::parse(target).unwrap();
        let captures = pattern.captures(&Path::new(&target))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some(captures.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect())
    }

    #[test]
    fn paths() {
        let rows: &[(&str, &str, Option<&[(&str, &str)]>)] = &[
            ("/", "/", Some(&[])),
            ("/", "/a", None),
            ("/a/b", "/a/b", Some(&[])),
            ("/a/b", "/a/b/", Some(&[])),
            ("/a/b/", "/a/b", Some(&[])),
            ("/a", "/A", None),
            ("/a", "/a/b", None),
            ("/a/b", "/a", None),
            ("/a%20b", "/a%20b", Some(&[])),
            ("/café", "/caf%C3%A9", Some(&[])),
            ("/caf%c3%a9", "/caf%C3%A9", Some(&[])),
            ("/%2A", "/*", Some(&[])),
            ("/%2A", "/a", None),
            ("/a:", "/a:", Some(&[])),
            ("/%3Aid", "/:id", Some(&[])),
            ("/*", "/", Some(&[("splat", "")])),
            ("/*", "/a/b", Some(&[("splat", "a/b")])),
            ("/a/*", "/a", Some(&[("splat", "")])),
            ("/a/*", "/a/", Some(&[("splat", "")])),
            ("/a/*", "/a/b/c/", Some(&[("splat", "b/c")])),
            ("/a/*", "/ab", None),
            ("/a*", "/ab/c", Some(&[("splat", "b/c")])),
            ("/a*", "/a", Some(&[("splat", "")])),
            ("/a*", "/", None),
            ("/*.jpg", "/a/b.jpg", Some(&[("splat", "a/b")])),
            ("/*.jpg", "/a/b.png", None),
            ("/*.jpg", "/jpg", None),
            ("/ab*ba", "/aba", None),
            ("/ab*ba", "/abba", Some(&[("splat", "")])),
            ("/a/*/b", "/a/b", None),
            ("/a/*/b", "/a/x/b", Some(&[("splat", "x")])),
            ("/a/*/b", "/a/x/b/b", Some(&[("splat", "x/b")])),
            ("/a/*/b", "/a/x/b/c", None),
            ("/a/x*/b", "/a/xy/z/b", Some(&[("splat", "y/z")])),
            ("/:a", "/x", Some(&[("a", "x")])),
            ("/:a", "/", None),
            ("/:a", "/x/y", None),
            ("/:a/:b_2/c", "/x/y/c", Some(&[("a", "x"), ("b_2", "y")])),
            ("/:a/*/:b", "/1/2/3/4", Some(&[("a", "1"), ("b", "4"), ("splat", "2/3")])),
            ("/:a/*/:b", "/1/2", None),
            ("/:splat", "/x", Some(&[("splat", "x")])),
        ];
        for (pattern, target, expected) in rows {
            let expected = expected.map(|pairs| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect());
            assert_eq!(captured(pattern, target), expected, "{pattern} {target}");
        }
    }

    #[test]
    fn paths_that_are_none() {
        for (pattern, word) in [
            ("", "slash"),
            ("a", "slash"),
            ("*", "slash"),
            ("https://a.b/*", "host"),
            ("/a?b=c", "query"),
            ("/a#b", "nobody"),
            ("//a", "nobody"),
            ("/a//b", "nobody"),
            ("/a/../b", "nobody"),
            ("/%2e", "nobody"),
            ("/a%2fb", "nobody"),
            ("/a\\b", "nobody"),
            ("/%zz", "nobody"),
            ("/%00", "nobody"),
            ("/*/*", "more than one"),
            ("/**", "more than one"),
            ("/a:b", "segment"),
            ("/:a-:b", "segment"),
            ("/*:b", "segment"),
            ("/:a/:a", "two"),
            ("/:splat/*", "two"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(word), "{pattern}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_a_pattern_takes_it_gives_back(pattern in "(/(a|b|:x|:y|a\\*|\\*b|\\*)){0,4}/?", target in "(/[ab]{1,3}){0,5}/?") {
            let (Ok(pattern), Ok(target)) = (Pattern::parse(&pattern), Target::parse(&target)) else { return Ok(()) };
            let path = Path::new(&target);
            let Some(captures) = pattern.captures(&path) else { return Ok(()) };
            let value = |name: &str| captures.iter().find(|(known, _)| *known == name).unwrap().1;
            let parts = |parts: &[Part]| parts.iter().fold(Vec::new(), |mut made, part| {
                made.push(b'/');
                made.extend_from_slice(match part { Part::Text(text) => text, Part::Placeholder(name) => value(name) });
                made
            });
            let mut made = parts(&pattern.front);
            if let Some(splat) = &pattern.splat {
                made.extend([b"/", &*splat.prefix, value(SPLAT), &splat.suffix].concat());
                made.extend(parts(&splat.back));
            }
            let made = made.strip_prefix(b"/").unwrap_or(&made);
            prop_assert_eq!(made.strip_suffix(b"/").unwrap_or(made), &*target.path);
        }

        #[test]
        fn a_pattern_takes_what_trying_everything_takes(
            pattern in "(/(a|b|ab|:x|:y|a\\*|\\*b|\\*|a\\*b)){0,4}/?",
            target in "(/[ab]{1,3}){0,5}/?",
        ) {
            let (Ok(parsed), Ok(target)) = (Pattern::parse(&pattern), Target::parse(&target)) else { return Ok(()) };
            let text = format!("/{}", String::from_utf8_lossy(&target.path));
            let pattern = pattern.strip_suffix('/').unwrap_or(&pattern);
            let pattern = if pattern.is_empty() { "/" } else { pattern };
            // `/a/*` is `/a`, too.
            let bare = pattern.strip_suffix("/*").is_some_and(|above| !above.is_empty() && tried(above, &text));
            prop_assert_eq!(parsed.captures(&Path::new(&target)).is_some(), bare || tried(pattern, &text));
        }
    }

    /// Whether the text can be what the pattern stands for: a splat for any text, a placeholder for a segment.
    fn tried(pattern: &str, text: &str) -> bool {
        let any = |rest: &str, most: usize| (0..=most).any(|count| tried(rest, &text[count..]));
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => any(&pattern[1..], text.len()),
            Some(':') => {
                let segment = text.find('/').unwrap_or(text.len());
                segment > 0 && tried(&pattern[2..], &text[segment..])
            }
            Some(c) => text.strip_prefix(c).is_some_and(|rest| tried(&pattern[1..], rest)),
        }
    }
}
