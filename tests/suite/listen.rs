//! Where a server listens, and how one follows another: nobody who has come may be lost, whoever starts and stops.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use brooklet::{Config, Front, Listen, Rules, Server};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::client::{Client, get, request};
use crate::program::{BINARY, Program};
use crate::site::{Folder, NEVER, Serving, fronts, noise};

const DIRECT: Front = Front::Direct;

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small");
    folder
}

/// A server at an address and at a Unix socket beside the folder.
fn at_both(folder: &Folder) -> (PathBuf, Config) {
    let path = folder.path("../socket");
    let bind = vec![Ipv4Addr::LOCALHOST.into(), Listen::Unix(path.clone())];
    (path, Config { bind, ..Serving::config(DIRECT, folder) })
}

#[test]
fn a_unix_socket_is_as_good_as_an_address() {
    let folder = site();
    let content = noise(1, 8 << 20);
    folder.file("large", &content);
    let (path, config) = at_both(&folder);
    for unix_mode in [0o660, 0o600, 0o666] {
        let server = Server::bind(Config { unix_mode, max_connections_per_client: 1, ..config.clone() }).unwrap();
        assert_eq!(server.unix_sockets(), std::slice::from_ref(&path));
        let serving = Serving::run(server);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, unix_mode);
        // Who comes over it has no address, so nobody is the same client.
        let mut clients: Vec<_> = (0..3).map(|_| Client::at_path(&path)).collect();
        for client in &mut clients {
            assert_eq!(client.exchange(get("/small")).body, b"small");
            assert!(client.exchange(get("/large")).body == content);
            let part = client.exchange(request("GET", "/large", &[("Range", "bytes=1000000-5999999")]));
            assert!(part.status == 206 && part.body == content[1_000_000..6_000_000]);
        }
        let mut reading = Client::at_path(&path);
        reading.send(get("/large"));
        assert_eq!(reading.receive_head().status, 200);
        serving.stop();
        assert!(reading.take(content.len()).is_ok_and(|body| body == content), "what is in flight is finished");
        serving.ended();
        assert!(!path.exists(), "its name goes with the server");
    }
    let server = Server::bind(config).unwrap();
    assert!(path.exists());
    drop(server);
    assert!(!path.exists(), "even if it has never run");
}

#[test]
fn who_has_no_address_is_not_among_those_who_may_come() {
    let folder = site();
    let (path, config) = at_both(&folder);
    let rules = Rules { allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], ..Rules::default() };
    let serving = Serving::with(Config { rules, ..config });
    assert_eq!(serving.get("/small").status, 200);
    assert_eq!(Client::at_path(&path).exchange(get("/small")).status, 403);
}

