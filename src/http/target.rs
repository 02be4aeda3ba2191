//! The request target (RFC 9112 section 3.2): from what stood in the request line to the path of a file.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A target that names something below the root: decoded once, and nothing in it can lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The segments, joined by `/`: no leading and no trailing one. Empty for the root itself. Any byte but NUL and `\`.
    pub(crate) path: Cow<'a, [u8]>,
    /// Whether the path ended in `/`: the name of a folder.
    pub(crate) folder: bool,
    /// What stood behind the first `?`, still encoded.
    pub(crate) query: Option<&'a str>,
}

/// The target cannot be a path: answered 400, never a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Target<'a> {
    /// Reads a target in origin form (`/a?b`) or absolute form (`http://host/a?b`).
    ///
    /// # Errors
    /// [`Malformed`] for every other form, for what is not visible ASCII, for a fragment, for percent signs without
    /// two hexadecimal digits, for a NUL, for slashes in disguise (`%2F`, `\`, `%5C`), and for the segments `.`, `..`
    /// and the empty one: clients take these out themselves (RFC 3986 section 5.2.4), who sends them wants out of the root.
    #[inline]
    pub(crate) fn parse(target: &'a str) -> Result<Self, Malformed> {
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\') {
            return Err(Malformed);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let encoded = match path.strip_prefix('/') {
            Some(rest) => rest,
            None => behind_authority(path)?,
        };
        let decoded = decode(encoded)?;
        let folder = decoded.is_empty() || decoded.ends_with(b"/");
        let path = match decoded {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytes.strip_suffix(b"/").unwrap_or(bytes)),
            Cow::Owned(mut bytes) => {
                if bytes.ends_with(b"/") {
                    bytes.pop();
                }
                Cow::Owned(bytes)
            }
        };
        let root = encoded.is_empty();
        if !root && path.split(|b| *b == b'/').any(|segment| matches!(segment, b"" | b"." | b"..")) {
            return Err(Malformed);
        }
        Ok(Self { path, folder, query })
    }

    /// What is left behind this path, which has no slashes around it; none if it does not begin with it. The path itself is no
    /// folder unless a slash stood behind it.
    pub(crate) fn beneath(self, prefix: &str) -> Option<Self> {
        let begin = match self.path.strip_prefix(prefix.as_bytes())? {
            [] => prefix.len(),
            [b'/', ..] => prefix.len() + 1,
            _ => return None,
        };
        let path = match self.path {
            Cow::Borrowed(path) => Cow::Borrowed(path.get(begin..).unwrap_or_default()),
            Cow::Owned(mut path) => {
                path.drain(..begin);
                Cow::Owned(path)
            }
        };
        Some(Self { path, ..self })
    }

    /// Whether some segment is a dotfile, which is not served without being told. `/.well-known/` is no secret (RFC 8615).
    pub(crate) fn is_hidden(&self) -> bool {
        self.path.split(|b| *b == b'/').enumerate().any(|(depth, name)| is_hidden(name, depth == 0))
    }

    /// What stands between the path and a name in that folder: nothing in the root.
    pub(crate) fn separator(&self) -> &'static [u8] {
        if self.path.is_empty() { b"" } else { b"/" }
    }

    /// The value of a parameter of the query, as it stands: the parameters of this server need no decoding.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The text of a parameter of the query, as forms encode it: `+` is a space.
    ///
    /// # Errors
    /// [`Malformed`] for a percent sign without two hexadecimal digits.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        let Some(encoded) = self.parameter(name) else { return Ok(None) };
        let digits = |behind: &str| behind.get(..2).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        if !encoded.split('%').skip(1).all(digits) {
            return Err(Malformed);
        }
        Ok(Some(match encoded.contains('+') {
            false => Cow::from(percent_decode_str(encoded)),
            true => Cow::Owned(percent_decode_str(&encoded.replace('+', " ")).collect()),
        }))
    }

    /// Whether the query has this parameter, with a value or without.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        let named = |pair: &str| pair.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
        self.query.is_some_and(|query| query.split('&').any(named))
    }
}

/// Whether a name is a dotfile's; `top`: it stands directly below the root.
pub(crate) fn is_hidden(name: &[u8], top: bool) -> bool {
    name.starts_with(b".") && !(top && name == b".well-known")
}

/// Whether a file of this name can be asked for at all, see [`Target::parse`].
pub(crate) fn is_reachable(name: &[u8]) -> bool {
    !name.contains(&b'\\')
}

/// The path of an absolute form, without its leading slash.
fn behind_authority(target: &str) -> Result<&str, Malformed> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            let (head, rest) = target.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        })
        .ok_or(Malformed)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // User information in a request is an error or a trap (RFC 9110 section 4.2.4).
    if authority.is_empty() || authority.contains('@') { Err(Malformed) } else { Ok(path) }
}

