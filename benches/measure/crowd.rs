//! Clients that ask for a file and read it slowly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Bytes that a client takes at a time.
const SIP: usize = 4096;
/// How long after the one before it a client comes.
const APART: Duration = Duration::from_millis(3);
/// How long a client waits for its connection.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Crowd {
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Nothing,
    File,
    /// Anything but the file.
    Refusal,
}

impl Crowd {
    /// So many clients that all ask for the same file, one shortly after the other: some servers leave clients that come at
    /// the same time waiting. Who is not let in is left out.
    pub(crate) fn new(address: SocketAddr, path: &str, clients: usize) -> Self {
        let clients = (0..clients).filter_map(|_| {
            std::thread::sleep(APART);
            Client::new(address, path).ok()
        });
        Self { clients: clients.collect() }
    }

    /// Each takes a sip of what has come.
    pub(crate) fn sip(&mut self) {
        for client in &mut self.clients {
            let mut sip = [0; SIP];
            // What fails stays as it is: the server may have been killed.
            let count = client.stream.read(&mut sip).unwrap_or(0);
            if client.answer == Answer::Nothing && count > 0 {
                let found = sip.starts_with(b"HTTP/1.1 200 ");
                client.answer = if found { Answer::File } else { Answer::Refusal };
            }
        }
    }

    /// Whether somebody has got nothing yet.
    pub(crate) fn hopes(&self) -> bool {
        self.clients.iter().any(|client| client.answer == Answer::Nothing)
    }

    /// Whether all get the file within that time.
    pub(crate) fn served_within(mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while self.hopes() && begun.elapsed() < time {
            self.sip();
            std::thread::sleep(APART);
        }
        self.served() == self.clients.len() && self.served() > 0
    }

    /// How many get the file.
    pub(crate) fn served(&self) -> usize {
        self.clients.iter().filter(|client| client.answer == Answer::File).count()
    }
}

impl Client {
    fn new(address: SocketAddr, path: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Little is on its way: what a client has not read is the server's to hold.
        socket.set_recv_buffer_size(16 << 10)?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let mut stream = TcpStream::from(socket);
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, answer: Answer::Nothing })
    }
}
