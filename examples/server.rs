//! A program that serves a folder beside whatever else it does: a `Server` on threads of its own, and a handle to it.
//!
//! Each line on stdin has it print statistics; at the end of stdin (Ctrl-D) it stops, and finishes transfers in flight.
//!
//! `cargo run --release --example server -- FOLDER [PORT]`

use brooklet::{Config, Outcome, Server, Statistics};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("usage: server FOLDER [PORT]")?.into();
    // Port 0 is any that is free.
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let server = Server::bind(Config { root, port, statistics: true, ..Config::default() })?;
    server.addresses().iter().for_each(|address| println!("http://{address}"));

    let handle = server.handle();
    let serving = std::thread::spawn(move || server.run());
    for line in std::io::stdin().lines() {
        line?;
        print(&handle.statistics());
    }
    handle.stop();
    serving.join().map_err(|_| "the server has panicked")??;
    print(&handle.statistics());
    Ok(())
}

fn print(statistics: &Statistics) {
    let Statistics { connections, busy_workers, workers, transfers, requests, bytes_sent, .. } = statistics;
    let [_, successful, redirected, refused, failed] = requests;
    println!(
        "{} connections, {busy_workers} of {workers} workers busy, {transfers} transfers on their way; \
         2xx {successful}, 3xx {redirected}, 4xx {refused}, 5xx {failed}; {bytes_sent} bytes; {} clients left early",
        connections.unwrap_or(0),
        statistics.outcome(Outcome::ClientLeft),
    );
}
