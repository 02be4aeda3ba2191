//! The claim that this server is for: who holds whole files needs memory for all of them at once, and who streams does not.
//! `make memory` measures the same at length.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Client, get, request};
use crate::measure::MIB;
use crate::measure::limit::Limit;
use crate::measure::memory::{Lab, Load};
use crate::measure::process;
use crate::measure::server::{Programs, Server};
use crate::program::{BINARY, Program};
use crate::site::Folder;

const HOLD: Duration = Duration::from_millis(300);

/// Those that are built here.
fn servers() -> impl Iterator<Item = Server> {
    let servers = Server::of_the_note(&Programs::new(BINARY).unwrap());
    servers.into_iter().filter(|server| !server.name.contains("Node"))
}

#[test]
fn the_memory_of_who_holds_whole_files_grows_with_them_and_that_of_others_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path(), 1024 * MIB).unwrap();
    let clients = 8;
    for server in servers() {
        let [small, large] =
            [1, 13].map(|size| lab.run(&server, Load { clients, size }, Duration::ZERO, HOLD).unwrap());
        assert_eq!([small.served, large.served], [clients; 2], "{}", server.name);
        assert!(!small.killed && !large.killed && small.samples.len() > 1, "{}", server.name);
        let grown = large.peak.saturating_sub(small.peak);
        println!("{}: from {} to {} bytes", server.name, small.peak, large.peak);
        let more = clients as u64 * (13 - 1) * MIB;
        match server.name.starts_with("whole") {
            true => assert!(grown > more / 4 * 3, "{}: {grown} bytes for {more}", server.name),
            false => assert!(grown < 3 * MIB, "{}: {grown} bytes for {more}", server.name),
        }
    }
}

#[test]
fn who_takes_too_much_fails_at_the_limit_and_who_does_not_does_not() {
    let folder = tempfile::tempdir().unwrap();
    // What there is here, a cgroup where we may make one, and what there is everywhere.
    for limit in [Limit::new(150 * MIB), Limit::Watched(150 * MIB)] {
        let cgroup = if let Limit::Cgroup(folder) = &limit { Some(folder.clone()) } else { None };
        let lab = Lab::with(folder.path(), limit).unwrap();
        for server in servers() {
            let run = lab.run(&server, Load { clients: 4, size: 100 }, Duration::ZERO, HOLD).unwrap();
            let what = format!("{}: {}, {} of 4 served, {} bytes", server.name, run.fate(), run.served, run.peak);
            assert_eq!(run.failed(), server.name.starts_with("whole"), "{what}");
            assert_eq!(run.killed, run.failed(), "{what}");
        }
        drop(lab);
        assert!(cgroup.is_none_or(|folder| !folder.exists()), "it is left behind");
    }
}

/// Clients that read nothing.
const STALLED: u64 = 2000;
/// Those that are quick meanwhile.
const QUICK: usize = 200;
/// Files of the folder that somebody else has as one download.
const FILES: usize = 30_000;

#[test]
fn a_budget_is_kept_whoever_comes_at_once() {
    let most = getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < 6000) {
        return println!("{most:?} descriptors are too few for that");
    }
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    // What sockets hold counts but for cgroups of version 1: that is most of it.
    let version_1 = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default().contains(":memory:");
    let budget = if version_1 { 16 } else { 256 };
    let limit = Limit::new(budget * MIB);
    let folder = Folder::new();
    folder.folder("many");
    (0..FILES).for_each(|number| std::fs::write(folder.path(format!("many/file {number}")), "content").unwrap());
    folder.file("small", "small").file("middle", vec![b'm'; 1 << 20]).file("large", "");
    // A part of its own for each client, so that they have no page of it in common.
    let part = MIB;
    std::fs::File::options().write(true).open(folder.path("large")).unwrap().set_len((STALLED + 1) * part).unwrap();

    // It begins once it is in the cgroup.
    let script = ["-c", "read go; exec \"$0\" \"$@\"", BINARY, "-q", "-p", "0", "--archive", "--stall-timeout", "1h"];
    let mut command = Command::new("sh");
    command.args(script).args(["--memory", &format!("{budget}M"), "--max-connections", "2210"]);
    let mut program = Program::start(command.arg(folder.root()).stdin(Stdio::piped()));
    limit.apply(program.id()).unwrap();
    program.input().unwrap().write_all(b"go\n").unwrap();
    let address = program.address(&folder.root());

    let stalled = |number: u64| {
        let mut client = Client::with_small_window(address);
        let range = format!("bytes={}-", number * part);
        client.send(request("GET", "/large", &[("Range", &range)]));
        client
    };
    let mut stalled: Vec<_> = (0..STALLED).map(stalled).collect();
    for client in &mut stalled {
        assert_eq!(client.receive_head().status, 206);
    }
    let together = Barrier::new(9);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut quick: Vec<_> = (0..QUICK / 8).map(|_| Client::connect(address)).collect();
                together.wait();
                for _ in 0..20 {
                    for client in &mut quick {
                        assert_eq!(client.exchange(get("/small")).text(), "small");
                    }
                }
                for client in &mut quick {
                    assert_eq!(client.exchange(get("/middle")).body.len(), 1 << 20);
                }
            });
        }
        together.wait();
        let tar = Client::connect(address).exchange(get("/many/?archive=tar"));
        assert_eq!(tar.status, 200);
        let mut archive = tar::Archive::new(&*tar.body);
        let files = archive.entries().unwrap().filter(|entry| entry.as_ref().unwrap().size() == "content".len() as u64);
        assert_eq!(files.count(), FILES);
    });
    // They are still there, and what they are sent goes on.
    for client in &mut stalled {
        assert_eq!(client.take(64 << 10).unwrap(), [0; 64 << 10]);
    }
    let memory = process::memory(program.id()).expect("it lives");
    println!("{}: {} bytes resident, {} at most", limit.kind(), memory.resident, memory.peak);
    assert!(memory.peak < budget * MIB);
}
