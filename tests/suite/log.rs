//! The access log: one line for each request, whatever the client, the disk and whoever rotates it do.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use brooklet::{Config, Front, LogFormat};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, get, request};
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, Serving, fronts, noise};

/// More than sockets hold.
const LARGE: usize = 32 << 20;

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("large", noise(1, LARGE)).file("medium", noise(3, 200 << 10));
    folder
}

/// A log beside what is served.
fn place(folder: &Folder) -> PathBuf {
    folder.path("../access.log")
}

pub(crate) fn read(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end: {text}");
    text.lines().map(str::to_owned).collect()
}

/// The fields of a line, as programs that read logs take it apart.
pub(crate) fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut end = None;
    for c in line.chars() {
        let field = fields.last_mut().unwrap();
        match (end, c) {
            (None, ' ') => fields.push(String::new()),
            (None, '"' | '[') if field.is_empty() => end = Some(if c == '[' { ']' } else { '"' }),
            (Some(closing), c) if c == closing => end = None,
            (_, c) => field.push(c),
        }
    }
    assert_eq!((fields.len(), end), (12, None), "{line}");
    fields
}

/// The program with its log in this file, and whatever else.
fn program(folder: &Folder, front: &str, log: &Path, more: &[&str]) -> Program {
    let mut command = Command::new(BINARY);
    command.args(["-p", "0", "--front", front, "--access-log"]).arg(log).args(more).arg(folder.root());
    Program::start(&mut command)
}

/// The numbers behind the question marks, ascending: on the tiny-http front a line is written behind its answer, when the next
/// request may be at work.
fn numbers(lines: &[String]) -> impl Iterator<Item = usize> {
    let number = |line: &String| fields(line)[4].split(['?', ' ']).nth(2).unwrap().parse().unwrap();
    let mut numbers: Vec<usize> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter()
}

/// Sends these requests behind one another, and reads all answers.
fn ask(client: &mut Client, targets: impl Iterator<Item = String>) -> usize {
    targets.map(|target| client.exchange(get(&target))).count()
}

#[test]
fn each_request_is_a_line_however_it_ends() {
    let folder = site();
    for front in fronts() {
        folder.file("shrinks", noise(2, LARGE));
        let log = place(&folder);
        let _ = std::fs::remove_file(&log);
        let stall_timeout = Duration::from_secs(1);
        // The stop does not wait until who is slow is too slow.
        let drain = stall_timeout / 10;
        let config = Config { access_log: Some(log.clone()), stall_timeout, drain, ..Serving::config(front, &folder) };
        let serving = Serving::with(config);
        let mut rows = Vec::new();
        let mut next = |line: &'static str, status, sent: Option<u64>, expected: &'static str, outcome| {
            rows.push((line, status, sent, expected, outcome));
            within_reason("the line is there", || (read(&log).len() == rows.len()).then_some(()));
        };
        let etag = serving.get("/small").field("etag").unwrap().to_owned();
        next("GET /small HTTP/1.1", 200, Some(5), "5", "done");
        let said = [("Referer", "http://x/\"y"), ("User-Agent", "z \\ [a] \"b\"")];
        serving.client().exchange(request("GET", "/small?\"&x", &said));
        next("GET /small?\\x22&x HTTP/1.1", 200, Some(5), "5", "done");
        serving.client().exchange(request("GET", "/small", &[("Range", "bytes=1-3")]));
        next("GET /small HTTP/1.1", 206, Some(3), "3", "done");
        serving.client().exchange(request("GET", "/small", &[("If-None-Match", &etag)]));
        next("GET /small HTTP/1.1", 304, Some(0), "0", "done");
        serving.client().exchange(request("HEAD", "/large", &[]));
        next("HEAD /large HTTP/1.1", 200, Some(0), "0", "done");
        serving.client().exchange("GET /small HTTP/1.0\r\nHost: a\r\n\r\n");
        next("GET /small HTTP/1.0", 200, Some(5), "5", "done");
        let length = serving.get("/%00").body.len() as u64;
        next("GET /%00 HTTP/1.1", 400, Some(length), "", "done");
        serving.get("/medium");
        next("GET /medium HTTP/1.1", 200, Some(204_800), "204800", "done");
        let begin = |target| {
            let mut client = Client::with_small_window(serving.address);
            client.send(get(target));
            client.receive_head();
            client
        };
        begin("/large").reset();
        next("GET /large HTTP/1.1", 200, None, "33554432", "client-left");
        let slow = begin("/large");
        next("GET /large HTTP/1.1", 200, None, "33554432", "too-slow");
        drop(slow);
        let mut cheated = begin("/shrinks");
        File::options().write(true).open(folder.path("shrinks")).unwrap().set_len(10).unwrap();
        cheated.rest();
        next("GET /shrinks HTTP/1.1", 200, None, "33554432", "source-failed");
        if front == Front::Direct {
            let length = serving.client().exchange("nonsense\"\x1b[2J\r\n\r\n").body.len() as u64;
            next("-", 400, Some(length), "", "done");
            // Not slow yet, and the stop does not wait.
            let begun = begin("/large");
            serving.stop();
            serving.ended();
            next("GET /large HTTP/1.1", 200, None, "33554432", "cut-off");
            drop(begun);
        }
        for (line, (request, status, sent, expected, outcome)) in read(&log).iter().zip(rows) {
            let fields = fields(line);
            assert_eq!((&*fields[0], &*fields[1], &*fields[2]), ("127.0.0.1", "-", "-"), "{line}");
            assert!(fields[3].len() == 26 && fields[3].ends_with(" +0000"), "{line}");
            assert_eq!((&*fields[4], fields[5].parse()), (request, Ok(status)), "{line}");
            let bytes: u64 = fields[6].parse().unwrap();
            assert!(sent.map_or(bytes < LARGE as u64, |sent| sent == bytes), "{line}");
            match request.contains('?') {
                true => assert_eq!((&*fields[7], &*fields[8]), ("http://x/\\x22y", "z \\x5C [a] \\x22b\\x22")),
                false => assert_eq!((&*fields[7], &*fields[8]), ("-", "-"), "{line}"),
            }
            assert_eq!(fields[9], if expected.is_empty() { fields[6].as_str() } else { expected }, "{line}");
            assert!(fields[10].parse::<f64>().is_ok_and(|seconds| (0.0..60.0).contains(&seconds)), "{line}");
            assert_eq!(fields[11], outcome, "{line}");
        }
    }
}

