//! Bodies of requests, which nobody asked for: they are passed over, so that the connection can be used again. Pure: bytes in,
//! how many of them belong to the body out.

use crate::limits;

/// How the body of a request ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// A body that is being passed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passing {
    at: At,
    /// Bytes that may still come.
    left: u32,
}

/// What comes next. Line ends are CR LF and nothing else: who reads them otherwise sees other requests than we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many bytes of the content.
    Length(u64),
    /// The size of a chunk, of which so many digits have come.
    Size {
        size: u64,
        digits: u8,
    },
    /// What follows the size until the end of the line, which is passed over.
    Extension {
        size: u64,
    },
    /// The LF behind a size.
    SizeEnd {
        size: u64,
    },
    /// So many bytes of a chunk.
    Data(u64),
    /// The CR behind a chunk, then its LF.
    DataCr,
    DataLf,
    /// A trailer line, which is empty so far or not; the LF of it.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
    End,
}

/// The body is too long, or no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

impl Passing {
    /// Of a body that ends so; none if there is nothing to pass over.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        let at = match framing {
            Framing::Empty | Framing::Length(0) => return None,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Size { size: 0, digits: 0 },
        };
        Some(Self { at, left: limits::DRAINED as u32 })
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::End
    }

    /// How many of these bytes belong to the body.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut rest = bytes;
        while let (false, Some((first, behind))) = (self.is_over(), rest.split_first()) {
            let count = match &mut self.at {
                At::Length(left) | At::Data(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    count
                }
                at => {
                    *at = step(*at, *first)?;
                    1
                }
            };
            match self.at {
                At::Length(0) => self.at = At::End,
                At::Data(0) => self.at = At::DataCr,
                _ => {}
            }
            self.left = u32::try_from(count).ok().and_then(|count| self.left.checked_sub(count)).ok_or(Refused)?;
            rest = rest.get(count..).unwrap_or(behind);
        }
        Ok(bytes.len() - rest.len())
    }
}

/// One byte of what frames chunks (RFC 9112 section 7.1).
fn step(at: At, byte: u8) -> Result<At, Refused> {
    Ok(match (at, byte) {
        (At::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 16 => {
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            At::Size { size: size << 4 | digit, digits: digits + 1 }
        }
        (At::Size { size, digits: 1.. } | At::Extension { size }, b'\r') => At::SizeEnd { size },
        (At::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => At::Extension { size },
        (At::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => At::Extension { size },
        (At::SizeEnd { size: 0 }, b'\n') => At::Trailer { empty: true },
        (At::SizeEnd { size }, b'\n') => At::Data(size),
        (At::DataCr, b'\r') => At::DataLf,
        (At::DataLf, b'\n') => At::Size { size: 0, digits: 0 },
        (At::Trailer { empty }, b'\r') => At::TrailerLf { empty },
        (At::Trailer { .. }, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer { empty: false },
        (At::TrailerLf { empty: true }, b'\n') => At::End,
        (At::TrailerLf { empty: false }, b'\n') => At::Trailer { empty: true },
        _ => return Err(Refused),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes belong to the body, given in pieces of this size; none if it is refused or not over.
    fn passed(framing: Framing, bytes: &[u8], piece: usize) -> Option<usize> {
        let Some(mut passing) = Passing::new(framing) else { return Some(0) };
        let mut count = 0;
        for piece in bytes.chunks(piece) {
            let used = passing.pass(piece).ok()?;
            count += used;
            if used < piece.len() {
                break;
            }
        }
        passing.is_over().then_some(count)
    }

    #[test]
    fn bodies() {
        let chunks = b"5;a=\"b\"\r\nhello\r\n1\r\n\r\r\n0\r\nTrailer: x\r\n\r\n";
        let rows: &[(&str, Framing, &[u8], Option<usize>)] = &[
            ("none", Framing::Empty, b"GET", Some(0)),
            ("length 0", Framing::Length(0), b"GET", Some(0)),
            ("length", Framing::Length(5), b"helloGET", Some(5)),
            ("length, not all", Framing::Length(5), b"hell", None),
            ("length, too much", Framing::Length(1 << 40), &[0; limits::DRAINED + 1], None),
            ("length, all that is allowed", Framing::Length(65536), &[0; 65536], Some(65536)),
            ("chunks", Framing::Chunked, chunks, Some(chunks.len())),
            ("chunks, then more", Framing::Chunked, b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(5)),
            ("chunks, not all", Framing::Chunked, b"5\r\nhello\r\n0\r\n", None),
            ("sixteen digits", Framing::Chunked, b"000000000000000a\r\n0123456789\r\n0\r\n\r\n", Some(35)),
            ("seventeen digits", Framing::Chunked, b"00000000000000005\r\nhello\r\n0\r\n\r\n", None),
            ("a huge chunk", Framing::Chunked, b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", None),
            ("no size", Framing::Chunked, b"\r\n\r\n", None),
            ("no number", Framing::Chunked, b"xyz\r\n\r\n", None),
            ("negative", Framing::Chunked, b"-1\r\n\r\n", None),
            ("hexadecimal prefix", Framing::Chunked, b"0x5\r\nhello\r\n0\r\n\r\n", None),
            ("LF alone behind the size", Framing::Chunked, b"5\nhello\r\n0\r\n\r\n", None),
            ("LF in an extension", Framing::Chunked, b"5;a\nb\r\nhello\r\n0\r\n\r\n", None),
            ("CR in an extension", Framing::Chunked, b"5;a\rb\r\nhello\r\n0\r\n\r\n", None),
            ("no end of a chunk", Framing::Chunked, b"5\r\nhello0\r\n\r\n", None),
            ("a chunk too long", Framing::Chunked, b"5\r\nhello!\r\n0\r\n\r\n", None),
            ("LF alone in the trailer", Framing::Chunked, b"0\r\nA: b\n\r\n", None),
        ];
        for (name, framing, bytes, expected) in rows {
            for piece in [1, 2, 3, 7, usize::MAX] {
                assert_eq!(passed(*framing, bytes, piece), *expected, "{name}, in pieces of {piece}");
            }
        }
    }

    #[test]
    fn chunks_without_end_are_refused() {
        for line in [&b"1\r\na\r\n"[..], b"1;aaaaaaaaaaaaaaaa\r\na\r\n"] {
            let mut passing = Passing::new(Framing::Chunked).unwrap();
            let refused = (0..limits::DRAINED).map(|_| passing.pass(line)).position(|passed| passed.is_err());
            assert_eq!(refused, Some(limits::DRAINED / line.len()));
        }
    }
}
