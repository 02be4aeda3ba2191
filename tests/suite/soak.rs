//! Everything at once, for a long time, on the real program: clients of all kinds, of whom many vanish at random moments,
//! while files change. At the end nothing must be left of it. `make soak`, with `TIME=` in seconds and `SEED=` of a failure.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use brooklet::Front;
use rustix::process::Signal;

use crate::access::SECRET;
use crate::client::{Client, Response, request};
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, noise};

/// Clients at a time, each at an address of its own.
const CLIENTS: u64 = 32;
/// How long it lasts until it has all that it will ever have.
const WARM: Duration = Duration::from_secs(10);
/// How much more memory than then it may have at the end, in bytes: the allocator gives pages back as it likes. On tiny-http what
/// 40 workers hold at a time goes up for a minute yet, and then no more, however long it lasts.
fn margin(front: &str) -> usize {
    if front == "direct" { 4 << 20 } else { 8 << 20 }
}
/// Bytes of the large file.
const LARGE: usize = 4 << 20;

/// Numbers without a pattern, always the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

struct Soak {
    program: Program,
    address: SocketAddr,
    large: Vec<u8>,
    folder: Folder,
    /// What it says.
    log: File,
    /// Requests that were answered whole, and clients that have vanished.
    answered: AtomicU64,
    vanished: AtomicU64,
}