#[test]
fn as_json_each_line_is_an_object() {
    let folder = site();
    for front in fronts() {
        let log = place(&folder);
        let _ = std::fs::remove_file(&log);
        let (access_log, log_format) = (Some(log.clone()), LogFormat::Json);
        let serving = Serving::with(Config { access_log, log_format, ..Serving::config(front, &folder) });
        serving.client().exchange(request("GET", "/small?\"", &[("User-Agent", "a\"},{\t\\u0000")]));
        within_reason("the line is there", || (read(&log).len() == 1).then_some(()));
        let line = read(&log).remove(0);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (name, expected) in [
            ("client", "127.0.0.1"),
            ("method", "GET"),
            ("target", "/small?\""),
            ("protocol", "HTTP/1.1"),
            ("outcome", "done"),
            ("user_agent", "a\"},{\t\\u0000"),
        ] {
            assert_eq!(value[name].as_str(), Some(expected), "{line}");
        }
        assert_eq!(
            (value["status"].as_u64(), value["sent"].as_u64(), value["expected"].as_u64()),
            (Some(200), Some(5), Some(5))
        );
        assert!(value["seconds"].is_f64() && value["user"].is_null() && value["referer"].is_null(), "{line}");
        assert!(value["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{line}");
    }
}

#[test]
fn on_stdout_the_lines_come_behind_the_first_one_and_the_last_one_before_the_end() {
    let folder = site();
    // By its name, too, which leads to a pipe.
    let both = |front| ["-", "/dev/stdout"].map(|log| (front, log));
    for (front, log) in Front::ALL.iter().flat_map(|(front, _)| both(front)) {
        let mut program = program(&folder, front, Path::new(log), &[]);
        let address = program.address(&folder.root());
        let mut client = Client::connect(address);
        assert_eq!(ask(&mut client, (0..100).map(|number| format!("/small?{number}"))), 100);
        program.signal(Signal::USR1);
        program.signal(Signal::TERM);
        let (status, out, err) = program.end();
        let lines: Vec<_> = out.lines().map(str::to_owned).collect();
        assert!(status == Some(0) && numbers(&lines).eq(0..100), "{out}{err}");
    }
}

#[test]
fn the_file_is_made_for_its_owner_and_group_and_is_written_on() {
    let folder = site();
    let log = place(&folder);
    for lines in [1, 2] {
        let serving =
            Serving::with(Config { access_log: Some(log.clone()), ..Serving::config(Front::Direct, &folder) });
        serving.get("/small");
        serving.stop();
        serving.ended();
        assert_eq!(read(&log).len(), lines);
        assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o7137, 0);
    }
}

