//! One request, one answer: tables of named rows through one function, [`check`].

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::client::{Response, get, request};
use crate::site::{self, Folder, OLD_DATE, Serving, fronts};

/// What a field of the answer has to be.
enum Field<'a> {
    Is(&'a str),
    Begins(&'a str),
    Absent,
}

/// What the body has to be.
enum Content<'a> {
    Any,
    Empty,
    Text(&'a str),
    Contains(&'a str),
}

use Content::{Any, Contains, Empty, Text};
use Field::{Absent, Begins, Is};

/// A name, a request, and of the answer: status, fields, body.
type Row<'a> = (&'a str, String, u16, &'a [(&'a str, Field<'a>)], Content<'a>);

/// The tag of a file of ten bytes from [`Folder::file`].
const TAG: &str = "\"17979cfe362a0005-a\"";

/// Sends each row to each front and compares. Afterwards the connection has to be as the request wished: closed, or good
/// for another request. What a GET gets, a HEAD has to get, too, but for the body.
fn check(folder: &Folder, rows: &[Row<'_>]) {
    folder.file("plain.txt", "plain\n");
    for front in fronts() {
        let serving = Serving::start(front, folder);
        for (name, raw, status, fields, body) in rows {
            let mut client = serving.client();
            let response = client.exchange(raw);
            println!("{name}: {raw:?} -> {:?}", response.lasting_head());
            assert_eq!(response.status, *status, "{name}");
            for (field, expected) in *fields {
                let value = response.field(field);
                match expected {
                    Is(expected) => assert_eq!(value, Some(*expected), "{name}: {field}"),
                    Begins(start) => assert!(value.is_some_and(|v| v.starts_with(start)), "{name}: {field}: {value:?}"),
                    Absent => assert_eq!(value, None, "{name}: {field}"),
                }
            }
            match body {
                Any => {}
                Empty => assert_eq!(response.body, b"", "{name}"),
                Text(expected) => assert_eq!(response.text(), *expected, "{name}"),
                Contains(part) => assert!(response.text().contains(part), "{name}: {}", response.text()),
            }
            check_what_always_holds(name, &response);
            let persistent = raw.contains(" HTTP/1.1\r\n") || raw.contains("\r\nConnection: keep-alive\r\n");
            if persistent {
                assert_eq!(client.exchange(get("/plain.txt")).text(), "plain\n", "{name}: the connection stays usable");
            } else {
                assert_eq!(client.rest(), b"", "{name}: the connection is closed");
            }
            if raw.starts_with("GET ") && !matches!(status, 206 | 416) {
                let head = serving.client().exchange(raw.replacen("GET", "HEAD", 1));
                assert_eq!(head.lasting_head(), response.lasting_head(), "{name}: HEAD and GET");
            }
        }
    }
}

fn check_what_always_holds(name: &str, response: &Response) {
    assert!(response.field("Date").is_some_and(|date| httpdate::parse_http_date(date).is_ok()), "{name}: Date");
    let without_content = matches!(response.status, 204 | 304);
    assert_eq!(response.length().is_none(), without_content, "{name}: Content-Length");
    let typed = response.field("Content-Type").is_some();
    assert_eq!(typed, !without_content, "{name}: Content-Type");
    if response.status != 301 && typed {
        assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"), "{name}");
    }
    if let Some(location) = response.field("Location") {
        assert!(location.starts_with('/') && !location.starts_with("//"), "{name}: {location} is on this host");
    }
}

#[test]
fn a_target_is_a_path_or_it_is_refused() {
    let folder = Folder::new();
    folder.file("a.txt", "a").file("with space", "space").file("100%", "percent").file("%41", "not twice");
    folder.file("é", "utf-8").file("a+b", "plus").file("deep/er/b.txt", "b").file("a.txt?x", "question");
    folder.file("../outside.txt", "outside").file("a:b", "colon");
    let long = format!("/{}", "a".repeat(300));
    let nul_in_query = get("/a.txt?%00");
    check(
        &folder,
        &[
            ("origin form", get("/a.txt"), 200, &[], Text("a")),
            ("absolute form", get("http://localhost/a.txt"), 200, &[], Text("a")),
            ("absolute form, another port and case", get("HTTP://EXAMPLE:81/a.txt"), 200, &[], Text("a")),
            ("deeper", get("/deep/er/b.txt"), 200, &[], Text("b")),
            ("query", get("/a.txt?x=/../y"), 200, &[], Text("a")),
            ("empty query", get("/a.txt?"), 200, &[], Text("a")),
            ("anything in a query", nul_in_query, 200, &[], Text("a")),
            ("encoded question mark", get("/a.txt%3Fx"), 200, &[], Text("question")),
            ("encoded letter", get("/%61.txt"), 200, &[], Text("a")),
            ("encoded space", get("/with%20space"), 200, &[], Text("space")),
            ("plus is plus", get("/a+b"), 200, &[], Text("plus")),
            ("colon", get("/a:b"), 200, &[], Text("colon")),
            ("encoded percent", get("/100%25"), 200, &[], Text("percent")),
            ("decoded once", get("/%2541"), 200, &[], Text("not twice")),
            ("utf-8", get("/%C3%A9"), 200, &[], Text("utf-8")),
            ("nothing there", get("/b.txt"), 404, &[], Any),
            ("below a file", get("/a.txt/b"), 404, &[], Any),
            ("a name too long for a file", get(&long), 404, &[], Any),
            ("dot", get("/./a.txt"), 400, &[], Any),
            ("dots", get("/deep/../a.txt"), 400, &[], Any),
            ("dots out of the root", get("/../outside.txt"), 400, &[], Any),
            ("encoded dots", get("/%2e%2E/outside.txt"), 400, &[], Any),
            ("half encoded dots", get("/.%2e/outside.txt"), 400, &[], Any),
            ("dots at the end", get("/deep/.."), 400, &[], Any),
            ("dots in absolute form", get("http://localhost/../outside.txt"), 400, &[], Any),
            ("empty segment", get("/deep//er/b.txt"), 400, &[], Any),
            ("two slashes", get("//a.txt"), 400, &[], Any),
            ("a host behind two slashes", get("//example.com/%2e%2e"), 400, &[], Any),
            ("two slashes at the end", get("/deep//"), 400, &[], Any),
            ("nul", get("/a.txt%00"), 400, &[], Any),
            ("encoded slash", get("/deep%2fer/b.txt"), 400, &[], Any),
            ("encoded slash in capitals", get("/..%2Foutside.txt"), 400, &[], Any),
            ("backslash", get("/deep\\er"), 400, &[], Any),
            ("encoded backslash", get("/..%5coutside.txt"), 400, &[], Any),
            ("half a percent sign", get("/a%4"), 400, &[], Any),
            ("no hexadecimal digits", get("/a%zz"), 400, &[], Any),
            ("a signed percent sign", get("/a%+4"), 400, &[], Any),
            ("fragment", get("/a.txt#x"), 400, &[], Any),
            ("no slash", get("a.txt"), 400, &[], Any),
            ("user information", get("http://user@localhost/a.txt"), 400, &[], Any),
            ("another scheme", get("file:///etc/passwd"), 400, &[], Any),
            ("asterisk", get("*"), 400, &[], Any),
        ],
    );
}

#[test]
fn a_request_names_one_host() {
    let folder = Folder::new();
    let from = |fields: &str| format!("GET /plain.txt {fields}\r\n\r\n");
    check(
        &folder,
        &[
            ("a name", from("HTTP/1.1\r\nHost: example.com"), 200, &[], Text("plain\n")),
            ("a port", from("HTTP/1.1\r\nHost: example.com:80"), 200, &[], Text("plain\n")),
            ("IPv6", from("HTTP/1.1\r\nhost: [::1]:80"), 200, &[], Text("plain\n")),
            ("empty", from("HTTP/1.1\r\nHost: "), 400, &[], Any),
            ("none", from("HTTP/1.1"), 400, &[], Any),
            ("a list", from("HTTP/1.1\r\nHost: a, b"), 400, &[], Any),
            ("a space", from("HTTP/1.1\r\nHost: a b"), 400, &[], Any),
            ("a path", from("HTTP/1.1\r\nHost: a/b"), 400, &[], Any),
            ("user information", from("HTTP/1.1\r\nHost: u@a"), 400, &[], Any),
            ("none in 1.0", from("HTTP/1.0"), 200, &[("Connection", Is("close"))], Text("plain\n")),
            ("one in 1.0", from("HTTP/1.0\r\nHost: a"), 200, &[], Text("plain\n")),
            ("two in 1.0", from("HTTP/1.0\r\nHost: a\r\nHost: b"), 400, &[], Any),
        ],
    );
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        // Whether the connection lasts is the front's affair.
        for two in ["Host: a\r\nHost: b", "Host: a\r\nhost: a"] {
            assert_eq!(serving.client().exchange(from(&format!("HTTP/1.1\r\n{two}"))).status, 400, "{two}");
        }
    }
}

#[test]
fn files_are_only_read() {
    let folder = Folder::new();
    folder.file("a.txt", "a");
    let allow: &[_] = &[("Allow", Is("GET, HEAD, OPTIONS"))];
    let to = |method| request(method, "/a.txt", &[]);
    let options: &[_] = &[("Allow", Is("GET, HEAD, OPTIONS")), ("Content-Length", Absent)];
    check(
        &folder,
        &[
            ("GET", to("GET"), 200, &[("Content-Length", Is("1")), ("Allow", Absent)], Text("a")),
            ("HEAD", to("HEAD"), 200, &[("Content-Length", Is("1")), ("Accept-Ranges", Is("bytes"))], Empty),
            ("OPTIONS", to("OPTIONS"), 204, options, Empty),
            ("OPTIONS of nothing", request("OPTIONS", "/nothing", &[]), 204, options, Empty),
            ("OPTIONS of everything", request("OPTIONS", "*", &[]), 204, options, Empty),
            ("OPTIONS of no path", request("OPTIONS", "/../a", &[]), 400, &[], Any),
            ("POST", to("POST"), 405, allow, Any),
            ("PUT", to("PUT"), 405, allow, Any),
            ("DELETE", to("DELETE"), 405, allow, Any),
            ("PATCH", to("PATCH"), 405, allow, Any),
            ("TRACE", to("TRACE"), 405, allow, Any),
            ("unknown", to("BREW"), 501, &[], Any),
            ("lower case is another method", to("get"), 501, &[], Any),
            ("HEAD of nothing", request("HEAD", "/nothing", &[]), 404, &[], Empty),
        ],
    );
    assert_eq!(std::fs::read(folder.path("a.txt")).unwrap(), b"a");
}

#[test]
fn only_what_is_meant_to_be_seen_is_found() {
    let folder = Folder::new();
    folder.file("a.txt", "a").file("in/b.txt", "b").file("../outside.txt", "outside").file("../beside/c.txt", "c");
    folder.file(".secret", "s").file(".git/config", "s").file("in/.env", "s").file(".well-known/x", "known");
    folder.file("in/.well-known/x", "s").file(".well-known/.x", "s").file(".well-knownish", "s");
    folder.link("to-file", "in/b.txt").link("to-folder", "in").link("in/up", "../a.txt");
    folder.link("out", "../outside.txt").link("out-folder", "../beside").link("above", "..");
    folder.link("absolute", "/etc/passwd").link("loop", "loop").link("dangling", "nowhere");
    folder.link("by-outside", "../root/a.txt").link("to-secret", ".secret");
    let _socket = UnixListener::bind(folder.path("socket")).unwrap();
    let made = Command::new("mkfifo").arg(folder.path("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo is part of every Unix");
    let mut rows: Vec<Row<'_>> = vec![
        ("a file", get("/a.txt"), 200, &[], Text("a")),
        ("dotfile", get("/.secret"), 404, &[], Any),
        ("encoded dotfile", get("/%2esecret"), 404, &[], Any),
        ("below a dotfile", get("/.git/config"), 404, &[], Any),
        ("dot folder", get("/.git/"), 404, &[], Any),
        ("dot folder without slash", get("/.git"), 404, &[("Location", Absent)], Any),
        ("dotfile further down", get("/in/.env"), 404, &[], Any),
        ("well-known", get("/.well-known/x"), 200, &[], Text("known")),
        ("well-known elsewhere", get("/in/.well-known/x"), 404, &[], Any),
        ("dotfile in well-known", get("/.well-known/.x"), 404, &[], Any),
        ("nearly well-known", get("/.well-knownish"), 404, &[], Any),
        ("link to a file", get("/to-file"), 200, &[], Text("b")),
        ("link to a folder", get("/to-folder/b.txt"), 200, &[], Text("b")),
        ("link up, inside", get("/in/up"), 200, &[], Text("a")),
        // A link is a decision of who owns the folder, as the documentation says.
        ("link to a dotfile", get("/to-secret"), 200, &[], Text("s")),
        ("link to outside", get("/out"), 404, &[], Any),
        ("link to a folder outside", get("/out-folder/c.txt"), 404, &[], Any),
        ("link above", get("/above/outside.txt"), 404, &[], Any),
        ("link out and in again", get("/by-outside"), 404, &[], Any),
        ("absolute link", get("/absolute"), 404, &[], Any),
        ("link to itself", get("/loop"), 404, &[], Any),
        ("link to nothing", get("/dangling"), 404, &[], Any),
        ("fifo", get("/fifo"), 404, &[], Any),
        ("socket", get("/socket"), 404, &[], Any),
        ("a file is no folder", get("/a.txt/"), 404, &[], Any),
    ];
    // A character device like /dev/zero, which never ends.
    let made = Command::new("mknod").arg(folder.path("zero")).args(["c", "1", "5"]).output();
    match made {
        Ok(made) if made.status.success() && std::fs::File::open(folder.path("zero")).is_ok() => {
            rows.push(("device", get("/zero"), 404, &[], Any));
        }
        other => eprintln!("skipped: a device node cannot be made or opened here ({other:?})"),
    }
    check(&folder, &rows);
}

#[test]
fn a_folder_is_its_index_and_has_a_slash() {
    let folder = Folder::new();
    folder.file("docs/index.html", "<p>docs").file("docs/a.txt", "a").file("sp ace%/x", "x").file("é/x", "x");
    folder.folder("index-folder/index.html").link("linked", "docs").file("deep/er/x", "x");
    let html: &[_] = &[("Content-Type", Is("text/html; charset=utf-8"))];
    let moved = |name, target, to: &'static [(&str, Field<'_>)]| (name, get(target), 301, to, Any);
    check(
        &folder,
        &[
            ("index", get("/docs/"), 200, html, Text("<p>docs")),
            ("index, query", get("/docs/?a=b"), 200, html, Text("<p>docs")),
            ("index by its name", get("/docs/index.html"), 200, html, Text("<p>docs")),
            ("index of a linked folder", get("/linked/"), 200, html, Text("<p>docs")),
            ("listing", get("/deep/"), 200, html, Contains("<table>")),
            ("listing of the root", get("/"), 200, html, Contains("<table>")),
            ("listing of the root, absolute form", get("http://localhost"), 200, html, Contains("<table>")),
            ("an index that is a folder is none", get("/index-folder/"), 200, html, Contains("<table>")),
            moved("no slash", "/docs", &[("Location", Is("/docs/"))]),
            moved("no slash, further down", "/deep/er", &[("Location", Is("/deep/er/"))]),
            moved("query", "/docs?x=1&y=%20", &[("Location", Is("/docs/?x=1&y=%20"))]),
            moved("empty query", "/docs?", &[("Location", Is("/docs/?"))]),
            moved("slashes in the query", "/docs?//example.com", &[("Location", Is("/docs/?//example.com"))]),
            moved("encoding", "/sp%20ace%25", &[("Location", Is("/sp%20ace%25/"))]),
            moved("encoding of utf-8", "/%c3%a9", &[("Location", Is("/%C3%A9/"))]),
            moved("absolute form", "http://example.com/docs", &[("Location", Is("/docs/"))]),
            moved("link", "/linked", &[("Location", Is("/linked/"))]),
        ],
    );
}