impl Soak {
    fn start(front: &str, time: Duration) -> Self {
        let folder = Folder::new();
        let large = noise(1, LARGE);
        folder
            .file("small", "small")
            .file("page.html", "<p>page")
            .file("large", &large)
            .file("changing/length", &large);
        folder.file("../users", format!("ann:{SECRET}\n"));
        for number in 0..300 {
            folder.file(format!("many/{number}"), "x");
        }
        for name in ["_headers", "_redirects", "changing/content"] {
            folder.file(name, "");
        }
        // More names than are sorted, which cost one file.
        folder.file("huge/0", "");
        for number in 1..=20_500 {
            fs::hard_link(folder.path("huge/0"), folder.path(format!("huge/{number}"))).unwrap();
        }
        let users = folder.path("../users").display().to_string();
        let said = folder.path("../log");
        // As many as have had something to do by the time that it is warm; a worker of the other front is held by each transfer.
        let workers = if front == "direct" { "8" } else { "40" };
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 2>"$LOG""#, BINARY, "--front", front, "--auth", &users, "-p", "0"]);
        command.args([
            "--workers",
            workers,
            "--rate",
            "20M",
            "--rate-total",
            "60M",
            "--archive",
            "--idle-timeout",
            "5s",
        ]);
        let command = command.args(["--stall-timeout", "2s"]).env("LOG", &said).arg(folder.root());
        let mut program = Program::start_for(command, time);
        let address = program.address(&folder.root());
        let log = File::open(said).unwrap();
        Self { program, address, large, folder, log, answered: AtomicU64::new(0), vanished: AtomicU64::new(0) }
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.program.id())).expect("the program lives")
    }

    /// Descriptors, but for those of files in the cache: of these there is one for each file that is larger than what is kept
    /// itself, or was until it was looked for again.
    fn descriptors(&self) -> usize {
        let all = fs::read_dir(format!("/proc/{}/fd", self.program.id())).expect("the program lives");
        let links = all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let (files, others): (Vec<_>, Vec<_>) = links.partition(|link| {
            let kept = ["large", "changing/length", "changing/content", "changing/content (deleted)"];
            kept.iter().any(|name| *link == self.folder.path(name))
        });
        assert!(files.len() < CLIENTS as usize * 8, "{files:?}");
        others.len()
    }

    /// A number of `/proc/PID/status`.
    fn status(&self, which: &str) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("the line is there");
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
    }

    /// Lets all clients loose for so long, and waits for them.
    fn run(&self, random: &mut Random, time: Duration) {
        let over = AtomicBool::new(false);
        let seeds: Vec<_> = (0..=CLIENTS).map(|_| Random(random.below(u64::MAX))).collect();
        std::thread::scope(|scope| {
            for (number, mut random) in seeds.into_iter().enumerate() {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        match number {
                            0 => self.change(&mut random),
                            _ => self.come(Ipv4Addr::new(127, 0, 1, number as u8), &mut random),
                        }
                    }
                });
            }
            std::thread::sleep(time);
            over.store(true, Ordering::Relaxed);
        });
    }

    /// Changes a file.
    fn change(&self, random: &mut Random) {
        let number = random.below(1000);
        let length = File::options().write(true).open(self.folder.path("changing/length")).unwrap();
        match random.below(5) {
            0 => fs::write(self.folder.path("_headers"), format!("/*\n  X-Number: {number}\n")).unwrap(),
            1 => fs::write(self.folder.path("_redirects"), format!("/from /to/{number} 302\n")).unwrap(),
            2 => {
                fs::write(self.folder.path("../new"), vec![b'n'; 100 * number as usize]).unwrap();
                fs::rename(self.folder.path("../new"), self.folder.path("changing/content")).unwrap();
            }
            3 => length.set_len(number << 12).unwrap(),
            _ => length.set_len(LARGE as u64).unwrap(),
        }
        std::thread::sleep(Duration::from_millis(random.below(50)));
    }

    /// One client: it comes, asks for some things, and goes in one way or another.
    fn come(&self, source: Ipv4Addr, random: &mut Random) {
        let mut client = Client::from(source, self.address);
        for number in 0..=random.below(8) {
            let (target, asked) = self.asked(random);
            if client.try_send(&asked).is_err() {
                return;
            }
            let fate = random.below(20);
            if fate < 5 {
                self.vanish(client, fate, random);
                return;
            }
            match client.try_receive("GET") {
                Ok(response) => self.check(target, &asked, &response),
                // These may change while they are sent.
                Err(_) if target.starts_with("/changing") || target.starts_with("/?archive") => return,
                // A connection that has served may end before the next request (RFC 9112 section 9.3.1): tiny_http counts the time of a
                // transfer as one of silence.
                Err(error) if number > 0 && error.to_string().starts_with("the end instead of a head: \"\"") => return,
                Err(error) => panic!("{target}: {error} behind {asked:?}"),
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            // A wrong head, and a body that nobody wants, end the connection.
            if target == "wrong" || target == "body" {
                return;
            }
        }
    }

    /// What it asks for, and how.
    fn asked(&self, random: &mut Random) -> (&'static str, String) {
        let password = if random.below(50) == 0 { "ann:wrong" } else { "ann:secret" };
        let authorization = format!("Basic {}", STANDARD.encode(password));
        let get = |target, more: &[(&str, &str)]| {
            let fields = [&[("Authorization", authorization.as_str())], more].concat();
            (target, request("GET", target, &fields))
        };
        match random.below(20) {
            0 | 1 => get("/large", &[]),
            2 => get("/large", &[("Range", "bytes=1000-200000")]),
            3 => get("/large", &[("Range", "bytes=0-9,100000-300000,-5")]),
            4 => get("/small", &[("If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT")]),
            5 => get("/nothing", &[]),
            6 => get(random.of(&["/many/", "/many/?sort=size&order=desc", "/many/?q=1"]), &[]),
            7 if random.below(10) == 0 => get("/huge/", &[]),
            7 | 8 => get("/many/?format=json&limit=100", &[("Accept", "application/json")]),
            9 => get("/many/?archive=tar", &[]),
            10 if random.below(10) == 0 => get("/?archive=tar", &[("Range", "bytes=0-99999")]),
            11 => (
                "wrong",
                random.of(&["GET\r\n\r\n", "GET / HTTP/9.1\r\n\r\n", "G T / HTTP/1.1\r\nHost: a\r\n\r\n"]).into(),
            ),
            12 => ("body", get("/small", &[("Content-Length", "5")]).1 + "hello"),
            13 => get("/changing/content", &[]),
            14 | 15 => get("/changing/length", &[]),
            16 => get("/from", &[]),
            _ => get(random.of(&["/small", "/page.html"]), &[]),
        }
    }

    /// Holds that what came is right.
    fn check(&self, target: &str, asked: &str, response: &Response) {
        let Response { status, body, .. } = response;
        match (target, status) {
            // Many passwords at once, and wrong ones.
            (_, 401 | 429 | 503) => {}
            ("/large", 200) => assert!(*body == self.large, "{asked:?}"),
            ("/large", 206) if asked.contains("=1000-") => assert!(*body == self.large[1000..=200_000], "{asked:?}"),
            ("/large", 206) => assert!(body.len() > 200_000, "{asked:?}"),
            ("/small", 304) => assert!(asked.contains("If-Modified")),
            ("/small", 200) => assert_eq!(body, b"small"),
            ("/page.html", 200) => assert_eq!(body, b"<p>page"),
            ("/nothing", 404) | ("/from", 302 | 404) => {}
            ("wrong" | "body", 200 | 400..=499 | 505) => {}
            (_, 200 | 206) if target.contains('?') || target.ends_with('/') || target.starts_with("/changing") => {}
            _ => panic!("{status} for {asked:?}"),
        }
    }

    fn vanish(&self, mut client: Client, how: u64, random: &mut Random) {
        // Somewhere in the answer, or before it.
        let mut stream = client.stream();
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let _ = io::copy(&mut (&mut stream).take(random.below(300_000)), &mut io::sink());
        match how {
            0 => client.reset(),
            1 => {
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
            }
            // More of a request, of which the end never comes; or many, of which no answer is read.
            2 => drop(client.try_send("GET /small HT")),
            3 => drop(client.try_send(self.asked(random).1.repeat(20))),
            _ => std::thread::sleep(Duration::from_millis(random.below(3000))),
        }
        self.vanished.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nobody is there, and what is kept of files is what it was; descriptors, threads, KiB of memory.
    fn quiet(&self, expected: Option<(usize, usize)>) -> (usize, usize, usize) {
        let mut last = (0, 0);
        let mut since = Instant::now();
        within_reason("it is quiet", || {
            let now = (self.descriptors(), self.status("Threads:"));
            match expected {
                Some(expected) => return (now == expected).then_some(()),
                None if now != last => (last, since) = (now, Instant::now()),
                None => {}
            }
            // Longer than any connection lasts of which nothing comes, and than the threads of tiny_http do.
            (since.elapsed() > Duration::from_secs(11)).then_some(())
        });
        (self.descriptors(), self.status("Threads:"), self.status("VmRSS:"))
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: {value:?} is no number")))
}

#[test]
#[ignore = "lasts two minutes, or as long as is said"]
fn nothing_is_left_of_everything_at_once() {
    let time = Duration::from_secs(number("SOAK_TIME").unwrap_or(60)).max(2 * WARM);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("SOAK_SEED").unwrap_or(now.as_nanos() as u64);
    for (front, _) in Front::ALL {
        println!("{front}, SEED={seed}");
        let mut random = Random(seed);
        let soak = Soak::start(front, time + Duration::from_secs(120));
        soak.run(&mut random, WARM);
        let (descriptors, threads, memory) = soak.quiet(None);
        println!("  after {WARM:?}: {descriptors} descriptors, {threads} threads, {memory} KiB");
        soak.run(&mut random, time - WARM);
        let (descriptors, threads, later) = soak.quiet(Some((descriptors, threads)));
        let [answered, vanished] = [&soak.answered, &soak.vanished].map(|count| count.load(Ordering::Relaxed));
        println!(
            "  at the end: {descriptors} descriptors, {threads} threads, {later} KiB; {answered} answers, {vanished} vanished"
        );
        assert!(later << 10 <= (memory << 10) + margin(front), "{memory} KiB have become {later}");
        soak.come(Ipv4Addr::LOCALHOST, &mut random);
        let Soak { program, mut log, folder: _folder, .. } = soak;
        program.signal(Signal::TERM);
        let (status, _, _) = program.end();
        let mut said = String::new();
        log.read_to_string(&mut said).unwrap();
        assert_eq!(status, Some(0), "{said}");
        let wrong = said.lines().find(|line| line.contains("panicked") || line.contains("ERROR"));
        assert_eq!(wrong, None, "in the log");
        println!("  {} lines in the log", said.lines().count());
    }
}
