//! What is told of a request at its end: who, what, how much of it, and how it ended.

use std::fs::File;
use std::sync::mpsc;
use std::time::Duration;

use brooklet::{Config, Exchange, Front, Outcome, Rules, Server};

use crate::client::{Client, get, request};
use crate::site::{Folder, NEVER, Serving, fronts, noise};

/// More than sockets hold.
const LARGE: usize = 32 << 20;

struct Observed {
    serving: Serving,
    heard: mpsc::Receiver<Exchange>,
}

impl Observed {
    fn start(config: Config) -> Self {
        let (tell, heard) = mpsc::channel();
        let server = Server::bind(config).unwrap();
        // The test may have ended already.
        let server = server.observe(move |exchange| drop(tell.send(exchange.clone())));
        Self { serving: Serving::run(server), heard }
    }

    fn next(&self) -> Exchange {
        self.heard.recv_timeout(NEVER).expect("its end is told")
    }
}

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("large", noise(1, LARGE)).file("medium", noise(2, 200 << 10));
    folder
}

#[test]
fn each_request_is_told_once_with_what_it_was_and_what_it_got() {
    let folder = site();
    for front in fronts() {
        let observed = Observed::start(Serving::config(front, &folder));
        let fields = [("Referer", "http://x/\"y"), ("User-Agent", "z")];
        let range = [("Range", "bytes=1-3")];
        let etag = observed.serving.get("/small").field("etag").unwrap().to_owned();
        assert_eq!(observed.next().status, 200);
        let known = [("If-None-Match", etag.as_str())];
        for (method, target, fields, status, bytes) in [
            ("GET", "/small?a=b", &fields[..], 200, Some(5)),
            ("GET", "/small", &range, 206, Some(3)),
            ("GET", "/small", &known, 304, Some(0)),
            ("HEAD", "/large", &[], 200, Some(0)),
            ("GET", "/large", &[], 200, Some(LARGE as u64)),
            ("GET", "/%00", &[], 400, None),
            ("PUT", "/x", &[], 405, None),
            ("PURGE", "/x", &[], 501, None),
        ] {
            let mut client = observed.serving.client();
            let address = client.stream().local_addr().unwrap();
            let response = client.exchange(request(method, target, fields));
            assert_eq!(response.status, status, "{method} {target}");
            drop(client);
            let told = observed.next();
            let bytes = bytes.unwrap_or(response.body.len() as u64);
            assert_eq!((&*told.method, &*told.target, told.version), (method, target, (1, 1)));
            assert_eq!((told.client, told.status, told.outcome), (Some(address), status, Outcome::Done), "{target}");
            assert_eq!((told.expected, told.sent), (Some(bytes), bytes), "{method} {target}");
            let named = fields.iter().any(|(name, _)| *name == "Referer");
            assert_eq!(told.referer.as_deref(), named.then_some("http://x/\"y"));
            assert_eq!(told.user_agent.as_deref(), named.then_some("z"));
        }
        assert!(observed.heard.try_recv().is_err());
    }
}

#[test]
fn what_was_no_request_is_told_too() {
    let folder = site();
    let observed = Observed::start(Serving::config(Front::Direct, &folder));
    assert_eq!(observed.serving.client().exchange("nonsense\r\n\r\n").status, 400);
    let told = observed.next();
    assert_eq!((&*told.method, &*told.target, told.status, told.outcome), ("", "", 400, Outcome::Done));
}

#[test]
fn requests_on_one_connection_are_told_in_their_order() {
    let folder = site();
    for front in fronts() {
        let observed = Observed::start(Serving::config(front, &folder));
        let mut client = observed.serving.client();
        for _ in 0..3 {
            client.exchange(get("/small"));
            client.exchange(get("/medium"));
        }
        // The last one is told though the client stays and asks for nothing more.
        let told: Vec<_> = (0..6).map(|_| observed.next()).map(|told| (told.target, told.outcome)).collect();
        let both = ["/small", "/medium"].map(|target| (target.into(), Outcome::Done));
        assert_eq!(told, [&both[..], &both, &both].concat());
    }
}