#[test]
fn a_type_follows_the_name_and_text_is_utf_8() {
    let folder = Folder::new();
    let types = [
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTM", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.avif", "image/avif"),
        ("a.jxl", "image/jxl"),
        ("a.wasm", "application/wasm"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.opus", "audio/ogg; codecs=opus"),
        ("a.flac", "audio/flac"),
        ("a.mkv", "video/x-matroska"),
        ("a.epub", "application/epub+zip"),
        ("a.zst", "application/zstd"),
        ("a.tar.gz", "application/gzip"),
        ("README", "text/plain; charset=utf-8"),
        ("a.unheard-of", "application/octet-stream"),
    ];
    for (name, _) in types {
        folder.file(name, "x");
    }
    let fields: Vec<_> = types.iter().map(|(_, expected)| [("Content-Type", Is(expected))]).collect();
    let rows: Vec<Row<'_>> = types
        .iter()
        .zip(&fields)
        .map(|((name, _), fields)| (*name, get(&format!("/{name}")), 200, &fields[..], Text("x")))
        .collect();
    check(&folder, &rows);
}

#[test]
fn validators_say_what_a_file_is_worth() {
    let folder = Folder::new();
    let hour = Duration::from_secs(3600);
    for (name, time) in [("1979", UNIX_EPOCH + hour), ("tomorrow", SystemTime::now() + 24 * hour)] {
        site::date(&folder.file(name, "0123456789").path(name), time);
    }
    folder.file("old", "0123456789").file("empty", "");
    check(
        &folder,
        &[
            ("old", get("/old"), 200, &[("ETag", Is(TAG)), ("Last-Modified", Is(OLD_DATE))], Any),
            ("ranges are accepted", get("/old"), 200, &[("Accept-Ranges", Is("bytes"))], Any),
            ("empty", get("/empty"), 200, &[("ETag", Is("\"17979cfe362a0005-0\""))], Empty),
            ("a time before 1980 says nothing", get("/1979"), 200, &[("Last-Modified", Absent)], Any),
            ("and the tag says more", get("/1979"), 200, &[("ETag", Begins("\"34630b8a000-a-"))], Any),
            ("a time to come", get("/tomorrow"), 200, &[("Last-Modified", Absent), ("ETag", Begins("\""))], Any),
        ],
    );
}

