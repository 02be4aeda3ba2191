//! Bounds of the direct front that a client may meet: connections, time, the rate of a transfer, workers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brooklet::{Config, Front, Listen, Server};

use crate::client::{Client, get, request};
use crate::program::within_reason;
use crate::site::{Folder, NEVER, Serving, noise};

const DIRECT: Front = Front::Direct;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// More than the sockets of both ends take.
const LARGE: usize = 16 * MIB;

const SECOND: Duration = Duration::from_secs(1);
/// What a slow client does between two bites.
const PAUSE: Duration = Duration::from_millis(50);

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("large", noise(1, LARGE));
    folder
}

fn is_served(address: SocketAddr) -> bool {
    Client::try_get(address, "/small").is_ok_and(|answer| answer.body == b"small")
}

/// Holds that this is asked to come again, and nothing else.
fn assert_full(client: &mut Client, name: &str) {
    let answer = client.exchange(get("/small"));
    let again = answer.field("Retry-After").map(str::parse::<u32>);
    assert_eq!((answer.status, again.is_some_and(|after| after.is_ok())), (503, true), "{name}: {answer:?}");
    assert_eq!(client.whole_rest().unwrap(), b"", "{name}");
}

/// A client of a large file that reads nothing but its head.
fn stalled(address: SocketAddr) -> Client {
    let mut client = Client::with_small_window(address);
    client.send(get("/large"));
    assert_eq!(client.receive_head().length(), Some(LARGE));
    client
}

/// Waits until so much time has gone by since then.
fn wait_since(begun: Instant, time: Duration) {
    std::thread::sleep(time.saturating_sub(begun.elapsed()));
}

/// Takes the body of the large file, one bite after the other with a pause behind each, until it is whole or enough.
fn nibble(client: &mut Client, (bite, pause): Pace, enough: impl Fn(&Client) -> bool) -> Vec<u8> {
    let mut came = Vec::with_capacity(LARGE);
    while came.len() < LARGE && !enough(client) {
        match client.take(bite.min(LARGE - came.len())) {
            Ok(bytes) => came.extend(bytes),
            Err(_) => break,
        }
        std::thread::sleep(pause);
    }
    came
}

/// Bytes at once, and the pause behind them.
type Pace = (usize, Duration);

#[test]
fn a_newcomer_takes_the_place_of_who_has_been_idle_longest() {
    let folder = site();
    let config = Config { max_connections: Some(4), ..Serving::config(DIRECT, &folder) };
    let serving = Serving::with(config.clone());
    let idle = |client: &mut Client| {
        assert_eq!(client.exchange(get("/small")).body, b"small");
        // So that nobody has been idle as long as the next.
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = serving.client();
            idle(&mut client);
            client
        })
        .collect();
    // Now it is the second.
    idle(&mut clients[0]);
    let mut newcomer = serving.client();
    idle(&mut newcomer);
    assert_eq!(clients.remove(1).whole_rest().unwrap(), b"");
    clients.push(newcomer);
    clients.iter_mut().for_each(idle);
    drop(clients);

    // Who has never said a word is idle, too, when the first moment is over.
    let serving = Serving::with(config);
    let silent: Vec<_> = (0..4).map(|_| serving.client()).collect();
    within_reason("who says nothing makes room", || is_served(serving.address).then_some(()));
    assert!(silent.iter().any(|client| !client.is_held()));
}

#[test]
fn where_all_are_busy_a_newcomer_is_asked_to_come_again() {
    let folder = site();
    let serving = Serving::with(Config { max_connections: Some(4), ..Serving::config(DIRECT, &folder) });
    let mut busy: Vec<_> = (0..4).map(|_| stalled(serving.address)).collect();
    for _ in 0..10 {
        assert_full(&mut serving.client(), "the fifth");
    }
    drop(busy.pop());
    within_reason("a place is free", || is_served(serving.address).then_some(()));
    // And those who were there first lose nothing.
    let content = noise(1, LARGE);
    for client in &mut busy {
        assert!(client.take(LARGE).unwrap() == content);
    }
}