#[test]
fn who_has_asked_for_the_end_of_the_connection_has_the_answer_all_the_same() {
    let folder = site();
    for front in fronts() {
        let observed = Observed::start(Serving::config(front, &folder));
        for _ in 0..20 {
            let mut client = observed.serving.client();
            client.send("GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.whole_rest().unwrap();
            let told = observed.next();
            assert_eq!((told.sent, told.outcome), (5, Outcome::Done));
        }
    }
}

#[test]
fn who_leaves_before_the_end_has_not_got_it() {
    let folder = site();
    for front in fronts() {
        let observed = Observed::start(Serving::config(front, &folder));
        let mut client = Client::with_small_window(observed.serving.address);
        client.send(get("/large"));
        client.receive_head();
        client.take(100_000).unwrap();
        client.reset();
        let told = observed.next();
        assert_eq!((told.expected, told.outcome), (Some(LARGE as u64), Outcome::ClientLeft));
        assert!((100_000..LARGE as u64).contains(&told.sent), "{} bytes", told.sent);
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn what_only_the_socket_has_taken_the_client_has_not() {
    let folder = site();
    let observed = Observed::start(Serving::config(Front::Direct, &folder));
    let mut client = Client::with_small_window(observed.serving.address);
    client.send(get("/medium"));
    client.receive_head();
    client.reset();
    let told = observed.next();
    assert_eq!((told.expected, told.outcome), (Some(200 << 10), Outcome::ClientLeft));
    assert!(told.sent < 200 << 10, "{} bytes", told.sent);
}

#[test]
fn who_takes_nothing_is_too_slow() {
    let folder = site();
    for front in fronts() {
        let config = Config { stall_timeout: Duration::from_millis(300), ..Serving::config(front, &folder) };
        let observed = Observed::start(config);
        let mut client = Client::with_small_window(observed.serving.address);
        client.send(get("/large"));
        client.receive_head();
        let told = observed.next();
        assert_eq!(told.outcome, Outcome::TooSlow);
        assert!(told.sent < LARGE as u64 && told.time >= Duration::from_millis(300));
    }
}

#[test]
fn a_file_that_becomes_shorter_is_the_end_of_its_transfer() {
    let folder = site();
    for front in fronts() {
        folder.file("shrinks", noise(3, LARGE));
        let observed = Observed::start(Serving::config(front, &folder));
        let mut client = Client::with_small_window(observed.serving.address);
        client.send(get("/shrinks"));
        client.receive_head();
        File::options().write(true).open(folder.path("shrinks")).unwrap().set_len(10).unwrap();
        assert!(client.rest().len() < LARGE);
        let told = observed.next();
        assert_eq!(told.outcome, Outcome::SourceFailed);
        assert!(told.sent < LARGE as u64);
    }
}

#[test]
fn what_the_stop_does_not_wait_for_is_told() {
    let folder = site();
    let observed = Observed::start(Serving::config(Front::Direct, &folder));
    let mut client = Client::with_small_window(observed.serving.address);
    client.send(get("/large"));
    client.receive_head();
    observed.serving.stop();
    observed.serving.ended();
    assert_eq!(observed.next().outcome, Outcome::CutOff);
}

/// A client of `/large` that has so much of it and leaves without the rest.
fn abort(serving: &Serving, from: usize, count: usize) {
    let mut client = Client::with_small_window(serving.address);
    client.send(request("GET", "/large", &[("Range", &format!("bytes={from}-"))]));
    client.receive_head();
    client.take(count).unwrap();
    client.reset();
}

#[test]
fn a_server_for_some_downloads_ends_behind_the_last_and_no_sooner() {
    let folder = site();
    folder.file("folder/x", "x").file("empty", "");
    for front in fronts() {
        let rules = Rules { archive: true, ..Rules::default() };
        let observed = Observed::start(Config { once: Some(5), rules, ..Serving::config(front, &folder) });
        let serving = &observed.serving;
        let [whole, parts, head, known] = [
            request("GET", "/medium", &[]),
            request("GET", "/small", &[("Range", "bytes=0-1,4-4")]),
            request("HEAD", "/small", &[]),
            request("GET", "/small", &[("If-None-Match", "*")]),
        ];
        // One that breaks off, and what is no download.
        abort(serving, 0, 100_000);
        for (request, status) in [(&head, 200), (&known, 304), (&get("/"), 200), (&get("/none"), 404), (&parts, 206)] {
            assert_eq!(serving.client().exchange(request).status, status);
        }
        // The first and second, the third in parts, the fourth an archive.
        for request in [&whole, &get("/empty"), &request("GET", "/small", &[("Range", "bytes=1-3")])] {
            serving.client().exchange(request);
        }
        serving.get("/folder/?archive=tar");
        let ends: Vec<_> = (0..10).map(|_| observed.next().outcome).collect();
        assert_eq!(ends.iter().filter(|outcome| **outcome == Outcome::Done).count(), 9);
        // It still serves: the fifth resumes what broke off.
        let resumed = request("GET", "/large", &[("Range", "bytes=100000-")]);
        assert_eq!(serving.client().exchange(resumed).status, 206);
        serving.ended();
    }
}
