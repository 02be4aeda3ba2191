//! Long transfers, several requests on one connection, and files that change meanwhile.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use brooklet::Config;

use crate::client::{Client, get, request};
use crate::site::{Folder, Serving, fronts, noise};

const MIB: usize = 1 << 20;
/// More than the sockets of both ends take, so that the server is still sending while the client has not read.
const LARGE: usize = 16 * MIB;

/// Equal, without printing megabytes where it is not.
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    let difference = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!((found.len(), difference), (expected.len(), None), "{what}");
}

/// A file of zeros that needs no room.
fn sparse(folder: &Folder, name: &str, length: usize) -> File {
    folder.file(name, "");
    let file = OpenOptions::new().write(true).open(folder.path(name)).unwrap();
    file.set_len(length as u64).unwrap();
    file
}

#[test]
fn a_large_file_arrives_as_it_is_for_one_and_for_three() {
    let folder = Folder::new();
    let content = noise(1, 20 * MIB + 12_345);
    folder.file("large", &content);
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (address, content) = (serving.address, &content);
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    for _ in 0..2 {
                        assert_same(&client.exchange(get("/large")).body, content, &format!("client {number}"));
                    }
                });
            }
        });
        let range = request("GET", "/large", &[("Range", "bytes=5000000-15000000")]);
        assert_same(&serving.client().exchange(range).body, &content[5_000_000..=15_000_000], "a range");
    }
}

#[test]
fn offsets_beyond_32_bits_are_offsets() {
    let folder = Folder::new();
    let length = 5 << 30;
    let file = sparse(&folder, "huge", length);
    file.write_all_at(b"the end", length as u64 - 7).unwrap();
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let range = request("GET", "/huge", &[("Range", "bytes=-8")]);
        let answer = serving.client().exchange(range);
        assert_eq!(answer.field("Content-Range"), Some("bytes 5368709112-5368709119/5368709120"));
        assert_eq!(answer.body, b"\0the end");
        let head = serving.client().exchange(request("HEAD", "/huge", &[]));
        assert_eq!(head.length(), Some(length));
    }
}

#[test]
fn a_slow_reader_gets_everything_and_hinders_nobody() {
    let folder = Folder::new();
    let content = noise(2, LARGE);
    folder.file("large", &content).file("small", "small");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut slow = Client::with_small_window(serving.address);
        slow.send(get("/large"));
        let head = slow.receive_head();
        assert_eq!(head.length(), Some(LARGE));
        let mut body = Vec::with_capacity(LARGE);
        // Small bites at first; between them, while the transfer stands still, others are served.
        for _ in 0..100 {
            body.extend(slow.take(1000).unwrap());
            assert_eq!(serving.get("/small").body, b"small");
        }
        body.extend(slow.take(LARGE - body.len()).unwrap());
        assert_same(&body, &content, "the slow reader");
        assert_eq!(slow.exchange(get("/small")).body, b"small");
    }
}

#[test]
fn a_file_that_shrinks_ends_the_connection_and_no_answer_follows() {
    let folder = Folder::new();
    folder.file("small", "small");
    for front in fronts() {
        let file = sparse(&folder, "large", LARGE);
        let serving = Serving::start(front, &folder);
        let mut client = Client::with_small_window(serving.address);
        client.send(get("/large") + &get("/small"));
        let head = client.receive_head();
        assert_eq!(head.length(), Some(LARGE));
        file.set_len(0).unwrap();
        let rest = client.rest();
        assert!(rest.len() < LARGE, "{} bytes came", rest.len());
        assert!(rest.iter().all(|byte| *byte == 0), "only bytes of the file follow its head");
        assert_eq!(serving.get("/small").body, b"small");
    }
}