#[test]
fn one_client_has_its_share_of_connections_and_no_more() {
    let folder = site();
    let mut bind = vec![Listen::from(Ipv4Addr::LOCALHOST)];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => bind.push(Ipv6Addr::LOCALHOST.into()),
        Err(error) => eprintln!("skipped: there is no IPv6 here ({error})"),
    }
    let server =
        Server::bind(Config { bind, max_connections_per_client: 2, ..Serving::config(DIRECT, &folder) }).unwrap();
    let addresses = server.addresses().to_vec();
    let serving = Serving::run(server);
    let of = |source: [u8; 4]| Client::from(source, serving.address);
    let mut held = [of([127, 0, 0, 1]), of([127, 0, 0, 1])];
    for client in &mut held {
        assert_eq!(client.exchange(get("/small")).body, b"small");
    }
    assert_full(&mut of([127, 0, 0, 1]), "the third");
    assert_eq!(of([127, 0, 0, 2]).exchange(get("/small")).body, b"small", "another client");
    if let Some(address) = addresses.get(1) {
        let mut others = [Client::connect(*address), Client::connect(*address)];
        for client in &mut others {
            assert_eq!(client.exchange(get("/small")).body, b"small", "IPv6");
        }
        assert_full(&mut Client::connect(*address), "IPv6, the third");
    }
    for client in &mut held {
        assert_eq!(client.exchange(get("/small")).body, b"small", "the first two have lost nothing");
    }
    let [gone, mut other] = held;
    drop(gone);
    within_reason("it may come again", || is_served(serving.address).then_some(()));
    assert_eq!(other.exchange(get("/small")).body, b"small");
}

#[test]
fn each_ipv4_address_counts_for_itself_at_an_ipv6_socket() {
    if let Err(error) = TcpListener::bind("[::]:0") {
        eprintln!("skipped: there is no IPv6 here ({error})");
        return;
    }
    let folder = site();
    let bind = vec![Ipv6Addr::UNSPECIFIED.into()];
    let serving = Serving::with(Config { bind, max_connections_per_client: 1, ..Serving::config(DIRECT, &folder) });
    // There it has an address in the network of `::`, as has `::1`.
    let ipv4 = SocketAddr::from((Ipv4Addr::LOCALHOST, serving.address.port()));
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, serving.address.port()));
    let mut held = [Client::from([127, 0, 0, 1], ipv4), Client::from([127, 0, 0, 2], ipv4), Client::connect(ipv6)];
    for client in &mut held {
        assert_eq!(client.exchange(get("/small")).body, b"small");
    }
    for (name, address) in [("IPv4", ipv4), ("IPv6", ipv6)] {
        assert_full(&mut Client::connect(address), name);
    }
}

#[test]
fn a_head_has_its_time_from_its_first_byte_to_its_last() {
    let folder = site();
    let head_timeout = Duration::from_millis(300);
    let serving = Serving::with(Config { head_timeout, ..Serving::config(DIRECT, &folder) });
    let (mut silent, mut kept, mut stuck, mut second) =
        (serving.client(), serving.client(), serving.client(), serving.client());
    assert_eq!(kept.exchange(get("/small")).body, b"small");
    let begun = Instant::now();
    stuck.send("GET /small HTTP/1.1\r\nHost: loc");
    second.send(get("/small") + "GET /small HT");
    let mut dripping = serving.client();
    let endless = "GET /small HTTP/1.1\r\nHost: localhost\r\n".chars().chain("X: y\r\n".chars().cycle());
    for c in endless {
        dripping.send(c.to_string());
        if dripping.hears_within(Duration::from_millis(50)) {
            break;
        }
        assert!(begun.elapsed() < NEVER, "what drips in gives it no more time");
    }
    let time = begun.elapsed();
    assert!(time >= head_timeout, "cut after {time:?}");
    assert_eq!(second.receive().body, b"small");
    for (name, client) in [("dripping", &mut dripping), ("stuck", &mut stuck), ("the second request", &mut second)] {
        assert_eq!(client.receive().status, 408, "{name}");
        assert_eq!(client.whole_rest().unwrap(), b"", "{name}");
    }
    // Who has not begun has no head that takes long.
    wait_since(begun, 4 * head_timeout);
    for (name, client) in [("silent", &mut silent), ("silent since its answer", &mut kept)] {
        assert_eq!(client.exchange(get("/small")).body, b"small", "{name}");
    }
}

