//! What holds of the parsers, whatever comes: a property for each of them. Each is written once, and asked three times: `fuzz/`
//! includes this file and makes up the bytes (`make fuzz`), `corpus` runs what that has kept, and makes up text that
//! looks more like what clients send.

use std::ops::Range;
use std::time::Duration;

use brooklet::tiny_http::Method;
use brooklet::{Request, parts};

/// A property, and its name: that of its fuzz target and of the folder of its corpus.
pub(crate) type Property = (&'static str, fn(&[u8]));

pub(crate) const ALL: &[Property] = &[
    ("head", head),
    ("body", body),
    ("target", target),
    ("range", range),
    ("validators", validators),
    ("accept", accept),
    ("headers", headers),
    ("redirects", redirects),
];

/// The first line as text, and what follows it.
fn line(data: &[u8]) -> (String, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let rest = data.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&data[..end]).into_owned(), rest)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The head of a request: where it ends does not depend on what follows, and no two readers take its lines differently.
pub(crate) fn head(data: &[u8]) {
    let shown = || data.escape_ascii().to_string();
    let found = parts::head(data);
    assert_eq!(format!("{found:?}"), format!("{:?}", parts::head(data)), "twice the same");
    let more = [data, b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let head = match found {
        None => {
            let end = data.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            assert!(end.is_none_or(|at| data[..at].iter().all(|b| matches!(b, b'\r' | b'\n'))), "{}", shown());
            return;
        }
        Some(Err(status)) => {
            assert!(matches!(status, 400 | 413 | 431 | 501 | 505), "{status}: {}", shown());
            assert!(matches!(parts::head(&more), Some(Err(_))), "nothing mends it: {}", shown());
            return;
        }
        Some(Ok(head)) => head,
    };
    let used = head.used;
    assert!(used > 0 && used <= data.len() && data[..used].ends_with(b"\n"), "{used}: {}", shown());
    let same = |bytes: &[u8]| format!("{:?}", parts::head(bytes)) == format!("{:?}", Some(Ok::<_, u16>(&head)));
    assert!(same(&data[..used]) && same(&more), "what follows makes a difference: {}", shown());
    for until in (0..used).step_by(used / 64 + 1).chain([used - 1]) {
        assert!(parts::head(&data[..until]).is_none(), "whole or refused after {until} bytes: {}", shown());
    }
    // Line by line, as a reader would see it who knows nothing else.
    let lines = data[..used].split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.skip_while(|line| line.is_empty());
    let request = lines.next().unwrap_or_default();
    let words: Vec<_> = request.split(|b| *b == b' ').collect();
    assert!(words.len() == 3 && is_token(words[0]) && !words[1].is_empty(), "{}", shown());
    assert_eq!(words[1], head.request.target.as_bytes());
    assert!(matches!((words[2], head.request.version), (b"HTTP/1.0", (1, 0)) | (b"HTTP/1.1", (1, 1))), "{}", shown());
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), 0);
    for line in lines.take_while(|line| !line.is_empty()) {
        assert!(!line.contains(&b'\r') && !line.contains(&0), "{}", shown());
        let colon = line.iter().position(|b| *b == b':').unwrap_or(0);
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii());
        assert!(is_token(name), "{}", shown());
        match name.to_ascii_lowercase().as_slice() {
            b"host" => hosts += 1,
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings += 1,
            _ => {}
        }
    }
    assert!(hosts <= 1 && lengths.len() + codings <= 1, "two readers may differ: {}", shown());
    match head.body {
        None => assert_eq!(lengths.len() + codings, 0, "{}", shown()),
        Some(None) => assert!(codings == 1 && head.request.version == (1, 1), "{}", shown()),
        Some(Some(length)) => {
            let digits = String::from_utf8_lossy(lengths[0]);
            assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{}", shown());
            assert_eq!(digits.parse(), Ok(length), "{}", shown());
        }
    }
}