#[test]
fn who_stands_still_at_a_unix_socket_is_cut_and_who_reads_is_not() {
    let folder = Folder::new();
    let content = noise(2, 4 << 20);
    folder.file("large", &content);
    let (path, config) = at_both(&folder);
    let (stall_timeout, idle_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let _serving = Serving::with(Config { stall_timeout, idle_timeout, drain: 10 * NEVER, ..config });
    let (mut idle, mut stalled, mut slow) = (Client::at_path(&path), Client::at_path(&path), Client::at_path(&path));
    for client in [&mut stalled, &mut slow] {
        client.send(get("/large"));
        client.receive_head();
    }
    let (begun, mut body) = (Instant::now(), Vec::new());
    while body.len() < content.len() {
        body.extend(slow.take((128 << 10).min(content.len() - body.len())).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(body == content && begun.elapsed() > 2 * stall_timeout);
    assert!(stalled.rest().len() < content.len());
    assert_eq!(idle.rest(), b"");
}

#[test]
fn what_stands_where_a_unix_socket_is_to_be() {
    let folder = site();
    let (path, config) = at_both(&folder);
    let bind = |path: &Path| Server::bind(Config { bind: vec![Listen::Unix(path.into())], ..config.clone() });
    let long = folder.path(format!("../{}", "x".repeat(200)));
    type Make = fn(&Path) -> Option<OwnedFd>;
    fn leave(outcome: io::Result<()>) -> Option<OwnedFd> {
        outcome.unwrap();
        None
    }
    let nowhere = Path::new("/nowhere/at/all");
    let live: Make = |path| Some(UnixListener::bind(path).unwrap().into());
    let rows: &[(&str, &Path, Make, Option<&str>)] = &[
        ("nothing", &path, |_| None, None),
        ("what is left of one that has gone", &path, |path| leave(UnixListener::bind(path).map(drop)), None),
        ("one at which somebody listens", &path, live, Some("somebody")),
        ("one of another type", &path, |path| Some(UnixDatagram::bind(path).unwrap().into()), Some("somebody")),
        ("a file", &path, |path| leave(fs::write(path, "x")), Some("something else")),
        ("a folder", &path, |path| leave(fs::create_dir(path)), Some("something else")),
        ("a link to nothing", &path, |path| leave(symlink("/nowhere", path)), Some("something else")),
        ("in a folder that is not there", nowhere, |_| None, Some("No such file")),
        ("a name that is too long", &long, |_| None, Some("path must be shorter")),
    ];
    for (name, path, make, word) in rows {
        let holder = make(path);
        let before = fs::symlink_metadata(path).map(|file| file.file_type()).ok();
        match (bind(path), word) {
            (Ok(server), None) => assert!(server.unix_sockets()[0].exists(), "{name}"),
            (Err(error), Some(word)) => {
                let error = error.to_string();
                assert!(error.contains(word) && error.contains(&path.display().to_string()), "{name}: {error}");
                assert_eq!(fs::symlink_metadata(path).map(|file| file.file_type()).ok(), before, "{name}: untouched");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
        drop(holder);
        let _ = fs::remove_dir(path).or_else(|_| fs::remove_file(path));
    }
    // One who is to take over does so with what lives, too, but with nothing else.
    let over = |path: &Path| {
        Server::bind(Config { bind: vec![Listen::Unix(path.into())], reuse_port: true, ..config.clone() })
    };
    let old = over(&path).unwrap();
    // Who cannot start takes nothing over.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bind = vec![Listen::Unix(path.clone()), Ipv4Addr::LOCALHOST.into()];
    let port = taken.local_addr().unwrap().port();
    assert!(Server::bind(Config { bind, port, reuse_port: true, ..config.clone() }).is_err());
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the old one still listens");
    let new = over(&path).unwrap();
    drop(old);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket(), "the name is not the old one's any more");
    drop(new);
    fs::write(&path, "x").unwrap();
    assert!(over(&path).is_err() && fs::read(&path).unwrap() == b"x");
    let left: Vec<_> = fs::read_dir(folder.path("..")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the folder and that file: {left:?}");
}

#[test]
fn an_ipv6_socket_leaves_ipv4_to_who_is_named_beside_it() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: there is no IPv6 here ({error})");
        return;
    }
    let folder = site();
    for front in fronts() {
        for (both, beside) in [(true, None), (false, Some(Listen::from(Ipv4Addr::LOCALHOST)))] {
            let bind = [Listen::from(Ipv6Addr::UNSPECIFIED)].into_iter().chain(beside).collect();
            let serving = Serving::with(Config { bind, ..Serving::config(front, &folder) });
            let port = serving.address.port();
            assert_eq!(Client::connect((Ipv6Addr::LOCALHOST, port).into()).exchange(get("/small")).status, 200);
            assert_eq!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(), both);
        }
    }
}

/// For clients that have to wait for a test that does one thing after the other.
fn patient(front: Front, folder: &Folder) -> Config {
    Config { stall_timeout: 10 * NEVER, min_rate: 0, ..Serving::config(front, folder) }
}

#[test]
fn who_has_come_before_the_stop_is_answered() {
    let folder = site();
    folder.file("large", noise(3, 1 << 20));
    for front in fronts() {
        for reuse_port in [false, true] {
            let unix = (front == DIRECT).then(|| folder.path("../socket"));
            let bind = [Ipv4Addr::LOCALHOST.into()].into_iter().chain(unix.clone().map(Listen::Unix)).collect();
            let config = Config { bind, reuse_port, workers: Some(2), drain: 10 * NEVER, ..patient(front, &folder) };
            let server = Server::bind(config).unwrap();
            let address = server.addresses()[0];
            // Nobody accepts yet.
            let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
            clients.extend(unix.iter().flat_map(|path| (0..100).map(|_| Client::at_path(path))));
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(get(if number % 2 == 0 { "/small" } else { "/large" }));
            }
            server.handle().stop();
            let serving = Serving::run(server);
            for (number, client) in clients.iter_mut().enumerate() {
                let answer = client.receive();
                let length = if number % 2 == 0 { 5 } else { 1 << 20 };
                let found = (answer.status, answer.body.len(), answer.field("Connection"));
                assert_eq!(found, (200, length, Some("close")), "{number}");
                assert_eq!(client.rest(), b"");
            }
            serving.ended();
        }
    }
}

#[test]
fn who_has_begun_to_ask_before_the_stop_is_answered() {
    let folder = site();
    let serving = Serving::with(Config { drain: 10 * NEVER, ..Serving::config(DIRECT, &folder) });
    let mut client = serving.client();
    assert_eq!(client.exchange(get("/small")).body, b"small");
    let (begin, end) = ("GET /small HTTP/1.1\r\n", "Host: x\r\n\r\n");
    client.send(begin);
    serving.stop();
    while Client::try_get(serving.address, "/small").is_ok() {}
    client.send(end);
    let answer = client.receive();
    assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
    serving.ended();
}

#[test]
fn a_stop_that_waits_serves_everybody_once_more() {
    let folder = site();
    let drain_wait = Duration::from_secs(3);
    for front in fronts() {
        let config = Config { drain_wait, drain: 10 * NEVER, ..Serving::config(front, &folder) };
        let serving = Serving::with(config);
        let mut old = serving.client();
        assert_eq!(old.exchange(get("/small")).field("Connection"), None);
        let begun = Instant::now();
        serving.stop();
        for client in [&mut old, &mut serving.client(), &mut serving.client()] {
            let answer = client.exchange(get("/small"));
            assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
            assert_eq!(client.rest(), b"");
        }
        assert!(serving.ended() >= begun + drain_wait);
        assert!(TcpStream::connect(serving.address).is_err());
    }
}

/// Servers that follow one another at the same place while clients come all the time, each with a connection of its own: so many of them at most are lost.
fn follow_one_another(most: usize, config: impl Fn() -> Config, connect: impl Fn() -> io::Result<Client> + Sync) {
    let over = AtomicBool::new(false);
    let mut serving = Serving::with(config());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut answers, mut lost) = (0, Vec::new());
                    while !over.load(Ordering::Relaxed) {
                        match connect().and_then(|mut client| client.try_exchange(get("/small"))) {
                            Ok(answer) => assert_eq!(answer.body, b"small"),
                            Err(error) => lost.push(format!("after {answers} answers: {error}")),
                        }
                        answers += 1;
                    }
                    (answers, lost)
                })
            })
            .collect();
        for _ in 0..5 {
            let next = Serving::with(config());
            std::thread::sleep(Duration::from_millis(100));
            serving.stop();
            serving.ended();
            serving = next;
        }
        over.store(true, Ordering::Relaxed);
        let outcomes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(outcomes.iter().all(|(answers, _)| *answers > 0), "{outcomes:?}");
        let lost: Vec<_> = outcomes.into_iter().flat_map(|(_, lost)| lost).collect();
        assert!(lost.len() <= most, "{lost:?}");
    });
}

