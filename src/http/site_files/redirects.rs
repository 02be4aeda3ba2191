//! `_redirects`: where else a path leads, a line for each: `/from /to 301`.

use super::pattern::{Captures, Path, Pattern, SPLAT, name_at, visible};
use super::{Parsed, has_room, lines};
use crate::http::escape;
use crate::http::target::Target;
use crate::limits::TARGET;

/// The status of a rule that names none.
const DEFAULT: u16 = 301;
/// The statuses of answers that send the client elsewhere (RFC 9110 section 15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
/// Those of answers with something else that lies here.
const REWRITES: [u16; 2] = [200, 404];

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    from: Pattern,
    to: Destination,
    status: u16,
    forced: bool,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// One of 200, 301, 302, 303, 307, 308, 404.
    pub(crate) status: u16,
    /// Also if there is a file at the path.
    pub(crate) forced: bool,
    /// A URI reference: a path from the root, unless the rule names a host. Of 200 and 404 always a path.
    pub(crate) to: String,
}

/// A URI reference with placeholders.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    /// Scheme and host, in which nothing is put; empty for this host.
    origin: String,
    path: Vec<Piece>,
    query: Option<Vec<Piece>>,
    fragment: Option<Vec<Piece>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// As it is sent.
    Text(String),
    Placeholder(String),
}

/// Reads the file.
pub(crate) fn parse(text: &[u8]) -> Parsed<Rule> {
    let mut parsed = Parsed::default();
    for (number, line) in lines(text) {
        match line.and_then(rule) {
            Ok(rule) => {
                let count = parsed.rules.len();
                if !has_room(&mut parsed, count, number) {
                    break;
                }
                parsed.rules.push(rule);
            }
            Err(reason) => parsed.wrong(number, reason),
        }
    }
    parsed
}

fn rule(line: &str) -> Result<Rule, &'static str> {
    // A fragment never stands by itself.
    let mut words = line.split_ascii_whitespace().take_while(|word| !word.starts_with('#'));
    let from = Pattern::parse(words.next().unwrap_or_default())?;
    let to = words.next().ok_or("a path that leads nowhere")?;
    if to.contains('=') && !to.starts_with('/') && !to.contains("://") {
        return Err("rules for a query are not supported");
    }
    let (status, forced) = match words.next() {
        None => (DEFAULT, false),
        Some(word) => {
            let (digits, forced) = word.strip_suffix('!').map_or((word, false), |digits| (digits, true));
            let known = digits.parse().ok().filter(|status| REDIRECTS.contains(status) || REWRITES.contains(status));
            (known.ok_or("a status is one of 200, 301, 302, 303, 307, 308 and 404, and ! may follow")?, forced)
        }
    };
    if words.next().is_some() {
        return Err("conditions are not supported");
    }
    let to = Destination::parse(to, &from)?;
    match REWRITES.contains(&status) && !to.origin.is_empty() {
        true => Err("200 and 404 lead to a path, not to another host"),
        false => Ok(Rule { from, to, status, forced }),
    }
}

impl Destination {
    fn parse(text: &str, from: &Pattern) -> Result<Self, &'static str> {
        if text.contains('\\') {
            return Err("a backslash, which browsers take for a slash");
        }
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let (origin, rest) = match rest {
            Some(rest) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.is_empty() || !host.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err("no host that can be sent");
                }
                // It is never the client that chooses the host.
                if host.split(':').skip(1).any(|behind| name_at(behind).is_some()) {
                    return Err("a placeholder in a host");
                }
                text.split_at(text.len() - rest.len() + host.len())
            }
            None => ("", text),
        };
        let (rest, fragment) = split(rest, '#');
        let (path, query) = split(rest, '?');
        if origin.is_empty() {
            // Nothing in it leads elsewhere.
            Target::parse(&visible(path))
                .ok()
                .filter(|_| path.starts_with('/'))
                .ok_or("the target is no path such as /a/b, and does not begin with http:// or https://")?;
        }
        let pieces = |text| pieces(text, from);
        Ok(Self { origin: origin.into(), path: pieces(path), query: query.map(pieces), fragment: fragment.map(pieces) })
    }

    /// With what the placeholders stand for. It stays on this host unless the rule names another one: each value is
    /// percent-encoded, and no two slashes come to stand side by side.
    fn fill(&self, captures: &Captures<'_>, path: &Path<'_>, status: u16) -> String {
        let mut to = self.origin.clone();
        let mut put = |pieces: &[Piece], joined: bool| {
            for piece in pieces {
                let value;
                let text = match piece {
                    Piece::Text(text) => text,
                    Piece::Placeholder(name) => {
                        value = escape::path(value_of(name, captures)).to_string();
                        &value
                    }
                };
                let double = joined && to.ends_with('/');
                to.push_str(if double { text.trim_start_matches('/') } else { text });
            }
            // What is the name of a folder stays one.
            if joined && path.target.folder && !to.ends_with('/') {
                let splat = matches!(pieces.last(), Some(Piece::Placeholder(name)) if name == SPLAT);
                to.push_str(if splat { "/" } else { "" });
            }
        };
        put(&self.path, true);
        if REWRITES.contains(&status) {
            return to;
        }
        match (&self.query, path.target.query) {
            (Some(query), _) => {
                put(&[Piece::Text("?".into())], false);
                put(query, false);
            }
            (None, Some(query)) => put(&[Piece::Text(format!("?{query}"))], false),
            (None, None) => {}
        }
        if let Some(fragment) = &self.fragment {
            put(&[Piece::Text("#".into())], false);
            put(fragment, false);
        }
        to
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(text, behind)| (text, Some(behind)))
}