/// A body in chunks, as a reader takes it apart who has all of it: its end, none if more has to come, or that it is none.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let is_text = |b: &u8| matches!(*b, b'\t' | b' '..=b'~' | 0x80..);
    /// A line without its end, and where the next one begins.
    fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, ()> {
        let rest = &bytes[at..];
        match rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            None => Ok(None),
            Some(end) if rest[end] == b'\n' => Err(()),
            Some(end) => match rest.get(end + 1) {
                None => Ok(None),
                Some(b'\n') => Ok(Some((&rest[..end], at + end + 2))),
                Some(_) => Err(()),
            },
        }
    }
    let size = |text: &[u8], whole: bool| {
        let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (number, extension) = text.split_at(digits);
        let begins = extension.first().is_none_or(|b| matches!(b, b';' | b' ' | b'\t'));
        let right =
            digits <= 16 && (digits > 0 || text.is_empty() && !whole) && begins && extension.iter().all(is_text);
        let number = std::str::from_utf8(number).map_err(|_| ())?;
        if right { Ok(u64::from_str_radix(number, 16).unwrap_or(0)) } else { Err(()) }
    };
    let unfinished = |at: usize| bytes[at..].strip_suffix(b"\r").unwrap_or(&bytes[at..]);
    let mut at = 0;
    loop {
        let Some((text, behind)) = line(bytes, at)? else {
            return size(unfinished(at), bytes.ends_with(b"\r") && at < bytes.len()).map(|_| None);
        };
        let length = size(text, true)?;
        at = behind;
        if length == 0 {
            break;
        }
        let Some(end) = usize::try_from(length).ok().and_then(|length| at.checked_add(length)) else { return Ok(None) };
        match bytes.get(end..).map(|rest| (rest.first(), rest.get(1))) {
            None | Some((None, _)) | Some((Some(b'\r'), None)) => return Ok(None),
            Some((Some(b'\r'), Some(b'\n'))) => at = end + 2,
            Some(_) => return Err(()),
        }
    }
    loop {
        match line(bytes, at)? {
            None if unfinished(at).iter().all(is_text) => return Ok(None),
            None => return Err(()),
            Some(([], behind)) => return Ok(Some(behind)),
            Some((text, _)) if !text.iter().all(is_text) => return Err(()),
            Some((_, behind)) => at = behind,
        }
    }
}

/// A body that is passed over: its end is where it is, in whatever pieces it comes, and it takes no more than it may. The first
/// byte says how it ends, the second one the size of the pieces.
pub(crate) fn body(data: &[u8]) {
    let &[kind, piece, ref bytes @ ..] = data else { return };
    let length = (kind & 1 == 1).then_some(u64::from(kind) << (kind % 17));
    let whole = parts::body(length, [bytes]);
    let pieces = parts::body(length, bytes.chunks(usize::from(piece) + 1));
    assert_eq!(whole, pieces, "in pieces of {}: {}", usize::from(piece) + 1, bytes.escape_ascii());
    let Some((passed, over)) = whole else {
        assert!(length.is_none() && chunks(bytes).is_err() || bytes.len() > 64 << 10, "{}", bytes.escape_ascii());
        return;
    };
    assert!(passed <= bytes.len() && passed <= 64 << 10 && (over || passed == bytes.len()));
    match length {
        Some(length) => assert_eq!((passed as u64, over), (length.min(bytes.len() as u64), passed as u64 == length)),
        None => assert_eq!(chunks(bytes), Ok(over.then_some(passed)), "{}", bytes.escape_ascii()),
    }
}

/// With everything but letters and digits percent-encoded.
fn encode(path: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'/' => "/".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.iter().map(encode).collect()
}

