//! How fast answers leave, if that is bounded. That it is not slower than asked for is what `send/pace` tests without a clock.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brooklet::{Config, Front};

use crate::client::{Client, get};
use crate::site::{Folder, NEVER, Serving, fronts, noise};

const RATE: u64 = 200_000;
/// What may leave sooner: a portion, and what a thread that was late may make up for.
const AHEAD: Duration = Duration::from_millis(200);

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("long", noise(5, 300_000)).file("medium", noise(6, 20_000)).file("small", "small");
    folder.file("large", noise(7, 32 << 20));
    folder
}

/// How long so many clients at once need until each of them has got the long file.
fn time_of(serving: &Serving, clients: usize) -> Duration {
    let (address, content, begun) = (serving.address, noise(5, 300_000), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| assert!(Client::connect(address).exchange(get("/long")).body == content));
        }
    });
    begun.elapsed()
}

fn at_least(bytes: u64) -> Duration {
    Duration::from_millis(bytes * 1000 / RATE) - AHEAD
}

#[test]
fn each_transfer_has_its_rate() {
    let folder = folder();
    for front in fronts() {
        let serving = Serving::with(Config { rate: RATE, ..Serving::config(front, &folder) });
        let time = time_of(&serving, 2);
        assert!(time >= at_least(300_000), "{time:?}");
    }
}

#[test]
fn all_transfers_together_have_a_rate_and_small_answers_do_not_wait_for_them() {
    let folder = folder();
    for front in fronts() {
        let serving = Serving::with(Config { rate_total: RATE, ..Serving::config(front, &folder) });
        // So much is left at any moment that each of these would last for minutes behind it.
        let mut long: Vec<_> = (0..4).map(|_| serving.client()).collect();
        long.iter_mut().for_each(|client| client.send(get("/large")));
        long.iter_mut().for_each(|client| assert_eq!(client.receive_head().status, 200));
        for _ in 0..5 {
            assert_eq!(serving.get("/small").body, b"small");
        }
        drop(long);
        let time = time_of(&serving, 2);
        assert!(time >= at_least(600_000), "{time:?}");
    }
}

/// Counts what comes, until the connection ends.
fn count(mut stream: TcpStream, bytes: &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
}

#[test]
fn one_client_with_many_downloads_leaves_another_its_half_and_small_pages_come_between_them() {
    const MANY: usize = 50;
    let folder = folder();
    folder.file("page", noise(8, 2048));
    for front in fronts() {
        let config = Config { rate_total: 2 * RATE, workers: Some(MANY + 8), ..Serving::config(front, &folder) };
        let serving = Serving::with(config);
        let [one, other] = [1, 2].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let download = |source| {
            let mut client = Client::from(source, serving.address);
            client.send(get("/large"));
            assert_eq!(client.receive_head().status, 200);
            client
        };
        let many: Vec<_> = (0..MANY).map(|_| download(one)).collect();
        let mut single = download(other);
        let theirs = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for client in &many {
                let (stream, theirs) = (client.stream(), &theirs);
                scope.spawn(move || count(stream, theirs));
            }
            // Whatever was granted before it came, and was held back by the system for some fuller packet, is over by then.
            single.take(2 * RATE as usize).unwrap();
            let before = theirs.load(Ordering::Relaxed);
            let begun = Instant::now();
            single.take(2 * RATE as usize).unwrap();
            let count = theirs.load(Ordering::Relaxed) - before;
            println!("{} bytes of one, {count} of {MANY} others in {:?}", 2 * RATE, begun.elapsed());
            for source in [one, other] {
                let (before, begun) = (theirs.load(Ordering::Relaxed), Instant::now());
                assert!(Client::from(source, serving.address).exchange(get("/page")).body == noise(8, 2048));
                let meanwhile = theirs.load(Ordering::Relaxed) - before;
                println!("a page from {source}: {:?}, {meanwhile} bytes of the others meanwhile", begun.elapsed());
                // As much as all get in a second.
                assert!(meanwhile < 2 * RATE, "{meanwhile}");
            }
            many.iter().for_each(|client| drop(client.stream().shutdown(Shutdown::Both)));
            assert!(count * 4 <= 6 * 2 * RATE, "{count} of the others beside {}", 2 * RATE);
        });
    }
}

