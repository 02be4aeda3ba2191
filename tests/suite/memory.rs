//! The claim that this server is for: who holds whole files needs memory for all of them at once, and who streams does not.
//! `make memory` measures the same at length.

use std::time::Duration;

use crate::measure::MIB;
use crate::measure::limit::Limit;
use crate::measure::memory::{Lab, Load};
use crate::measure::server::{Programs, Server};
use crate::program::BINARY;

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
