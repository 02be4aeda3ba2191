//! Folders without an index: the page for people, the JSON for programs, and what stands in both.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::client::{Response, get, request};
use crate::site::{Folder, Serving, fronts};

/// Names that break what does not escape them, each for another place.
const NAMES: &[&[u8]] = &[
    b"plain.txt",
    b"with space",
    b"<img src=x onerror=alert(1)>",
    b"--><script>alert(1)<script>",
    b"\"double\" onclick=\"x",
    b"'single'",
    b"&amp;&lt;",
    b"line\nbreak\rand\ttab",
    b"100%25",
    b"javascript:alert(1)",
    b"http:evil",
    b"a?b=c",
    b"a#b",
    b"+ ;,=$!*()@[]{}|^`~",
    b"-",
    b"no-utf8-\xff\xfe",
    b"half-utf8-\xc3",
    "späß-日本語-\u{202e}gpj.exe-\u{2028}".as_bytes(),
];

/// A folder `in` with a file of each of these names, which contains its own name, and with what must not be listed.
fn fixture() -> Folder {
    let folder = Folder::new();
    folder.folder("in/<b>folder").folder("in/empty").link("linked", "in");
    for name in NAMES {
        folder.file(OsStr::from_bytes(&[b"in/", *name].concat()), name);
    }
    folder.file("in/.hidden", "s").file("../outside", "s").file("in/back\\slash", "cannot be asked for");
    folder.link("in/out", "../../outside").link("in/dangling", "nowhere").link("in/link", "plain.txt");
    assert!(Command::new("mkfifo").arg(folder.path("in/fifo")).status().is_ok_and(|status| status.success()));
    drop(UnixListener::bind(folder.path("in/socket")).unwrap());
    folder
}

/// What stands between `start` and `end`, every time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).map(|rest| rest.split_once(end).expect("an end").0).collect()
}

fn html_unescaped(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// A link as a browser follows it from the page at `base`, which ends in a slash.
fn resolved(base: &str, link: &str) -> String {
    assert!(!link.split(['/', '?']).next().unwrap().contains(':'), "{link} would have a scheme");
    match link {
        _ if link.starts_with('/') => link.to_owned(),
        "../" => format!("{}/", base.trim_end_matches('/').rsplit_once('/').unwrap().0),
        _ => format!("{base}{link}"),
    }
}

/// The link and the shown name of each entry of a page, in the order of the page.
fn entries(page: &Response) -> Vec<(String, String)> {
    let body = page.text().split_once("<tbody>").expect("a table").1;
    let rows = between(body, "<tr", "</tr>").into_iter().filter(|row| row.contains("<bdi>"));
    rows.map(|row| (between(row, "href=\"", "\"")[0].to_owned(), html_unescaped(between(row, "<bdi>", "</bdi>")[0])))
        .collect()
}

/// Bytes so that they can be read in a message; none are lost.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn every_link_of_a_page_leads_where_it_says() {
    let folder = fixture();
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for base in ["/in/", "/linked/"] {
            let page = serving.get(base);
            let mut client = serving.client();
            for link in between(page.text(), "href=\"", "\"") {
                let target = resolved(base, &html_unescaped(link));
                assert_eq!(client.exchange(get(&target)).status, 200, "{link:?} is {target:?}");
            }
            let files: Vec<_> = entries(&page).into_iter().filter(|(link, _)| !link.ends_with('/')).collect();
            let mut found: Vec<String> =
                files.iter().map(|(link, _)| shown(&client.exchange(get(&resolved(base, link))).body)).collect();
            // The link `link` yields what it leads to.
            let mut expected: Vec<_> = NAMES.iter().chain(&[&b"plain.txt"[..]]).map(|name| shown(name)).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{base}: nothing is missing, nothing else is listed");
        }
    }
}

