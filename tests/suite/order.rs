//! Requests behind one another on a connection to the direct front, in whatever pieces they come: each is answered, in its
//! order, to the last one that is due when the client says that nothing follows.

use std::net::SocketAddr;
use std::time::Duration;

use brooklet::{Config, Front};
use socket2::SockRef;

use crate::client::{Client, get, request};
use crate::heads::{LAST, SMUGGLED, answers, lines, rest, site, text};
use crate::site::{Folder, Serving, noise};

const DIRECT: Front = Front::Direct;

const MIB: usize = 1 << 20;

/// All that comes for these bytes, sent piece by piece, until the server ends the connection; without what changes from one
/// moment to the next.
fn outcome(address: SocketAddr, pieces: &[&[u8]], pause: Duration) -> String {
    let mut client = Client::connect(address);
    for piece in pieces {
        // Who is refused half-way has been told enough.
        if client.try_send(piece).is_err() {
            break;
        }
        // Not for long: if the server sees two pieces as one, this goes well, too.
        std::thread::sleep(pause);
    }
    let all = text(client.whole_rest().expect("the end"));
    let lasting: Vec<_> = all.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    lasting.join("\r\n")
}

#[test]
fn where_a_request_is_cut_in_two_makes_no_difference() {
    let heads = [
        ("a plain one", get("/small")),
        ("fields", request("GET", "/small?a=b", &[("Range", "bytes=1-3"), ("Accept", "text/html")])),
        ("line ends of LF", "GET /small HTTP/1.1\nHost: x\n\n".into()),
        ("empty lines in front", format!("\r\n\r\n{}", get("/small"))),
        ("an empty line between two", format!("{}\r\n{}", get("/small"), get("/nothing"))),
        ("two at once", get("/small") + &request("OPTIONS", "/small", &[])),
        ("the old version", "GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into()),
        ("a body", request("GET", "/small", &[("Content-Length", "5")]) + "hello"),
        (
            "chunks",
            request("POST", "/small", &[("Transfer-Encoding", "chunked")])
                + &format!("5;a=\"b\"\r\nhello\r\n{:x}\r\n{SMUGGLED}\r\n0\r\nX: y\r\n\r\n", SMUGGLED.len()),
        ),
        ("a bad name", lines("Na me: x\r\n")),
        ("a continued line", lines("X: y\r\n z\r\n")),
        ("a carriage return in a value", lines("X: y\rz\r\n")),
        ("two hosts", lines("Host: y\r\n")),
        ("an unknown version", "GET /small HTTP/2.0\r\nHost: x\r\n\r\n".into()),
        ("an unknown coding", lines("Transfer-Encoding: x\r\n")),
    ];
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    std::thread::scope(|scope| {
        for (name, head) in &heads {
            let address = serving.address;
            scope.spawn(move || {
                let all = format!("{head}{LAST}");
                let all = all.as_bytes();
                let expected = outcome(address, &[all], Duration::ZERO);
                assert!(expected.starts_with("HTTP/1.1 "), "{name}: {expected:?}");
                for at in 1..=head.len() {
                    let (before, behind) = all.split_at(at);
                    let found = outcome(address, &[before, behind], Duration::from_millis(1));
                    assert_eq!(found, expected, "{name}, cut behind {:?}", before.escape_ascii().to_string());
                }
                let bytes: Vec<_> = all.chunks(1).collect();
                let found = outcome(address, &bytes, Duration::from_micros(100));
                assert_eq!(found, expected, "{name}, byte by byte");
            });
        }
    });
}

#[test]
fn two_hundred_requests_in_one_write_are_answered_in_their_order() {
    let folder = Folder::new();
    for number in 0..200 {
        folder.file(number.to_string(), format!("file {number}"));
    }
    let serving = Serving::start(DIRECT, &folder);
    let mut client = serving.client();
    client.send((0..200).map(|number| get(&format!("/{number}"))).collect::<String>());
    for number in 0..200 {
        assert_eq!(client.receive().text(), format!("file {number}"));
    }
    client.finish();
    assert_eq!(rest(&mut client, "all"), "");
}

#[test]
fn requests_that_fill_the_room_to_the_last_byte_leave_none_behind() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let mut client = serving.client();
    let bare = request("GET", "/small", &[("X", "")]).len();
    let padded = request("GET", "/small", &[("X", &"y".repeat(1024 - bare))]);
    assert_eq!(padded.len(), 1024);
    assert_eq!(client.exchange(get("/small")).body, b"small");
    // The first 16 are what is read at once.
    client.send(padded.repeat(17));
    for _ in 0..17 {
        assert_eq!(client.receive().body, b"small");
    }
}

