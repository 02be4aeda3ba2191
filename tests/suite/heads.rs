//! What the direct front reads by itself, the head and the body of a request: what is refused, what is passed over, and
//! where the next request begins. Whatever comes, nothing is answered that stands where no request can stand.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use brooklet::Front;

use crate::client::{Client, get, request};
use crate::site::{Folder, Serving};

const DIRECT: Front = Front::Direct;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What follows the one answer.
#[derive(Clone, Copy)]
enum Then {
    Closed,
    Usable,
    /// The one or the other.
    Either,
}
use Then::{Closed, Either, Usable};

/// A request that must never be answered: it stands behind what ends a connection, or in the body of another.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The last request on a connection.
pub(crate) const LAST: &str = "GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

pub(crate) fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("smuggled", "SMUGGLED");
    folder
}

/// A GET with these lines behind `Host`.
pub(crate) fn lines(lines: &str) -> String {
    format!("GET /small HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// As one chunk, and the end.
pub(crate) fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// What comes until the server says that nothing follows.
pub(crate) fn rest(client: &mut Client, name: &str) -> String {
    text(client.whole_rest().unwrap_or_else(|error| panic!("{name}, instead of the end: {error}")))
}

/// How many answers these are.
pub(crate) fn answers(all: &str) -> usize {
    all.matches("HTTP/1.1 ").count()
}

/// Holds that this gets one answer, with one of these statuses, and that the connection then is as it has to be.
fn check(serving: &Serving, name: &str, raw: &str, statuses: &[u16], then: Then) {
    println!("{name}");
    let mut client = serving.client();
    match then {
        Closed => {
            // In the same write: it is there when the server makes up its mind.
            client.send(format!("{raw}{SMUGGLED}"));
            let all = rest(&mut client, name);
            let status = all.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
            assert!(status.is_some_and(|status| statuses.contains(&status)), "{name}: {all:?}");
            assert_eq!(answers(&all), 1, "{name}: {all:?}");
            assert!(!all.contains("SMUGGLED"), "{name}: {all:?}");
        }
        Usable => {
            let answer = client.exchange(raw);
            assert!(statuses.contains(&answer.status), "{name}: {answer:?}");
            assert_eq!(client.exchange(get("/small")).body, b"small", "{name}: the connection stays usable");
            let answer = client.exchange(format!("{raw}{}", get("/small")));
            assert!(statuses.contains(&answer.status), "{name}, in one write with the next: {answer:?}");
            assert_eq!(client.receive().body, b"small", "{name}: the next in the same write");
            client.finish();
            assert_eq!(rest(&mut client, name), "", "{name}: nothing else is answered");
        }
        Either => {
            let answer = client.exchange(raw);
            assert!(statuses.contains(&answer.status), "{name}: {answer:?}");
            client.finish();
            assert_eq!(rest(&mut client, name), "", "{name}: nothing else is answered");
        }
    }
}

/// All rows, and that the server still serves.
fn check_all<S: AsRef<str>>(rows: &[(&str, S, &[u16], Then)]) {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    for (name, raw, statuses, then) in rows {
        check(&serving, name, raw.as_ref(), statuses, *then);
    }
    assert_eq!(serving.get("/small").body, b"small");
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let whole = |raw: &str| raw.to_owned();
    check_all(&[
        ("garbage", whole("garbage\r\n\r\n"), &[400], Closed),
        ("a greeting of TLS", whole("\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03\r\n\r\n"), &[400], Closed),
        ("HTTP/0.9", whole("GET /small\r\n\r\n"), &[400], Closed),
        ("no target", whole("GET HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("an empty target", whole("GET  HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("no method", whole(" /small HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a method that is no token", whole("G@T /small HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a space too many", whole("GET /small  HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a space in the target", whole("GET /small HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a space at the end", whole("GET /small HTTP/1.1 \r\nHost: x\r\n\r\n"), &[400], Closed),
        ("tabs for spaces", whole("GET\t/small\tHTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a control character in the line", whole("GET /sm\x01all HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a NUL in the line", whole("GET /small\0 HTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a carriage return in the line", whole("GET /small\rHTTP/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("two of them at its end", whole("GET /small HTTP/1.1\r\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a version in small letters", whole("GET /small http/1.1\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a version of another protocol", whole("GET /small HTCPCP/1.0\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a version without a point", whole("GET /small HTTP/11\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("a version of too many digits", whole("GET /small HTTP/1.10\r\nHost: x\r\n\r\n"), &[400], Closed),
        ("version 2.0", whole("GET /small HTTP/2.0\r\nHost: x\r\n\r\n"), &[505], Closed),
        ("version 3.0", whole("GET /small HTTP/3.0\r\nHost: x\r\n\r\n"), &[505], Closed),
        ("version 9.9", whole("GET /small HTTP/9.9\r\nHost: x\r\n\r\n"), &[505], Closed),
        ("HTTP/2 with prior knowledge", whole("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &[505], Closed),
        ("two hosts", lines("Host: localhost\r\n"), &[400], Closed),
        ("two different hosts", lines("Host: other\r\n"), &[400], Closed),
        ("no host", whole("GET /small HTTP/1.1\r\n\r\n"), &[400], Either),
        ("an empty host", whole("GET /small HTTP/1.1\r\nHost:\r\n\r\n"), &[400], Either),
        ("a host of spaces", whole("GET /small HTTP/1.1\r\nHost:  \r\n\r\n"), &[400], Either),
        ("no host, in absolute form", whole("GET http://x/small HTTP/1.1\r\n\r\n"), &[400], Either),
        ("a space in a name", lines("Na me: x\r\n"), &[400], Closed),
        ("a control character in a name", lines("N@me\x01: x\r\n"), &[400], Closed),
        ("a name that is no token", lines("N@me: x\r\n"), &[400], Closed),
        ("a NUL in a name", lines("Na\0me: x\r\n"), &[400], Closed),
        ("a name beyond ASCII", lines("Näme: x\r\n"), &[400], Closed),
        ("an empty name", lines(": x\r\n"), &[400], Closed),
        ("no colon", lines("Name\r\n"), &[400], Closed),
        ("a space before the colon", lines("Name : x\r\n"), &[400], Closed),
        ("a space before the colon of Host", whole("GET /small HTTP/1.1\r\nHost : x\r\n\r\n"), &[400], Closed),
        ("a tab before the colon", lines("Content-Length\t: 5\r\n"), &[400], Closed),
        ("a control character in a value", lines("X: a\x01b\r\n"), &[400], Closed),
        ("an escape in a value", lines("X: \x1b[31m\r\n"), &[400], Closed),
        ("a DEL in a value", lines("X: a\x7fb\r\n"), &[400], Closed),
        ("a NUL in a value", lines("X: a\0b\r\n"), &[400], Closed),
        ("a NUL at the end of a value", lines("X: a\0\r\n"), &[400], Closed),
        ("a line that continues the one before", lines("X: y\r\n z\r\n"), &[400], Closed),
        ("one with a tab", lines("X: y\r\n\tContent-Length: 45\r\n"), &[400], Closed),
        ("one of spaces alone", lines("X: y\r\n  \r\n"), &[400], Closed),
        ("one that continues the first line", whole("GET /small HTTP/1.1\r\n Host: x\r\n\r\n"), &[400], Closed),
        ("a carriage return in a value", lines("X: y\rContent-Length: 45\r\n"), &[400], Closed),
        ("one at the end of a value", lines("X: y\r\r\n"), &[400], Closed),
        ("one before a name", lines("X: y\r\n\rZ: y\r\n"), &[400], Closed),
        ("one before the empty line", lines("X: y\r\n\r"), &[400], Closed),
        ("a field in a field", lines("X: y\nContent-Length: 45\r\n"), &[400], Closed),
    ]);
}

#[test]
fn a_body_whose_length_is_not_certain_ends_the_connection() {
    let length = SMUGGLED.len();
    let coding = |value: &str| lines(&format!("Transfer-Encoding: {value}\r\n"));
    let lengths = |value: &str| lines(&format!("Content-Length: {value}\r\n"));
    let post = |fields: &[_]| request("POST", "/small", fields);
    let old = |fields: &str| format!("GET /small HTTP/1.0\r\n{fields}\r\n");
    let twice = format!("{length}\r\nContent-Length: {length}");
    let (end, chunks) = ("0\r\n\r\n", ("Transfer-Encoding", "chunked"));
    check_all(&[
        ("two lengths", lengths(&twice), &[400], Closed),
        ("two different lengths", lengths(&format!("0\r\nContent-Length: {length}")), &[400], Closed),
        ("the other way", lengths(&format!("{length}\r\nContent-Length: 0")), &[400], Closed),
        ("a length with a minus", lengths("-5"), &[400], Closed),
        ("a length with a plus", lengths("+5"), &[400], Closed),
        ("a hexadecimal length", lengths("0x5"), &[400], Closed),
        ("a list of lengths", lengths("5, 5"), &[400], Closed),
        ("an empty length", lengths(""), &[400], Closed),
        ("a length that is none", lengths("abc"), &[400], Closed),
        ("a length that ends as none", lengths("5a"), &[400], Closed),
        ("a length with a space in it", lengths("4 5"), &[400], Closed),
        ("a length with a point", lengths("5.0"), &[400], Closed),
        ("a length in other digits", lengths("٥"), &[400], Closed),
        ("a length of 65 bits", lengths("18446744073709551616"), &[400, 413], Closed),
        ("a length of many more", lengths("99999999999999999999999999"), &[400, 413], Closed),
        ("the largest length", lengths("18446744073709551615"), &[413], Closed),
        ("a length of 64 KiB and one", lengths("65537"), &[413], Closed),
        ("POST, a length of 64 KiB and one", post(&[("Content-Length", "65537")]), &[405, 413], Closed),
        ("a length and chunks", coding("chunked\r\nContent-Length: 5") + end, &[400], Closed),
        ("chunks and a length", lengths("5\r\nTransfer-Encoding: chunked") + end, &[400], Closed),
        ("POST, both", post(&[chunks, ("Content-Length", "0")]) + end, &[400], Closed),
        ("an unknown coding and a length", lengths("5\r\nTransfer-Encoding: x"), &[400, 501], Closed),
        ("chunks in 1.0", old("Transfer-Encoding: chunked\r\n") + end, &[400], Closed),
        (
            "chunks in 1.0 that wants to stay",
            old("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n") + end,
            &[400],
            Closed,
        ),
        ("an unknown coding", coding("x"), &[501], Closed),
        ("POST, an unknown coding", post(&[("Transfer-Encoding", "x")]), &[501], Closed),
        ("a coding that is none any more", coding("identity"), &[501], Closed),
        ("a coding that only ends like chunked", coding("xchunked"), &[501], Closed),
        ("another one below the chunks", coding("gzip, chunked"), &[501], Closed),
        (
            "another one below the chunks, in two lines",
            coding("gzip\r\nTransfer-Encoding: chunked"),
            &[400, 501],
            Closed,
        ),
        ("another one above the chunks", coding("chunked, gzip"), &[400, 501], Closed),
        ("chunks in chunks", coding("chunked, chunked") + end, &[400, 501], Closed),
        ("chunks in chunks, in two lines", coding("chunked\r\nTransfer-Encoding: chunked") + end, &[400, 501], Closed),
        ("no coding", coding(""), &[400, 501], Closed),
        ("chunks with a parameter", coding("chunked;q=1") + end, &[400, 501], Closed),
        ("chunks in quotes", coding("\"chunked\"") + end, &[400, 501], Closed),
        ("chunks behind a control character", coding("\x0bchunked") + end, &[400], Closed),
    ]);
}

#[test]
fn what_is_good_or_refused_for_itself_leaves_the_connection_usable() {
    let whole = |raw: &str| raw.to_owned();
    let posted = request("POST", "/small", &[]);
    check_all(&[
        ("POST", posted, &[405], Usable),
        ("an unknown method", request("BREW", "/small", &[]), &[501], Usable),
        ("a method in small letters", request("get", "/small", &[]), &[501], Usable),
        ("an empty line in front", whole("\r\n") + &get("/small"), &[200], Usable),
        ("some empty lines in front", whole("\r\n\r\n\r\n") + &get("/small"), &[200], Usable),
        ("an empty line behind it", get("/small") + "\r\n", &[200], Usable),
        ("lines that end in LF", whole("GET /small HTTP/1.1\nHost: x\nX: y\n\n"), &[200], Usable),
        ("one of those behind an empty one", whole("\nGET /small HTTP/1.1\nHost: x\n\n"), &[200], Usable),
        ("absolute form", whole("GET http://other:80/small HTTP/1.1\r\nHost: x\r\n\r\n"), &[200], Usable),
        ("OPTIONS of everything", whole("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), &[204], Usable),
        ("no space behind a colon", lines("Accept:text/html\r\n"), &[200], Usable),
        ("spaces and tabs around a value", lines("Connection: \t keep-alive \t \r\n"), &[200], Usable),
        ("an empty value", lines("X:\r\n"), &[200], Usable),
        ("a tab in a value", lines("X: a\tb\r\n"), &[200], Usable),
        ("a name of all that is allowed", lines("!#$%&'*+-.^_`|~09azAZ: x\r\n"), &[200], Usable),
        ("names in any letters", whole("GET /small HTTP/1.1\r\nhOST: x\r\n\r\n"), &[200], Usable),
        ("no body", lines("Content-Length: 0\r\n"), &[200], Usable),
        ("no body, in many digits", lines("Content-Length: 000000000000000000000000000000\r\n"), &[200], Usable),
        ("1.0", whole("GET /small HTTP/1.0\r\n\r\n"), &[200], Closed),
        ("1.0 that wants to stay", whole("GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), &[200], Usable),
        ("who wants to leave", lines("Connection: close\r\n"), &[200], Closed),
    ]);
}

#[test]
fn what_is_too_long_is_refused_by_its_name() {
    let long = |length: usize| get(&format!("/{}", "a".repeat(length - 1)));
    let many = |count: usize| lines(&(1..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>());
    // A head of so many bytes, most of them in one field or in fields of 500.
    let one = |length: usize| lines(&format!("X: {}\r\n", "y".repeat(length - lines("X: \r\n").len())));
    let some = |length: usize| {
        let lines_of_500 = format!("X: {}\r\n", "y".repeat(495)).repeat(20);
        one(length - lines_of_500.len()).replace("X: y", &format!("{lines_of_500}X: y"))
    };
    assert_eq!((one(16 * KIB).len(), some(16 * KIB).len()), (16 * KIB, 16 * KIB));
    check_all(&[
        ("a target of 8 KiB", long(8 * KIB), &[404], Usable),
        ("a target of a byte more", long(8 * KIB + 1), &[414], Usable),
        ("a target that nearly fills the head", long(16 * KIB - 100), &[414], Usable),
        ("a line that is longer than a head may be", long(16 * KIB), &[414], Closed),
        ("a line of 100 KiB", long(100 * KIB), &[414], Closed),
        ("a method of 100 KiB", request(&"A".repeat(100 * KIB), "/small", &[]), &[400, 414, 431, 501], Closed),
        ("100 fields", many(100), &[200], Usable),
        ("101 fields", many(101), &[431], Closed),
        ("1000 fields", many(1000), &[431], Closed),
        ("a head of 16 KiB, a byte less, in one field", one(16 * KIB - 1), &[200], Usable),
        ("a head of 16 KiB, a byte less, in some", some(16 * KIB - 1), &[200], Usable),
        ("a head of 16 KiB", some(16 * KIB), &[200], Usable),
        ("a head of 16 KiB and two", some(16 * KIB + 2), &[431], Closed),
        ("a head of 16 KiB and two, in one field", one(16 * KIB + 2), &[431], Closed),
        ("a head of 100 KiB, in one field", one(100 * KIB), &[431], Closed),
        ("a head of 100 KiB, in some", some(100 * KIB), &[431], Closed),
        ("a name of 100 KiB", lines(&format!("{}: x\r\n", "X".repeat(100 * KIB))), &[431], Closed),
    ]);
}

#[test]
fn who_waits_to_be_told_is_told_to_go_on_or_gets_the_answer() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let length = SMUGGLED.len().to_string();
    for (name, field, body) in [
        ("a length", ("Content-Length", &*length), SMUGGLED.to_owned()),
        ("chunks", ("Transfer-Encoding", "chunked"), chunked(SMUGGLED)),
    ] {
        for expectation in ["100-continue", "100-Continue"] {
            println!("{name}, {expectation}");
            let mut client = serving.client();
            for _ in 0..2 {
                client.send(request("GET", "/small", &[("Expect", expectation), field]));
                let interim = client.receive_head();
                assert_eq!((interim.status, interim.fields.len()), (100, 0), "{name}: {interim:?}");
                client.send(&body);
                assert_eq!(client.receive().body, b"small", "{name}");
            }
            assert_eq!(client.exchange(get("/small")).body, b"small", "{name}: the connection stays usable");
        }
    }
    let mut bold = serving.client();
    bold.send(request("GET", "/small", &[("Expect", "100-continue"), ("Content-Length", &length)]) + SMUGGLED);
    let mut answer = bold.receive();
    if answer.status == 100 {
        answer = bold.receive();
    }
    assert_eq!(answer.body, b"small", "who does not wait");
    assert_eq!(bold.exchange(get("/small")).body, b"small", "who does not wait, the next");

    let waits = |method, field| request(method, "/small", &[("Expect", "100-continue"), field]);
    let old = "GET /small HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n12345".to_owned();
    check_all(&[
        ("POST", waits("POST", ("Content-Length", "5")), &[405], Closed),
        ("POST, chunks", waits("POST", ("Transfer-Encoding", "chunked")), &[405], Closed),
        ("a body that is too long", waits("GET", ("Content-Length", "65537")), &[413], Closed),
        ("another expectation", request("GET", "/small", &[("Expect", "200-ok")]), &[417], Either),
        ("1.0 knows no expectation", old, &[200], Closed),
    ]);
}

#[test]
fn a_body_that_nobody_asked_for_is_passed_over() {
    let size = SMUGGLED.len();
    let filled = SMUGGLED.repeat(64 * KIB / size + 1);
    let each: String = SMUGGLED.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let with_length = |length: usize| (format!("Content-Length: {length}\r\n"), filled[..length].to_owned());
    let in_chunks = |body: String| ("Transfer-Encoding: chunked\r\n".to_owned(), body);
    let named = |name: &str, body: String| (format!("Transfer-Encoding: {name}\r\n"), body);
    let rows = [
        ("no byte", with_length(0)),
        ("a byte", with_length(1)),
        ("a request", with_length(size)),
        ("some requests", with_length(10 * size)),
        ("64 KiB", with_length(64 * KIB)),
        ("a chunk", in_chunks(chunked(SMUGGLED))),
        ("no chunk", in_chunks("0\r\n\r\n".into())),
        ("a chunk for each byte", in_chunks(each + "0\r\n\r\n")),
        ("the end in a chunk", in_chunks(chunked(&format!("0\r\n\r\n{SMUGGLED}")))),
        ("a size with zeros in front", in_chunks(format!("{size:08x}\r\n{SMUGGLED}\r\n000\r\n\r\n"))),
        ("a size in large letters", in_chunks(format!("{size:X}\r\n{SMUGGLED}\r\n0\r\n\r\n"))),
        ("an extension", in_chunks(format!("{size:x};a=b;c\r\n{SMUGGLED}\r\n0;last\r\n\r\n"))),
        ("a quoted extension", in_chunks(format!("{size:x};a=\"; b\"\r\n{SMUGGLED}\r\n0\r\n\r\n"))),
        ("trailers", in_chunks(format!("{size:x}\r\n{SMUGGLED}\r\n0\r\nX: y\r\nZ: GET /smuggled HTTP/1.1\r\n\r\n"))),
        (
            "60,000 bytes in chunks",
            in_chunks(chunked(&filled[..1000]).replace("0\r\n\r\n", "").repeat(60) + "0\r\n\r\n"),
        ),
        ("chunks in large letters", named("CHUNKED", chunked(SMUGGLED))),
        ("chunks in any letters", named("chUNked", chunked(SMUGGLED))),
    ];
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    for (name, (field, body)) in &rows {
        for (method, statuses) in [("GET", &[200][..]), ("HEAD", &[200]), ("POST", &[405])] {
            let raw = format!("{method} /small HTTP/1.1\r\nHost: localhost\r\n{field}\r\n{body}");
            check(&serving, &format!("{method}, {name}"), &raw, statuses, Usable);
        }
    }
}

#[test]
fn a_body_that_makes_no_sense_ends_the_connection() {
    let size = SMUGGLED.len();
    let data = |size: &str| format!("{size}\r\nhello\r\n0\r\n\r\n");
    let chunks = chunked(&SMUGGLED.repeat(20)).replace("0\r\n\r\n", "");
    let rows = [
        ("a size that is none", data("xyz")),
        ("a size with a minus", data("-1")),
        ("a size with a plus", data("+5")),
        ("a size with a prefix", data("0x5")),
        ("no size", data("")),
        ("an extension alone", data(";a=b")),
        ("a size that begins with a space", data(" 5")),
        ("a size of 17 digits", data("10000000000000005")),
        ("a size of 16 digits", data("fffffffffffffffb")),
        ("a size beyond 32 bits", data("100000005")),
        ("a NUL in an extension", data("5;a=\0")),
        ("a carriage return in an extension", data("5;a=\rb")),
        ("a carriage return behind a size", data("5\r")),
        ("nothing behind a chunk", "5\r\nhello0\r\n\r\n".into()),
        ("a byte too many in a chunk", "5\r\nhello!\r\n0\r\n\r\n".into()),
        ("a byte too few in a chunk", "6\r\nhello\r\n0\r\n\r\n".into()),
        ("two bytes for a line end", format!("{size:x}\r\n{SMUGGLED}XX0\r\n\r\n")),
        ("more than 64 KiB", chunks.repeat(64 * KIB / chunks.len() + 2) + "0\r\n\r\n"),
        ("more than 64 KiB in one chunk", chunked(&"x".repeat(64 * KIB + 1))),
        ("a long extension", format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(200 * KIB))),
        ("a long trailer", format!("0\r\nX: {}\r\n\r\n", "y".repeat(200 * KIB))),
        ("many trailers", format!("0\r\n{}\r\n", "X: y\r\n".repeat(40 * KIB))),
    ];
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    // All at once, as some of them are waited for.
    std::thread::scope(|scope| {
        for (name, body) in &rows {
            for method in ["GET", "POST"] {
                let mut client = serving.client();
                scope.spawn(move || {
                    let head = request(method, "/small", &[("Transfer-Encoding", "chunked")]);
                    // It may be closed before it has taken everything.
                    let _ = client.try_send(head + body + SMUGGLED + SMUGGLED);
                    // The answer may have gone before the body was read.
                    let all = text(client.rest());
                    assert!(answers(&all) <= 1 && !all.contains("SMUGGLED"), "{method}, {name}: {all:?}");
                });
            }
        }
    });
    // Here the connection may stay, if there is only one thing that is not answered.
    for (name, body) in [
        ("a request for a trailer", format!("0\r\n{SMUGGLED}")),
        ("a request for an extension", format!("5;{}\r\nhello\r\n0\r\n\r\n", &SMUGGLED[..20])),
    ] {
        let mut client = serving.client();
        client.send(request("POST", "/small", &[("Transfer-Encoding", "chunked")]) + &body);
        client.finish();
        let all = text(client.rest());
        assert!(answers(&all) <= 1 && !all.contains("SMUGGLED"), "{name}: {all:?}");
    }
    assert_eq!(serving.get("/small").body, b"small");
}

#[test]
fn a_body_that_never_comes_ends_the_connection() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let (length, chunks) = (("Content-Length", "100"), ("Transfer-Encoding", "chunked"));
    std::thread::scope(|scope| {
        for (name, field, body) in [
            ("no body", length, ""),
            ("half a body", length, SMUGGLED),
            ("no chunk", chunks, ""),
            ("half a chunk", chunks, "40\r\nhello"),
            ("no end", chunks, "5\r\nhello\r\n"),
            ("half a trailer", chunks, "0\r\nX: y"),
        ] {
            for method in ["GET", "POST"] {
                let mut client = serving.client();
                scope.spawn(move || {
                    let begun = Instant::now();
                    client.send(request(method, "/small", &[field]) + body);
                    let all = text(client.rest());
                    assert!(answers(&all) <= 1 && !all.contains("SMUGGLED"), "{method}, {name}: {all:?}");
                    // A body that takes a moment is not one that never comes.
                    assert!(begun.elapsed() >= Duration::from_secs(1), "{method}, {name}");
                });
            }
        }
    });
}

#[test]
fn a_refusal_arrives_whole_while_the_client_still_sends() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let line = "GET /".to_owned();
    let waits = request("POST", "/small", &[("Expect", "100-continue"), ("Content-Length", "60000")]);
    for (name, head, filler, status) in [
        ("a body", request("GET", "/small", &[("Content-Length", "1048576")]), "x", 413),
        ("a head of many fields", lines("").trim_end().to_owned() + "\r\n", "X: y\r\n", 431),
        ("a head of one field", lines("").trim_end().to_owned() + "\r\nX: ", "y", 431),
        ("a line", line, "a", 414),
        ("garbage", "garbage\r\n\r\n".into(), "x", 400),
        ("a body in an unknown coding", lines("Transfer-Encoding: x\r\n"), "x", 501),
        ("another version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "\0", 505),
        ("who does not wait", waits, "x", 405),
        ("who wanted to leave", lines("Connection: close\r\n"), SMUGGLED, 200),
    ] {
        println!("{name}");
        let all = head + &filler.repeat(MIB / filler.len());
        for _ in 0..3 {
            let mut client = serving.client();
            let mut sending = client.stream();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // However far it comes.
                    let _ = sending.write_all(all.as_bytes());
                    let _ = sending.shutdown(Shutdown::Write);
                });
                let answer = client.receive();
                assert_eq!((answer.status, answer.length()), (status, Some(answer.body.len())), "{name}");
                assert_eq!(rest(&mut client, name), "", "{name}");
            });
        }
    }
}

#[test]
fn a_head_asked_for_alone_has_no_body_even_if_it_is_refused() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let long = |length: usize| request("HEAD", &format!("/{}", "a".repeat(length)), &[]);
    let fields = |fields: &[_]| request("HEAD", "/small", fields);
    for (name, raw, status, then) in [
        ("nothing there", request("HEAD", "/nothing", &[]), 404, Usable),
        ("a target that is none", request("HEAD", "/%", &[]), 400, Usable),
        ("a target that is too long", long(9000), 414, Usable),
        ("a line that is too long", long(20_000), 414, Closed),
        ("two hosts", fields(&[("Host", "x")]), 400, Closed),
        ("a bad name", fields(&[("Na me", "x")]), 400, Closed),
        ("a bad length", fields(&[("Content-Length", "x")]), 400, Closed),
        ("a body that is too long", fields(&[("Content-Length", "65537")]), 413, Closed),
        ("too many fields", fields(&[("X", "y"); 101]), 431, Closed),
        ("a field that is too long", fields(&[("X", &"y".repeat(20_000))]), 431, Closed),
        ("an unknown coding", fields(&[("Transfer-Encoding", "x")]), 501, Closed),
        ("another version", "HEAD /small HTTP/2.0\r\nHost: x\r\n\r\n".into(), 505, Closed),
        ("an expectation", fields(&[("Expect", "x")]), 417, Either),
    ] {
        println!("{name}");
        let mut client = serving.client();
        client.send(&raw);
        let head = client.receive_head();
        assert_eq!(head.status, status, "{name}");
        match then {
            Usable => assert_eq!(client.exchange(get("/small")).body, b"small", "{name}"),
            Closed => assert_eq!(rest(&mut client, name), "", "{name}"),
            Either => {
                client.finish();
                assert_eq!(rest(&mut client, name), "", "{name}");
            }
        }
        let got = serving.client().exchange(raw.replacen("HEAD", "GET", 1));
        assert_eq!(head.lasting_head(), got.lasting_head(), "{name}: the head is that of GET");
        assert!(!got.body.is_empty(), "{name}");
    }
}