/// Text, and those placeholders that the path of the rule has.
fn pieces(text: &str, from: &Pattern) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(':') {
        plain.push_str(&visible(before));
        rest = behind;
        match name_at(behind).filter(|name| from.has(name)) {
            Some(name) => {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Placeholder(name.into()));
                rest = behind.get(name.len()..).unwrap_or_default();
            }
            None => plain.push(':'),
        }
    }
    plain.push_str(&visible(rest));
    pieces.push(Piece::Text(plain));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}

fn value_of<'a>(name: &str, captures: &Captures<'a>) -> &'a [u8] {
    captures.iter().find(|(known, _)| *known == name).map_or(b"", |(_, value)| value)
}

/// Rules of one path that are tried, if one after the other leads nowhere.
const TRIES: usize = 8;

/// Where the first rule of this path leads that leads elsewhere.
pub(crate) fn find(rules: &[Rule], path: &Path<'_>) -> Option<Redirect> {
    let of_path = rules.iter().filter_map(|rule| Some((rule, rule.from.captures(path)?)));
    of_path.take(TRIES).find_map(|(Rule { to, status, forced, .. }, captures)| {
        let to = to.fill(&captures, path, *status);
        let redirect = Redirect { status: *status, forced: *forced, to };
        // A client that is sent to where it is would come again and again; and nobody takes an address that is too long.
        (redirect.to.len() <= TARGET && !leads_to(&redirect, path.target)).then_some(redirect)
    })
}

