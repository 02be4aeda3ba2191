//! What the program may still do once it serves: seen from inside, and by its status.

use std::fs::{self, Permissions};
use std::io;
use std::net::{self, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use brooklet::sandbox::{Allowed, enter};
use brooklet::{Config, Front, Rules, Symlinks};
use rustix::process::{Signal, geteuid, getppid, test_kill_process};

use crate::client::{Client, get};
use crate::program::{BINARY, Program, not_as_root, on_each_front};
use crate::site::{Folder, Serving, fronts};

/// Bytes of a file that no socket takes whole.
const LARGE: u64 = 64 << 20;

/// A folder to serve, with a file of users beside it in a folder of its own, and something that is nobody's business.
fn site() -> Folder {
    let folder = Folder::new();
    folder.file("a", "a").file("b/c", "c").file("../users/file", "x").file("../outside", "outside");
    folder
}

/// Does this in a sandbox: it is that of a thread. None where the kernel has no Landlock that restricts all of it.
fn inside<T: Send + 'static>(allowed: &Allowed, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let allowed = allowed.clone();
    let (said, done) = thread::spawn(move || (enter(&allowed, None), act())).join().unwrap();
    let said = said.unwrap();
    if !said.contains("Landlock ABI") || said.contains("not restrict") {
        assert!(std::env::var_os("CI").is_none(), "{said}");
        eprintln!("skipped: {said}");
        return None;
    }
    Some(done)
}

/// How it went.
fn kind<T>(outcome: io::Result<T>) -> &'static str {
    match outcome.map_err(|error| error.kind()) {
        Ok(_) => "done",
        Err(io::ErrorKind::PermissionDenied) => "denied",
        Err(_) => "failed",
    }
}

#[test]
fn from_inside_nothing_else_can_be_done() {
    for front in fronts() {
        let folder = site();
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, other_address) = (listening.local_addr().unwrap(), other.local_addr().unwrap());
        let name = SocketAddr::from_abstract_name(format!("brooklet-{}", own.port())).unwrap();
        let _abstract = UnixListener::bind_addr(&name).unwrap();
        let auth = Some(folder.path("../users/file"));
        let config = Config { auth, ..Serving::config(front, &folder) };
        let allowed = Allowed::for_server(&config, [own.port()], &[]).unwrap();
        let path = |name: &str| folder.path(name);
        let (inner, inner_folder, new) = (path("a"), path("b"), path("new"));
        let (outside, around, users) = (path("../outside"), path(".."), path("../users"));
        let done = inside(&allowed, move || {
            let append = |path| fs::File::options().append(true).open(path);
            let tiny = if front == Front::TinyHttp { "done" } else { "denied" };
            [
                ("reading beneath", kind(fs::read(&inner)), "done"),
                ("listing beneath", kind(fs::read_dir(&inner_folder)), "done"),
                ("the file of users", kind(fs::read(users.join("file"))), "done"),
                ("listing what is beside it", kind(fs::read_dir(&users)), "denied"),
                ("reading outside", kind(fs::read(&outside)), "denied"),
                ("listing outside", kind(fs::read_dir(around)), "denied"),
                ("users of the system", kind(fs::read("/etc/passwd")), "denied"),
                ("its environment", kind(fs::read("/proc/self/environ")), "denied"),
                ("its memory", kind(fs::read("/proc/self/mem")), "denied"),
                ("its descriptors", kind(fs::read_dir("/proc/self/fd")), tiny),
                ("creating", kind(fs::write(&new, "x")), "denied"),
                ("writing", kind(append(&inner)), "denied"),
                ("removing", kind(fs::remove_file(&inner)), "denied"),
                ("renaming", kind(fs::rename(&inner, &new)), "denied"),
                ("linking", kind(std::os::unix::fs::symlink("a", &new)), "denied"),
                ("a folder", kind(fs::create_dir(&new)), "denied"),
                ("executing", kind(Command::new("/bin/true").spawn().and_then(|mut child| child.wait())), "denied"),
                ("listening", kind(TcpListener::bind("127.0.0.1:0")), "denied"),
                ("connecting to itself", kind(TcpStream::connect(own)), tiny),
                ("connecting elsewhere", kind(TcpStream::connect(other_address)), "denied"),
                ("an abstract socket", kind(UnixStream::connect_addr(&name)), "denied"),
                ("a signal", kind(getppid().map_or(Ok(()), test_kill_process).map_err(Into::into)), "denied"),
            ]
        });
        for (what, found, expected) in done.into_iter().flatten() {
            assert_eq!(found, expected, "{what}");
        }
        assert_eq!(fs::read(path("a")).unwrap(), b"a");
    }
}

