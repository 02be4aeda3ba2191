//! Clients that break the rules, come all at once or stand still; and the stop of a server, whatever its clients do.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use brooklet::{Config, Front, Server};

use crate::client::{Client, get, request};
use crate::site::{Folder, NEVER, Serving, fronts, noise};

const MIB: usize = 1 << 20;

/// What follows the one answer.
enum Then {
    Closed,
    Usable,
}
use Then::{Closed, Usable};

/// A request that must never be answered where it stands in the body of another.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn with_body(method: &str, fields: &[(&str, &str)], body: &str) -> String {
    request(method, "/small", fields) + body
}

#[test]
fn what_breaks_the_rules_gets_one_answer_and_nothing_behind_it() {
    let folder = Folder::new();
    folder.file("small", "small").file("smuggled", "SMUGGLED");
    let (huge, length) = ("100000000000", SMUGGLED.len().to_string());
    let chunked = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let chunks = ("Transfer-Encoding", "chunked");
    let many = |count| (0..count).map(|i| format!("X-{i}: y\r\n")).collect::<String>();
    let long = |length: usize| get(&format!("/{}", "a".repeat(length - 1)));
    let lengths = |value| with_body("GET", &[("Content-Length", value)], SMUGGLED);
    // A name, a request, the statuses that are right, and what follows.
    type Row = (&'static str, String, &'static [u16], Then);
    let rows: Vec<Row> = vec![
        ("GET, a length beyond memory", with_body("GET", &[("Content-Length", huge)], ""), &[413], Closed),
        ("POST, a length beyond memory", with_body("POST", &[("Content-Length", huge)], ""), &[405, 413], Closed),
        ("a length beyond 64 bits", lengths("99999999999999999999999"), &[400, 413], Closed),
        ("chunks and a length", with_body("POST", &[chunks, ("Content-Length", "3")], &chunked), &[400, 405], Closed),
        ("an unknown coding", with_body("POST", &[("Transfer-Encoding", "x")], SMUGGLED), &[400, 405, 501], Closed),
        (
            "two lengths",
            with_body("POST", &[("Content-Length", "0"), ("Content-Length", &length)], SMUGGLED),
            &[400],
            Closed,
        ),
        (
            "two lengths, the other way",
            with_body("GET", &[("Content-Length", &length), ("Content-Length", "0")], SMUGGLED),
            &[400],
            Closed,
        ),
        ("a length with a plus", lengths("+5"), &[400], Closed),
        ("a length with a minus", lengths("-5"), &[400], Closed),
        ("a length that is none", lengths("abc"), &[400], Closed),
        ("a list of lengths", lengths("5, 5"), &[400], Closed),
        ("a hexadecimal length", lengths("0x5"), &[400], Closed),
        (
            "a body that is announced and waited for",
            with_body("POST", &[("Content-Length", &length), ("Expect", "100-continue")], SMUGGLED),
            &[405, 413, 417],
            Closed,
        ),
        ("HEAD, a length beyond memory", with_body("HEAD", &[("Content-Length", huge)], ""), &[413], Closed),
        ("a field in a field", with_body("GET", &[("X", "y\nContent-Length: 45")], SMUGGLED), &[400], Closed),
        ("a carriage return in a field", with_body("GET", &[("X", "y\rContent-Length: 45")], SMUGGLED), &[400], Closed),
        ("a body of 10 bytes", with_body("POST", &[("Content-Length", "10")], "0123456789"), &[405], Usable),
        (
            "a small body that looks like a request",
            with_body("POST", &[("Content-Length", &length)], SMUGGLED),
            &[405],
            Usable,
        ),
        ("a body of no bytes", with_body("GET", &[("Content-Length", "0")], ""), &[200], Usable),
        ("100 fields", format!("GET /small HTTP/1.1\r\nHost: x\r\n{}\r\n", many(99)), &[200], Usable),
        ("a target of 8192 bytes", long(8192), &[404], Usable),
        ("a target of 8193 bytes", long(8193), &[414], Usable),
        ("a target of 9000 bytes", long(9000), &[414], Usable),
    ];
    let long_body = || with_body("GET", &[("Content-Length", "5000")], &SMUGGLED.repeat(200)[..5000]);
    let fields = || format!("GET /small HTTP/1.1\r\nHost: x\r\n{}\r\n", many(100));
    let in_chunks = |method| with_body(method, &[chunks], &chunked);
    // What the one reads and throws away, the other has to refuse.
    let of_each_front = |front| -> Vec<Row> {
        match front {
            Front::TinyHttp => vec![
                ("GET, chunks", in_chunks("GET"), &[413], Closed),
                ("POST, chunks", in_chunks("POST"), &[405, 413], Closed),
                ("HEAD, chunks", in_chunks("HEAD"), &[413], Closed),
                ("a body of 5000 bytes", long_body(), &[413], Closed),
                ("101 fields", fields(), &[431], Usable),
            ],
            _ => vec![
                ("GET, chunks", in_chunks("GET"), &[200], Usable),
                ("POST, chunks", in_chunks("POST"), &[405], Usable),
                ("a body of 5000 bytes", long_body(), &[200], Usable),
                ("101 fields", fields(), &[431], Closed),
            ],
        }
    };
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for (name, raw, statuses, then) in rows.iter().chain(&of_each_front(front)) {
            println!("{name}");
            let mut client = serving.client();
            client.send(raw);
            match then {
                Closed => {
                    let all = String::from_utf8(client.rest()).unwrap();
                    let status = all.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
                    assert!(status.is_some_and(|status| statuses.contains(&status)), "{name}: {all:?}");
                    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{name}: {all:?}");
                    assert!(!all.contains("SMUGGLED"), "{name}: {all:?}");
                    let body = all.split_once("\r\n\r\n").map(|(_, body)| body);
                    assert_eq!(body == Some(""), raw.starts_with("HEAD "), "{name}: {all:?}");
                }
                Usable => {
                    let answer = client.receive();
                    assert!(statuses.contains(&answer.status), "{name}: {answer:?}");
                    assert_eq!(client.exchange(get("/small")).body, b"small", "{name}: the connection stays usable");
                }
            }
            assert_eq!(serving.get("/small").body, b"small", "{name}: the server serves");
        }
    }
}