#[test]
fn nothing_is_lost_while_it_is_rotated() {
    let folder = site();
    for (front, _) in Front::ALL {
        let log = place(&folder);
        let old = |number| folder.path(format!("../{front}.log.{number}"));
        let mut program = program(&folder, front, &log, &[]);
        let address = program.address(&folder.root());
        let client = std::thread::spawn(move || {
            ask(&mut Client::connect(address), (0..2000).map(|number| format!("/small?{number}")))
        });
        for number in 0..5 {
            within_reason("there are lines", || {
                (std::fs::metadata(&log).ok()?.len() > 0 || client.is_finished()).then_some(())
            });
            std::fs::rename(&log, old(number)).unwrap();
            program.signal(Signal::USR1);
            within_reason("there is another file", || log.exists().then_some(()));
        }
        assert_eq!(client.join().unwrap(), 2000);
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!((status, err.matches("was opened anew").count()), (Some(0), 5), "{err}");
        let mut lines: Vec<_> = (0..5).map(old).collect();
        lines.push(log.clone());
        let lines: Vec<_> = lines.iter().flat_map(|path| read(path)).collect();
        assert!(numbers(&lines).eq(0..2000), "{} lines", lines.len());
        std::fs::remove_file(&log).unwrap();
    }
}

#[test]
fn where_it_cannot_be_opened_anew_the_file_of_before_is_written_on() {
    let folder = site();
    for (front, _) in Front::ALL {
        let (before, behind) = (folder.path(format!("../{front}")), folder.path(format!("../{front}.moved")));
        std::fs::create_dir(&before).unwrap();
        let mut program = program(&folder, front, &before.join("log"), &[]);
        let address = program.address(&folder.root());
        std::fs::rename(&before, &behind).unwrap();
        program.signal(Signal::USR1);
        let complaint = program.complaint();
        assert!(complaint.contains("cannot be opened anew: No such file"), "{complaint}");
        Client::connect(address).exchange(get("/small"));
        program.signal(Signal::TERM);
        assert_eq!(program.end().0, Some(0));
        assert_eq!(read(&behind.join("log")).len(), 1);
    }
}

#[test]
fn a_full_disk_is_said_once_and_holds_nobody_up() {
    let folder = site();
    for (front, _) in Front::ALL {
        let mut program = program(&folder, front, Path::new("/dev/full"), &["-q"]);
        let address = program.address(&folder.root());
        assert_eq!(ask(&mut Client::connect(address), (0..50).map(|_| "/small".into())), 50);
        let complaint = program.complaint();
        assert!(complaint.contains("access log /dev/full cannot be written: No space left"), "{complaint}");
        assert_eq!(ask(&mut Client::connect(address), (0..50).map(|_| "/small".into())), 50);
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!((status, err.as_str()), (Some(0), ""), "with -q it is said once");
    }
    let mut program = program(&folder, "direct", Path::new("/dev/full"), &[]);
    let address = program.address(&folder.root());
    assert_eq!(ask(&mut Client::connect(address), (0..50).map(|_| "/small".into())), 50);
    program.signal(Signal::TERM);
    assert!(program.end().2.contains("access log /dev/full: 50 lines were left out"));
}

/// A fifo, and who may read it.
fn fifo(folder: &Folder, name: &str) -> (PathBuf, File) {
    let path = folder.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()));
    let reader = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&path).unwrap();
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).unwrap();
    (path, reader)
}

#[test]
fn that_nobody_reads_what_is_said_does_not_hold_up_the_second_signal() {
    let folder = site();
    for (front, _) in Front::ALL {
        let (path, _nobody) = fifo(&folder, &format!("../stderr-{front}"));
        let stderr = File::options().write(true).open(&path).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["-p", "0", "--front", front]).arg(folder.root());
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("Serving "), "{first}");
        let mut full = File::options().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&path).unwrap();
        while full.write(&[b'.'; 4096]).is_ok() {}
        while full.write(b".").is_ok() {}
        for signal in [Signal::TERM, Signal::INT] {
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        let status = within_reason("it ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(1), "{front}");
    }
}