#[test]
fn a_young_file_has_a_weak_tag() {
    let folder = Folder::new();
    folder.file("young", "0123456789");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        // On a machine that is too busy the file may not be young any more: then it proves nothing, and once more.
        let young = loop {
            let begun = Instant::now();
            site::date(&folder.path("young"), SystemTime::now());
            let young = serving.get("/young");
            if begun.elapsed() < Duration::from_secs(1) {
                break young;
            }
        };
        let tag = young.field("ETag").unwrap();
        assert!(tag.starts_with("W/\"") && tag.ends_with("-a\""), "{tag}");
        assert_eq!(young.field("Last-Modified"), None);
        // Weak tags are good for If-None-Match and for nothing else.
        let ask = |field| serving.client().exchange(request("GET", "/young", &[(field, tag), ("Range", "bytes=0-0")]));
        assert_eq!(["If-None-Match", "If-Match", "If-Range"].map(|field| ask(field).status), [304, 412, 200]);
    }
}

#[test]
fn preconditions_are_evaluated_in_their_order() {
    let folder = Folder::new();
    folder.file("a", "0123456789");
    let (earlier, later) = ("Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:21 GMT");
    let (weak, list) = (format!("W/{TAG}"), format!("\"x,y\", {TAG}"));
    let of = |fields: &[(&str, &str)]| request("GET", "/a", fields);
    let fresh: &[_] = &[("ETag", Is(TAG)), ("Last-Modified", Is(OLD_DATE)), ("Content-Length", Absent)];
    let failed: &[_] = &[("ETag", Is(TAG)), ("Accept-Ranges", Absent)];
    let part: &[_] = &[("Content-Range", Is("bytes 2-3/10")), ("ETag", Is(TAG))];
    let whole: &[_] = &[("Content-Range", Absent), ("Content-Length", Is("10"))];
    let range = |value| of(&[("Range", "bytes=2-3"), ("If-Range", value)]);
    check(
        &folder,
        &[
            ("If-None-Match", of(&[("If-None-Match", TAG)]), 304, fresh, Empty),
            ("If-None-Match, weak", of(&[("If-None-Match", &weak)]), 304, fresh, Empty),
            ("If-None-Match, list", of(&[("If-None-Match", &list)]), 304, fresh, Empty),
            ("If-None-Match, lines", of(&[("If-None-Match", "\"x\""), ("If-None-Match", TAG)]), 304, fresh, Empty),
            ("If-None-Match, any", of(&[("If-None-Match", "*")]), 304, fresh, Empty),
            ("If-None-Match, other", of(&[("If-None-Match", "\"x\"")]), 200, whole, Text("0123456789")),
            ("If-None-Match of HEAD", request("HEAD", "/a", &[("If-None-Match", TAG)]), 304, fresh, Empty),
            ("If-Modified-Since then", of(&[("If-Modified-Since", OLD_DATE)]), 304, fresh, Empty),
            ("If-Modified-Since later", of(&[("If-Modified-Since", later)]), 304, fresh, Empty),
            ("If-Modified-Since earlier", of(&[("If-Modified-Since", earlier)]), 200, whole, Any),
            ("If-Modified-Since never", of(&[("If-Modified-Since", "never")]), 200, whole, Any),
            ("tag before date", of(&[("If-None-Match", "\"x\""), ("If-Modified-Since", later)]), 200, whole, Any),
            ("If-Match", of(&[("If-Match", TAG)]), 200, whole, Any),
            ("If-Match, any", of(&[("If-Match", "*")]), 200, whole, Any),
            ("If-Match, list", of(&[("If-Match", &list)]), 200, whole, Any),
            ("If-Match, other", of(&[("If-Match", "\"x\"")]), 412, failed, Any),
            ("If-Match, weak", of(&[("If-Match", &weak)]), 412, failed, Any),
            ("If-Unmodified-Since then", of(&[("If-Unmodified-Since", OLD_DATE)]), 200, whole, Any),
            ("If-Unmodified-Since earlier", of(&[("If-Unmodified-Since", earlier)]), 412, failed, Any),
            ("412 before 304", of(&[("If-Match", "\"x\""), ("If-None-Match", TAG)]), 412, failed, Any),
            ("412 before a range", of(&[("If-Match", "\"x\""), ("Range", "bytes=2-3")]), 412, failed, Any),
            ("304 before a range", of(&[("If-None-Match", TAG), ("Range", "bytes=2-3")]), 304, fresh, Empty),
            ("If-Range, tag", range(TAG), 206, part, Text("23")),
            ("If-Range, other tag", range("\"x\""), 200, whole, Text("0123456789")),
            ("If-Range, weak tag", range(&weak), 200, whole, Text("0123456789")),
            ("If-Range, date", range(OLD_DATE), 206, part, Text("23")),
            ("If-Range, earlier date", range(earlier), 200, whole, Text("0123456789")),
            ("If-Range, later date", range(later), 200, whole, Text("0123456789")),
            ("If-Range alone", of(&[("If-Range", TAG)]), 200, whole, Text("0123456789")),
        ],
    );
}

