//! What `fs.readFile` and `response.end` are in Node.js: a request holds its whole file in memory until the client has it.
//!
//! A demonstration, to be measured against `stream`. For trusted local use only: it has no limits and no timeouts, and it
//! follows links out of the folder.
//!
//! `cargo run --release --example whole_file -- FOLDER [ADDRESS]`

use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: whole_file FOLDER [ADDRESS]")?;
    let server = Server::http(arguments.next().as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("http://{}", server.server_addr());
    for request in server.incoming_requests() {
        let path = Some(request.url()).filter(|url| !url.contains("..")).map(|url| format!("{folder}/{url}"));
        std::thread::spawn(move || match path.map(std::fs::read) {
            Some(Ok(content)) => request.respond(Response::from_data(content).with_chunked_threshold(usize::MAX)),
            _ => request.respond(Response::empty(404)),
        });
    }
    Ok(())
}