#[test]
fn servers_follow_one_another_at_a_unix_socket() {
    let folder = site();
    let path = folder.path("../socket");
    let bind = || vec![Ipv4Addr::LOCALHOST.into(), Listen::Unix(path.clone())];
    follow_one_another(
        0,
        || Config { bind: bind(), reuse_port: true, ..Serving::config(DIRECT, &folder) },
        || Client::try_at_path(&path),
    );
}

#[test]
fn servers_follow_one_another_at_a_port() {
    let folder = site();
    for front in fronts() {
        // Held by nobody who listens, so that nobody else gets it.
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        holder.set_reuse_port(true).unwrap();
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        let config = Config { port: address.port(), reuse_port: true, ..Serving::config(front, &folder) };
        // Nobody knows what tiny_http has accepted at the last moment.
        let most = if front == DIRECT { 0 } else { 5 };
        follow_one_another(most, || config.clone(), || Client::try_connect_to(address));
        let serving = Serving::with(config.clone());
        let refused = Server::bind(Config { reuse_port: false, ..config }).map(drop).unwrap_err();
        assert!(refused.to_string().contains(&address.to_string()), "both have to say so: {refused}");
        drop(serving);
    }
}

#[test]
fn servers_follow_one_another_at_a_socket_that_was_handed_over() {
    let folder = site();
    for front in fronts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = || {
            let socket = listener.try_clone().unwrap().into();
            Serving::run(Server::from_listeners(Serving::config(front, &folder), vec![socket]).unwrap())
        };
        for _ in 0..3 {
            let serving = serve();
            assert_eq!(serving.address, address);
            let mut client = serving.client();
            assert_eq!(client.exchange(get("/small")).body, b"small");
            serving.stop();
            serving.ended();
            // It listens on, for the next one.
            let mut early = Client::connect(address);
            early.send(get("/small"));
            let next = serve();
            assert_eq!(early.receive().body, b"small");
            drop(next);
        }
    }
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let folder = site();
    let rows: &[(&str, fn(&Folder) -> OwnedFd, &str)] = &[
        ("a file", |folder| fs::File::open(folder.path("small")).unwrap().into(), "Socket operation on non-socket"),
        ("datagrams", |_| UdpSocket::bind("127.0.0.1:0").unwrap().into(), "no stream socket"),
        ("nobody listens", |_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap().into(), "does not listen"),
    ];
    for front in fronts() {
        for (name, make, word) in rows {
            let good = TcpListener::bind("127.0.0.1:0").unwrap().into();
            let sockets = vec![good, make(&folder)];
            let error = Server::from_listeners(Serving::config(front, &folder), sockets).map(drop).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("socket 1") && error.contains(word), "{name}: {error}");
        }
        assert!(Server::from_listeners(Serving::config(front, &folder), Vec::new()).is_err());
        // Addresses that are ignored are not checked.
        let ignored = Config { bind: Vec::new(), ..Serving::config(front, &folder) };
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Server::from_listeners(ignored, vec![socket.into()]).is_ok());
        let unix: OwnedFd = UnixListener::bind(folder.path(format!("../{front:?}"))).unwrap().into();
        let outcome = Server::from_listeners(Serving::config(front, &folder), vec![unix]);
        assert_eq!(outcome.is_ok(), front == DIRECT, "{outcome:?}");
    }
}