#[test]
fn a_range_is_a_part_of_the_file() {
    let folder = Folder::new();
    folder.file("digits", "0123456789").file("empty", "").file("alphabet", "abcdefghijklmnopqrstuvwxyz0123456789");
    let of = |range: &str| request("GET", "/digits", &[("Range", range)]);
    let empty = |range| request("GET", "/empty", &[("Range", range)]);
    let is = |value: &'static str| [("Content-Range", Is(value)), ("Content-Type", Is("application/octet-stream"))];
    let nothing: &[_] = &[("Content-Range", Is("bytes */10")), ("ETag", Is(TAG))];
    let whole: &[_] = &[("Content-Range", Absent), ("Content-Length", Is("10"))];
    let seventeen: Vec<String> = (0..17).map(|i| format!("{0}-{0}", 2 * i)).collect();
    let seventeen = format!("bytes={}", seventeen.join(","));
    let thousands = |count| of(&format!("bytes={}", vec!["1-2"; count].join(",")));
    check(
        &folder,
        &[
            ("first byte", of("bytes=0-0"), 206, &is("bytes 0-0/10"), Text("0")),
            ("middle", of("bytes=2-5"), 206, &is("bytes 2-5/10"), Text("2345")),
            ("last byte", of("bytes=9-9"), 206, &is("bytes 9-9/10"), Text("9")),
            ("all", of("bytes=0-9"), 206, &is("bytes 0-9/10"), Text("0123456789")),
            ("open end", of("bytes=7-"), 206, &is("bytes 7-9/10"), Text("789")),
            ("suffix", of("bytes=-3"), 206, &is("bytes 7-9/10"), Text("789")),
            ("suffix longer than the file", of("bytes=-99"), 206, &is("bytes 0-9/10"), Text("0123456789")),
            ("beyond the end", of("bytes=8-99"), 206, &is("bytes 8-9/10"), Text("89")),
            ("far beyond", of("bytes=8-99999999999999999999999"), 206, &is("bytes 8-9/10"), Text("89")),
            ("unit in capitals", of("BYTES=0-1"), 206, &is("bytes 0-1/10"), Text("01")),
            ("overlap", of("bytes=0-3,2-5"), 206, &is("bytes 0-5/10"), Text("012345")),
            ("touch", of("bytes=4-5,2-3"), 206, &is("bytes 2-5/10"), Text("2345")),
            ("one of two exists", of("bytes=2-3,50-60"), 206, &is("bytes 2-3/10"), Text("23")),
            ("behind the end", of("bytes=10-"), 416, nothing, Any),
            ("behind the end, both", of("bytes=10-11,20-"), 416, nothing, Any),
            ("empty suffix", of("bytes=-0"), 416, nothing, Any),
            ("beyond all numbers", of("bytes=18446744073709551616-"), 416, nothing, Any),
            ("backwards", of("bytes=5-2"), 200, whole, Text("0123456789")),
            ("no numbers", of("bytes=a-b"), 200, whole, Text("0123456789")),
            ("signs", of("bytes=+1-2"), 200, whole, Text("0123456789")),
            ("no range", of("bytes="), 200, whole, Text("0123456789")),
            ("no unit", of("0-1"), 200, whole, Text("0123456789")),
            ("another unit", of("lines=0-1"), 200, whole, Text("0123456789")),
            ("one of two malformed", of("bytes=0-1,x"), 200, whole, Text("0123456789")),
            (
                "two fields",
                request("GET", "/digits", &[("Range", "bytes=0-1"), ("Range", "bytes=4-5")]),
                200,
                whole,
                Text("0123456789"),
            ),
            ("a thousand times the same", thousands(1000), 206, &is("bytes 1-2/10"), Text("12")),
            ("more than a thousand", thousands(1001), 200, whole, Text("0123456789")),
            ("HEAD ignores it", request("HEAD", "/digits", &[("Range", "bytes=0-1")]), 200, whole, Empty),
            ("empty file", empty("bytes=0-"), 416, &[("Content-Range", Is("bytes */0"))], Any),
            ("empty file, suffix", empty("bytes=-5"), 200, &[("Content-Range", Absent)], Empty),
            (
                "more than sixteen parts",
                request("GET", "/alphabet", &[("Range", &seventeen)]),
                200,
                &[("Content-Range", Absent), ("Content-Length", Is("36"))],
                Text("abcdefghijklmnopqrstuvwxyz0123456789"),
            ),
            (
                "a folder has none",
                request("GET", "/", &[("Range", "bytes=0-1")]),
                200,
                &[("Content-Range", Absent)],
                Any,
            ),
        ],
    );
}

