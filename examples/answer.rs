//! A `Site` that is asked for an answer without any socket: what a program does whose requests come from elsewhere.
//!
//! The status and the fields go to stderr, the body to stdout, through one buffer of 64 KiB whatever the size of the file.
//!
//! `cargo run --release --example answer -- FOLDER TARGET [RANGE]`, e.g. `answer . /README.md bytes=0-99`

use std::io::Write;
use std::time::SystemTime;

use brooklet::tiny_http::Method;
use brooklet::{Position, Request, Site};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (folder, target) = arguments.next().zip(arguments.next()).ok_or("usage: answer FOLDER TARGET [RANGE]")?;
    let range = arguments.next();

    let site = Site::open(folder)?;
    // A request of HTTP/1.1 has to name its host.
    let mut request = Request::new(&Method::Get, &target).with("Host", "localhost");
    if let Some(range) = &range {
        request.push("Range", range);
    }
    let mut answer = site.answer(&request, SystemTime::now());

    eprintln!("{}", answer.status.0);
    answer.fields.iter().for_each(|(name, value)| eprintln!("{name}: {value}"));
    // The length is not among the fields: it is for the sender to say how the body ends.
    if let Some(length) = answer.content_length {
        eprintln!("Content-Length: {length}");
    }

    let (mut out, mut buffer, mut position) = (std::io::stdout().lock(), vec![0; 64 * 1024], Position::default());
    loop {
        // An error is a file that could not be read to its end: the length that was announced does not come.
        match answer.body.read(&mut position, &mut buffer)? {
            0 => break,
            count => out.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
    Ok(())
}
