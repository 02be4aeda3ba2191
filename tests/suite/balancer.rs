//! Two brooklets behind a real balancer, as `deploy/haproxy.cfg` has it: they are restarted in turn, and nobody notices.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::program::{BINARY, Program};
use crate::site::{Folder, NEVER, noise};

const CONFIGURATION: &str = include_str!("../../deploy/haproxy.cfg");

/// Ports that nobody uses. What is started there next is ours, most likely.
fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let listeners: [_; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Waits for what a balancer tells in no other way than when it is asked.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < NEVER, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn brooklet(root: &Path, at: SocketAddr, admin: SocketAddr) -> Program {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--drain-wait", "1", "-p"]).arg(at.port().to_string());
    let mut program = Program::start(command.arg("--admin").arg(admin.to_string()).arg(root));
    assert_eq!(program.address(root), at);
    program
}

/// Whether the balancer sends requests there.
fn is_up(stats: SocketAddr, name: &str) -> bool {
    let Ok(table) = Client::try_get(stats, "/;csv") else { return false };
    table.text().lines().any(|line| line.starts_with(&format!("brooklets,{name},")) && line.contains(",UP,"))
}

#[test]
fn both_are_restarted_under_load_and_no_request_fails() {
    for program in ["haproxy", "wrk"] {
        match Command::new(program).arg("-v").output() {
            Ok(_) => {}
            Err(error) if std::env::var_os("CI").is_none() => return println!("not tested without {program}: {error}"),
            Err(error) => panic!("{program}: {error}"),
        }
    }
    let folders = [Folder::new(), Folder::new()];
    for folder in &folders {
        folder.file("small", noise(1, 1000)).file("large", noise(2, 1 << 20));
    }
    let [front, one, two, admin_one, admin_two, stats] = free_ports();
    let mut configuration = CONFIGURATION.to_owned();
    for (there, here) in [("127.0.0.1:8080", front), ("127.0.0.1:8081", one), ("127.0.0.1:8082", two)] {
        assert_eq!(configuration.matches(there).count(), 1, "{there}");
        configuration = configuration.replace(there, &here.to_string());
    }
    for (there, here) in [("port 9081", admin_one), ("port 9082", admin_two)] {
        // The comment says `--admin`.
        assert_eq!(configuration.matches(there).count(), 1, "{there}");
        configuration = configuration.replace(there, &format!("port {}", here.port()));
    }
    configuration += &format!("\nfrontend stats\n    bind {stats}\n    stats enable\n    stats uri /\n");
    let place = folders[0].path("../haproxy.cfg");
    std::fs::write(&place, configuration).unwrap();

    let places = [("one", one, admin_one), ("two", two, admin_two)];
    let start = |number: usize| brooklet(&folders[number].root(), places[number].1, places[number].2);
    let mut both = [start(0), start(1)];
    let _haproxy = Program::start(Command::new("haproxy").arg("-db").arg("-f").arg(&place));
    until("both are up", || places.iter().all(|(name, ..)| is_up(stats, name)));

    let tags = [one, two].map(|at| Client::try_get(at, "/large").unwrap().field("etag").unwrap().to_owned());
    assert_eq!(tags[0], tags[1], "a client may get one part here and another there");

    let load = |target: &str, connections: &str| {
        let mut command = Command::new("wrk");
        command.args(["-t", "1", "-c", connections, "-d", "120s", "--timeout", "10s"]);
        Program::start(command.arg(format!("http://{front}{target}")))
    };
    let loads = [load("/small", "32"), load("/large", "8")];
    for _ in 0..2 {
        for (number, program) in both.iter_mut().enumerate() {
            program.signal(Signal::TERM);
            // It ends by itself, and well, before the next one begins.
            let (status, _, err) = std::mem::replace(program, Program::start(&mut Command::new("true"))).end();
            assert_eq!((status, err.as_str()), (Some(0), ""));
            *program = start(number);
            until("it is up again", || is_up(stats, places[number].0));
        }
    }
    for load in loads {
        load.signal(Signal::INT);
        let (status, out, err) = load.end();
        println!("{out}");
        assert_eq!((status, err.as_str()), (Some(0), ""));
        assert!(!out.contains("Non-2xx") && !out.contains("Socket errors"), "{out}");
        let requests = out.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
        assert!(requests.is_some_and(|count| count > 100), "{out}");
    }
}