#[test]
fn a_client_alone_has_the_whole_line_beside_others_who_take_nothing() {
    let folder = folder();
    for front in fronts() {
        let config = Config { rate_total: 20 * RATE, ..Serving::config(front, &folder) };
        let serving = Serving::with(config);
        // They fill what the sockets take, and then only stand there.
        let mut standing = [(); 3].map(|()| Client::with_small_window(serving.address));
        for client in &mut standing {
            client.send(get("/large"));
            assert_eq!(client.receive_head().status, 200);
        }
        // In pieces of a fifth of a second. As soon as they have what they take, one goes at the full rate.
        let mut alone = Client::from([127, 0, 0, 2], serving.address);
        alone.send(get("/large"));
        assert_eq!(alone.receive_head().status, 200);
        let piece = 4 * RATE as usize;
        let full = (0..30).any(|_| {
            let begun = Instant::now();
            alone.take(piece).unwrap();
            begun.elapsed() < Duration::from_millis(300)
        });
        assert!(full, "it never had more than two thirds of the rate");
        drop(standing);
    }
}

#[test]
fn what_waits_for_the_clock_holds_no_worker() {
    let folder = folder();
    let config = Config { rate: 1024, workers: Some(1), ..Serving::config(Front::Direct, &folder) };
    let serving = Serving::with(config);
    let mut slow: Vec<_> = (0..20).map(|_| serving.client()).collect();
    slow.iter_mut().for_each(|client| client.send(get("/large")));
    slow.iter_mut().for_each(|client| assert_eq!(client.receive_head().status, 200));
    for _ in 0..10 {
        assert_eq!(serving.get("/small").body, b"small");
    }
    // And they do go on.
    let content = noise(7, 1500);
    slow.iter_mut().for_each(|client| assert!(client.take(1500).unwrap() == content));
}

#[test]
fn many_small_answers_on_a_connection_are_no_faster() {
    let folder = folder();
    let content = noise(6, 20_000);
    let serving = Serving::with(Config { rate: RATE, ..Serving::config(Front::Direct, &folder) });
    let begun = Instant::now();
    let mut client = serving.client();
    client.send(get("/medium").repeat(16));
    for _ in 0..16 {
        assert!(client.receive().body == content);
    }
    // The last one is paid for behind it.
    assert!(begun.elapsed() >= at_least(15 * 20_000), "{:?}", begun.elapsed());
}

#[test]
fn who_is_sent_little_is_not_taken_for_slow_and_who_takes_nothing_is() {
    let folder = folder();
    let stall_timeout = Duration::from_millis(400);
    let paced = |rate| Config { rate, min_rate: 1 << 20, stall_timeout, ..Serving::config(Front::Direct, &folder) };
    let serving = Serving::with(paced(8 << 10));
    assert!(serving.get("/medium").body == noise(6, 20_000));
    for rate in [8 << 10, 64 << 20] {
        let serving = Serving::with(Config { min_rate: 0, ..paced(rate) });
        let mut standing = Client::with_small_window(serving.address);
        standing.send(get("/large"));
        assert_eq!(standing.receive_head().status, 200);
        standing.until_reset();
    }
}

#[test]
fn where_too_many_wait_for_the_rate_each_is_told_and_nobody_is_forgotten() {
    let folder = folder();
    let config = Config { rate_total: 8192, max_connections: Some(1000), ..Serving::config(Front::Direct, &folder) };
    let serving = Serving::with(config);
    let mut crowd: Vec<_> = (0..200).map(|_| serving.client()).collect();
    crowd.iter_mut().for_each(|client| client.send(get("/small")));
    let statuses: Vec<_> = crowd
        .iter_mut()
        .map(|client| {
            let answer = client.receive();
            assert!(answer.status == 200 || answer.field("Retry-After").is_some(), "{answer:?}");
            answer.status
        })
        .collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((10..190).contains(&served) && statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    // And what they have not taken is there for others.
    assert_eq!(serving.get("/small").status, 200);
}

#[test]
fn a_stop_finishes_what_waits_for_the_clock() {
    let folder = folder();
    for front in fronts() {
        let serving = Serving::with(Config { rate: RATE, drain: NEVER, ..Serving::config(front, &folder) });
        let mut client = serving.client();
        client.send(get("/long"));
        assert_eq!(client.receive_head().status, 200);
        serving.stop();
        assert!(client.take(300_000).unwrap() == noise(5, 300_000));
    }
}
