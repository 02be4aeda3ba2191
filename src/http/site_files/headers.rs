//! `_headers`: paths, and behind each of them the fields of what is there.

use super::pattern::{Path, Pattern};
use super::{Parsed, has_room, lines};
use crate::rules::{is_ours, is_token, is_value};

/// The fields of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    path: Pattern,
    /// Each name, and the value; none: the field is taken away.
    fields: Vec<(String, Option<String>)>,
}

/// What becomes of the fields of an answer: those of each name have this value, or are taken away.
pub(crate) type Changes<'a> = Vec<(&'a str, Option<String>)>;

/// Reads the file. What begins with a slash is a path, everything else a field of the path above it.
pub(crate) fn parse(text: &[u8]) -> Parsed<Rule> {
    let mut parsed = Parsed::<Rule>::default();
    // The path that is read: the number of its line, and none behind one that is wrong.
    let mut current: Option<(usize, Option<Rule>)> = None;
    let mut count = 0;
    for (number, line) in lines(text) {
        match line {
            Ok(line) if line.starts_with('/') || line.starts_with("http:") || line.starts_with("https:") => {
                finish(&mut parsed, current.take());
                let path = Pattern::parse(line).map_err(|reason| parsed.wrong(number, reason));
                current = Some((number, path.ok().map(|path| Rule { path, fields: Vec::new() })));
            }
            Ok(line) => match (field(line), &mut current) {
                (_, None) => parsed.wrong(number, "a field without a path above it"),
                // It is known why.
                (_, Some((_, None))) => {}
                (Err(reason), _) => parsed.wrong(number, reason),
                (Ok(field), Some((_, Some(rule)))) => {
                    if !has_room(&mut parsed, count, number) {
                        if rule.fields.is_empty() {
                            current = None;
                        }
                        break;
                    }
                    rule.fields.push(field);
                    count += 1;
                }
            },
            Err(reason) => parsed.wrong(number, reason),
        }
    }
    finish(&mut parsed, current);
    parsed
}

fn finish(parsed: &mut Parsed<Rule>, current: Option<(usize, Option<Rule>)>) {
    match current {
        Some((line, Some(rule))) if rule.fields.is_empty() => parsed.wrong(line, "a path without a field below it"),
        Some((_, Some(rule))) => parsed.rules.push(rule),
        _ => {}
    }
}

fn field(line: &str) -> Result<(String, Option<String>), &'static str> {
    let (name, value) = match line.strip_prefix('!') {
        Some(name) => (name.trim_ascii(), None),
        None => {
            let (name, value) =
                line.split_once(':').ok_or("neither a path nor a field such as X-Robots-Tag: noindex")?;
            (name, Some(value.trim_ascii()))
        }
    };
    if !is_token(name) {
        return Err("no name of a field");
    }
    if is_ours(name) {
        return Err("this field is the server's own");
    }
    // To another host it names those who may come in, with their passwords: no clients are to see that.
    if name.eq_ignore_ascii_case("Basic-Auth") {
        return Err("passwords are a matter of --auth");
    }
    match value {
        Some(value) if !is_value(value) => Err("no value of a field, which is visible ASCII"),
        value => Ok((name.into(), value.map(str::to_owned))),
    }
}