#[test]
fn silence_is_an_end_and_a_slow_transfer_is_no_silence() {
    let folder = site();
    let (content, medium) = (noise(1, LARGE), noise(2, 100_000));
    folder.file("medium", &medium);
    let serving = Serving::with(Config { idle_timeout: SECOND, ..Serving::config(DIRECT, &folder) });
    let (address, longer) = (serving.address, 5 * SECOND / 2);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = Client::connect(address);
            let mut kept = Client::connect(address);
            assert_eq!(kept.exchange(get("/small")).body, b"small");
            for (name, client) in [("silent", &mut silent), ("silent since its answer", &mut kept)] {
                assert_eq!(client.whole_rest().unwrap(), b"", "{name}");
                assert!(begun.elapsed() >= SECOND, "{name}");
            }
        });
        scope.spawn(|| {
            let mut slow = stalled(address);
            let mut body = nibble(&mut slow, (4 * KIB, PAUSE), |_| begun.elapsed() >= longer);
            body.extend(slow.take(LARGE - body.len()).expect("a slow transfer goes on"));
            assert!(body == content, "slow");
        });
        scope.spawn(|| {
            let mut standing = stalled(address);
            wait_since(begun, longer);
            assert!(standing.take(LARGE).expect("a transfer has the stall timeout") == content, "standing");
        });
        // All of it is in the sockets, so the server has nothing more to do with it.
        scope.spawn(|| {
            let mut slow = Client::with_small_window(address);
            slow.send(get("/medium"));
            assert_eq!(slow.receive_head().length(), Some(medium.len()));
            let mut body = Vec::new();
            while begun.elapsed() < longer {
                body.extend(slow.take(1000).expect("what is on its way arrives"));
                std::thread::sleep(PAUSE);
            }
            body.extend(slow.take(medium.len() - body.len()).expect("what is on its way arrives"));
            assert!(body == medium, "slow, and all in the sockets");
        });
    });
}

/// Beside a client that stands still, which is cut, two that are as fast as told get every byte, for so long at least and
/// until the first is cut. When that was.
fn who_stands_still_is_cut(config: Config, paces: [Pace; 2], least: Duration) -> Duration {
    let content = noise(1, LARGE);
    let patience = 3 * config.stall_timeout + NEVER;
    let serving = Serving::with(config);
    let (address, over) = (serving.address, AtomicBool::new(false));
    let steady = |pace: Pace| {
        while !over.load(Ordering::Relaxed) {
            let mut client = stalled(address);
            let mut body = nibble(&mut client, pace, |_| over.load(Ordering::Relaxed));
            body.extend(client.take(LARGE - body.len()).unwrap_or_else(|error| panic!("{pace:?} is cut: {error}")));
            assert!(body == content, "{pace:?}");
        }
    };
    std::thread::scope(|scope| {
        let steady = &steady;
        for pace in paces {
            scope.spawn(move || steady(pace));
        }
        let begun = Instant::now();
        let mut standing = stalled(address);
        while standing.is_held() && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let cut = begun.elapsed();
        wait_since(begun, least);
        // First of all, so that the others end whatever is wrong.
        over.store(true, Ordering::Relaxed);
        let rest = standing.rest();
        assert!(rest.len() < LARGE && content.starts_with(&rest), "{} bytes came", rest.len());
        cut
    })
}

#[test]
fn only_who_stands_still_is_cut() {
    let folder = site();
    let config = Config { stall_timeout: SECOND, ..Serving::config(DIRECT, &folder) };
    let paces = [(4 * KIB, PAUSE), (LARGE, Duration::ZERO)];
    let cut = who_stands_still_is_cut(config, paces, 4 * SECOND);
    assert!((SECOND..NEVER).contains(&cut), "after {cut:?}");
}

#[test]
#[ignore = "slow: make slow runs it"]
fn only_who_stands_still_is_cut_with_the_usual_timeouts() {
    let folder = site();
    let config = Serving::config(DIRECT, &folder);
    assert_eq!((config.stall_timeout, config.min_rate), (30 * SECOND, 256));
    // 1 KB and 200 KB in a second.
    let paces = [(256, SECOND / 4), (20_000, SECOND / 10)];
    let cut = who_stands_still_is_cut(config, paces, 120 * SECOND);
    assert!((30 * SECOND..70 * SECOND).contains(&cut), "after {cut:?}");
}

#[test]
fn who_takes_too_little_is_cut_if_a_rate_is_asked_for() {
    let folder = site();
    let content = noise(1, LARGE);
    let with_rate =
        |min_rate| Serving::with(Config { min_rate, stall_timeout: SECOND, ..Serving::config(DIRECT, &folder) });
    let (strict, lenient) = (with_rate(100_000), with_rate(0));
    let pace = (KIB, SECOND / 10);
    let (strict_address, lenient_address) = (strict.address, lenient.address);
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = stalled(strict_address);
            let mut came = nibble(&mut client, pace, |client| !client.is_held() || begun.elapsed() > NEVER);
            wait_since(begun, 4 * SECOND);
            over.store(true, Ordering::Relaxed);
            came.extend(client.rest());
            assert!(came.len() < LARGE && content.starts_with(&came), "{} bytes came", came.len());
        });
        scope.spawn(|| {
            let mut client = stalled(lenient_address);
            let mut came = nibble(&mut client, pace, |_| over.load(Ordering::Relaxed));
            came.extend(client.take(LARGE - came.len()).expect("no rate is asked for"));
            assert!(came == content, "no rate is asked for");
        });
    });
}

