//! The binary: what it says, which signals end it, and with which status.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet::Front;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, get, request};
use crate::measure::process::processor_time;
use crate::site::{Folder, NEVER};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_brooklet");

/// A program that runs. It is killed when it is dropped, and by a watchdog, so that no read and no wait lasts for ever.
pub(crate) struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
    _watchdog: mpsc::Sender<()>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_for(command, 3 * NEVER)
    }

    /// One that may run for so long.
    pub(crate) fn start_for(command: &mut Command, time: Duration) -> Self {
        // Nothing of the surroundings of the test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BROOKLET_") || name == "RUST_LOG") {
            if !command.get_envs().any(|(own, _)| *own == *name) {
                command.env_remove(name);
            }
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (out, err) = (BufReader::new(child.stdout.take().unwrap()), BufReader::new(child.stderr.take().unwrap()));
        let (watchdog, over) = mpsc::channel();
        let pid = Pid::from_child(&child);
        std::thread::spawn(move || {
            if over.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Self { child, out, err, _watchdog: watchdog }
    }

    fn brooklet(arguments: &[&str]) -> Self {
        Self::start(Command::new(BINARY).args(arguments))
    }

    /// The next line it prints, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut complaint = String::new();
            self.err.read_to_string(&mut complaint).unwrap();
            panic!("it prints nothing, and says: {complaint}");
        }
        line.trim_end_matches('\n').to_owned()
    }

    /// The next line it says to its operator that warns of something.
    pub(crate) fn complaint(&mut self) -> String {
        self.complaint_with("")
    }

    /// The next one that holds this.
    pub(crate) fn complaint_with(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.err.read_line(&mut line).unwrap() > 0, "no complaint with {word:?}");
            if !line.starts_with("brooklet: info: ") && line.contains(word) {
                return line;
            }
        }
    }

    /// Reads what it says to the log up to a line with these words, and returns that.
    pub(crate) fn said(&mut self, words: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.err.read_line(&mut line).unwrap() > 0, "it does not say {words:?}, but: {said}");
            if line.contains(words) {
                return line;
            }
            said += &line;
        }
    }

    /// The address in the line with which it begins to serve this folder.
    pub(crate) fn address(&mut self, root: &Path) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix(&format!("Serving {} at http://", root.display()));
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its input, if that is a pipe.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What it says until its end: status, output, error output.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.err.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, as somebody else than root: then a copy that everybody can reach, as the folder has to be.
pub(crate) fn not_as_root(folder: &Folder) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(BINARY);
    }
    let copy = folder.path("../brooklet");
    // Not by ourselves: a process that another test starts meanwhile would inherit the descriptor that writes it, and what is
    // being written cannot be run.
    assert!(Command::new("cp").args([BINARY.as_ref(), copy.as_os_str()]).status().is_ok_and(|cp| cp.success()));
    let mut command = Command::new(copy);
    command.uid(65534).gid(65534).current_dir("/");
    command
}

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small");
    folder
}

/// The arguments to serve this folder at any free port, on each front by its name.
pub(crate) fn on_each_front(folder: &Folder) -> impl Iterator<Item = Vec<String>> {
    let root = folder.root().display().to_string();
    Front::ALL.iter().map(move |(name, _)| ["--front", name, "-p", "0", &root].map(str::to_owned).to_vec())
}

/// The program, and a client of its large file that has read nothing but the head.
fn with_a_stalled_client(folder: &Folder, arguments: &[String]) -> (Program, Client) {
    let mut program = Program::start(Command::new(BINARY).args(arguments));
    let mut stalled = Client::with_small_window(program.address(&folder.root()));
    stalled.send(get("/large"));
    assert_eq!(stalled.receive_head().status, 200);
    (program, stalled)
}