fn decode(encoded: &str) -> Result<Cow<'_, [u8]>, Malformed> {
    let mut rest = encoded;
    while let Some((_, behind)) = rest.split_once('%') {
        let digits = behind.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(Malformed)?;
        if digits == "00" || digits.eq_ignore_ascii_case("2f") || digits.eq_ignore_ascii_case("5c") {
            return Err(Malformed);
        }
        rest = behind;
    }
    Ok(Cow::from(percent_decode_str(encoded)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::escape;
    use proptest::prelude::*;

    #[test]
    fn what_is_beneath_a_prefix() {
        let beneath = |target, prefix| {
            let target = Target::parse(target).unwrap().beneath(prefix)?;
            Some((target.path.into_owned(), target.folder))
        };
        for (target, prefix, expected) in [
            ("/docs/a/b", "docs", Some(("a/b", false))),
            ("/docs/", "docs", Some(("", true))),
            ("/docs", "docs", Some(("", false))),
            ("/d%6Fcs/a%20b/", "docs", Some(("a b", true))),
            ("/a/b/c", "a/b", Some(("c", false))),
            ("/docsa", "docs", None),
            ("/a/docs/", "docs", None),
            ("/", "docs", None),
        ] {
            let expected = expected.map(|(path, folder)| (path.as_bytes().to_vec(), folder));
            assert_eq!(beneath(target, prefix), expected, "{target}");
        }
    }

    #[test]
    fn targets() {
        let rows: &[(&str, Option<(&[u8], bool, Option<&str>)>)] = &[
            ("/", Some((b"", true, None))),
            ("/a", Some((b"a", false, None))),
            ("/a/", Some((b"a", true, None))),
            ("/a/b.txt?x=/../y", Some((b"a/b.txt", false, Some("x=/../y")))),
            ("/?", Some((b"", true, Some("")))),
            ("/a%20b", Some((b"a b", false, None))),
            ("/%ff", Some((b"\xff", false, None))),
            ("/%252e", Some((b"%2e", false, None))),
            ("/%0A", Some((b"\n", false, None))),
            ("/...", Some((b"...", false, None))),
            ("/a%3Fb", Some((b"a?b", false, None))),
            ("http://host", Some((b"", true, None))),
            ("http://host?q", Some((b"", true, Some("q")))),
            ("HTTPS://host:1/a", Some((b"a", false, None))),
            ("", None),
            ("a", None),
            ("*", None),
            ("host:80", None),
            ("ftp://host/a", None),
            ("http:///a", None),
            ("http://user@host/a", None),
            ("//", None),
            ("//a", None),
            ("/a//b", None),
            ("/a//", None),
            ("/.", None),
            ("/..", None),
            ("/a/../b", None),
            ("/a/%2e%2E/b", None),
            ("/%2e/", None),
            ("/a%2fb", None),
            ("/a%2Fb", None),
            ("/a\\b", None),
            ("/a%5cb", None),
            ("/a%00", None),
            ("/a%", None),
            ("/a%4", None),
            ("/a%4g", None),
            ("/a%+4", None),
            ("/a b", None),
            ("/a#b", None),
            ("/é", None),
            ("http://host//a", None),
        ];
        for (target, expected) in rows {
            let parsed = Target::parse(target).ok();
            let plain = parsed.as_ref().map(|t| (&*t.path, t.folder, t.query));
            assert_eq!(plain, *expected, "{target}");
        }
    }

    #[test]
    fn dotfiles() {
        for (target, hidden) in [
            ("/a/b", false),
            ("/.git/config", true),
            ("/a/.b", true),
            ("/.well-known/acme", false),
            ("/.well-known/.x", true),
            ("/a/.well-known/b", true),
            ("/", false),
        ] {
            assert_eq!(Target::parse(target).map(|t| t.is_hidden()), Ok(hidden), "{target}");
        }
    }

    #[test]
    fn parameters() {
        let target = Target::parse("/?sort=size&order=desc&sorted").unwrap();
        assert_eq!(target.parameter("sort"), Some("size"));
        assert_eq!(target.parameter("order"), Some("desc"));
        assert_eq!(target.parameter("sorted"), None);
        assert_eq!(target.parameter("ord"), None);
        let text = |query: &'static str| Target::parse(query).unwrap().text("q").map(|text| text.map(Cow::into_owned));
        assert_eq!(text("/?p=1"), Ok(None));
        assert_eq!(text("/?q=a%2Bb+c%00%fF%252f"), Ok(Some(b"a+b c\0\xff%2f".to_vec())));
        assert!(["/?q=%", "/?q=a%4", "/?q=%%41", "/?q=%+4", "/?q=%4g"].into_iter().all(|query| text(query).is_err()));
        assert!(target.asks_for("sorted") && target.asks_for("sort") && !target.asks_for("sor"));
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_leads_out(target in "(http://h)?(/|%2e|%2F|\\.|\\.\\.|a|%61|%00|\\\\|%5c|\\?|%|é){0,12}") {
            if let Ok(target) = Target::parse(&target) {
                prop_assert!(!target.path.contains(&0) && !target.path.contains(&b'\\') && !target.path.starts_with(b"/"));
                let mut segments = target.path.split(|b| *b == b'/');
                prop_assert!(target.path.is_empty() || segments.all(|s| !matches!(s, b"" | b"." | b"..")));
            }
        }

        #[test]
        fn any_name_survives_the_way_there_and_back(name in proptest::collection::vec(any::<u8>(), 1..40)) {
            prop_assume!(!name.iter().any(|b| matches!(b, 0 | b'/' | b'\\')) && name != b"." && name != b"..");
            let target = format!("/{}", escape::path(&name));
            prop_assert_eq!(&*Target::parse(&target).unwrap().path, &name[..]);
        }
    }
}