#[test]
fn one_worker_is_enough_for_fifty_who_stand_still() {
    let folder = site();
    let content = noise(1, LARGE);
    let serving = Serving::with(Config { workers: Some(1), ..Serving::config(DIRECT, &folder) });
    let mut standing: Vec<_> = (0..50).map(|_| stalled(serving.address)).collect();
    for _ in 0..10 {
        assert_eq!(serving.get("/small").body, b"small");
    }
    assert!(serving.get("/large").body == content, "a long transfer");
    // And those go on as soon as they wish.
    assert!(standing[17].take(LARGE).unwrap() == content, "who stood still");
}

#[test]
fn who_says_that_it_closes_and_takes_nothing_is_counted_and_cut() {
    let folder = Folder::new();
    folder.file("answer", noise(9, 200_000)).file("small", "small");
    let stall_timeout = Duration::from_secs(2);
    let config = Config { stall_timeout, min_rate: 0, max_connections: Some(2), ..Serving::config(DIRECT, &folder) };
    let serving = Serving::with(config);
    for (name, ask, finish) in [
        ("by a field", request("GET", "/answer", &[("Connection", "close")]), false),
        ("by its end", get("/answer"), true),
        ("by its end, in the middle of a body", request("GET", "/answer", &[("Content-Length", "9")]) + "half", true),
    ] {
        let mut standing: Vec<_> = (0..2).map(|_| Client::with_small_window(serving.address)).collect();
        for client in &mut standing {
            client.send(&ask);
            if finish {
                client.finish();
            }
            assert_eq!(client.receive_head().length(), Some(200_000), "{name}");
        }
        // All of it is the kernel's by now, and yet there is no room.
        let refused = Client::try_get(serving.address, "/small").expect("an answer");
        assert_eq!(refused.status, 503, "{name}");
        standing.iter().for_each(Client::until_reset);
        crate::program::within_reason("there is room again", || {
            Client::try_get(serving.address, "/small").ok().filter(|answer| answer.status == 200)
        });
    }
}

#[test]
fn who_is_gone_for_good_is_not_waited_for() {
    let folder = Folder::new();
    folder.file("answer", noise(9, 200_000)).file("small", "small");
    let day = Duration::from_secs(24 * 60 * 60);
    let config = Config { stall_timeout: day, max_connections: Some(1), ..Serving::config(DIRECT, &folder) };
    let serving = Serving::with(config);
    let mut client = Client::with_small_window(serving.address);
    client.send(request("GET", "/answer", &[("Connection", "close")]));
    client.receive_head();
    // The server has heard of it when it sends its own, and waits for nothing but that the rest is taken.
    client.finish();
    assert_eq!(Client::try_get(serving.address, "/small").expect("an answer").status, 503);
    client.reset();
    crate::program::within_reason("there is room", || {
        Client::try_get(serving.address, "/small").ok().filter(|answer| answer.status == 200)
    });
}

#[test]
fn a_crowd_of_newcomers_does_not_push_itself_out() {
    let folder = Folder::new();
    folder.file("small", "small");
    let serving = Serving::with(Config { max_connections: Some(3), ..Serving::config(DIRECT, &folder) });
    let mut crowd: Vec<_> = (0..12).map(|_| serving.client()).collect();
    let statuses = crowd.iter_mut().map(|client| {
        let _ = client.try_send(get("/small"));
        client.try_receive_head().map(|answer| answer.status).ok()
    });
    let statuses: Vec<_> = statuses.collect();
    assert_eq!(&statuses[..3], [Some(200); 3], "the first three have their places: {statuses:?}");
    assert!(statuses[3..].iter().all(|status| matches!(status, Some(200 | 503))), "each is told: {statuses:?}");
}

#[test]
fn who_waits_before_the_server_begins_is_served_at_once() {
    let folder = site();
    let server = Server::bind(Serving::config(DIRECT, &folder)).unwrap();
    let mut crowd: Vec<_> = (0..120).map(|_| Client::connect(server.addresses()[0])).collect();
    crowd.iter_mut().for_each(|client| client.send(get("/small")));
    let _serving = Serving::run(server);
    let begun = Instant::now();
    for client in &mut crowd {
        assert_eq!(client.receive().body, b"small");
    }
    // If somebody had to look after them, that would be four of them twice a second.
    assert!(begun.elapsed() < Duration::from_secs(7));
}
