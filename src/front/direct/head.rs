//! The head of a request: bytes in, a [`Request`] and what becomes of the connection out. The crate httparse reads the
//! grammar; what two readers could understand differently is refused (RFC 9112 sections 2.2, 3, 5, 6.3 and 9.3).

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use httparse::{Header, Status};
use tiny_http::Method;

use super::drain::Framing;
use crate::http::request::Request;
use crate::limits;

/// What has been read so far.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(super) enum Parsed<'a> {
    /// The head goes on.
    Partial,
    /// The head takes up so many bytes.
    Whole(Head<'a>, usize),
    /// No request; the status that says why. Where the next one begins is not certain.
    Refused(u16),
}

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) request: Request<'a>,
    /// The method as it stood there.
    pub(super) method: &'a str,
    /// How its body ends.
    pub(super) framing: Framing,
    /// Whether the client wants the connection to last.
    pub(super) persistent: bool,
    pub(super) expect: Expect,
}

/// What a client expects before it sends the body (RFC 9110 section 10.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Nothing,
    /// `100-continue`
    Continue,
    /// What we do not know.
    Other,
}

/// Stands for all methods that have no name in the vocabulary.
static UNKNOWN: LazyLock<Method> = LazyLock::new(|| "UNKNOWN".parse().unwrap_or(Method::Trace));

/// Reads the head at the beginning of these bytes.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; limits::FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let used = match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(431),
        Err(httparse::Error::Version) => return version_refused(bytes),
        Err(_) => return Parsed::Refused(400),
    };
    if has_mixed_line_ends(bytes.get(..used).unwrap_or_default()) {
        return Parsed::Refused(400);
    }
    match head(&parsed) {
        Ok(head) => Parsed::Whole(head, used),
        Err(status) => Parsed::Refused(status),
    }
}

/// Whether some lines end with LF alone and others do not: a field that hides in the value of another one, from whoever reads
/// LF as part of a value. A head with LF alone throughout is what people type (RFC 9112 section 2.2).
fn has_mixed_line_ends(head: &[u8]) -> bool {
    // Empty lines before it belong to nothing.
    let begin = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    let head = head.get(begin..).unwrap_or_default();
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    let with = pairs.filter(|(first, second)| **first == b'\r' && **second == b'\n').count();
    with > 0 && with < lines
}

/// What a head that fills the whole buffer and still has no end is refused with.
pub(super) fn too_long(bytes: &[u8]) -> u16 {
    if bytes.contains(&b'\n') { 431 } else { 414 }
}

/// A version of HTTP that we do not speak, or no version: what the request line says when it is whole.
fn version_refused(bytes: &[u8]) -> Parsed<'_> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).skip_while(|line| line.is_empty());
    let (Some(line), Some(_)) = (lines.next(), lines.next()) else { return Parsed::Partial };
    let mut words = line.split(|byte| *byte == b' ');
    match [words.next(), words.next(), words.next(), words.next()] {
        [Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']), None] => {
            Parsed::Refused(505)
        }
        _ => Parsed::Refused(400),
    }
}

fn head<'a>(parsed: &httparse::Request<'_, 'a>) -> Result<Head<'a>, u16> {
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(400);
    };
    let mut request = Request::new(known(method), target);
    request.version = (1, minor);
    let (mut host, mut lengths, mut codings) = (false, None, None);
    let (mut close, mut keep_alive, mut expect) = (false, false, Expect::Nothing);
    for Header { name, value } in parsed.headers.iter() {
        let text = || std::str::from_utf8(value).map(str::trim_ascii).map_err(|_| 400u16);
        match name.len() {
            6 if name.eq_ignore_ascii_case("expect") => {
                expect = match text()? {
                    value if value.eq_ignore_ascii_case("100-continue") && expect != Expect::Other => Expect::Continue,
                    _ => Expect::Other,
                };
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in text()?.split(',').map(str::trim_ascii) {
                    close |= option.eq_ignore_ascii_case("close");
                    keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                if lengths.replace(length(text()?)?).is_some() {
                    return Err(400);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if codings.replace(text()?).is_some() {
                    return Err(400);
                }
            }
            // Two readers may take different ones (RFC 9112 section 3.2).
            4 if name.eq_ignore_ascii_case("host") && std::mem::replace(&mut host, true) => return Err(400),
            // What is no text matches nothing.
            _ => request.push(name, text().unwrap_or("\u{fffd}")),
        }
    }
    let framing = match (codings, lengths) {
        (None, None) => Framing::Empty,
        (None, Some(length)) => Framing::Length(length),
        // Two ways to say where the body ends, or one that an old client cannot mean (RFC 9112 section 6.1).
        (Some(_), Some(_)) => return Err(400),
        (Some(_), None) if minor == 0 => return Err(400),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (Some(_), None) => return Err(501),
    };
    // An old client does not know of it.
    let expect = if minor == 0 { Expect::Nothing } else { expect };
    let persistent = !close && (minor > 0 || keep_alive);
    Ok(Head { request, method, framing, persistent, expect })
}

fn known(method: &str) -> &'static Method {
    match method {
        "GET" => &Method::Get,
        "HEAD" => &Method::Head,
        "POST" => &Method::Post,
        "PUT" => &Method::Put,
        "DELETE" => &Method::Delete,
        "CONNECT" => &Method::Connect,
        "OPTIONS" => &Method::Options,
        "TRACE" => &Method::Trace,
        "PATCH" => &Method::Patch,
        _ => &UNKNOWN,
    }
}

