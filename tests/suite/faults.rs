//! Faults of the system under the real program (`strace --inject`): calls that are interrupted, that find nothing, that fail. No
//! client is ever sent a wrong byte, and the program serves on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::client::{Client, get, request};
use crate::log::{fields, read};
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, noise};

/// More than a turn, and more than a socket takes.
const LARGE: usize = 5 << 20;

/// Whether a program is there that a test needs, and in CI has to be.
pub(crate) fn is_there(program: &str, argument: &str) -> bool {
    match Command::new(program).arg(argument).output() {
        Ok(_) => true,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: there is no {program} ({error})");
            false
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// What a fault may do to a request in whose way it comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Nothing that a client could see.
    None,
    /// An answer that says so, or one that is broken off.
    Some,
}

/// What is asked for, and what is right.
type Wanted = (String, Vec<u8>);

fn site() -> (Folder, Vec<Wanted>) {
    let folder = Folder::new();
    let (large, middle) = (noise(1, LARGE), noise(2, 20_000));
    folder.file("large", &large).file("middle", &middle).file("small", "small").file("folder/index.html", "index");
    folder.file("list/one", "").file("list/two", "");
    let wanted = vec![
        (get("/small"), b"small".to_vec()),
        (get("/large"), large.clone()),
        (request("GET", "/large", &[("Range", "bytes=1000000-3999999")]), large[1_000_000..4_000_000].to_vec()),
        (get("/middle"), middle.clone()),
        (get("/folder/"), b"index".to_vec()),
        // Of a listing only that it is one: it tells times.
        (request("GET", "/list/?format=json", &[]), Vec::new()),
        (request("GET", "/middle", &[("Range", "bytes=-1000")]), middle[19_000..].to_vec()),
    ];
    (folder, wanted)
}

/// Asks once; whether the answer was right. If it was not, it must say so, or end too early, with no byte that is wrong.
fn ask(client: &mut Client, (request, expected): &Wanted, name: &str) -> bool {
    let what = request.lines().next().unwrap_or_default();
    let Ok(head) = client.try_send(request).and_then(|()| client.try_receive_head()) else { return false };
    let length = head.length().unwrap_or_else(|| panic!("{name}: no length of {what}"));
    let mut body = Vec::new();
    while body.len() < length {
        match client.take((length - body.len()).min(16 << 10)) {
            Ok(piece) => body.extend(piece),
            // Up to here they must be right; the last piece is lost to us.
            Err(_) => break,
        }
    }
    match head.status {
        200 | 206 if expected.is_empty() => {
            let names: Vec<_> =
                ["one", "two"].into_iter().filter(|name| !body.escape_ascii().to_string().contains(name)).collect();
            assert!(body.len() < length || names.is_empty(), "{name}: {what} lacks {names:?}");
            body.len() == length
        }
        200 | 206 => {
            assert_eq!(length, expected.len(), "{name}: {what}");
            assert!(expected.starts_with(&body), "{name}: wrong bytes of {what}");
            body.len() == length
        }
        status => {
            assert!(status >= 500, "{name}: {status} for {what}");
            false
        }
    }
}

/// Runs the program with this fault on a front, asks it for everything, and stops it.
fn suffer(name: &str, front: &str, fault: &str, arguments: &[&str], harm: Harm, said: &str) {
    let begun = std::time::Instant::now();
    let (folder, wanted) = site();
    let trace = folder.path("../trace");
    let calls = fault.split(':').next().unwrap();
    let mut command = Command::new("strace");
    // With -D the program is our child, and what traces it its own.
    command.args([
        "-D",
        "-f",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={fault}"),
    ]);
    command.arg("-o").arg(&trace).args([BINARY, "--front", front, "-p", "0", "--workers", "2"]).args(arguments);
    let mut program = Program::start(command.arg(folder.root()));
    let address = program.address(&folder.root());
    let mut failed = 0;
    match harm {
        Harm::None => {
            let mut kept = Client::connect(address);
            for _ in 0..3 {
                for wanted in &wanted {
                    assert!(ask(&mut kept, wanted, name), "{name}, {front}: {}", wanted.0);
                    assert!(ask(&mut Client::connect(address), wanted, name), "{name}, {front}, alone: {}", wanted.0);
                }
            }
        }
        Harm::Some => {
            for _ in 0..3 {
                for wanted in &wanted {
                    within_reason(&format!("{name}, {front}: {}", wanted.0), || {
                        let right =
                            Client::try_connect_to(address).is_ok_and(|mut client| ask(&mut client, wanted, name));
                        failed += usize::from(!right);
                        right.then_some(())
                    });
                }
            }
        }
    }
    // A signal is told to the thread that waits for it by sending, which the fault may come in the way of.
    let told_by_sending = calls.contains("sendto");
    program.signal(if told_by_sending { Signal::KILL } else { Signal::TERM });
    let (status, _, err) = program.end();
    let complaints: Vec<_> = err.lines().filter(|line| !line.starts_with("brooklet: info: ")).collect();
    println!("{name}, {front}: {failed} failed; {complaints:?}");
    assert_eq!(status, (!told_by_sending).then_some(0), "{name}, {front}: {err}");
    let trace = within_reason("what was traced is written", || std::fs::read_to_string(&trace).ok());
    assert!(trace.contains("(INJECTED)"), "{name}, {front}: there was no such call");
    // Once in ten seconds, however slow this machine is.
    let most = if said.is_empty() { 0 } else { 1 + begun.elapsed().as_secs() as usize / 10 };
    let told = complaints.iter().filter(|line| line.contains(said)).count();
    let right = (usize::from(!said.is_empty())..=most).contains(&told);
    assert!(right && (told > 0 || complaints.is_empty()), "{name}, {front}: {complaints:?}");
}

const UNACCEPTED: &str = "no connection can be accepted";

/// Each with its fault on the direct front, the one on the tiny-http front, more arguments, the harm, and what is said of it.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], Harm, &'static str);

fn suffer_all(rows: &[Row]) {
    if !is_there("strace", "-V") {
        return;
    }
    std::thread::scope(|scope| {
        for (name, direct, tiny, arguments, harm, said) in rows {
            let both = [("direct", direct), ("tiny-http", tiny)].into_iter().filter(|(_, fault)| !fault.is_empty());
            for (front, fault) in both {
                scope.spawn(move || suffer(name, front, fault, arguments, *harm, said));
            }
        }
    });
}

// Which of its calls a thread fails in is chosen so that it comes to its end: `when=6+2` is the sixth one and each second one
// from there on, of each thread. The first ones load the program, and tell of a signal, by means that no fault comes in the way of.

#[test]
fn calls_that_are_interrupted_are_made_again() {
    let uncached: &[&str] = &["--cache", "0"];
    suffer_all(&[
        ("sendfile", "sendfile:error=EINTR:when=1+2", "", &[], Harm::None, ""),
        ("sending", "sendto:error=EINTR:when=2+2", "sendto:error=EINTR:when=2+2", &[], Harm::None, ""),
        ("receiving", "recvfrom:error=EINTR:when=1+2", "recvfrom:error=EINTR:when=1+2", &[], Harm::None, ""),
        ("reading", "pread64:error=EINTR:when=6+2", "pread64:error=EINTR:when=6+2", uncached, Harm::None, ""),
        ("reading, without sendfile", "pread64:error=EINTR:when=6+2", "", &["--memory", "16M"], Harm::None, ""),
        ("waiting", "?epoll_wait,?epoll_pwait:error=EINTR:when=2+2", "", &[], Harm::None, ""),
        ("accepting", "accept4:error=EINTR:when=1+2", "accept4:error=EINTR:when=1+2", &[], Harm::None, ""),
        ("opening", "openat2:error=EAGAIN:when=4+2", "openat2:error=EAGAIN:when=4+2", uncached, Harm::None, ""),
    ]);
}

#[test]
fn who_has_gone_before_it_is_accepted_concerns_nobody() {
    suffer_all(&[
        ("gone", "accept4:error=ECONNABORTED:when=1+2", "", &[], Harm::None, ""),
        // Its thread that accepts ends by it, and is begun anew.
        ("gone", "", "accept4:error=ECONNABORTED:when=2+20", &[], Harm::None, UNACCEPTED),
        ("nobody there", "accept4:error=EAGAIN:when=1+2", "", &[], Harm::None, ""),
    ]);
}

#[test]
fn what_fails_is_told_and_ends_without_a_wrong_byte() {
    let uncached: &[&str] = &["--cache", "0"];
    let broken = "an answer was broken off: Input/output error";
    let unread = "a file could not be read: Input/output error";
    let unopened = "a file could not be opened";
    let (no_descriptors, no_memory) = ("openat2:error=ENFILE:when=4+7", "openat2:error=ENOMEM:when=4+7");
    suffer_all(&[
        ("a bad disk, by the kernel", "sendfile:error=EIO:when=3+100", "", &[], Harm::Some, broken),
        ("a bad disk, small files", "pread64:error=EIO:when=6+2", "", uncached, Harm::Some, unread),
        (
            "a bad disk, by ourselves",
            "pread64:error=EIO:when=12+500",
            "pread64:error=EIO:when=20+500",
            &["--cache", "0", "--memory", "64M"],
            Harm::Some,
            broken,
        ),
        ("no descriptors for files", no_descriptors, no_descriptors, uncached, Harm::Some, unopened),
        ("no memory for files", no_memory, no_memory, uncached, Harm::Some, unopened),
        ("no memory to send", "sendto:error=ENOBUFS:when=2+3", "sendto:error=ENOBUFS:when=20+500", &[], Harm::Some, ""),
        ("a client that is gone", "sendfile,sendto:error=ECONNRESET:when=3+100", "", &[], Harm::Some, ""),
        (
            "receiving fails",
            "recvfrom:error=ECONNRESET:when=6+3",
            "recvfrom:error=ECONNRESET:when=6+3",
            &[],
            Harm::Some,
            "",
        ),
        ("nothing can be registered", "epoll_ctl:error=ENOMEM:when=4+3", "", &[], Harm::Some, ""),
        ("no descriptors for clients", "accept4:error=EMFILE:when=2+50", "", &[], Harm::Some, UNACCEPTED),
    ]);
}

#[test]
fn a_line_that_a_disk_took_half_of_is_finished_before_others_follow() {
    let (folder, _) = site();
    for (front, _) in brooklet::Front::ALL {
        let log = folder.path(format!("../{front}.log"));
        // A file may have so many bytes, and what would be more is no signal, but an error, behind a write that is short.
        let shell = "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", shell, BINARY, "--front", front, "-p", "0", "--access-log"]).arg(&log);
        let mut program = Program::start(command.arg(folder.root()));
        let address = program.address(&folder.root());
        let mut client = Client::connect(address);
        let mut asked = 0;
        let full = || std::fs::metadata(&log).is_ok_and(|log| log.len() == 16 * 512);
        while !full() {
            assert!(asked < 2000, "{front}: the file has no end");
            assert_eq!(client.exchange(get(&format!("/small?{asked}"))).body, b"small");
            asked += 1;
        }
        let complaint = program.complaint();
        assert!(complaint.contains("cannot be written: File too large"), "{front}: {complaint}");
        for _ in 0..50 {
            assert_eq!(client.exchange(get(&format!("/small?{asked}"))).body, b"small");
            asked += 1;
        }
        let torn = std::fs::read(&log).unwrap();
        assert!(!torn.ends_with(b"\n"), "{front}: no line was torn, so this shows nothing");
        // There is room again.
        let pid = Pid::from_raw(program.id() as i32);
        let hard = rustix::process::getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.exchange(get(&format!("/small?{asked}"))).body, b"small");
        asked += 1;
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!(status, Some(0), "{err}");
        let lines = lines_of(&log);
        let lost =
            err.lines().find_map(|line| line.split_once(" lines were left out")?.0.rsplit(' ').next()?.parse().ok());
        assert_eq!(lines + lost.unwrap_or(0), asked, "{front}: {err}");
        assert!(std::fs::read(&log).unwrap().starts_with(&torn), "{front}: what is written stays");
    }
}

fn lines_of(log: &Path) -> usize {
    read(log).iter().filter(|line| fields(line).len() == 12).count()
}