/// A target: what it names lies beneath the root, and is the same in every spelling.
pub(crate) fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = parts::target(&text);
    assert_eq!(found, parts::target(&text), "twice the same");
    let Some((path, folder, query)) = found else { return };
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
    assert!(path.len() <= text.len() && !path.contains(&0) && !path.contains(&b'\\'), "{text}");
    let mut segments = path.split(|b| *b == b'/');
    assert!(path.is_empty() || segments.all(|segment| !matches!(segment, b"" | b"." | b"..")), "{text}");
    assert_eq!(query, text.split_once('?').map(|(_, query)| query));
    assert!(folder || !path.is_empty(), "the root is a folder: {text}");
    // No slash came out of a percent sign.
    let before = text.split('?').next().unwrap_or_default();
    let slashes = |text: &[u8]| text.iter().filter(|b| **b == b'/').count();
    let authority = if before.starts_with('/') { 1 } else { slashes(before.as_bytes()).min(3) };
    let last = usize::from(folder && !path.is_empty());
    assert_eq!(slashes(&path) + last + authority, slashes(before.as_bytes()), "{text}");
    let end = if folder && !path.is_empty() { "/" } else { "" };
    let again = format!("/{}{end}{}", encode(&path), query.map(|query| format!("?{query}")).unwrap_or_default());
    let expected = Some((path, folder, query));
    assert_eq!(parts::target(&again), expected, "{text} as {again}");
    assert_eq!(parts::target(&format!("hTTp://h:1{again}")), expected, "{text} as {again} of a host");
}

/// What a `Range` asks for, as far as it is one: the first byte of each, and the last one, of so many.
fn asked(field: &str, length: u64) -> Option<Vec<(u64, u64)>> {
    let (unit, set) = field.split_once('=')?;
    let number = |text: &str| {
        let right = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        right.then(|| text.bytes().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
    };
    let elements = set.split(',').map(str::trim_ascii).filter(|element| !element.is_empty());
    let ranges = elements.map(|element| {
        let (first, last) = element.split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, _) => number(last).map(|count| (length.saturating_sub(count), length.wrapping_sub(1))),
            (false, true) => Some((number(first)?, u64::MAX)),
            (false, false) => Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last),
        }
    });
    ranges.collect::<Option<Vec<_>>>().filter(|_| unit.trim_ascii().eq_ignore_ascii_case("bytes"))
}

/// A `Range`: what it selects exists, is not empty, was asked for, and comes once. The first line is the length.
pub(crate) fn range(data: &[u8]) {
    let (length, field) = line(data);
    let length = length.bytes().fold(0u64, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b & 15)));
    let field = String::from_utf8_lossy(field);
    let found = parts::range(&field, length);
    assert_eq!(found, parts::range(&field, length), "twice the same");
    let Some(ranges) = found else { return };
    let shown = || format!("{field:?} of {length}: {ranges:?}");
    let asked = asked(&field, length).unwrap_or_else(|| panic!("no ranges: {}", shown()));
    assert!(!asked.is_empty() && asked.len() <= 1000 && ranges.len() <= 16, "{}", shown());
    for range in &ranges {
        assert!(range.start < range.end && range.end <= length, "{}", shown());
        assert!(ranges.iter().all(|other| other.end != range.start), "two that touch: {}", shown());
    }
    // Nothing changes but at the ends of what is selected or asked for.
    let ends = ranges.iter().flat_map(|Range { start, end }| [*start, *end]);
    let ends = ends.chain(asked.iter().flat_map(|(first, last)| [*first, *last])).chain([0, length]);
    for byte in ends.flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)]).filter(|byte| *byte < length) {
        let wanted = asked.iter().any(|(first, last)| (*first..=*last).contains(&byte));
        let times = ranges.iter().filter(|range| range.contains(&byte)).count();
        assert_eq!(times, usize::from(wanted), "byte {byte}, {}", shown());
    }
    assert!(parts::range(&field, 0).is_none_or(|ranges| ranges.is_empty()), "something of nothing: {}", shown());
}

