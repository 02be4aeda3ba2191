//! What is told of a request at its end: who, what, how much of it, and how it ended.

use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use brooklet::{Config, Exchange, Front, Listen, Outcome, Rules, Server, Statistics};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::access::{SECRET, basic};
use crate::client::{Client, get, request};
use crate::program::within_reason;
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
        assert!(told.sent < LARGE as u64 && told.duration >= Duration::from_millis(300));
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

#[test]
fn each_transfer_is_told_once_though_a_worker_has_it_in_hand_at_the_stop() {
    let folder = site();
    for _ in 0..10 {
        let config = Config { workers: Some(2), drain: Duration::ZERO, ..Serving::config(Front::Direct, &folder) };
        let observed = Observed::start(config);
        let mut clients: Vec<_> = (0..4).map(|_| observed.serving.client()).collect();
        for client in &mut clients {
            client.send(get("/large"));
            client.receive_head();
        }
        // They take what they can, so some are always in hand.
        let reading: Vec<_> =
            clients.into_iter().map(|mut client| thread::spawn(move || client.rest().len())).collect();
        observed.serving.stop();
        observed.serving.ended();
        let read: Vec<_> = reading.into_iter().map(|reading| reading.join().unwrap()).collect();
        let told: Vec<_> = observed.heard.try_iter().map(|told| told.outcome).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        let done = told.iter().filter(|outcome| **outcome == Outcome::Done).count();
        assert!(told.iter().all(|outcome| matches!(outcome, Outcome::Done | Outcome::CutOff)), "{told:?}");
        assert!(done <= read.iter().filter(|read| **read == LARGE).count(), "{told:?} {read:?}");
    }
}

#[test]
fn an_observer_that_panics_hurts_nobody() {
    let folder = site();
    for front in fronts() {
        let server = Server::bind(Config { workers: Some(2), ..Serving::config(front, &folder) }).unwrap();
        let (tell, told) = mpsc::channel();
        let server = server.observe(|_| panic!("a defect of whoever is told"));
        let server = server.observe(move |exchange| _ = tell.send(exchange.outcome));
        let serving = Serving::run(server);
        for _ in 0..8 {
            abort(&serving, 0, 10_000);
            assert_eq!(told.recv_timeout(NEVER), Ok(Outcome::ClientLeft));
            assert_eq!(serving.get("/small").body, b"small");
            assert_eq!(told.recv_timeout(NEVER), Ok(Outcome::Done));
        }
    }
}

#[test]
fn only_a_name_that_was_verified_is_told() {
    let folder = site();
    folder.file("../users", format!("ann:{SECRET}"));
    let long = format!("/{}", "a".repeat(10_000));
    let (right, wrong) = (basic("ann:secret"), basic("ann:wrong"));
    for front in fronts() {
        let rules = Rules { cors: Some("*".into()), ..Rules::default() };
        let auth = Some(folder.path("../users"));
        let observed = Observed::start(Config { auth, rules, ..Serving::config(front, &folder) });
        for (method, target, credentials, more, status, named) in [
            ("GET", "/small", &right, None, 200, true),
            ("GET", "/none", &right, None, 404, true),
            ("GET", "/%00", &right, None, 400, true),
            ("PUT", "/small", &right, None, 405, true),
            ("GET", "/small", &right, Some(("Content-Length", "100000")), 413, true),
            ("GET", "/small", &wrong, None, 401, false),
            ("OPTIONS", "/small", &wrong, None, 204, false),
            ("OPTIONS", "/small", &right, None, 204, false),
            ("GET", "/small", &wrong, Some(("Content-Length", "100000")), 401, false),
            ("GET", &long, &wrong, None, 414, false),
            ("GET", "/small", &wrong, Some(("Expect", "the best")), 417, false),
        ] {
            // That one is answered by tiny_http, which tells nobody.
            if (front, status) == (Front::TinyHttp, 417) {
                continue;
            }
            let fields: Vec<_> = [("Authorization", credentials.as_str())].into_iter().chain(more).collect();
            let mut client = observed.serving.client();
            client.send(request(method, target, &fields));
            assert_eq!(client.receive_head().status, status, "{front:?} {method} {target}");
            let user = observed.next().user;
            assert_eq!(user.as_deref(), named.then_some("ann"), "{front:?} {method} {status}");
        }
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn what_was_asked_for_ahead_and_not_read_the_client_has_not() {
    let folder = site();
    folder.file("little", noise(3, 50 << 10)).file("last", "last");
    let patience = Timespec { tv_sec: NEVER.as_secs() as i64, tv_nsec: 0 };
    let path = folder.path("../socket");
    let bind = vec![Listen::Ip(Ipv4Addr::LOCALHOST.into()), Listen::Unix(path.clone())];
    let config = Config { once: Some(2), bind, cache: Some(0), ..Serving::config(Front::Direct, &folder) };
    let observed = Observed::start(config);
    // A Unix socket does not hold a larger one whole.
    let first = [("/medium", 200 << 10), ("/little", 50 << 10)];
    let clients = [Client::with_small_window(observed.serving.address), Client::at_path(&path)];
    for (mut client, first) in clients.into_iter().zip(first) {
        let watch = inotify::init(inotify::CreateFlags::empty()).unwrap();
        inotify::add_watch(&watch, folder.path("last"), inotify::WatchFlags::CLOSE_NOWRITE).unwrap();
        client.send([get(first.0), get("/small"), get("/last")].concat());
        // It is closed when it was sent.
        assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&patience)), Ok(1));
        drop(client);
        for (target, expected) in [first, ("/small", 5), ("/last", 4)] {
            let told = observed.next();
            assert_eq!((&*told.target, told.expected, told.outcome), (target, Some(expected), Outcome::ClientLeft));
            assert!(told.sent < expected, "{} bytes of {target}", told.sent);
        }
    }
    // They did not count: these two do.
    let mut client = observed.serving.client();
    client.send([get("/medium"), get("/small")].concat());
    let answers = [client.receive(), client.receive()];
    assert_eq!(answers.map(|answer| answer.body.len()), [200 << 10, 5]);
    observed.serving.ended();
}