/// What all the rules of this path make of the fields, in the order of the file. Values of one name are joined with a comma
/// (RFC 9110 section 5.3), but for `Set-Cookie`, which has a line for each.
pub(crate) fn changes<'a>(rules: &'a [Rule], path: &Path<'_>) -> Changes<'a> {
    let mut changes = Changes::new();
    let matching = rules.iter().filter(|rule| rule.path.captures(path).is_some());
    for (name, value) in matching.flat_map(|rule| &rule.fields) {
        let Some(value) = value else {
            changes.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            changes.push((name, None));
            continue;
        };
        match changes.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, before @ None)) => *before = Some(value.clone()),
            Some((_, Some(before))) if !name.eq_ignore_ascii_case("set-cookie") => {
                before.push_str(", ");
                before.push_str(value);
            }
            _ => changes.push((name, Some(value.clone()))),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::Wrong;
    use super::*;
    use crate::http::target::Target;
    use proptest::prelude::*;

    #[test]
    fn all_rules_of_a_path_count() {
        let parsed = parse(
            b"# a comment\n\
              /*\n  X-A: 1\n\tX-B:2\n  Set-Cookie: a\n\n  Set-Cookie: b\n\
              /a/*\n  x-a: 3\n  ! X-B\n  ! X-Frame-Options\n\
              /a/:any\n  X-B: 4, 5\n  X-C: a:b # c\n",
        );
        assert_eq!(parsed.wrong, []);
        let rows: &[(&str, &[(&str, Option<&str>)])] = &[
            ("/", &[("X-A", Some("1")), ("X-B", Some("2")), ("Set-Cookie", Some("a")), ("Set-Cookie", Some("b"))]),
            (
                "/a",
                &[
                    ("X-A", Some("1, 3")),
                    ("Set-Cookie", Some("a")),
                    ("Set-Cookie", Some("b")),
                    ("X-B", None),
                    ("X-Frame-Options", None),
                ],
            ),
            (
                "/a/b",
                &[
                    ("X-A", Some("1, 3")),
                    ("Set-Cookie", Some("a")),
                    ("Set-Cookie", Some("b")),
                    ("X-B", Some("4, 5")),
                    ("X-Frame-Options", None),
                    ("X-C", Some("a:b # c")),
                ],
            ),
        ];
        for (target, expected) in rows {
            let target = Target::parse(target).unwrap();
            let changes = changes(&parsed.rules, &Path::new(&target));
            let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_deref())).collect();
            assert_eq!(changes, *expected, "{target:?}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_left_out() {
        let text =
            b"X-A: 1\n/a\n/b\n  X-A: 2\n  X-\xff: 3\n  Content-Length: 4\n  ! ETag\n  a b: c\n  X-D:\n  nothing\n\
                     /a//b\n  X-E: 5\n  also nothing\nhttps://a.b/*\n  X-F: 6\n/c\n  X-G: \xc3\xa9\n  X-H: 7\r\n/d";
        let parsed = parse(text);
        let wrong: Vec<_> = parsed.wrong.iter().map(|Wrong { line, reason }| (*line, *reason)).collect();
        for (line, word) in [
            (1, "without a path"),
            (2, "without a field"),
            (5, "UTF-8"),
            (6, "own"),
            (7, "own"),
            (8, "name"),
            (9, "value"),
            (10, "neither"),
            (11, "nobody"),
            (14, "host"),
            (17, "value"),
            (19, "without a field"),
        ] {
            assert!(wrong.iter().any(|(at, reason)| *at == line && reason.contains(word)), "{line} {word}: {wrong:?}");
        }
        assert_eq!(wrong.len(), 12, "{wrong:?}");
        let fields: Vec<_> = parsed.rules.iter().flat_map(|rule| &rule.fields).map(|(name, _)| &**name).collect();
        assert_eq!(fields, ["X-A", "X-H"]);
    }

    proptest! {
        #[test]
        fn whatever_the_file_is_no_line_ends_within_a_field(
            text in "(/|\\*|:a|\n|\r|\r\n| |\t|X-A|:|!|é|\u{0}|\u{85}|\u{2028}|#){0,40}",
            target in "/[a-z/]{0,8}",
        ) {
            let parsed = parse(text.as_bytes());
            if let Ok(target) = Target::parse(&target) {
                for (name, value) in changes(&parsed.rules, &Path::new(&target)) {
                    prop_assert!(is_token(name) && value.is_none_or(|value| is_value(&value)));
                }
            }
        }

        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&bytes), super::super::redirects::parse(&bytes));
        }

        #[test]
        fn fields_are_what_a_reader_would_make_of_them_line_by_line(
            rules in proptest::collection::vec(("/(\\*|a|b|:x|a/\\*)", proptest::collection::vec("(! )?X-[AB]|(X-[ABab]|Set-Cookie): [vw]", 1..4)), 0..5),
            target in "/(a|b|a/b)?",
        ) {
            let rules: Vec<_> = rules.iter().map(|(path, lines)| {
                // What takes nothing away has a value.
                let lines: Vec<_> = lines.iter().filter(|line| line.starts_with('!') || line.contains(':')).collect();
                (path, lines)
            }).filter(|(_, lines)| !lines.is_empty()).collect();
            let text: String = rules.iter().map(|(path, lines)| {
                format!("{path}\n{}", lines.iter().map(|line| format!("  {line}\n")).collect::<String>())
            }).collect();
            let parsed = parse(text.as_bytes());
            prop_assert_eq!(&parsed.wrong, &[]);
            let is_of = |path: &str| match path {
                "/*" => true,
                "/:x" => target != "/" && !target[1..].contains('/'),
                "/a/*" => target == "/a" || target.starts_with("/a/"),
                path => path == target,
            };
            // Each name, in small letters, with its lines.
            let mut model: Vec<(String, Vec<String>)> = Vec::new();
            for line in rules.iter().filter(|(path, _)| is_of(path)).flat_map(|(_, lines)| lines) {
                let (name, value) = match line.strip_prefix("! ") {
                    Some(name) => (name.to_ascii_lowercase(), None),
                    None => line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), Some(value.to_owned()))).unwrap(),
                };
                if model.iter().all(|(known, _)| *known != name) {
                    model.push((name.clone(), Vec::new()));
                }
                let values = &mut model.iter_mut().find(|(known, _)| *known == name).unwrap().1;
                match value {
                    None => values.clear(),
                    Some(value) => values.push(value),
                }
            }
            let target = Target::parse(&target).unwrap();
            let changes = changes(&parsed.rules, &Path::new(&target));
            for (name, values) in &model {
                let found: Vec<_> = changes.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
                let said: Vec<_> = found.iter().filter_map(|(_, value)| value.clone()).collect();
                let expected = match (values.is_empty(), name == "set-cookie") {
                    (true, _) => vec![],
                    (false, true) => values.clone(),
                    (false, false) => vec![values.join(", ")],
                };
                prop_assert!(!found.is_empty() && said == expected, "{}: {:?}", name, changes);
            }
            prop_assert!(changes.iter().all(|(name, _)| model.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))));
        }
    }
}