#[test]
fn it_says_where_it_serves_and_a_signal_is_its_end() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        for signal in [Signal::TERM, Signal::INT] {
            let mut program = Program::start(Command::new(BINARY).args(&arguments));
            let address = program.address(&folder.root());
            assert_eq!((address.ip().to_string().as_str(), address.port() == 0), ("127.0.0.1", false));
            let mut idle = Client::connect(address);
            assert_eq!(idle.exchange(get("/small")).body, b"small");
            program.signal(signal);
            let (status, out, err) = program.end();
            assert_eq!((status, out.as_str()), (Some(0), ""), "{signal:?}: {err}");
        }
    }
}

#[test]
fn a_signal_that_comes_at_once_is_not_lost() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        let mut program = Program::start(Command::new(BINARY).args(&arguments));
        program.line();
        program.signal(Signal::TERM);
        assert_eq!(program.end().0, Some(0));
    }
}

#[test]
fn who_asks_twice_does_not_wait_for_the_transfers() {
    let folder = site();
    folder.file("large", vec![0; 16 << 20]);
    for arguments in on_each_front(&folder) {
        let (program, stalled) = with_a_stalled_client(&folder, &arguments);
        // Two signals, as one that comes twice may count once.
        program.signal(Signal::TERM);
        program.signal(Signal::INT);
        assert_eq!(program.end().0, Some(1));
        drop(stalled);
    }
}

#[test]
fn each_address_has_its_line_and_is_served() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: there is no IPv6 here ({error})");
        return;
    }
    let folder = site();
    for mut arguments in on_each_front(&folder) {
        arguments.extend(["-b", "127.0.0.1", "-b", "::1"].map(str::to_owned));
        let mut program = Program::start(Command::new(BINARY).args(&arguments));
        let addresses = [program.address(&folder.root()), program.address(&folder.root())];
        assert_eq!(addresses.map(|address| address.ip().to_string()), ["127.0.0.1", "::1"]);
        for address in addresses {
            assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small", "{address}");
        }
    }
}

#[test]
fn a_line_stays_one_whatever_the_name() {
    let folder = Folder::new();
    folder.folder("a\nServing b at http://c");
    let root = folder.path("a\nServing b at http://c").display().to_string();
    let line = Program::brooklet(&["-p", "0", &root]).line();
    assert!(line.contains("a\\nServing b at http://c at http://127.0.0.1:"), "{line:?}");
}