#[test]
fn a_file_is_sent_as_it_was_opened() {
    let old = noise(3, LARGE);
    let replace = |folder: &Folder| {
        folder.file("new", "new");
        std::fs::rename(folder.path("new"), folder.path("file")).unwrap();
        b"new".to_vec()
    };
    let grow = |folder: &Folder| {
        let mut file = OpenOptions::new().append(true).open(folder.path("file")).unwrap();
        file.write_all(b"more").unwrap();
        [&old[..], b"more"].concat()
    };
    let delete = |folder: &Folder| {
        std::fs::remove_file(folder.path("file")).unwrap();
        b"404 Not Found: There is nothing at this address.\n".to_vec()
    };
    let changes: [(&str, &dyn Fn(&Folder) -> Vec<u8>); 3] =
        [("replaced", &replace), ("grown", &grow), ("deleted", &delete)];
    for front in fronts() {
        for (name, change) in changes {
            let folder = Folder::new();
            folder.file("file", &old);
            let serving = Serving::start(front, &folder);
            let mut client = Client::with_small_window(serving.address);
            client.send(get("/file"));
            assert_eq!(client.receive_head().length(), Some(LARGE), "{name}");
            let new = change(&folder);
            assert_same(&client.take(LARGE).unwrap(), &old, name);
            assert_same(&client.exchange(get("/file")).body, &new, name);
        }
    }
}

#[test]
fn a_changed_file_is_seen_at_once() {
    let folder = Folder::new();
    folder.file("file", "one");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        for content in ["one", "two", "three", "four"] {
            std::fs::write(folder.path("file"), content).unwrap();
            assert_eq!(client.exchange(get("/file")).body, content.as_bytes());
        }
        // A tag of before is no reason to believe that nothing has changed.
        folder.file("file", "three");
        let tag = client.exchange(get("/file")).field("ETag").unwrap().to_owned();
        std::fs::write(folder.path("file"), "other").unwrap();
        let answer = client.exchange(request("GET", "/file", &[("If-None-Match", &tag)]));
        assert_eq!((answer.status, answer.text()), (200, "other"));
    }
}

#[test]
fn clients_that_vanish_leave_the_server_serving() {
    let folder = Folder::new();
    sparse(&folder, "large", LARGE);
    folder.file("small", "small");
    for front in fronts() {
        let serving = Serving::with(Config { workers: Some(2), ..Serving::config(front, &folder) });
        for _ in 0..8 {
            let mut client = Client::with_small_window(serving.address);
            client.send(get("/large"));
            assert_eq!(client.receive_head().status, 200);
        }
        assert_eq!(serving.get("/small").body, b"small");
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let folder = Folder::new();
    let files: Vec<_> = (0..10).map(|number| noise(number, 1 + number as usize * 30_000)).collect();
    for (number, content) in files.iter().enumerate() {
        folder.file(number.to_string(), content);
    }
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        client.send((0..10).map(|number| get(&format!("/{number}"))).collect::<String>() + &get("/nothing"));
        for (number, content) in files.iter().enumerate() {
            assert_same(&client.receive().body, content, &format!("answer {number}"));
        }
        assert_eq!(client.receive().status, 404);
        assert_eq!(client.exchange(get("/0")).body, files[0]);
    }
}

#[test]
fn who_sends_nothing_more_still_gets_the_answer() {
    let folder = Folder::new();
    let content = noise(4, 5 * MIB);
    folder.file("file", &content);
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        client.send(get("/file"));
        client.finish();
        assert_same(&client.receive().body, &content, "after half a close");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_connection_lasts_as_long_as_the_client_wishes() {
    let folder = Folder::new();
    folder.file("a", "a");
    // Version, fields, `Connection` of the answer, whether the connection lasts.
    let rows = [
        ("HTTP/1.1", "", None, true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", None, true),
        ("HTTP/1.1", "Connection: close\r\n", Some("close"), false),
        ("HTTP/1.1", "connection: CLOSE\r\n", Some("close"), false),
        ("HTTP/1.1", "Connection: TE, close\r\n", Some("close"), false),
        ("HTTP/1.0", "", Some("close"), false),
        ("HTTP/1.0", "Connection: close\r\n", Some("close"), false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", Some("keep-alive"), true),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", Some("keep-alive"), true),
    ];
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for (version, fields, connection, lasts) in rows {
            for (target, status) in [("/a", 200), ("/nothing", 404)] {
                let name = format!("{version} {fields:?} {target}");
                let mut client = serving.client();
                let answer = client.exchange(format!("GET {target} {version}\r\nHost: x\r\n{fields}\r\n"));
                assert_eq!((answer.status, answer.field("Connection")), (status, connection), "{name}");
                if lasts {
                    assert_eq!(client.exchange(get("/a")).body, b"a", "{name}");
                } else {
                    assert_eq!(client.rest(), b"", "{name}");
                }
            }
        }
    }
}