fn leads_to(redirect: &Redirect, target: &Target<'_>) -> bool {
    let same = || Target::parse(split(&redirect.to, '#').0).is_ok_and(|to| to == *target);
    REDIRECTS.contains(&redirect.status) && redirect.to.starts_with('/') && same()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(file: &str, target: &str) -> Option<Redirect> {
        let parsed = parse(file.as_bytes());
        assert_eq!(parsed.wrong, [], "{file}");
        let target = Target::parse(target).unwrap();
        find(&parsed.rules, &Path::new(&target))
    }

    #[test]
    fn what_leads_nowhere_costs_little_and_what_is_too_long_leads_nowhere() {
        let round = "/* /:splat\n".repeat(100) + "/* /end";
        assert_eq!(found(&round, "/a"), None);
        let long = format!("/{}", "a".repeat(4000));
        assert_eq!(found("/* /:splat:splat:splat\n/* /end", &long).map(|found| found.to), Some("/end".into()));
    }

    #[test]
    fn where_paths_lead() {
        for (file, target, expected) in [
            ("/a /b", "/a", Some((301, false, "/b"))),
            ("/a /b", "/c", None),
            ("/a /b 302!", "/a", Some((302, true, "/b"))),
            ("/a /b 307 # comment", "/a", Some((307, false, "/b"))),
            ("/a /b#there 308", "/a?x=/../y", Some((308, false, "/b?x=/../y#there"))),
            ("/a /b?c=d", "/a?x", Some((301, false, "/b?c=d"))),
            ("/a /b?", "/a?x", Some((301, false, "/b?"))),
            ("/a https://b.c", "/a?x", Some((301, false, "https://b.c?x"))),
            ("/a/* https://b.c:8080/:splat/", "/a/x/y", Some((301, false, "https://b.c:8080/x/y/"))),
            ("/a /b\n/a /c\n/* /d 200", "/a", Some((301, false, "/b"))),
            ("/a /b\n/a /c\n/* /d#e 200", "/x?y", Some((200, false, "/d"))),
            ("/* /not/there 404", "/x", Some((404, false, "/not/there"))),
            ("/a/* /b/:splat", "/a/x/y", Some((301, false, "/b/x/y"))),
            ("/a/* /b/:splat", "/a/x/y/", Some((301, false, "/b/x/y/"))),
            ("/a/* /b/:splat", "/a", Some((301, false, "/b/"))),
            ("/a/* /b:splat", "/a/", Some((301, false, "/b/"))),
            ("/a/* /:splat/b", "/a", Some((301, false, "/b"))),
            ("/a*b /:splat", "/a/evil.example/b", Some((301, false, "/evil.example/"))),
            ("/u/:id /p/:id.html?id=:id#:id", "/u/a%20b", Some((301, false, "/p/a%20b.html?id=a%20b#a%20b"))),
            ("/u/:id /p/:idx/:splat/S:p", "/u/a", Some((301, false, "/p/:idx/:splat/S:p"))),
            ("/:a/:b /:b-:a", "/x/y", Some((301, false, "/y-x"))),
            ("/caf\u{e9} /\u{e9}t\u{e9}", "/caf%C3%A9", Some((301, false, "/%C3%A9t%C3%A9"))),
            // Who is there already is not sent there.
            ("/a /a/ 301!", "/a", Some((301, true, "/a/"))),
            ("/a /a/ 301!", "/a/", None),
            ("/* /x", "/x", None),
            ("/* /x", "/y", Some((301, false, "/x"))),
            ("/* /x#y\n/x /z", "/x", Some((301, false, "/z"))),
            ("/a /%61?b", "/a?b", None),
            ("/a /a?b", "/a", Some((301, false, "/a?b"))),
            ("/* / 200", "/", Some((200, false, "/"))),
        ] {
            let expected = expected.map(|(status, forced, to)| Redirect { status, forced, to: to.into() });
            assert_eq!(found(file, target), expected, "{file} {target}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_left_out() {
        for (line, word) in [
            ("/a", "nowhere"),
            ("/a # /b", "nowhere"),
            ("a /b", "slash"),
            ("https://a.b/* /c", "host"),
            ("/a id=:id /b 301", "query"),
            ("/a?b /c", "query"),
            ("/a b", "such as"),
            ("/a //b.c", "such as"),
            ("/a /b//c", "such as"),
            ("/a /b/../c", "such as"),
            ("/a /%zz", "such as"),
            ("/a /%2fb", "such as"),
            ("/a ftp://b.c/", "such as"),
            ("/a javascript:alert(1)", "such as"),
            ("/a /\\b.c", "backslash"),
            ("/a https:\\\\b.c", "backslash"),
            ("/a https://", "no host"),
            ("/a https:///b", "no host"),
            ("/a https://\u{e9}.c", "no host"),
            ("/* https://:splat", "placeholder"),
            ("/* https://b.c:splat/", "placeholder"),
            ("/* https://b.c 200", "another host"),
            ("/* https://b.c 404", "another host"),
            ("/a /b 418", "status"),
            ("/a /b 3O1", "status"),
            ("/a /b !", "status"),
            ("/a /b Country=au", "status"),
            ("/a /b 302 Country=au", "conditions"),
            ("/a /b 302 Language=de Role=x", "conditions"),
        ] {
            let parsed = parse(format!("/first /b\n{line}\n/last /b").as_bytes());
            assert_eq!((parsed.rules.len(), parsed.wrong.len()), (2, 1), "{line}");
            let wrong = &parsed.wrong[0];
            assert!(wrong.line == 2 && wrong.reason.contains(word), "{line}: {wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_client_leads_another_one_to_another_host(
            from in "/(a|\\*|:x|a\\*b|a\\*|\\*b|\\*/b|:x/\\*)",
            to in "(/|/:splat|/:x|/a|:splat|:x|\\?|#|:splat/|\\.|@|//){1,4}",
            target in "/(a|b|/|%2F|%5C|\\\\|%0D%0A|@|evil\\.example|:|http:|%68ttp:|\\.\\.?|%2e|\\?|%3F|%23){0,8}",
        ) {
            let parsed = parse(format!("{from} {to}").as_bytes());
            if let Ok(target) = Target::parse(&target) {
                if let Some(redirect) = find(&parsed.rules, &Path::new(&target)) {
                    let path = redirect.to.split(['?', '#']).next().unwrap();
                    prop_assert!(path.starts_with('/') && !path.contains("//"), "{redirect:?}");
                    prop_assert!(redirect.to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{redirect:?}");
                }
            }
        }

        #[test]
        fn the_host_of_a_rule_stays(target in "/(a|/|%2F|@|evil\\.example|:|\\?|%3F|%23|%40){0,8}") {
            let parsed = parse(b"/* https://good.example:1/:splat");
            if let Ok(target) = Target::parse(&target) {
                let to = find(&parsed.rules, &Path::new(&target)).unwrap().to;
                prop_assert!(to.starts_with("https://good.example:1/"), "{}", to);
            }
        }
    }
}
