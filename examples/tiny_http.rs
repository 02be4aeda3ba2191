//! A program with a tiny_http server of its own that also serves a folder.
//!
//! `cargo run --release --example tiny_http -- FOLDER [ADDRESS]`

use std::net::TcpListener;
use std::time::Duration;

use brooklet::Site;
use brooklet::tiny_http::{Response, Server};

/// A thread stays with a client until that has everything: so many are served at once.
const THREADS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: tiny_http FOLDER [ADDRESS]")?;
    let listener = TcpListener::bind(arguments.next().as_deref().unwrap_or("127.0.0.1:0"))?;
    // Every connection inherits these. Without the timeout a client that stalls keeps its thread for good, and without
    // TCP_NODELAY an answer in several writes waits for acknowledgements, 40 ms each. A timeout of reading would be
    // inherited as well, but it also ends tiny_http's accepting: `brooklet::Server` knows a way around that.
    let socket = socket2::SockRef::from(&listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_write_timeout(Some(Duration::from_secs(30)))?;

    let server = Server::from_listener(listener, None)?;
    let site = Site::open(folder)?;
    println!("http://{}", server.server_addr());
    let work = || {
        while let Ok(request) = server.recv() {
            // An error is the end of one transfer: the client has left, or the file has become shorter.
            let _ = match request.url() {
                "/hello" => request.respond(Response::from_string("Hello from the program itself.\n")),
                _ => site.respond(request),
            };
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    Ok(())
}
