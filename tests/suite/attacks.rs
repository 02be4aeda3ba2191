//! Attacks on the real program, one after the other on the same one: behind each it has to be as well as before, and to
//! have given back what the attack cost it.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::client::{Client, get, request};
use crate::measure::process::processor_time;
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, noise};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// More than the sockets of both ends take.
const LARGE: usize = 16 * MIB;
/// What is sent to a server that takes everything.
const ENDLESS: usize = 64 * MIB;
/// How much more memory than before an attack may be held behind it, and while it lasts.
const BEHIND: usize = MIB;
const MEANWHILE: usize = 16 * MIB;

/// The program, and what it serves.
pub(crate) struct Victim {
    program: Program,
    pub(crate) address: SocketAddr,
    content: Vec<u8>,
    _folder: Folder,
}

impl Victim {
    /// One that may have so many descriptors, and has done all it will ever do once.
    pub(crate) fn start(descriptors: Option<usize>) -> Self {
        let folder = Folder::new();
        let content = noise(1, LARGE);
        folder.file("small", "small").file("large", &content);
        let limit = descriptors.map(|count| format!("ulimit -n {count}; ")).unwrap_or_default();
        let mut command = Command::new("sh");
        // As many workers on every machine, as each has memory of its own.
        let arguments = ["--front", "direct", "--workers", "8", "-q", "-p", "0"];
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), BINARY]).args(arguments);
        let mut program = Program::start(command.arg(folder.root()));
        let address = program.address(&folder.root());
        let victim = Self { program, address, content, _folder: folder };
        for round in 0..8 {
            let mut clients: Vec<_> = (0..4).map(|_| victim.client()).collect();
            for _ in 0..16 {
                clients.iter_mut().for_each(|client| client.send(get("/small")));
                clients.iter_mut().for_each(|client| assert_eq!(client.receive().body, b"small"));
            }
            if round == 0 {
                clients.iter_mut().for_each(|client| assert!(client.exchange(get("/large")).body == victim.content));
            }
        }
        victim
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client of a large file that reads nothing but its head.
    fn stalled(&self) -> Client {
        let mut client = Client::with_small_window(self.address);
        client.send(get("/large"));
        assert_eq!(client.receive_head().length(), Some(LARGE));
        client
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.program.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("the program lives: {path}: {error}"))
    }

    /// Bytes of memory: `VmRSS` now, or `VmHWM`, the most since [`Self::forget_the_most`].
    fn memory(&self, which: &str) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("the line is there");
        KIB * line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().expect("a number")
    }

    fn forget_the_most(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.program.id()), "5").expect("it is our child");
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.program.id())).expect("the program lives").count()
    }

    /// Holds that a request is answered, and soon.
    pub(crate) fn answers(&self, what: &str) {
        let begun = Instant::now();
        assert_eq!(self.client().exchange(get("/small")).body, b"small", "{what}");
        let time = begun.elapsed();
        assert!(time < Duration::from_secs(2), "{what}: {time:?} for an answer");
    }
}

fn half_a_head() -> String {
    get("/small").trim_end().to_owned() + "\r\nX: " + &"y".repeat(16_000)
}

/// Sends the one thing, and then the other until the server has enough, or has had that much.
fn flood(client: &mut Client, begin: &str, filler: &str) {
    let filler = filler.repeat(64 * KIB / filler.len());
    let mut enough = client.try_send(begin).is_err();
    for _ in 0..ENDLESS / filler.len() {
        enough = enough || client.try_send(&filler).is_err();
    }
}

/// The same, and the server must have ended it, with no more than this answer.
fn flood_to_the_end(victim: &Victim, begin: &str, filler: &str, status: &str) {
    let mut client = victim.client();
    flood(&mut client, begin, filler);
    let all = String::from_utf8(client.rest()).unwrap();
    let right =
        all.is_empty() || all.starts_with(&format!("HTTP/1.1 {status}")) && all.matches("HTTP/1.1 ").count() == 1;
    assert!(right, "{all:?}");
}