#[test]
fn names_are_shown_as_they_are_and_do_nothing() {
    let folder = fixture();
    let mut expected: Vec<String> = [&b"link"[..], b"<b>folder", b"empty"]
        .iter()
        .chain(NAMES)
        .map(|name| String::from_utf8_lossy(name).replace(['\n', '\r', '\t'], "\u{fffd}"))
        .collect();
    expected.sort();
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let page = serving.get("/in/");
        let mut shown: Vec<_> = entries(&page).into_iter().map(|(_, name)| name).collect();
        shown.sort();
        assert_eq!(shown, expected);
        let text = page.text();
        // None of these is markup of ours, so each could only come from a name.
        assert_eq!(text.matches("<script").count(), 1, "one is ours");
        for harm in ["<img", "<b>folder", "\" onclick=", "href=\"javascript:", "<img src="] {
            assert!(!text.contains(harm), "{harm}");
        }
        assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.field("X-Content-Type-Options"), Some("nosniff"));
        let policy = page.field("Content-Security-Policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';")
                && policy.contains(" form-action 'self';")
                && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}

#[test]
fn the_way_up_is_a_path_of_links() {
    let folder = Folder::new();
    folder.file("a <&/b%/c/x", "x").link("a <&/b%/c/d", "../../b%");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let links = |target: &str| -> Vec<String> {
            let page = serving.get(target);
            let nav = between(page.text(), "<nav", "</nav>")[0].to_owned();
            between(&nav, "href=\"", "\"").into_iter().map(html_unescaped).collect()
        };
        // Wherever a proxy has put the server.
        assert_eq!(links("/"), ["./"]);
        assert_eq!(links("/a%20%3C%26/"), ["../"]);
        assert_eq!(links("/a%20%3C%26/b%25/c/"), ["../../../", "../../", "../"]);
        assert_eq!(entries(&serving.get("/a%20%3C%26/b%25/c/")).len(), 2);
        let ups = |target: &str| serving.get(target).text().matches("<tr class=\"up\"><td><a href=\"../\"").count();
        assert_eq!((ups("/"), ups("/a%20%3C%26/")), (0, 1));
    }
}

#[test]
fn a_listing_is_sorted_as_it_is_asked_to() {
    let folder = Folder::new();
    folder.file("b.txt", "1").file("A.zip", "333").file("c.css", "22").folder("z").folder("Y");
    for (name, day) in [("b.txt", 3), ("A.zip", 1), ("c.css", 2)] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000 + day * 86_400);
        crate::site::date(&folder.path(name), time);
    }
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for (query, expected) in [
            ("", ["Y", "z", "A.zip", "b.txt", "c.css"]),
            ("?sort=name&order=desc", ["z", "Y", "c.css", "b.txt", "A.zip"]),
            ("?sort=size", ["Y", "z", "b.txt", "c.css", "A.zip"]),
            ("?sort=size&order=desc", ["z", "Y", "A.zip", "c.css", "b.txt"]),
            ("?sort=type", ["Y", "z", "A.zip", "c.css", "b.txt"]),
            ("?sort=nonsense&order=x", ["Y", "z", "A.zip", "b.txt", "c.css"]),
        ] {
            let page = serving.get(&format!("/{query}"));
            let names: Vec<_> = entries(&page).into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, expected, "{query:?}");
        }
        // Folders have times of their own, just made; only the files are compared.
        let page = serving.get("/?sort=time&order=desc");
        let names: Vec<_> = entries(&page).into_iter().map(|(_, name)| name).skip(2).collect();
        assert_eq!(names, ["b.txt", "c.css", "A.zip"]);
        let sorts = |target: &str| -> Vec<String> {
            let page = serving.get(target);
            let heads = between(page.text(), "<thead", "</thead>")[0];
            between(heads, "href=\"?", "\"").into_iter().map(html_unescaped).collect()
        };
        let others = ["sort=size&order=asc", "sort=time&order=asc", "sort=type&order=asc"];
        assert_eq!(sorts("/"), [&["sort=name&order=desc"], &others[..]].concat());
        assert_eq!(sorts("/?sort=name&order=desc"), [&["sort=name&order=asc"], &others[..]].concat());
    }
}

#[test]
fn an_empty_folder_says_so() {
    let folder = Folder::new();
    folder.folder("empty");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let page = serving.get("/empty/");
        assert!(page.text().contains("Nothing is here.") && entries(&page).is_empty());
        let json = Json::parse(serving.get("/empty/?format=json").text());
        assert_eq!(json.get("entries"), &Json::List(Vec::new()));
    }
}