#[test]
fn what_is_chosen_is_what_may_be_read() {
    let folder = site();
    let config = || Serving::config(Front::Direct, &folder);
    let rules = Rules { symlinks: Symlinks::Follow, ..Rules::default() };
    let follow = Config { rules, auth: Some(folder.path("../users/file")), ..config() };
    let one = Config { root: folder.path("b/c"), ..config() };
    let read = |config: &Config, files: &[&str]| {
        let files: Vec<_> = files.iter().map(|name| folder.path(name)).collect();
        let allowed = Allowed::for_server(config, [], &[]).unwrap();
        inside(&allowed, move || files.iter().map(|file| kind(fs::read(file))).collect::<Vec<_>>())
    };
    let names = ["a", "b/c", "../outside"];
    for (name, config, expected) in [
        ("a folder", config(), ["done", "done", "denied"]),
        ("all links", follow, ["done", "done", "done"]),
        ("one file", one, ["denied", "done", "denied"]),
    ] {
        if let Some(found) = read(&config, &names) {
            assert_eq!(found, expected, "{name}");
        }
    }
    let allowed = Allowed { write: vec![folder.path("b")], ..Allowed::for_server(&config(), [], &[]).unwrap() };
    let (log, elsewhere) = (folder.path("b/log"), folder.path("log"));
    let append = |path: &Path| fs::File::options().append(true).create(true).open(path);
    let wrote = inside(&allowed, move || {
        let written = [kind(append(&log)), kind(append(&log)), kind(append(&elsewhere))];
        (written, kind(fs::File::options().write(true).truncate(true).open(&log)), kind(fs::remove_file(&log)))
    });
    assert!(wrote.is_none_or(|wrote| wrote == (["done", "done", "denied"], "denied", "denied")), "{wrote:?}");
    let gone = Config { root: folder.path("gone"), ..config() };
    assert!(Allowed::for_server(&gone, [], &[]).is_err());
}

/// The values of this line in the status of each thread of a program.
fn status(program: &Program, line: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let texts = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let value = |text: String| {
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        value.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    texts.map(value).collect()
}

/// Asserts what it is in every thread.
fn assert_status(program: &Program, line: &str, expected: &str) {
    let found = status(program, line);
    assert!(found.len() > 3 && found.iter().all(|value| value == expected), "{line}: {found:?}");
}

/// Cuts a file short while it is sent: tiny-http has to find the socket for the end of the connection.
fn assert_a_broken_transfer_ends(folder: &Folder, address: net::SocketAddr) {
    let file = folder.path("large");
    fs::File::create(&file).unwrap().set_len(LARGE).unwrap();
    let mut client = Client::with_small_window(address);
    client.send(get("/large") + &get("/a"));
    assert_eq!(client.receive_head().length(), Some(LARGE as usize));
    fs::File::create(&file).unwrap();
    assert!(client.rest().len() < LARGE as usize);
}

#[test]
fn every_thread_of_the_program_has_given_up_the_rest() {
    let folder = site();
    for arguments in on_each_front(&folder) {
        for (flag, given_up) in [(None, true), (Some("--no-sandbox"), false)] {
            let mut program = Program::start(Command::new(BINARY).args(&arguments).args(flag));
            let address = program.address(&folder.root());
            assert_eq!(Client::connect(address).exchange(get("/a")).body, b"a");
            assert_a_broken_transfer_ends(&folder, address);
            assert_status(&program, "NoNewPrivs", if given_up { "1" } else { "0" });
            for set in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
                // Who is not root has none, and cannot change the last one.
                if given_up && (geteuid().is_root() || set != "CapBnd") {
                    assert_status(&program, set, "0000000000000000");
                }
            }
            program.signal(Signal::TERM);
            let (status, _, err) = program.end();
            let said: Vec<_> = err.lines().filter(|line| line.contains("sandbox")).collect();
            assert_eq!((status, said.len()), (Some(0), usize::from(given_up)), "{err}");
            let whole = |line: &str| {
                line.starts_with("brooklet: info: sandbox: ") && line.ends_with("; no new privileges, no capabilities")
            };
            assert!(said.iter().all(|line| whole(line)), "{err}");
        }
    }
}