/// The program, with this as its third descriptor, as whoever hands sockets over starts it.
fn with_socket(socket: OwnedFd, count: &str, arguments: &[&str]) -> Program {
    let shell = format!("exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$0\" \"$@\"");
    Program::start(Command::new("sh").args(["-c", &shell, BINARY]).args(arguments).stdin(Stdio::from(socket)))
}

#[test]
fn the_program_serves_at_what_it_was_handed_over() {
    let folder = site();
    let root = folder.root();
    let path = folder.path("../socket");
    for (name, front) in Front::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arguments = ["--front", name, "-b", "192.0.2.1", &root.display().to_string()];
        let mut program = with_socket(listener.try_clone().unwrap().into(), "1", &arguments);
        assert_eq!(program.address(&root), address);
        assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
        program.signal(Signal::TERM);
        let (status, out, err) = program.end();
        assert_eq!((status, out.as_str()), (Some(0), ""), "{err}");
        assert!(err.contains("bind and port do not matter"), "{err}");
        assert!(TcpStream::connect(address).is_ok(), "it is not shut");
        if *front == DIRECT {
            let listener = UnixListener::bind(&path).unwrap();
            let mut program = with_socket(listener.into(), "1", &[&root.display().to_string()]);
            assert_eq!(program.line(), format!("Serving {} at unix:{}", root.display(), path.display()));
            assert_eq!(Client::at_path(&path).exchange(get("/small")).body, b"small");
            program.signal(Signal::TERM);
            assert_eq!(program.end().0, Some(0));
            assert!(path.exists(), "the name is that of whoever made it");
        }
        if *front == DIRECT {
            // Another holder has ended it: that is said, and no processor is kept busy by it.
            let ended = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut program = with_socket(ended.try_clone().unwrap().into(), "1", &[&root.display().to_string()]);
            program.address(&root);
            Socket::from(ended).shutdown(Shutdown::Both).unwrap();
            program.complaint_with("no connection can be accepted");
            program.signal(Signal::TERM);
            assert_eq!(program.end().0, Some(0));
        }
        for (count, word) in [("x", "LISTEN_FDS"), ("257", "256"), ("2", "descriptor 4"), ("-1", "LISTEN_FDS")] {
            let (status, out, err) = with_socket(listener.try_clone().unwrap().into(), count, &arguments).end();
            assert_eq!((status, out.as_str(), err.matches('\n').count()), (Some(1), "", 1), "{count}: {err}");
            assert!(err.contains(word), "{count}: {err}");
        }
    }
    // What is for another process is none of its business.
    let mut command = Command::new(BINARY);
    let mut program =
        Program::start(command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").args(["-p", "0"]).arg(&root));
    assert_ne!(program.address(&root).port(), 0);
}