#[test]
fn json_holds_the_same() {
    let folder = fixture();
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let accepting = |accept| serving.client().exchange(request("GET", "/in/", &[("Accept", accept)]));
        let wanted = accepting("application/json");
        let by_query = serving.get("/in/?format=json");
        assert_eq!(wanted.lasting_head(), by_query.lasting_head());
        assert_eq!(wanted.body, by_query.body);
        assert_eq!(wanted.field("Content-Type"), Some("application/json"));
        assert_eq!(wanted.field("Vary"), Some("Accept"));
        for accept in ["text/html", "*/*", "text/html, application/json;q=0.9"] {
            assert_eq!(accepting(accept).field("Content-Type"), Some("text/html; charset=utf-8"), "{accept}");
        }
        let json = Json::parse(wanted.text());
        assert_eq!(json.get("path"), &Json::Text("/in/".into()));
        assert_eq!(json.get("sorted"), &Json::Other("true".into()));
        let list = json.get("entries").list();
        let page = entries(&serving.get("/in/"));
        let links: Vec<_> = page.into_iter().map(|(link, _)| Json::Text(link)).collect();
        assert_eq!(list.iter().map(|entry| entry.get("href").clone()).collect::<Vec<_>>(), links);
        for name in NAMES {
            let shown = Json::Text(String::from_utf8_lossy(name).into_owned());
            let entry = list.iter().find(|entry| *entry.get("name") == shown).unwrap_or_else(|| panic!("{shown:?}"));
            assert_eq!(entry.get("size"), &Json::Other(name.len().to_string()), "{shown:?}");
            assert_eq!(entry.get("type"), &Json::Text("file".into()));
            assert_eq!(entry.get("modified"), &Json::Text("2023-11-14T22:13:20Z".into()));
        }
        let folders = list.iter().filter(|entry| *entry.get("type") == Json::Text("folder".into()));
        assert_eq!(folders.count(), 2);
    }
}

#[test]
fn a_filter_leaves_out_what_does_not_contain_it_and_does_nothing_else() {
    let folder = fixture();
    let kept = |filter: &str| {
        let others: [&[u8]; 3] = [b"link", b"<b>folder", b"empty"];
        let names = NAMES.iter().chain(&others);
        let contains = |name: &&&[u8]| -> bool {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            name.contains(&filter.to_ascii_lowercase())
        };
        names.filter(contains).count()
    };
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for (query, filter) in [
            ("?q=", ""),
            ("?q=SCRIPT", "SCRIPT"),
            ("?q=%3CIMG+src%3Dx", "<IMG src=x"),
            ("?q=%22double%22+onclick", "\"double\" onclick"),
            ("?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "\"><script>alert(1)</script>"),
            ("?sort=size&q=%26lt%3B&order=desc", "&lt;"),
            ("?q=%25", "%"),
            ("?q=folder", "folder"),
            ("?q=nowhere", "nowhere"),
            ("?q=.hidden", ".hidden"),
        ] {
            let page = serving.get(&format!("/in/{query}"));
            assert_eq!(entries(&page).len(), kept(filter), "{query}");
            let text = page.text();
            // Ours, and none that a filter could have brought.
            assert_eq!(text.matches("<script").count(), 1, "{query}");
            assert!(!text.contains("<img") && !text.contains("\" onclick="), "{query}");
            let form = between(text, "<form", "</form>")[0];
            let values: Vec<_> = between(form, "value=\"", "\"").into_iter().map(html_unescaped).collect();
            let order: &[&str] = if query.contains("sort") { &["size", "desc"] } else { &[] };
            assert_eq!(values, [&[filter], order].concat(), "{query}");
            // What sorts the page otherwise keeps the filter.
            let heads = between(text, "<thead", "</thead>")[0];
            let link = html_unescaped(between(heads, "href=\"", "\"")[2]);
            assert_eq!(entries(&serving.get(&format!("/in/{link}"))).len(), kept(filter), "{link}");
            let json = Json::parse(serving.get(&format!("/in/{query}&format=json")).text());
            assert_eq!(json.get("entries").list().len(), kept(filter), "{query}");
            assert_eq!(text.contains("No name here contains"), kept(filter) == 0, "{query}");
        }
    }
}

