//! What `fs.createReadStream` and `pipe` are in Node.js: a file goes to its client through a small buffer.
//!
//! tiny_http copies it with `std::io::copy`, 8 KiB at a time. Each request has a thread, as in `whole_file`.
//!
//! A demonstration, to be measured against `whole_file`. For trusted local use only: it has no limits and no timeouts, and
//! it follows links out of the folder.
//!
//! `cargo run --release --example stream -- FOLDER [ADDRESS]`

use std::fs::File;

use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: stream FOLDER [ADDRESS]")?;
    let server = Server::http(arguments.next().as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("http://{}", server.server_addr());
    for request in server.incoming_requests() {
        let path = Some(request.url()).filter(|url| !url.contains("..")).map(|url| format!("{folder}/{url}"));
        std::thread::spawn(move || match path.map(File::open) {
            Some(Ok(file)) if file.metadata().is_ok_and(|found| found.is_file()) => {
                request.respond(Response::from_file(file).with_chunked_threshold(usize::MAX))
            }
            _ => request.respond(Response::empty(404)),
        });
    }
    Ok(())
}