#[test]
fn what_cannot_work_is_one_line_and_a_status() {
    let folder = site();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let (port, in_use) = (taken.port().to_string(), taken.to_string());
    let (root, beneath) = (folder.root().display().to_string(), folder.path("small/x").display().to_string());
    let rows: &[(&str, &[&str], i32, &str)] = &[
        ("a missing folder", &["-p", "0", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        ("neither a folder nor a file", &["-p", "0", "/dev/null"], 1, "/dev/null"),
        ("beneath a file", &["-p", "0", &beneath], 1, "small/x"),
        ("an unknown flag", &["--nonsense"], 2, "--nonsense"),
        ("a port that is none", &["-p", "70000", &root], 2, "70000"),
        ("no workers", &["--workers", "0", &root], 2, "workers"),
        ("too little memory", &["--memory", "2M", &root], 2, "would be the least"),
        ("a foreign address", &["-b", "192.0.2.1", "-p", "0", &root], 1, "192.0.2.1"),
        ("a port in use", &["-p", &port, &root], 1, &in_use),
    ];
    for (name, arguments, status, word) in rows {
        let (found, out, err) = Program::brooklet(arguments).end();
        assert_eq!((found, out.as_str()), (Some(*status), ""), "{name}: {err}");
        assert!(err.starts_with("brooklet: ") && err.contains(word), "{name}: {err}");
        assert_eq!((err.matches('\n').count(), err.ends_with('\n')), (1, true), "{name}: {err}");
    }
}

#[test]
fn how_memory_is_spent_is_said_in_one_line() {
    let folder = site();
    let of = |arguments: &[String], more: &[&str]| {
        let mut program = Program::start(Command::new(BINARY).args(arguments).args(more));
        program.line();
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!(status, Some(0), "{err}");
        err.lines().filter(|line| line.contains(": memory: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for arguments in on_each_front(&folder) {
        assert_eq!(of(&arguments, &[]), [""; 0]);
        assert!(of(&arguments, &["-q", "--memory", "64M"]).is_empty());
        for (more, level, words) in [
            (&["-v"][..], "debug", "MiB = 2.0 for the program, "),
            (&["--memory", "64M"], "info", "memory: 64.0 MiB = 2.0 for the program, "),
            (&["--memory", "64M", "--workers", "3"], "info", ", 3 workers "),
            (&["--memory", "64M", "--cache", "7M"], "info", ", cache 7.0, "),
            (&["--memory", "64M", "--archive"], "info", ", archives "),
        ] {
            let said = of(&arguments, more);
            assert!(matches!(&said[..], [line] if line.contains(words) && line.contains(level)), "{more:?}: {said:?}");
        }
    }
    let [line] = &of(&on_each_front(&folder).next().unwrap(), &["--memory", "64M", "--max-connections", "77"])[..]
    else {
        panic!("it is not one line")
    };
    assert!(line.contains(", 77 connections "), "{line}");
}

#[test]
fn who_may_have_too_few_descriptors_is_told_what_would_do() {
    let folder = site();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 600; exec \"$0\" \"$@\"", BINARY, "-p", "0", "--max-connections", "500"]);
    let mut program = Program::start(command.arg(folder.root()));
    program.line();
    program.signal(Signal::TERM);
    let (_, _, err) = program.end();
    let line = err.lines().find(|line| line.contains("descriptors are allowed")).unwrap_or_else(|| panic!("{err}"));
    let most = line.split_whitespace().nth(2).unwrap();
    let hint = format!("--max-connections {most} ");
    assert!(["600 descriptors", "ulimit -n", "LimitNOFILE", &hint].iter().all(|word| line.contains(word)), "{line}");
}

#[test]
fn help_and_version_are_printed() {
    for (flag, word) in [("--help", "Usage: brooklet"), ("-h", "--buffer-size"), ("--version", "brooklet ")] {
        let (status, out, err) = Program::brooklet(&[flag]).end();
        assert_eq!((status, err.as_str()), (Some(0), ""), "{flag}");
        assert!(out.contains(word) && out.ends_with('\n'), "{flag}: {out}");
    }
    let version = format!("brooklet {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Program::brooklet(&["-V"]).end().1, version);
}

#[test]
fn the_environment_stands_in_for_flags() {
    let folder = site();
    let root = folder.root();
    let mut command = Command::new(BINARY);
    let mut program = Program::start(command.env("BROOKLET_PORT", "0").env("BROOKLET_ROOT", &root));
    let address = program.address(&root);
    assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
    // A flag counts for more.
    let mut command = Command::new(BINARY);
    let mut program = Program::start(command.env("BROOKLET_PORT", "1").args(["-p", "0"]).arg(&root));
    assert_ne!(program.address(&root).port(), 1);
    for (name, value, word) in [
        ("BROOKLET_PORT", "http", "BROOKLET_PORT: "),
        ("BROOKLET_WORKERS", "0", "workers: "),
        ("BROOKLET_BIND", "localhost", "BROOKLET_BIND: "),
        // A slip of the pen must not switch it off.
        ("BROOKLET_NO_SANDBOX", "flase", "BROOKLET_NO_SANDBOX: "),
        ("BROOKLET_HIDDEN", "2", "BROOKLET_HIDDEN: "),
    ] {
        let (status, out, err) = Program::start(Command::new(BINARY).env(name, value).arg(&root)).end();
        assert_eq!((status, out.as_str(), err.matches('\n').count()), (Some(2), "", 1), "{name}: {err}");
        assert!(err.contains(word), "{name}: {err}");
    }
    // As a block of YAML ends.
    let mut command = Command::new(BINARY);
    let mut program = Program::start(command.env("BROOKLET_HEADER", "X-A: 1\nX-B: 2\n").args(["-p", "0"]).arg(&root));
    let answer = Client::connect(program.address(&root)).exchange(get("/small"));
    assert_eq!([answer.field("X-A"), answer.field("X-B")], [Some("1"), Some("2")]);
    // What was typed is not the variable's fault.
    let (status, _, err) = Program::start(Command::new(BINARY).env("BROOKLET_PORT", "1").args(["-p", "x"])).end();
    assert!(status == Some(2) && !err.contains("BROOKLET_PORT"), "{err}");
}

#[test]
fn what_is_logged_is_chosen() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        for (flag, name, value, logged) in [
            ("-v", "RUST_LOG", "off=off", true),
            ("-q", "RUST_LOG", "brooklet=debug", true),
            ("-q", "RUST_LOG", "x=off", false),
            ("-q", "BROOKLET_VERBOSE", "1", false),
            ("-v", "BROOKLET_QUIET", "1", true),
        ] {
            let mut command = Command::new(BINARY);
            let mut program = Program::start(command.env(name, value).args(&arguments).arg(flag));
            let address = program.address(&folder.root());
            for target in ["/small", "/no%0Athing"] {
                Client::connect(address).exchange(get(target));
            }
            program.signal(Signal::TERM);
            let (status, _, err) = program.end();
            assert_eq!(status, Some(0));
            // A line is written behind the answer, so the second may come first.
            let mut lines: Vec<_> = err.lines().filter(|line| line.contains("\"GET\" ")).collect();
            lines.sort_by_key(|line| line.contains("/small"));
            assert_eq!(lines.len(), if logged { 2 } else { 0 }, "{flag} {name}={value}: {err}");
            if logged {
                assert!(lines.iter().all(|line| line.starts_with("brooklet: debug: 127.0.0.1:")), "{err}");
                assert!(lines[0].contains("\"/no%0Athing\" 404") && lines[1].contains("\"/small\" 200"), "{err}");
            } else {
                assert_eq!(err, "");
            }
        }
    }
}

#[test]
fn once_is_enough() {
    let folder = site();
    for mut arguments in on_each_front(&folder) {
        arguments.insert(0, "--once".into());
        let mut program = Program::start(Command::new(BINARY).args(&arguments));
        let address = program.address(&folder.root());
        assert_eq!(Client::connect(address).exchange(get("/")).status, 200);
        assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
        let (status, _, err) = program.end();
        assert_eq!(status, Some(0));
        assert!(err.contains("a download is complete: \"/small\""), "{err}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    let folder = site();
    folder.file("secret", "secret").file("shut/index.html", "x").file("closed/x", "x");
    for (name, mode) in [("secret", 0o000), ("shut/index.html", 0o000), ("closed", 0o000), ("..", 0o755)] {
        std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for arguments in on_each_front(&folder) {
        // Root may read everything.
        let mut command = not_as_root(&folder);
        let mut program = Program::start(command.args(&arguments));
        let address = program.address(&folder.root());
        for (target, status) in
            [("/small", 200), ("/secret", 403), ("/shut/", 403), ("/closed/", 403), ("/closed/x", 403)]
        {
            assert_eq!(Client::connect(address).exchange(get(target)).status, status, "{target}");
        }
    }
    // So that whoever runs this can remove it.
    std::fs::set_permissions(folder.path("closed"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_signal_has_the_files_of_the_site_read_again() {
    let secret = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let folder = site();
    let users = folder.path("../users/file");
    for mut arguments in on_each_front(&folder) {
        folder.file("_headers", "/*\n X-A: 1\n").file("../users/file", format!("ann:{secret}\n"));
        arguments.extend(["--auth".into(), users.display().to_string()]);
        let mut program = Program::start(Command::new(BINARY).args(&arguments));
        let address = program.address(&folder.root());
        let ask = |name: &str| {
            let credentials = format!("Basic {}", STANDARD.encode(format!("{name}:secret")));
            let answer =
                Client::connect(address).exchange(request("GET", "/small", &[("Authorization", &*credentials)]));
            (answer.status, answer.field("X-A").map(str::to_owned))
        };
        assert_eq!((ask("ann"), ask("bob").0), ((200, Some("1".into())), 401));
        // Another file in place of it, as editors do it.
        folder.file("../users/new", format!("bob:{secret}\n")).file("_headers", "/*\n X-A: 2\n");
        std::fs::rename(folder.path("../users/new"), &users).unwrap();
        program.signal(Signal::HUP);
        program.said("brooklet: info: reloaded\n");
        assert_eq!((ask("bob"), ask("ann").0), ((200, Some("2".into())), 401));
        // What cannot be used changes nothing.
        folder.file("../users/file", "ann:secret\n").file("_headers", "/*\n X-A: 3\n");
        std::fs::set_permissions(folder.path("_headers"), std::fs::Permissions::from_mode(0o000)).unwrap();
        program.signal(Signal::HUP);
        let line = program.said("not reloaded");
        assert!(
            line.starts_with("brooklet: error: ")
                && line.contains("line 1")
                && line.contains("_headers cannot be read"),
            "{line}"
        );
        assert!(line.ends_with("; reloaded: _redirects\n"), "{line}");
        assert_eq!((ask("bob"), ask("ann").0), ((200, Some("2".into())), 401));
        // What can be used is, beside what cannot.
        std::fs::set_permissions(folder.path("_headers"), std::fs::Permissions::from_mode(0o644)).unwrap();
        program.signal(Signal::HUP);
        let line = program.said("not reloaded");
        assert!(line.contains("line 1") && line.ends_with("; reloaded: _headers, _redirects\n"), "{line}");
        assert_eq!((ask("bob"), ask("ann").0), ((200, Some("3".into())), 401));
        std::fs::remove_file(folder.path("_headers")).unwrap();
        program.signal(Signal::TERM);
        assert_eq!(program.end().0, Some(0));
    }
}

#[test]
fn a_page_that_is_not_there_is_warned_of() {
    let folder = site();
    for mut arguments in on_each_front(&folder) {
        let said = |more: &str| {
            let mut program = Program::start(Command::new(BINARY).args(&arguments).arg(more));
            program.line();
            program.signal(Signal::TERM);
            program.end().2
        };
        assert!(said("--spa=missing.html").contains("warn: spa: "));
        assert!(!said("--spa=small").contains("spa: "));
        arguments.pop();
        arguments.push(folder.path("small").display().to_string());
        let mut program = Program::start(Command::new(BINARY).args(&arguments).env("BROOKLET_SPA", "1"));
        program.line();
        program.signal(Signal::TERM);
        assert!(!program.end().2.contains("spa: "), "of one file there are no pages");
    }
}

#[test]
fn a_browser_is_opened_as_whom_the_program_serves() {
    let folder = site();
    let (script, seen) = (folder.path("../browser"), folder.path("../seen/it"));
    folder.file("../seen/x", "");
    std::fs::set_permissions(folder.path("../seen"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(folder.path(".."), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Whoever reads it finds all of it.
    folder.file("../browser", "echo \"$3 $2 $(id -u)\" > \"$1.new\"\nmv \"$1.new\" \"$1\"\n");
    let browser = format!("sh {} {} -x", script.display(), seen.display());
    let own = rustix::process::geteuid().as_raw().to_string();
    let users: &[(&[&str], &str)] =
        if own == "0" { &[(&[], "0"), (&["--user", "65534:65534"], "65534")] } else { &[(&[], &own)] };
    for arguments in on_each_front(&folder) {
        for (user, id) in users {
            let mut command = Command::new(BINARY);
            command.env("BROWSER", &browser).args(&arguments).args(["--open", "--prefix", "docs"]).args(*user);
            let mut program = Program::start(&mut command);
            let address = program.address(&folder.root());
            // The sandbox does not let the program write there.
            let found = within_reason("the browser is there", || std::fs::read_to_string(&seen).ok());
            assert_eq!(found, format!("http://{address}/docs/ -x {id}\n"));
            assert_eq!(Client::connect(address).exchange(get("/docs/small")).body, b"small");
            std::fs::remove_file(&seen).unwrap();
            program.signal(Signal::TERM);
            let (status, out, err) = program.end();
            assert_eq!((status, out.as_str(), err.contains("open: ")), (Some(0), "", false), "{err}");
        }
        for browser in ["/nowhere/at/all", "false"] {
            let mut program =
                Program::start(Command::new(BINARY).env("BROWSER", browser).args(&arguments).arg("--open"));
            let address = program.address(&folder.root());
            program.said(&format!("warn: open: {browser} "));
            assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small", "{browser}");
        }
    }
}

#[test]
fn a_code_is_shown_of_an_address_that_others_reach() {
    let folder = site();
    let known_as = brooklet::greeting::known_as();
    for arguments in on_each_front(&folder) {
        let mut program = Program::start(Command::new(BINARY).args(&arguments).args(["--qr", "-b", "0.0.0.0"]));
        let port = program.address(&folder.root()).port();
        let network = brooklet::greeting::urls(&[([0; 4], port).into()], None, &known_as).network;
        match network.first() {
            Some(url) => {
                let code = brooklet::greeting::qr(url, false).unwrap();
                let lines: Vec<_> = std::iter::repeat_with(|| program.line()).take(code.lines().count() + 1).collect();
                assert_eq!(lines.join("\n"), format!("\n{}", code.trim_end_matches('\n')));
            }
            None => assert!(program.complaint_with("qr: ").contains("-b 0.0.0.0")),
        }
        let mut program = Program::start(Command::new(BINARY).args(&arguments).arg("--qr"));
        program.line();
        assert!(program.complaint_with("qr: ").contains("-b 0.0.0.0"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_gets_addresses_to_click_on() {
    let folder = site();
    let known_as = brooklet::greeting::known_as();
    for arguments in on_each_front(&folder) {
        for (name, value, colors) in [("TERM", "xterm", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)] {
            let more = ["-q", "--once", "--qr", "-b", "0.0.0.0", "--admin", "0", "--prefix", "docs"].map(str::to_owned);
            let words = [&[BINARY.to_owned()], &arguments[..], &more].concat().join(" ");
            let mut command = Command::new("script");
            command.args(["-qec", &format!("exec {words}"), "/dev/null"]).stdin(Stdio::null());
            command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
            let mut program = Program::start(&mut command);
            let mut line = || program.line().trim_end_matches('\r').to_owned();
            assert_eq!([line(), line()], [format!("Serving {}", folder.root().display()), String::new()]);
            let shown = |name: &str, url: &str| match colors {
                true => format!("  {name:<9}\u{1b}[1m{url}\u{1b}[0m"),
                false => format!("  {name:<9}{url}"),
            };
            let here = line();
            let port = here.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
            let port: u16 = port.unwrap_or_else(|| panic!("{here:?}"));
            assert_eq!(here, shown("Here", &format!("http://127.0.0.1:{port}/docs/")));
            let network = brooklet::greeting::urls(&[([0; 4], port).into()], Some("docs"), &known_as).network;
            network.iter().for_each(|url| assert_eq!(line(), shown("Network", url)));
            assert!(line().starts_with("  Admin    "));
            assert_eq!([line(), line()], ["", "Ctrl-C stops it."]);
            if let Some(url) = network.first() {
                let code = brooklet::greeting::qr(url, colors).unwrap();
                assert_eq!(line(), "");
                code.lines().for_each(|row| assert_eq!(line(), row));
            }
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(Client::connect(address).exchange(get("/docs/small")).body, b"small");
            assert_eq!(program.end().0, Some(0));
        }
    }
}

#[test]
fn a_terminal_that_is_closed_is_the_end() {
    let folder = site();
    let python = "import os, pty, sys, time\n\
                  child, terminal = pty.fork()\n\
                  if child == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
                  said = b''\n\
                  while b'Serving' not in said: said += os.read(terminal, 4096)\n\
                  os.close(terminal)\n\
                  for _ in range(200):\n \
                  ended, status = os.waitpid(child, os.WNOHANG)\n \
                  if ended: sys.exit(os.waitstatus_to_exitcode(status) + 40)\n \
                  time.sleep(0.1)\n\
                  os.kill(child, 9)\n";
    for arguments in on_each_front(&folder) {
        let python = Command::new("python3").args(["-c", python, BINARY]).args(&arguments).status();
        match python {
            Err(error) if std::env::var_os("CI").is_none() => eprintln!("skipped: there is no python3 ({error})"),
            status => assert_eq!(status.unwrap().code(), Some(40)),
        }
    }
}

#[test]
fn a_server_that_ran_out_of_descriptors_serves_again() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        // With tiny_http, which needs two for each connection, the one ends its accept thread by an error, the other by a
        // panic.
        for limit in [40, 41] {
            println!("{limit} descriptors");
            let shell = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            let mut program = Program::start(Command::new("sh").args(["-c", &shell, BINARY]).args(&arguments));
            let address = program.address(&folder.root());
            assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
            let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
            let held = format!("/proc/{}/fd", program.child.id());
            // The direct front keeps some back, and closes those who are idle for those who come.
            if arguments.contains(&"tiny-http".to_owned()) {
                within_reason("the descriptors are used up", || {
                    let held = std::fs::read_dir(&held).map_or(limit, Iterator::count);
                    (held + 4 >= limit).then_some(())
                });
            } else {
                within_reason("who says nothing makes room", || {
                    Client::try_get(address, "/small").ok().filter(|answer| answer.body == b"small")
                });
            }
            drop(crowd);
            within_reason("it serves again", || {
                let answer = Client::try_get(address, "/small").ok()?;
                (answer.body == b"small").then_some(())
            });
            program.signal(Signal::TERM);
            assert_eq!(program.end().0, Some(0), "{limit}");
        }
    }
}

/// Waits for what no event tells of.
pub(crate) fn within_reason<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + NEVER;
    loop {
        match attempt() {
            Some(outcome) => return outcome,
            None => assert!(Instant::now() < deadline, "not in {NEVER:?}: {what}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn that_nobody_comes_for_a_while_is_no_trouble() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        let mut program = Program::start(Command::new(BINARY).args(&arguments).args(["--idle-timeout", "1s"]));
        let address = program.address(&folder.root());
        // Each of these is closed after the idle timeout, in which nobody else comes.
        for _ in 0..2 {
            assert_eq!(Client::connect(address).rest(), b"");
        }
        assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!((status, err.contains("warn")), (Some(0), false), "{err}");
    }
}

#[test]
fn a_stop_that_waits_for_a_transfer_costs_no_time_of_a_processor() {
    let folder = site();
    folder.file("large", vec![0; 16 << 20]);
    for arguments in on_each_front(&folder) {
        let (program, stalled) = with_a_stalled_client(&folder, &arguments);
        program.signal(Signal::TERM);
        let before = processor_time(program.id());
        std::thread::sleep(Duration::from_secs(2));
        let worked = processor_time(program.id()) - before;
        assert!(worked < Duration::from_secs(1), "{worked:?} of work in two seconds");
        drop(stalled);
        assert_eq!(program.end().0, Some(0));
    }
}