#[test]
fn a_disk_that_stands_still_holds_nobody_up_and_what_it_missed_is_counted() {
    let folder = site();
    for (front, _) in Front::ALL {
        let (log, reader) = fifo(&folder, &format!("../{front}.fifo"));
        let mut program = program(&folder, front, &log, &[]);
        let address = program.address(&folder.root());
        // Several times what the queue and the fifo hold.
        let long = "x".repeat(1000);
        let asked = ask(&mut Client::connect(address), (0..2000).map(|number| format!("/{number}/{long}")));
        assert_eq!(asked, 2000);
        let read = std::thread::spawn(move || {
            BufReader::new(reader).lines().filter(|line| fields(line.as_ref().unwrap()).len() == 12).count()
        });
        let complaint = program.complaint_with("left out");
        let lost =
            complaint.split_once(": ").and_then(|(_, rest)| rest.rsplit(": ").next()?.split(' ').next()?.parse().ok());
        let lost: usize = lost.unwrap_or_else(|| panic!("{complaint}"));
        assert!((1..2000).contains(&lost) && complaint.contains("as fast as requests came"), "{complaint}");
        program.signal(Signal::TERM);
        assert_eq!(program.end().0, Some(0));
        assert_eq!(read.join().unwrap() + lost, 2000);
    }
}

#[test]
fn all_whom_the_stop_cuts_off_at_once_have_their_lines() {
    let (folder, count) = (site(), 500);
    let log = place(&folder);
    let mut program = program(&folder, "direct", &log, &["--drain", "0"]);
    let address = program.address(&folder.root());
    let long = "x".repeat(900);
    let mut clients: Vec<_> = (0..count).map(|_| Client::with_small_window(address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/large?{number}?{long}")));
        assert_eq!(client.receive_head().status, 200);
    }
    program.signal(Signal::TERM);
    let (status, _, err) = program.end();
    assert!(status == Some(0) && !err.contains("left out"), "{err}");
    let lines = read(&log);
    assert!(lines.iter().all(|line| line.ends_with(" cut-off")));
    // More than the queue takes at once.
    assert!(lines.len() == count && lines.concat().len() > 400 << 10, "{} lines", lines.len());
}

#[test]
fn a_disk_that_never_moves_again_does_not_hold_up_the_end() {
    let folder = site();
    for (front, _) in Front::ALL {
        let (log, reader) = fifo(&folder, &format!("../{front}.still"));
        let mut program = program(&folder, front, &log, &[]);
        let address = program.address(&folder.root());
        let long = "x".repeat(1000);
        ask(&mut Client::connect(address), (0..200).map(|_| format!("/{long}")));
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert!(status == Some(0) && err.contains("lines were left out until the end"), "{err}");
        drop(reader);
    }
}

#[test]
fn a_log_that_is_served_or_cannot_be_is_refused() {
    let folder = site();
    folder.folder("in").link("../out", folder.path("in")).link("../nowhere", folder.path("made"));
    let (fifo, reader) = fifo(&folder, "../fifo");
    drop(reader);
    for (path, word) in [
        (folder.path("access.log"), "itself served"),
        (folder.path("small"), "itself served"),
        (folder.path("../out/log"), "itself served"),
        (folder.path("../nowhere"), "leads nowhere"),
        (folder.path("../missing/log"), "No such file"),
        (folder.path(".."), "Is a directory"),
        (fifo, "nobody reads"),
    ] {
        let (status, out, err) = program(&folder, "direct", &path, &[]).end();
        assert_eq!((status, out.as_str(), err.matches('\n').count()), (Some(1), "", 1), "{path:?}: {err}");
        assert!(err.starts_with("brooklet: access log ") && err.contains(word), "{path:?}: {err}");
    }
    assert!(!folder.path("made").exists() && !folder.path("access.log").exists() && !folder.path("in/log").exists());
    // A dotfile is not served, unless it is asked for.
    let hidden = folder.path(".log");
    let mut serving = program(&folder, "direct", &hidden, &[]);
    serving.address(&folder.root());
    assert_eq!(program(&folder, "direct", &hidden, &["--hidden"]).end().0, Some(1));
}

#[test]
fn no_name_breaks_a_line_of_the_other_log() {
    let folder = site();
    let root = folder.path("a\nbrooklet: error: forged\u{1b}[2J").display().to_string();
    let (status, _, err) = Program::start(Command::new(BINARY).args(["-p", "0", &root])).end();
    assert_eq!((status, err.matches('\n').count(), err.contains('\u{1b}')), (Some(1), 1, false), "{err:?}");
    assert!(err.contains("a\\nbrooklet: error: forged\\u{1b}[2J"), "{err}");
}