#[test]
fn several_ranges_are_parts_of_one_answer() {
    let folder = Folder::new();
    let content = site::noise(7, 1000);
    folder.file("a.txt", &content);
    let sixteen: Vec<_> = (0..16).map(|i| i * 50..i * 50 + 3).collect();
    let joined: Vec<_> = sixteen.iter().map(|r| format!("{}-{}", r.start, r.end - 1)).collect();
    let joined = format!("bytes={}", joined.join(","));
    let rows: [(&str, &str, &[std::ops::Range<usize>]); 5] = [
        ("two", "bytes=0-1,4-5", &[0..2, 4..6]),
        ("in the order of the request", "bytes=-10, 500-599 ,0-0", &[990..1000, 500..600, 0..1]),
        ("merged as far as they touch", "bytes=0-9,5-19,20-29,100-", &[0..30, 100..1000]),
        ("those that exist", "bytes=1-1,5000-,3-3", &[1..2, 3..4]),
        ("sixteen", &joined, &sixteen),
    ];
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for (name, range, expected) in &rows {
            let mut client = serving.client();
            let response = client.exchange(request("GET", "/a.txt", &[("Range", range)]));
            assert_eq!((response.status, response.field("Content-Range")), (206, None), "{name}");
            assert_eq!(response.field("ETag"), Some("\"17979cfe362a0005-3e8\""), "{name}");
            let parts: Vec<_> = expected.iter().map(|r| part(r, &content)).collect();
            assert_eq!(parse_parts(&response), parts, "{name}");
            check_what_always_holds(name, &response);
            assert_eq!(client.exchange(get("/a.txt")).body, content, "{name}: the connection stays usable");
        }
    }
}