#[test]
fn what_is_no_http_hurts_nobody() {
    let folder = Folder::new();
    folder.file("small", "small");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        for garbage in [
            &b"\r\n\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET /small\r\n\r\n",
            b"GET /small HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET /small HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /small HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET /small HTTP/1.1\r\nHost: x\r\n",
            b"",
        ] {
            let mut client = serving.client();
            client.send(garbage);
            client.finish();
            let all = client.rest();
            let shown = garbage.escape_ascii();
            assert!(all.is_empty() || all.starts_with(b"HTTP/1.1 4") || all.starts_with(b"HTTP/1.1 5"), "{shown}");
            assert_eq!(serving.get("/small").body, b"small", "{shown}");
        }
    }
}

#[test]
fn connections_that_come_at_once_are_all_served() {
    const COUNT: usize = 40;
    let folder = Folder::new();
    folder.file("small", "small");
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut idle = Vec::new();
        for round in 0..3 {
            let together = Barrier::new(COUNT);
            let mut clients: Vec<_> = std::thread::scope(|scope| {
                let connect = || {
                    together.wait();
                    Client::connect(serving.address)
                };
                let threads: Vec<_> = (0..COUNT).map(|_| scope.spawn(connect)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            clients.iter_mut().for_each(|client| client.send(get("/small")));
            // No connection ends before all are answered, so none is served only because another has gone.
            for (number, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.receive().body, b"small", "round {round}, connection {number}");
            }
            idle.extend(clients.drain(..8));
        }
        for client in &mut idle {
            assert_eq!(client.exchange(get("/small")).body, b"small", "a connection that was idle");
        }
    }
}

#[test]
fn clients_that_stand_still_give_their_workers_back() {
    let folder = Folder::new();
    folder.file("large", noise(1, 16 * MIB)).file("small", "small");
    for front in fronts() {
        let stall_timeout = Duration::from_millis(500);
        let serving = Serving::with(Config { workers: Some(4), stall_timeout, ..Serving::config(front, &folder) });
        let stalled: Vec<_> = (0..8)
            .map(|_| {
                let mut client = Client::with_small_window(serving.address);
                client.send(get("/large"));
                client
            })
            .collect();
        assert_eq!(serving.get("/small").body, b"small");
        // Until here they have stood there.
        drop(stalled);
    }
}

#[test]
fn a_transfer_to_who_stands_still_is_ended_and_not_taken_up_again() {
    let folder = Folder::new();
    let content = noise(1, 16 * MIB);
    folder.file("large", &content).file("small", "small");
    for front in fronts() {
        let stall_timeout = Duration::from_millis(300);
        let serving = Serving::with(Config { workers: Some(1), stall_timeout, ..Serving::config(front, &folder) });
        let mut stalled = Client::with_small_window(serving.address);
        stalled.send(get("/large") + &get("/small"));
        assert_eq!(stalled.receive_head().length(), Some(content.len()));
        match front {
            // The only worker is free again.
            Front::TinyHttp => assert_eq!(serving.get("/small").body, b"small"),
            _ => stalled.until_reset(),
        }
        let rest = stalled.rest();
        assert!(rest.len() < content.len() && content.starts_with(&rest), "{} bytes came", rest.len());
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let folder = Folder::new();
    folder.file("small", "small");
    for front in fronts() {
        let idle_timeout = Duration::from_secs(1);
        let serving =
            Serving::with(Config { idle_timeout, head_timeout: idle_timeout, ..Serving::config(front, &folder) });
        let (mut silent, mut half, mut answered) = (serving.client(), serving.client(), serving.client());
        half.send("GET /small HT");
        assert_eq!(answered.exchange(get("/small")).body, b"small");
        for (name, client) in [("silent", &mut silent), ("half", &mut half), ("answered", &mut answered)] {
            println!("{name}");
            let rest = client.rest();
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", rest.escape_ascii());
        }
    }
}

#[test]
fn who_comes_before_the_server_runs_is_served_like_everybody() {
    let folder = Folder::new();
    folder.file("large", noise(1, 16 * MIB)).file("small", "small");
    for front in fronts() {
        let (idle_timeout, stall_timeout) = (Duration::from_secs(1), Duration::from_millis(300));
        let config = Config { workers: Some(1), idle_timeout, stall_timeout, ..Serving::config(front, &folder) };
        let server = Server::bind(config).unwrap();
        let address = server.addresses()[0];
        let (mut silent, mut stalled) = (Client::connect(address), Client::with_small_window(address));
        stalled.send(get("/large"));
        let serving = Serving::run(server);
        assert_eq!(silent.rest(), b"", "the idle timeout");
        assert_eq!(serving.get("/small").body, b"small", "the stall timeout");
        drop(stalled);
    }
}

/// Whether somebody who is this server still answers there.
fn is_served(serving: &Serving) -> bool {
    Client::try_get(serving.address, "/small").is_ok_and(|answer| answer.body == b"small")
}

#[test]
fn a_stop_finishes_what_is_in_flight() {
    let folder = Folder::new();
    let content = noise(5, 16 * MIB);
    folder.file("large", &content).file("small", "small");
    for front in fronts() {
        let serving = Serving::with(Config { drain: 10 * NEVER, ..Serving::config(front, &folder) });
        let mut idle = serving.client();
        assert_eq!(idle.exchange(get("/small")).body, b"small");
        let mut reading = Client::with_small_window(serving.address);
        reading.send(get("/large"));
        assert_eq!(reading.receive_head().length(), Some(content.len()));
        serving.stop();
        let deadline = Instant::now() + NEVER;
        while is_served(&serving) {
            assert!(Instant::now() < deadline, "nothing is accepted after a stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut body = Vec::new();
        for _ in 0..100 {
            body.extend(reading.take(1000).unwrap());
        }
        let in_flight = Instant::now();
        body.extend(reading.take(content.len() - body.len()).unwrap());
        assert!(body == content, "the transfer in flight arrives whole");
        // The idle connection, which is still there, is waited for by nobody.
        assert!(serving.ended() > in_flight, "the transfer is waited for");
        assert!(!is_served(&serving), "nothing is accepted after the end");
        drop(idle);
    }
}

#[test]
fn a_stop_does_not_wait_for_who_stands_still() {
    let folder = Folder::new();
    folder.file("large", noise(6, 16 * MIB));
    for front in fronts() {
        // The stall timeout is longer than the guard: only the drain can end it.
        let stall_timeout = 10 * NEVER;
        let serving = Serving::with(Config { stall_timeout, ..Serving::config(front, &folder) });
        let mut stalled = Client::with_small_window(serving.address);
        stalled.send(get("/large"));
        assert_eq!(stalled.receive_head().status, 200);
        serving.stop();
        serving.ended();
        // Only now, so that the client was there until the end.
        drop(stalled);
    }
}

#[test]
fn a_stop_without_clients_is_an_end() {
    let folder = Folder::new();
    for front in fronts() {
        let serving = Serving::with(Config { drain: 10 * NEVER, ..Serving::config(front, &folder) });
        serving.stop();
        serving.stop();
        serving.ended();
        let refused = TcpStream::connect(serving.address).map_err(|error| error.kind());
        assert!(refused.is_err_and(|kind| kind == ErrorKind::ConnectionRefused));
    }
}