/// Sends requests and reads nothing until nothing more is taken.
fn pipeline(victim: &Victim, target: &str) {
    let client = victim.client();
    let mut stream = client.stream();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let requests = get(target).repeat(1000);
    let mut sent = 0;
    let error = loop {
        assert!(sent < ENDLESS, "the server takes more requests than it can answer");
        match stream.write(&requests.as_bytes()[sent % requests.len()..]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    victim.answers("meanwhile");
}

/// All at once come, do as told, and are gone: half of them by a reset, half by a farewell.
fn vanish(victim: &Victim, begin: impl Fn(&mut Client)) {
    for _ in 0..50 {
        let [mut one, mut other] = [(); 2].map(|()| Client::with_small_window(victim.address));
        begin(&mut one);
        begin(&mut other);
        one.reset();
        other.finish();
        drop(other);
    }
}

#[test]
fn no_attack_costs_the_next_answer_or_memory_for_good() {
    let head = "GET /small HTTP/1.1\r\nHost: localhost\r\n";
    let chunks = request("GET", "/small", &[("Transfer-Encoding", "chunked")]);
    let attacks: &[(&str, &dyn Fn(&Victim))] = &[
        ("an endless line of a head", &|victim| flood_to_the_end(victim, &format!("{head}X: "), "y", "431")),
        ("endless fields", &|victim| flood_to_the_end(victim, head, "X: y\r\n", "431")),
        ("an endless request line", &|victim| flood_to_the_end(victim, "GET /", "a", "414")),
        ("an endless method", &|victim| flood_to_the_end(victim, "", "A", "4")),
        ("an endless body in chunks", &|victim| flood_to_the_end(victim, &chunks, "5\r\nhello\r\n", "")),
        ("an endless chunk", &|victim| flood_to_the_end(victim, &format!("{chunks}7fffffff\r\n"), "x", "")),
        ("an endless size of a chunk", &|victim| flood_to_the_end(victim, &chunks, "0", "")),
        ("an endless trailer", &|victim| flood_to_the_end(victim, &format!("{chunks}0\r\n"), "X: y\r\n", "")),
        ("endless empty lines", &|victim| flood(&mut victim.client(), "", "\r\n")),
        ("requests without reading", &|victim| pipeline(victim, "/small")),
        ("requests for a large file without reading", &|victim| pipeline(victim, "/large")),
        ("requests for nothing without reading", &|victim| pipeline(victim, "/nothing")),
        ("300 who stand still beside one who does not", &|victim| {
            let mut normal = victim.client();
            let standing: Vec<_> = (0..300).map(|_| victim.stalled()).collect();
            for _ in 0..20 {
                assert_eq!(normal.exchange(get("/small")).body, b"small");
            }
            assert!(normal.exchange(get("/large")).body == victim.content);
            victim.answers("meanwhile");
            drop(standing);
        }),
        ("500 who say nothing", &|victim| {
            let silent: Vec<_> = (0..500).map(|_| victim.client()).collect();
            victim.answers("meanwhile");
            drop(silent);
        }),
        ("200 heads that come byte by byte", &|victim| {
            let mut slow: Vec<_> = (0..200).map(|_| victim.client()).collect();
            for (number, byte) in get("/small").bytes().enumerate() {
                slow.iter_mut().for_each(|client| client.send([byte]));
                if number % 10 == 0 {
                    victim.answers("meanwhile");
                }
            }
            slow.iter_mut().for_each(|client| assert_eq!(client.receive().body, b"small"));
        }),
        ("10 heads of nearly 16 KiB that come in two halves", &|victim| {
            let mut slow: Vec<_> = (0..10).map(|_| victim.client()).collect();
            slow.iter_mut().for_each(|client| client.send(half_a_head()));
            victim.answers("meanwhile");
            slow.iter_mut().for_each(|client| client.send("\r\n\r\n"));
            slow.iter_mut().for_each(|client| assert_eq!(client.receive().body, b"small"));
        }),
        ("400 of them that have no end", &|victim| {
            let mut slow: Vec<_> = (0..400).map(|_| victim.client()).collect();
            // More than all together may take: some are closed.
            slow.iter_mut().for_each(|client| drop(client.try_send(half_a_head())));
            within_reason("some are closed", || slow.iter().any(|client| !client.is_held()).then_some(()));
            victim.answers("meanwhile");
        }),
        ("who is gone at once", &|victim| vanish(victim, |_| ())),
        ("who is gone in the middle of a head", &|victim| vanish(victim, |client| client.send("GET /sm"))),
        ("who is gone behind a head", &|victim| vanish(victim, |client| client.send(get("/large")))),
        ("who is gone in the middle of an answer", &|victim| {
            vanish(victim, |client| {
                client.send(get("/large"));
                assert_eq!(client.receive_head().length(), Some(LARGE));
            });
        }),
        ("who is gone in the middle of a body", &|victim| {
            vanish(victim, |client| client.send(request("GET", "/small", &[("Content-Length", "100")]) + "half of it"));
        }),
        ("who is gone in the middle of a chunk", &|victim| {
            vanish(victim, |client| client.send(chunks.clone() + "5\r\nhe"))
        }),
    ];
    let victim = Victim::start(None);
    let descriptors = victim.descriptors();
    for (name, attack) in attacks {
        println!("{name}");
        let (begun, memory) = (Instant::now(), victim.memory("VmRSS:"));
        victim.forget_the_most();
        attack(&victim);
        victim.answers(name);
        let most = victim.memory("VmHWM:");
        assert!(most <= memory + MEANWHILE, "{name}: {} KiB more at worst", (most - memory) / KIB);
        // What it keeps open of the files that it served last is counted above, but for one or two.
        within_reason(&format!("{name}: the descriptors are back"), || {
            (victim.descriptors() <= descriptors + 2).then_some(())
        });
        let mut held = 0;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            held = victim.memory("VmRSS:");
            if held <= memory + BEHIND {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(held <= memory + BEHIND, "{name}: {} KiB more than before", (held - memory) / KIB);
        println!(
            "  {:?}, {} KiB more at worst, {} KiB now",
            begun.elapsed(),
            most.saturating_sub(memory) / KIB,
            held / KIB
        );
    }
}

/// Takes of the large file as it goes on, while all others stand around.
fn goes_on(client: &mut Client, content: &[u8], at: &mut usize) {
    let came = client.take(MIB).expect("a connection that is there is served");
    assert!(content[*at..].starts_with(&came));
    *at += came.len();
}

#[test]
fn a_server_with_few_descriptors_takes_fewer_connections_and_serves_on() {
    let victim = Victim::start(Some(80));
    let (mut open, mut at) = (victim.stalled(), 0);
    goes_on(&mut open, &victim.content, &mut at);
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::with_small_window(victim.address);
            // It may have been closed already.
            let _ = client.try_send(get("/large"));
            client
        })
        .collect();
    let (mut served, mut refused) = (Vec::new(), 0);
    for mut client in crowd {
        match client.try_receive_head().map(|head| head.status) {
            Ok(200) => served.push(client),
            Ok(503) => refused += 1,
            Ok(status) => panic!("an answer of {status}"),
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it stays open and is not answered"),
        }
    }
    // Two descriptors for each.
    let count = served.len();
    assert!((1..40).contains(&count) && refused > 0, "{count} are served, {refused} refused");
    goes_on(&mut open, &victim.content, &mut at);
    let worked = processor_time(victim.program.id());
    std::thread::sleep(Duration::from_secs(1));
    let worked = processor_time(victim.program.id()) - worked;
    assert!(worked < Duration::from_millis(500), "{worked:?} of work in a second in which there is nothing to do");
    goes_on(&mut open, &victim.content, &mut at);
    drop(served);
    within_reason("it serves again", || {
        Some(Client::try_get(victim.address, "/small").ok()?.body == b"small").filter(|is| *is)
    });
    let rest = open.take(LARGE - at).unwrap();
    assert!(victim.content[at..] == rest, "and has never stopped");
}

#[test]
fn a_server_whose_descriptors_are_used_up_waits_and_serves_on() {
    let victim = Victim::start(None);
    let (mut open, mut at) = (victim.stalled(), 0);
    goes_on(&mut open, &victim.content, &mut at);
    // Less than it was promised when it began: now accepting fails.
    let maximum = Some(victim.descriptors() as u64 + 4);
    let pid = Pid::from_raw(victim.program.id() as i32);
    prlimit(pid, Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let crowd: Vec<_> = (0..50).map(|_| victim.client()).collect();
    goes_on(&mut open, &victim.content, &mut at);
    let worked = processor_time(victim.program.id());
    std::thread::sleep(Duration::from_secs(1));
    let worked = processor_time(victim.program.id()) - worked;
    assert!(worked < Duration::from_millis(500), "{worked:?} of work in a second in which there is nothing to do");
    goes_on(&mut open, &victim.content, &mut at);
    drop(crowd);
    within_reason("it serves again", || {
        Some(Client::try_get(victim.address, "/small").ok()?.body == b"small").filter(|is| *is)
    });
    let rest = open.take(LARGE - at).unwrap();
    assert!(victim.content[at..] == rest, "and has never stopped");
}