/// Type, `Content-Range` and bytes of a part.
type Part = (String, String, Vec<u8>);

fn part(range: &std::ops::Range<usize>, content: &[u8]) -> Part {
    let place = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
    ("text/plain; charset=utf-8".into(), place, content[range.clone()].to_vec())
}

/// Reads multipart/byteranges (RFC 9110 section 14.6). The parts are found by their boundary, not by their lengths.
fn parse_parts(response: &Response) -> Vec<Part> {
    let boundary = response.field("Content-Type").and_then(|t| t.strip_prefix("multipart/byteranges; boundary="));
    let delimiter = format!("\r\n--{}", boundary.expect("a boundary"));
    let mut rest = &response.body[..];
    let mut parts = Vec::new();
    let mut cut = |delimiter: &[u8]| {
        let at = rest.windows(delimiter.len()).position(|w| w == delimiter).expect("a delimiter");
        let before = &rest[..at];
        rest = &rest[at + delimiter.len()..];
        (before.to_vec(), rest.starts_with(b"--"))
    };
    assert_eq!(cut(delimiter.as_bytes()).0, b"", "nothing stands before the first part");
    loop {
        let head = String::from_utf8(cut(b"\r\n\r\n").0).expect("the head of a part is text");
        let field = |name| {
            let value = head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("{name} in {head:?}")).to_owned()
        };
        let (bytes, last) = cut(delimiter.as_bytes());
        parts.push((field("Content-Type"), field("Content-Range"), bytes));
        if last {
            assert_eq!(rest, b"--\r\n", "nothing stands behind the last part");
            return parts;
        }
    }
}