#[test]
fn root_becomes_the_user_that_it_is_told() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can");
        eprintln!("skipped: only root can");
        return;
    }
    let folder = site();
    folder.file("secret", "secret").file("../users/file", "# nobody\n");
    for (name, mode) in [("..", 0o755), ("secret", 0o600), ("../users", 0o700)] {
        fs::set_permissions(folder.path(name), Permissions::from_mode(mode)).unwrap();
    }
    for mut arguments in on_each_front(&folder) {
        arguments.extend(["--user", "65534:65533"].map(str::to_owned));
        for flag in [None, Some("--no-sandbox")] {
            let mut program = Program::start(Command::new(BINARY).args(&arguments).args(flag));
            let address = program.address(&folder.root());
            assert_eq!(Client::connect(address).exchange(get("/a")).body, b"a");
            assert_eq!(Client::connect(address).exchange(get("/secret")).status, 403);
            assert_a_broken_transfer_ends(&folder, address);
            for (line, expected) in [
                ("Uid", "65534 65534 65534 65534"),
                ("Gid", "65533 65533 65533 65533"),
                ("Groups", "65533"),
                ("CapEff", "0000000000000000"),
                ("CapPrm", "0000000000000000"),
            ] {
                assert_status(&program, line, expected);
            }
            program.signal(Signal::TERM);
            let (status, _, err) = program.end();
            assert_eq!(status, Some(0), "{err}");
            assert!(err.contains("brooklet: info: serves as ") && err.contains("(UID 65534, GID 65533)"), "{err}");
        }
    }
}

#[test]
fn a_user_that_cannot_be_is_one_line_and_a_status() {
    let folder = site();
    fs::set_permissions(folder.path(".."), Permissions::from_mode(0o755)).unwrap();
    let root = folder.root().display().to_string();
    for (name, mut command, user, word) in [
        ("nobody has that name", Command::new(BINARY), "no such user", "there is no user no such user"),
        ("no group", Command::new(BINARY), "root:no such group", "there is no group no such group"),
        ("of which group", Command::new(BINARY), "4294967290", "4294967290:GROUP"),
        ("not as root", not_as_root(&folder), "0:0", "only root can"),
    ] {
        let (status, out, err) = Program::start(command.args(["-p", "0", "--user", user, &root])).end();
        assert_eq!((status, out.as_str()), (Some(1), ""), "{name}: {err}");
        assert!(
            err.starts_with("brooklet: user: ") && err.contains(word) && !err.contains("no-sandbox"),
            "{name}: {err}"
        );
        assert_eq!(err.matches('\n').count(), 1, "{name}: {err}");
    }
}

#[test]
fn the_name_of_a_socket_goes_with_the_program() {
    let folder = site();
    folder.folder("../run");
    let path = folder.path("../run").canonicalize().unwrap().join("socket");
    let mut command = Command::new(BINARY);
    let mut program = Program::start(command.arg("-b").arg(format!("unix:{}", path.display())).arg(folder.root()));
    program.line();
    let mut client = Client::at_path(&path);
    assert_eq!(client.exchange(get("/a")).body, b"a");
    program.signal(Signal::TERM);
    let (status, _, err) = program.end();
    assert_eq!((status, path.exists()), (Some(0), false), "{err}");
}
