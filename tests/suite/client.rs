//! A raw HTTP client: it sends the bytes it is given and reads one answer at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

/// How long an answer may take before the test fails. Nothing is ever expected to take nearly so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// What has come and is not read yet.
    waiting: Vec<u8>,
}

/// An answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a field that stands there once at most.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands there twice: {:?}", self.fields);
        value
    }

    /// The value of `Content-Length`.
    pub(crate) fn length(&self) -> Option<usize> {
        self.field("Content-Length").map(|value| value.parse().expect("a number"))
    }

    /// Status and fields without what changes from one moment to the next.
    pub(crate) fn lasting_head(&self) -> (u16, Vec<&(String, String)>) {
        (self.status, self.fields.iter().filter(|(name, _)| name != "Date").collect())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, |_| Ok(())).expect("the server accepts")
    }

    /// A client that takes in little before it reads, so that the server soon has to wait for it.
    pub(crate) fn with_small_window(address: SocketAddr) -> Self {
        Self::try_connect(address, |socket| socket.set_recv_buffer_size(4096)).expect("the server accepts")
    }

    /// A client at an address of its own.
    pub(crate) fn from(source: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let source = SocketAddr::new(source.into(), 0);
        Self::try_connect(address, |socket| socket.bind(&source.into())).expect("the server accepts")
    }

    /// A client of a Unix socket. What is done with its stream works for any socket.
    pub(crate) fn at_path(path: &Path) -> Self {
        Self::try_at_path(path).expect("the server accepts")
    }

    pub(crate) fn try_at_path(path: &Path) -> io::Result<Self> {
        let stream = TcpStream::from(OwnedFd::from(UnixStream::connect(path)?));
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, waiting: Vec::new() })
    }

    /// For who expects that it may fail.
    pub(crate) fn try_connect_to(address: SocketAddr) -> io::Result<Self> {
        Self::try_connect(address, |_| Ok(()))
    }

    fn try_connect(address: SocketAddr, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, waiting: Vec::new() })
    }

    /// One GET on a connection of its own, for who expects that it may fail.
    pub(crate) fn try_get(address: SocketAddr, target: &str) -> io::Result<Response> {
        let mut client = Self::try_connect(address, |_| Ok(()))?;
        client.stream.write_all(get(target).as_bytes())?;
        client.try_receive("GET")
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes the request");
    }

    /// Sends what the server may refuse to take.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The same connection, for another thread or for what only a socket can do.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection stands");
    }

    /// Ends the connection without a farewell: the server sees a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("the connection stands");
    }

    /// The same for who expects that it may fail.
    pub(crate) fn try_exchange(&mut self, request: impl AsRef<[u8]>) -> io::Result<Response> {
        self.try_send(request)?;
        self.try_receive("GET")
    }

    /// Sends a request and reads the answer to it.
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        self.send(request);
        let method = request.split(|b| *b == b' ').next().unwrap_or_default();
        self.try_receive(&String::from_utf8_lossy(method)).expect("an answer")
    }

    /// Reads the answer to a GET.
    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive("GET").expect("an answer")
    }

    pub(crate) fn try_receive(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.try_receive_head()?;
        let coding = response.field("Transfer-Encoding");
        assert!(matches!(coding, None | Some("chunked")), "{coding:?}");
        assert!(coding.is_none() || response.length().is_none(), "two lengths");
        response.body = match response.length() {
            _ if method == "HEAD" || matches!(response.status, 100..=199 | 204 | 304) => Vec::new(),
            Some(length) => self.take(length)?,
            None if coding.is_some() => self.chunks()?,
            None => self.rest(),
        };
        Ok(response)
    }

    /// Reads a body in chunks, which have no extensions and no trailers.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(chunk) = self.chunk()? else { return Ok(body) };
            body.extend_from_slice(&chunk);
        }
    }

    /// Reads a chunk; none if it is the last one.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = loop {
            if let Some(end) = self.waiting.windows(2).position(|bytes| bytes == b"\r\n") {
                break self.piece(end)?;
            }
            assert!(self.waiting.len() < 20, "no size of a chunk: {:?}", self.waiting.escape_ascii().to_string());
            self.more()?;
        };
        let digits = std::str::from_utf8(&line).expect("text");
        let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(plain, "no size of a chunk: {digits:?}");
        let size = usize::from_str_radix(digits, 16).expect("a number");
        let chunk = self.piece(size)?;
        Ok((size > 0).then_some(chunk))
    }

    /// Takes so many bytes and the line end behind them.
    fn piece(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.waiting.len() < count + 2 {
            self.more()?;
        }
        let mut piece: Vec<u8> = self.waiting.drain(..count + 2).collect();
        assert_eq!(piece.split_off(count), b"\r\n", "behind {count} bytes");
        Ok(piece)
    }

    fn more(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the end in the middle of a chunk")),
            _ => Ok(()),
        }
    }

    /// Reads a head and leaves the body where it is.
    pub(crate) fn receive_head(&mut self) -> Response {
        self.try_receive_head().expect("the head of an answer")
    }

    pub(crate) fn try_receive_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.waiting.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                let came = String::from_utf8_lossy(&self.waiting).into_owned();
                return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("the end instead of a head: {came:?}")));
            }
        };
        let head = String::from_utf8(self.waiting.drain(..end).collect()).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let fields = lines.map(|line| line.split_once(": ").map(|(name, value)| (name.into(), value.into())));
        Ok(Response {
            status: status.unwrap_or_else(|| panic!("no status line: {head:?}")),
            fields: fields.collect::<Option<_>>().unwrap_or_else(|| panic!("no field: {head:?}")),
            body: Vec::new(),
        })
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes: Vec<u8> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        let so_far = bytes.len();
        bytes.resize(count, 0);
        self.stream.read_exact(&mut bytes[so_far..])?;
        Ok(bytes)
    }

    /// Reads until the server ends the connection, by whatever means.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill().expect("the end of the connection") > 0 {}
        std::mem::take(&mut self.waiting)
    }

    /// Reads until the server says that nothing follows; a reset, which may have eaten something, is an error.
    pub(crate) fn whole_rest(&mut self) -> io::Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.waiting)?;
        Ok(std::mem::take(&mut self.waiting))
    }

    /// Whether something comes within that time: bytes, or the end.
    pub(crate) fn hears_within(&self, time: Duration) -> bool {
        if !self.waiting.is_empty() {
            return true;
        }
        self.stream.set_read_timeout(Some(time)).expect("a time");
        let heard = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        !heard.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the server still holds its end of an IPv4 connection. The kernel is asked, as a client that has not read what
    /// waits does not learn of the end behind it.
    pub(crate) fn is_held(&self) -> bool {
        // After a reset there is no peer.
        let (Ok(SocketAddr::V4(here)), Ok(SocketAddr::V4(there))) = (self.stream.local_addr(), self.stream.peer_addr())
        else {
            return false;
        };
        let [here, there] =
            [here, there].map(|at| format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port()));
        let established = format!(" {there} {here} 01 ");
        // The table may change while it is read, and a line be passed over.
        (0..3).any(|_| std::fs::read_to_string("/proc/net/tcp").expect("Linux").contains(&established))
    }

    /// Waits until the server has reset the connection, without reading.
    pub(crate) fn until_reset(&self) {
        // A reset is told of without being asked for.
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&patience)), Ok(1), "the connection stands");
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let count = match self.stream.read(&mut buffer) {
            // Who closes a connection in which something unread waits resets it: an end as well.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            other => other?,
        };
        self.waiting.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

pub(crate) fn get(target: &str) -> String {
    request("GET", target, &[])
}

pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}