#[test]
fn an_error_is_a_page_for_people_and_text_for_programs() {
    let folder = Folder::new();
    let wanting = |accept| request("GET", "/nothing", &[("Accept", accept)]);
    // Pages of our own let nothing in but their style.
    let policy = ("Content-Security-Policy", Begins("default-src 'none'; style-src 'sha256-"));
    let html: &[_] = &[("Content-Type", Is("text/html; charset=utf-8")), ("Vary", Is("Accept")), policy];
    let text: &[_] = &[("Content-Type", Is("text/plain; charset=utf-8")), ("Content-Security-Policy", Absent)];
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    check(
        &folder,
        &[
            ("a browser", wanting(browser), 404, html, Contains("<h1>404 Not Found</h1>")),
            ("a program", wanting("*/*"), 404, text, Contains("404 Not Found")),
            ("no wish", get("/nothing"), 404, text, Contains("404 Not Found")),
            ("text", wanting("text/plain"), 404, text, Contains("404 Not Found")),
            ("all but HTML", wanting("text/html;q=0, */*"), 404, text, Contains("404 Not Found")),
            ("400", request("GET", "/..", &[("Accept", browser)]), 400, html, Contains("<h1>400 ")),
            ("405", request("POST", "/", &[("Accept", browser)]), 405, html, Contains("<h1>405 ")),
            (
                "405 as text",
                request("POST", "/", &[]),
                405,
                text,
                Text("405 Method Not Allowed: Files are only read here.\n"),
            ),
        ],
    );
}

#[test]
fn a_404_html_at_the_root_is_the_page_for_what_is_missing() {
    let folder = Folder::new();
    folder.file("404.html", "<p>our own 404").file("in/404.html", "<p>not this one").file(".hidden", "s");
    let own: &[_] = &[("Content-Type", Is("text/html; charset=utf-8")), ("Content-Length", Is("14")), ("ETag", Absent)];
    let text: &[_] = &[("Content-Type", Is("text/plain; charset=utf-8"))];
    let plain_only = request("GET", "/nothing", &[("Accept", "text/plain")]);
    check(
        &folder,
        &[
            ("missing", get("/nothing"), 404, own, Text("<p>our own 404")),
            ("missing further down", get("/in/nothing"), 404, own, Text("<p>our own 404")),
            ("hidden", get("/.hidden"), 404, own, Text("<p>our own 404")),
            ("HEAD", request("HEAD", "/nothing", &[]), 404, own, Empty),
            ("by its name", get("/404.html"), 200, &[("ETag", Is("\"17979cfe362a0005-e\""))], Text("<p>our own 404")),
            ("who takes no HTML", plain_only, 404, text, Contains("404 Not Found")),
            ("another error", get("/.."), 400, text, Contains("400 Bad Request")),
        ],
    );
}