#[test]
fn what_waits_for_the_rate_is_told_with_that_time_and_what_is_refused_with_its_name() {
    let folder = site();
    let observed = Observed::start(Config { rate_total: 8192, ..Serving::config(Front::Direct, &folder) });
    let mut crowd: Vec<_> = (0..150).map(|_| observed.serving.client()).collect();
    crowd.iter_mut().for_each(|client| client.send(get("/small")));
    let statuses: Vec<_> = crowd.iter_mut().map(|client| client.receive().status).collect();
    let told: Vec<_> = statuses.iter().map(|_| observed.next()).collect();
    assert!(told.iter().all(|told| (&*told.method, &*told.target) == ("GET", "/small")));
    assert!(told.iter().any(|told| told.status == 503));
    // Sixteen are served in a second, and more than that were.
    let longest = told.iter().filter(|told| told.status == 200).map(|told| told.duration).max();
    assert!(longest.is_some_and(|longest| longest >= Duration::from_secs(1)), "{longest:?} {statuses:?}");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn who_has_said_that_nothing_more_comes_and_reads_nothing_has_nothing() {
    let folder = site();
    folder.file("little", noise(3, 50 << 10));
    let path = folder.path("../socket");
    let bind = vec![Listen::Ip(Ipv4Addr::LOCALHOST.into()), Listen::Unix(path.clone())];
    let observed = Observed::start(Config { bind, ..Serving::config(Front::Direct, &folder) });
    for _ in 0..20 {
        let mut client = Client::at_path(&path);
        client.send(request("GET", "/little", &[("Connection", "close")]));
        client.finish();
        assert!(client.hears_within(NEVER));
        // It has sent its end, too, when another one is answered by the same worker or a later one.
        assert_eq!(observed.serving.get("/small").body, b"small");
        assert_eq!(observed.next().outcome, Outcome::Done);
        drop(client);
        let told = observed.next();
        assert_eq!((&*told.target, told.outcome), ("/little", Outcome::ClientLeft));
        assert!(told.sent < 50 << 10, "{} bytes", told.sent);
    }
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

#[test]
fn a_handle_tells_what_is_on_its_way_and_the_sums_if_that_is_wanted() {
    let folder = site();
    for front in fronts() {
        let config = Config { statistics: true, ..Serving::config(front, &folder) };
        let observed = Observed::start(config);
        for (target, status) in [("/small", 200), ("/small?again", 200), ("/none", 404)] {
            assert_eq!(observed.serving.get(target).status, status);
            assert_eq!(observed.next().status, status);
        }
        let sums = observed.serving.statistics();
        assert_eq!(sums.requests, [0, 2, 0, 1, 0]);
        assert_eq!((sums.outcome(Outcome::Done), sums.transfers, sums.workers), (3, 0, 16));
        assert!(sums.bytes_sent > 10, "{sums:?}");

        // Who reads nothing but the head keeps the rest on its way.
        let mut client = observed.serving.client();
        client.send(get("/large"));
        let direct = front == Front::Direct;
        let alone = |now: &Statistics| now.transfers == 1 && now.connections == direct.then_some(1);
        let running = within_reason("one transfer", || Some(observed.serving.statistics()).filter(alone));
        assert_eq!(running.max_connections.is_some(), direct);
        assert!(direct || running.busy_workers == 1, "{running:?}");
        assert_eq!(running.requests, sums.requests);
        drop(client);
        assert_eq!(observed.next().outcome, Outcome::ClientLeft);

        observed.serving.stop();
        observed.serving.ended();
        // A worker may be just about to let go of it.
        let over = |now: &Statistics| now.workers == 0;
        let last = within_reason("the end", || Some(observed.serving.statistics()).filter(over));
        assert_eq!((last.requests, last.outcome(Outcome::ClientLeft)), ([0, 3, 0, 1, 0], 1));
        assert_eq!((last.connections, last.busy_workers, last.transfers), (None, 0, 0));
        assert!(last.bytes_sent >= running.bytes_sent.max(sums.bytes_sent));
    }
}

#[test]
fn nothing_is_counted_that_nobody_wants_to_know() {
    let folder = site();
    for front in fronts() {
        let observed = Observed::start(Serving::config(front, &folder));
        assert_eq!(observed.serving.get("/small").status, 200);
        assert_eq!(observed.next().status, 200);
        let statistics = observed.serving.statistics();
        assert_eq!((statistics.requests, statistics.bytes_sent, statistics.workers), ([0; 5], 0, 16));
    }
}