/// Entity tags and dates: a tag of ours matches itself, and nothing else does. The first line is one value, the rest another one.
pub(crate) fn validators(data: &[u8]) {
    let (first, rest) = line(data);
    let rest = String::from_utf8_lossy(rest);
    let (one, other) = (first.as_str(), &*rest);
    let file = parts::File::default();
    let young = parts::File::new(Duration::ZERO);
    let (strong, weak) = (file.etag(), young.etag());
    assert!(file.is_dated() && !young.is_dated() && weak == format!("W/{strong}"));
    for (file, etag) in [(&file, &strong), (&young, &weak)] {
        let status = |fields: &[(&str, &str)]| {
            let request = Request::new(&Method::Get, "/");
            let request = fields.iter().fold(request, |request, (name, value)| request.with(name, value));
            parts::precondition(&request, file)
        };
        let names_it = |value: &str| value.trim_ascii() == "*" || value.contains(&strong);
        for value in [one, other] {
            let listed = format!("{etag}, {value}");
            assert_eq!(status(&[("If-None-Match", &listed)]), 304, "its own tag: {listed:?}");
            assert_eq!(status(&[("If-Match", &listed)]) == 200, etag == &strong, "its own tag: {listed:?}");
            let unknown = status(&[("If-None-Match", value)]);
            assert!(unknown == 200 || unknown == 304 && names_it(value), "{unknown}: {value:?}");
            let wanted = status(&[("If-Match", value)]);
            assert!(wanted == 412 || wanted == 200 && names_it(value), "{wanted}: {value:?}");
            let since = status(&[("If-Modified-Since", value)]);
            assert!(since == 200 || since == 304 && file.is_dated(), "{since}: {value:?}");
            let since = status(&[("If-Unmodified-Since", value)]);
            assert!(since == 200 || since == 412 && file.is_dated(), "{since}: {value:?}");
        }
        // What goes first (RFC 9110 section 13.2.2).
        let both = [("If-None-Match", one), ("If-Modified-Since", other)];
        assert_eq!(status(&both), status(&both[..1]), "{both:?}");
        let both = [("If-Match", one), ("If-Unmodified-Since", other)];
        assert_eq!(status(&both), status(&both[..1]), "{both:?}");
        let both = [("If-Match", one), ("If-None-Match", other)];
        let expected = if status(&both[..1]) == 412 { 412 } else { status(&both[1..]) };
        assert_eq!(status(&both), expected, "{both:?}");
        let ranges = |value: &str| parts::if_range(&Request::new(&Method::Get, "/").with("If-Range", value), file);
        assert_eq!(ranges(etag), etag == &strong, "a weak tag joins nothing");
        for value in [one, other] {
            let names_it = value.trim_ascii() == strong || value.contains("22:13:20") && !value.contains('"');
            assert!(!ranges(value) || file.is_dated() && names_it, "{value:?}");
        }
    }
}

/// The weight that an element of a list has, in thousandths (RFC 9110 section 12.4.2).
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let Some(text) = parameters.find_map(|text| text.strip_prefix(['q', 'Q'])?.strip_prefix('=')) else { return 1000 };
    let (whole, behind) = text.split_at_checked(1).unwrap_or((text, ""));
    let digits = behind.strip_prefix('.').unwrap_or_default();
    let right = digits.len() <= 3
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (behind.is_empty() || behind.starts_with('.'));
    match (whole, format!("{digits:0<3}").parse()) {
        ("0", Ok(thousandths)) if right => thousandths,
        ("1", Ok(0)) if right => 1000,
        _ => 0,
    }
}

/// `Accept` and `Accept-Encoding`: what is wanted is what the most exact element says, and a weight that is none wants nothing.
pub(crate) fn accept(data: &[u8]) {
    let field = String::from_utf8_lossy(data);
    let elements = || field.split(',').map(|element| element.split(';').map(str::trim_ascii));
    for coding in ["gzip", "br", "zstd", "identity"] {
        let found = parts::coding(&field, coding);
        let alias = |name: &str| coding == "gzip" && name.eq_ignore_ascii_case("x-gzip");
        let named = elements().find_map(|mut element| {
            element
                .next()
                .filter(|name| name.eq_ignore_ascii_case(coding) || alias(name))
                .map(|_| (weight(element), true))
        });
        let others = || {
            elements()
                .filter_map(|mut element| element.next().filter(|name| *name == "*").map(|_| (weight(element), false)))
        };
        assert_eq!(found, named.or_else(|| others().next_back()), "{coding}: {field:?}");
    }
    for (main, sub) in [("text", "html"), ("application", "json")] {
        let found = parts::media_type(&field, main, sub);
        let ranges = [format!("{main}/{sub}"), format!("{main}/*"), "*/*".to_owned()];
        let best = ranges.iter().zip([2, 1, 0]).find_map(|(wanted, exactness)| {
            elements().find_map(|mut element| {
                let range = element.next()?;
                range.eq_ignore_ascii_case(wanted).then(|| (weight(element), exactness))
            })
        });
        assert_eq!(found, best.filter(|(weight, _)| *weight > 0), "{main}/{sub}: {field:?}");
    }
}