#[test]
fn a_unix_socket_has_its_line() {
    let folder = site();
    let (root, path) = (folder.root(), folder.path("../socket"));
    let mut command = Command::new(BINARY);
    let places = format!("unix:{},127.0.0.1", path.display());
    let mut program = Program::start(command.args(["-v", "-p", "0", "-b", &places, "--unix-mode", "600"]).arg(&root));
    let address = program.address(&root);
    assert_eq!(program.line(), format!("Serving {} at unix:{}", root.display(), path.display()));
    assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
    assert_eq!(Client::at_path(&path).exchange(get("/small")).body, b"small");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    program.signal(Signal::TERM);
    let (status, _, err) = program.end();
    assert!(status == Some(0) && err.contains("debug: - \"GET\" \"/small\" 200"), "{err}");
    assert!(!path.exists());
}

#[test]
fn of_two_who_start_at_once_only_one_has_the_socket() {
    let folder = site();
    let (path, config) = at_both(&folder);
    let config = Config { bind: vec![Listen::Unix(path.clone())], ..config };
    for _ in 0..50 {
        // A server that was killed has left it behind.
        drop(UnixListener::bind(&path).unwrap());
        let barrier = Barrier::new(4);
        let start = || {
            barrier.wait();
            Server::bind(config.clone())
        };
        let started: Vec<_> = thread::scope(|scope| {
            let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starting.into_iter().filter_map(|starting| starting.join().unwrap().ok()).collect()
        });
        assert_eq!(started.len(), 1);
        assert!(Client::try_at_path(&path).is_ok());
    }
}

