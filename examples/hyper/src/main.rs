//! A `Site` in a server of hyper, or of what stands on hyper: axum takes the same `Response`.
//!
//! A `Site` blocks while the disk does, so it is asked on the threads that tokio has for that. A body is read there, too, 64 KiB
//! at a time, and only when the client has room: a transfer holds a buffer or two, and no thread while its client is slow.
//!
//! `cargo run --release --manifest-path examples/hyper/Cargo.toml -- FOLDER [ADDRESS]`

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brooklet::{Answer, Body, Position, Site};
use http_body_util::channel::{Channel, Sender};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the site answers, without waiting for the disk on a thread of the runtime.
async fn decide(site: Arc<Site>, request: Request<Incoming>, client: SocketAddr) -> Result<Answer, Error> {
    let (head, _) = request.into_parts();
    let decided = spawn_blocking(move || {
        let method = head.method.as_str().parse().map_err(|()| "no method")?;
        let target = head.uri.to_string();
        let mut asked = brooklet::Request::new(&method, &target);
        asked.client = Some(client.ip());
        if head.version == hyper::Version::HTTP_10 {
            asked.version = (1, 0);
        }
        for (name, value) in &head.headers {
            // No field that a decision depends on has anything but ASCII.
            if let Ok(value) = value.to_str() {
                asked.push(name.as_str(), value);
            }
        }
        Ok(site.answer(&asked, SystemTime::now()))
    });
    decided.await?
}

/// Answers a request. hyper writes `Date` and `Connection`.
async fn answer(
    site: Arc<Site>,
    request: Request<Incoming>,
    client: SocketAddr,
) -> Result<Response<Channel<Bytes, io::Error>>, Error> {
    let answer = decide(site, request, client).await?;
    let mut response = Response::builder().status(answer.status.0);
    for (name, value) in answer.fields.iter() {
        response = response.header(name, value);
    }
    if let Some(length) = answer.content_length {
        response = response.header("Content-Length", length);
    }
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(answer.body, sender));
    Ok(response.body(body)?)
}

/// Reads a piece when the one before has been taken.
async fn send(mut body: Body, mut sender: Sender<Bytes, io::Error>) {
    let mut position = Position::default();
    loop {
        let read = spawn_blocking(move || {
            let mut buffer = vec![0; 64 * 1024];
            let count = body.read(&mut position, &mut buffer);
            let piece = count.map(|count| {
                buffer.truncate(count);
                Bytes::from(buffer)
            });
            (body, position, piece)
        });
        let Ok((rest, behind, piece)) = read.await else { return };
        (body, position) = (rest, behind);
        match piece {
            Ok(piece) if piece.is_empty() => return,
            // The client has gone if nobody takes it.
            Ok(piece) => match sender.send_data(piece).await {
                Ok(()) => {}
                Err(_) => return,
            },
            // The connection ends, so that nobody takes what has come so far for the whole.
            Err(error) => return sender.abort(error),
        }
    }
}

async fn serve(listener: TcpListener, site: Site) -> io::Result<()> {
    let site = Arc::new(site);
    loop {
        let (socket, client) = listener.accept().await?;
        let site = Arc::clone(&site);
        let service = service_fn(move |request| answer(Arc::clone(&site), request, client));
        // Of a client that does not take its answer hyper has to be rid by other means, such as a proxy or a timeout of yours.
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
        tokio::spawn(connection.serve_connection(TokioIo::new(socket), service));
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: brooklet-hyper FOLDER [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let site = Site::open(folder)?.with_cache(1 << 20);
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        Ok(serve(listener, site).await?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Head and body of the answer to one request on a connection of its own.
    fn ask(address: SocketAddr, line: &str, fields: &str) -> (String, Vec<u8>) {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(socket, "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n").unwrap();
        let mut bytes = Vec::new();
        // A connection that is broken off has an error behind what came.
        let _ = socket.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = bytes.split_off(end + 4);
        (String::from_utf8(bytes).unwrap().to_ascii_lowercase(), body)
    }

    #[test]
    fn hyper_sends_what_the_site_answers() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(folder.path().join("file.bin"), &content).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, Site::open(folder.path()).unwrap()));

        for (line, fields, status, length, body) in [
            ("GET /file.bin", "", 200, "3000000", &content[..]),
            ("GET /file.bin", "Range: bytes=65530-200000\r\n", 206, "134471", &content[65_530..=200_000]),
            ("HEAD /file.bin", "", 200, "3000000", &[]),
        ] {
            let (head, got) = ask(address, line, fields);
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{line}: {head}");
            assert!(head.contains(&format!("\r\ncontent-length: {length}\r\n")), "{line}: {head}");
            assert!(got == body, "{line}: {} bytes", got.len());
        }
        let (head, _) = ask(address, "GET /none", "");
        assert!(head.starts_with("http/1.1 404 "), "{head}");
        let (head, listing) = ask(address, "GET /", "Accept: text/html\r\n");
        assert!(
            head.starts_with("http/1.1 200 ") && String::from_utf8(listing).unwrap().contains("file.bin"),
            "{head}"
        );
    }
}