/// What holds of both files of a site: a wrong line is named, and costs no other one its effect.
fn site_file<T: PartialEq + std::fmt::Debug>(file: &[u8], read: impl Fn(&[u8]) -> (parts::SiteFile, T)) -> T {
    let (told, effect) = read(file);
    assert_eq!(read(file), read(file), "twice the same");
    let lines = file.iter().filter(|b| **b == b'\n').count() + 1;
    let (wrong, more) = &told.wrong;
    assert!(told.rules <= 1000 && wrong.len() <= 20 && (*more == 0 || wrong.len() == 20));
    assert!(wrong.iter().all(|(line, _)| (1..=lines).contains(line)) && told.rules + wrong.len() + more <= 2 * lines);
    // Comments and empty lines say nothing.
    if file.len() < 60_000 {
        let commented = [b"# first\n\n", file, b"\n# last\r\n"].concat();
        let (again, same) = read(&commented);
        let byte_order_mark = file.starts_with(b"\xef\xbb\xbf");
        assert!(byte_order_mark || (again.rules, &same) == (told.rules, &effect), "{}", file.escape_ascii());
    }
    effect
}

/// The fields that a server says of itself, or that tell where an answer ends.
const OURS: &[&str] =
    &["connection", "content-encoding", "content-length", "content-range", "date", "etag", "transfer-encoding"];

/// `_headers`: whatever stands there, an answer keeps its form. The first line is the target.
pub(crate) fn headers(data: &[u8]) {
    let (target, file) = line(data);
    let changes = site_file(file, |file| parts::headers(file, &target));
    for (name, value) in &changes {
        assert!(is_token(name.as_bytes()), "{name:?}");
        assert!(!OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)), "{name}");
        let visible = |value: &String| {
            !value.is_empty()
                && value.trim_ascii() == value
                && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t')
        };
        assert!(value.as_ref().is_none_or(visible), "{value:?}");
        let times = changes.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
        assert!(times == 1 || name.eq_ignore_ascii_case("set-cookie"), "{name}: {changes:?}");
    }
}

/// `_redirects`: a client chooses no host, and nobody is sent where it is. The first line is the target.
pub(crate) fn redirects(data: &[u8]) {
    let (target, file) = line(data);
    let found = site_file(file, |file| parts::redirects(file, &target));
    let Some((status, _, to)) = found else { return };
    assert!(matches!(status, 200 | 301 | 302 | 303 | 307 | 308 | 404), "{status}");
    assert!(to.len() <= 8192 && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{to:?}");
    let path = to.split(['?', '#']).next().unwrap_or_default();
    match to.strip_prefix("http://").or_else(|| to.strip_prefix("https://")) {
        Some(rest) => {
            assert!(!matches!(status, 200 | 404), "{to}");
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let origin = &to[..to.len() - rest.len() + host.len()];
            let stands_there = file.windows(origin.len()).any(|bytes| bytes == origin.as_bytes());
            assert!(!host.is_empty() && stands_there, "{to}");
        }
        None => {
            assert!(path.starts_with('/') && !path.contains("//"), "{to}");
            let there = to.split('#').next().unwrap_or_default();
            let (here, there) = (parts::target(&target), parts::target(there));
            assert!(matches!(status, 200 | 404) || here != there, "{target} leads to itself");
        }
    }
}