#[test]
fn what_others_leave_or_do_in_the_folder_of_a_socket_does_not_hold_up_a_start() {
    let folder = site();
    let (path, config) = at_both(&folder);
    let config = Config { bind: vec![Listen::Unix(path.clone())], ..config };
    // One that was killed before it had taken over, with the same number, as the first process of a container.
    let mut left = path.as_os_str().to_owned();
    left.push(format!(".{}", std::process::id()));
    drop(UnixListener::bind(&left).unwrap());
    let server = Server::bind(Config { reuse_port: true, ..config.clone() }).unwrap();
    assert!(Client::try_at_path(&path).is_ok());
    drop(server);
    // Anybody may lock it.
    let other = fs::File::open(path.parent().unwrap()).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    drop(Server::bind(config.clone()).unwrap());
    // In the place of the folder something that never opens.
    let fifo = folder.path("../fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let bind = vec![Listen::Unix(fifo.join("socket"))];
    assert!(Server::bind(Config { bind, ..config }).is_err());
}

/// What a supervisor hears next.
fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let count = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn a_supervisor_is_told() {
    let folder = site();
    let root = folder.root();
    let name = format!("brooklet test {}", std::process::id());
    let notify = folder.path("../notify");
    let named = UnixDatagram::bind(&notify).unwrap();
    for (socket, variable) in [
        (named.try_clone().unwrap(), notify.display().to_string()),
        (UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap(), format!("@{name}")),
    ] {
        socket.set_read_timeout(Some(NEVER)).unwrap();
        for (name, _) in Front::ALL {
            let mut command = Command::new(BINARY);
            let arguments = ["--front", name, "-p", "0", "--drain-wait", "1h"];
            command.env("NOTIFY_SOCKET", &variable).env("WATCHDOG_USEC", "100000").args(arguments).arg(&root);
            let mut program = Program::start(&mut command);
            let address = program.address(&root);
            assert_eq!(heard(&socket), format!("READY=1\nSTATUS=Serving {} at http://{address}", root.display()));
            assert_eq!(heard(&socket), "WATCHDOG=1");
            assert_eq!(heard(&socket), "WATCHDOG=1");
            program.signal(Signal::TERM);
            while heard(&socket) != "STOPPING=1" {}
            assert_eq!(heard(&socket), "WATCHDOG=1", "whoever stops is alive");
            // Nobody waits for an hour.
            program.signal(Signal::TERM);
            assert_eq!(program.end().0, Some(1));
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 100]).is_ok() {}
            socket.set_nonblocking(false).unwrap();
        }
    }
    // It stops by itself, too: that is told, and then it is alive until the last transfer has ended.
    folder.file("large", noise(1, 32 << 20));
    for (name, _) in Front::ALL {
        let mut command = Command::new(BINARY);
        let arguments = ["--front", name, "-p", "0", "--once"];
        let mut program = Program::start(
            command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", "100000").args(arguments).arg(&root),
        );
        let address = program.address(&root);
        let mut stalled = Client::with_small_window(address);
        stalled.send(get("/large"));
        stalled.receive_head();
        assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
        while heard(&named) != "STOPPING=1" {}
        for _ in 0..30 {
            assert_eq!(heard(&named), "WATCHDOG=1");
        }
        assert_eq!(stalled.rest().len(), 32 << 20);
        assert_eq!(program.end().0, Some(0));
        named.set_nonblocking(true).unwrap();
        while named.recv(&mut [0; 100]).is_ok() {}
        named.set_nonblocking(false).unwrap();
    }
    for (name, value) in [("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "0")] {
        let mut command = Command::new(BINARY);
        let (status, out, err) =
            Program::start(command.env("NOTIFY_SOCKET", &notify).env(name, value).args(["-p", "0"]).arg(&root)).end();
        assert_eq!((status, out.as_str(), err.matches('\n').count()), (Some(1), "", 1), "{name}: {err}");
        assert!(err.contains(name), "{err}");
    }
}

/// Whether a program can be run; under CI all have to be there.
fn is_there(program: &str) -> bool {
    match Command::new(program).arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing");
            eprintln!("skipped: {program} is not there");
            false
        }
        _ => true,
    }
}

#[test]
fn the_units_are_sound_and_shut_in() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = Folder::new();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    // With a program that is there, as it would be once installed.
    let service = fs::read_to_string(units.join("brooklet.service")).unwrap();
    let installed = service.replace("/usr/local/bin/brooklet", BINARY);
    assert_ne!(service, installed);
    folder.file("brooklet.service", installed);
    folder.file("brooklet.socket", fs::read(units.join("brooklet.socket")).unwrap());
    let run = |arguments: &[&str]| {
        let paths = ["brooklet.service", "brooklet.socket"].map(|name| folder.path(name));
        let paths = if arguments[0] == "verify" { &paths[..] } else { &paths[..1] };
        let output = Command::new("systemd-analyze").args(arguments).args(paths).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (sound, said) = run(&["verify", "--man=no"]);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("brooklet")).collect();
    assert!(sound && ours.is_empty(), "{said}");
    // In tenths: from 0, shut in, to 100.
    let (shut_in, said) = run(&["security", "--offline=true", "--threshold=15"]);
    assert!(shut_in, "{said}");
}