#[test]
fn what_makes_no_sense_in_a_query_is_refused_in_one_line() {
    let folder = Folder::new();
    folder.file("a", "a");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        for (query, status) in [
            ("?q=%", 400),
            ("?q=%zz", 400),
            ("?format=json&limit=0", 400),
            ("?format=json&limit=10001", 400),
            ("?format=json&limit=", 400),
            ("?format=json&limit=-1", 400),
            ("?format=json&limit=1x", 400),
            ("?format=json&limit=99999999999999999999999", 400),
            ("?format=json&after=a", 400),
            ("?format=json&limit=1&after=%", 400),
            ("?format=json&limit=1&after=/", 400),
            ("?format=json&limit=1&after=/x", 400),
            ("?format=json&limit=1&after=/18446744073709551616", 400),
            ("?format=json&limit=1&after=%00%ff/..", 200),
            ("?format=json&limit=1&after=../../etc", 200),
            ("?q=%00%0d%0aX:%20y", 200),
            // Of the page for people there are no pages.
            ("?limit=0&after=a", 200),
        ] {
            let response = client.exchange(get(&format!("/{query}")));
            assert_eq!(response.status, status, "{query}");
            assert!(status == 200 || response.text().lines().count() == 1, "{query}");
            assert_eq!(response.field("X"), None);
        }
        // Whatever a file system makes of them: an answer, with what is there or with nothing.
        for place in [0, 1, 2, 77, u64::from(u32::MAX), i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            let response = client.exchange(get(&format!("/?format=json&limit=5&after=/{place}")));
            assert!(matches!(response.status, 200 | 400), "{place}");
            if response.status == 200 {
                assert!(Json::parse(response.text()).get("entries").list().len() <= 1, "{place}");
            }
        }
    }
}

/// A value of JSON, as far as listings have them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Text(String),
    List(Vec<Json>),
    Map(BTreeMap<String, Json>),
    /// A number or a word.
    Other(String),
}

impl Json {
    /// Reads the whole text and panics where it is no JSON (RFC 8259).
    pub(crate) fn parse(text: &str) -> Self {
        let mut rest = text;
        let value = Self::value(&mut rest);
        assert_eq!(rest.trim_start(), "", "something follows the value");
        value
    }

    pub(crate) fn get(&self, key: &str) -> &Self {
        self.find(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => panic!("no map: {self:?}"),
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => panic!("no list: {self:?}"),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => panic!("no text: {self:?}"),
        }
    }

    fn value(rest: &mut &str) -> Self {
        let text = rest.trim_start();
        match text.as_bytes()[0] {
            b'"' => Self::Text(Self::string(rest)),
            b'[' => Self::List(Self::members(rest, "]", Self::value)),
            b'{' => {
                let pair = |rest: &mut &str| {
                    let key = Self::string(rest);
                    Self::expect(rest, ":");
                    (key, Self::value(rest))
                };
                Self::Map(Self::members(rest, "}", pair).into_iter().collect())
            }
            _ => {
                let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
                let (word, behind) = text.split_at(end);
                assert!(matches!(word, "true" | "false" | "null") || word.parse::<u64>().is_ok(), "{word:?}");
                *rest = behind;
                Self::Other(word.into())
            }
        }
    }

    /// What stands between brackets and commas.
    fn members<T>(rest: &mut &str, end: &str, member: impl Fn(&mut &str) -> T) -> Vec<T> {
        *rest = &rest.trim_start()[1..];
        let mut members = Vec::new();
        if !rest.trim_start().starts_with(end) {
            members.push(member(rest));
            while rest.trim_start().starts_with(',') {
                Self::expect(rest, ",");
                members.push(member(rest));
            }
        }
        Self::expect(rest, end);
        members
    }

    fn string(rest: &mut &str) -> String {
        Self::expect(rest, "\"");
        let mut out = String::new();
        let mut characters = rest.chars();
        loop {
            match characters.next().expect("the end of a string") {
                '"' => break,
                '\\' => out.push(match characters.next().unwrap() {
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).expect("no surrogate")
                    }
                    escaped @ ('"' | '\\' | '/') => escaped,
                    other => panic!("the escape \\{other}"),
                }),
                c => {
                    assert!(c >= ' ', "control characters are escaped");
                    out.push(c);
                }
            }
        }
        *rest = characters.as_str();
        out
    }

    fn expect(rest: &mut &str, token: &str) {
        *rest = rest.trim_start().strip_prefix(token).unwrap_or_else(|| panic!("{token:?} before {rest:?}"));
    }
}