#[test]
fn urgent_data_hides_nothing() {
    let folder = site();
    let serving = Serving::start(DIRECT, &folder);
    let mut client = serving.client();
    assert_eq!(client.exchange(get("/small")).body, b"small");
    // One read ends before the urgent byte, which is no part of what is read, and something stands behind it.
    for _ in 0..100 {
        SockRef::from(&client.stream()).send_out_of_band((get("/small") + "!").as_bytes()).unwrap();
        client.send(get("/small"));
        for _ in 0..2 {
            assert_eq!(client.receive().body, b"small");
        }
    }
}

#[test]
fn a_request_behind_a_large_file_is_answered_after_it() {
    let folder = site();
    let content = noise(1, 16 * MIB);
    folder.file("large", &content).file("other", "other");
    let serving = Serving::start(DIRECT, &folder);
    let mut client = Client::with_small_window(serving.address);
    client.send(get("/large") + &get("/small"));
    assert_eq!(client.receive_head().length(), Some(content.len()));
    let first = client.take(1000).unwrap();
    // And one that comes in the middle of the transfer.
    client.send(get("/other"));
    let rest = client.take(content.len() - first.len()).unwrap();
    assert!([first, rest].concat() == content, "the bytes of the file");
    assert_eq!(client.receive().body, b"small");
    assert_eq!(client.receive().body, b"other");
}

#[test]
fn who_says_that_nothing_follows_gets_all_that_is_due() {
    let folder = site();
    let content = noise(2, 16 * MIB);
    folder.file("large", &content);
    // Nothing but the farewell of the client ends a connection here.
    let day = Duration::from_secs(24 * 60 * 60);
    let config = Config { head_timeout: day, idle_timeout: day, ..Serving::config(DIRECT, &folder) };
    let serving = Serving::with(config);
    for (name, raw, expected) in [
        ("a small file", get("/small"), &[&b"small"[..]][..]),
        ("a large file", get("/large"), &[&content]),
        ("two", get("/small") + &get("/small"), &[b"small", b"small"]),
        ("one behind a large file", get("/large") + &get("/small"), &[&content, b"small"]),
    ] {
        let mut client = Client::with_small_window(serving.address);
        client.send(raw);
        client.finish();
        for body in expected {
            assert!(client.receive().body == *body, "{name}");
        }
        assert_eq!(rest(&mut client, name), "", "{name}");
    }
    let mut client = Client::with_small_window(serving.address);
    client.send(get("/large"));
    client.receive_head();
    // Both arrive while the server has something else to do.
    client.send(get("/small"));
    client.finish();
    assert!(client.take(content.len()).unwrap() == content);
    assert_eq!(client.receive().body, b"small");
    assert_eq!(rest(&mut client, "in the middle of a large file"), "");
    for (name, half, before) in [
        ("nothing", "", 0),
        ("an empty line", "\r\n", 0),
        ("a letter", "G", 0),
        ("a line", "GET /smuggled HTTP/1.1", 0),
        ("a line and its end", "GET /smuggled HTTP/1.1\r\n", 0),
        ("no empty line", "GET /smuggled HTTP/1.1\r\nHost: x\r\n", 0),
        ("half an empty line", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r", 0),
        ("half of a second one", &(get("/small") + "GET /smuggled HTTP/1.1\r\nHost: x\r\n"), 1),
    ] {
        let mut client = serving.client();
        client.send(half);
        client.finish();
        for _ in 0..before {
            assert_eq!(client.receive().body, b"small", "{name}");
        }
        let all = rest(&mut client, name);
        assert!(all.is_empty() || all.starts_with("HTTP/1.1 400 ") && answers(&all) == 1, "{name}: {all:?}");
    }
    // Of a body only half has come: nothing is wrong with the request itself.
    let mut client = serving.client();
    client.send(request("GET", "/small", &[("Content-Length", "10")]) + "12345");
    client.finish();
    let all = rest(&mut client, "half a body");
    assert!(answers(&all) <= 1, "half a body: {all:?}");
}