/// Digits and nothing else (RFC 9110 section 8.6). More than 64 bits are a body that nobody can want to send.
fn length(value: &str) -> Result<u64, u16> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(400);
    }
    value.parse().map_err(|_| 413)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(head: &str) -> Result<(bool, Framing, Expect, usize), u16> {
        match parse(head.as_bytes()) {
            Parsed::Whole(head, used) => Ok((head.persistent, head.framing, head.expect, used)),
            Parsed::Refused(status) => Err(status),
            Parsed::Partial => Err(0),
        }
    }

    #[test]
    fn heads() {
        let whole = |lasts, framing, expect| Ok((lasts, framing, expect));
        let plain = whole(true, Framing::Empty, Expect::Nothing);
        let fields = |count: usize| "A: b\r\n".repeat(count);
        let rows = [
            ("GET / HTTP/1.1", String::new(), plain),
            ("GET / HTTP/1.0", String::new(), whole(false, Framing::Empty, Expect::Nothing)),
            ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n".into(), plain),
            (
                "GET / HTTP/1.1",
                "Connection: TE\r\nConnection: x, CLOSE\r\n".into(),
                whole(false, Framing::Empty, Expect::Nothing),
            ),
            ("GET / HTTP/1.1", "X: \u{e9}\r\n".into(), plain),
            ("GET / HTTP/1.1", fields(100), plain),
            ("GET / HTTP/1.1", fields(101), Err(431)),
            ("GET / HTTP/2.0", String::new(), Err(505)),
            ("PRI * HTTP/2.0", String::new(), Err(505)),
            ("GET / HTTP/1.2", String::new(), Err(505)),
            ("GET / http/1.1", String::new(), Err(400)),
            ("GET / HTTP/11", String::new(), Err(400)),
            ("GET /", String::new(), Err(400)),
            ("GET  / HTTP/1.1", String::new(), Err(400)),
            ("GET /  HTTP/1.1", String::new(), Err(400)),
            ("\nGET / HTTP/1.1", String::new(), plain),
            ("\r\n\r\nGET / HTTP/3.0", String::new(), Err(505)),
            ("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A : b\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", ": b\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A: b\r\n c\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A: b\rc\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A: b\nContent-Length: 5\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A: \0\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "A: \x7f\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length: 5\r\n".into(), whole(true, Framing::Length(5), Expect::Nothing)),
            ("GET / HTTP/1.1", "Content-Length: 5\r\nContent-Length: 5\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length: -5\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length: +5\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length: 5, 5\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length:\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Content-Length: 99999999999999999999\r\n".into(), Err(413)),
            ("GET / HTTP/1.1", "Transfer-Encoding: Chunked\r\n".into(), whole(true, Framing::Chunked, Expect::Nothing)),
            ("GET / HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n".into(), Err(501)),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".into(), Err(400)),
            ("GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n".into(), Err(400)),
            ("GET / HTTP/1.1", "Expect: 100-Continue\r\n".into(), whole(true, Framing::Empty, Expect::Continue)),
            (
                "GET / HTTP/1.1",
                "Expect: x\r\nExpect: 100-continue\r\n".into(),
                whole(true, Framing::Empty, Expect::Other),
            ),
            ("GET / HTTP/1.0", "Expect: x\r\nConnection: keep-alive\r\n".into(), plain),
        ];
        for (line, fields, expected) in rows {
            let head = format!("{line}\r\n{fields}\r\n");
            let found = outcome(&(head.clone() + "GET")).map(|(lasts, framing, expect, used)| {
                assert_eq!(used, head.len(), "{head:?}");
                (lasts, framing, expect)
            });
            assert_eq!(found, expected, "{head:?}");
            if expected.is_ok() {
                (0..head.len()).for_each(|until| {
                    let part = head.get(..until).map(outcome);
                    assert!(matches!(part, None | Some(Err(0))), "{head:?} until {until}");
                });
            }
        }
    }
}
