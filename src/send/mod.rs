//! An answer on its way to the client: its head as bytes, and the copy of its body.

pub(crate) mod copy;
mod fair;
pub(crate) mod pace;
pub(crate) mod slice;

use std::io::Write;

use crate::answer::{Answer, field_line};

/// Sees to it that a client of this version learns where the body ends. Returns whether that is where the connection does: there
/// is no other way if the length is not known and the client knows no chunks (RFC 9112 section 6.3).
pub(crate) fn frame(answer: &mut Answer, version: (u8, u8)) -> bool {
    if answer.body.is_sized() {
        return false;
    }
    let chunks = version >= (1, 1);
    if chunks {
        answer.body = std::mem::take(&mut answer.body).chunked();
    }
    !chunks
}

/// Writes the head of an answer (RFC 9112 section 4) behind what is in `out`: the status line, the fields that every answer
/// has, those of this one. `date` and `connection` are the values of these fields, if they are to be sent.
pub(crate) fn head(out: &mut Vec<u8>, answer: &Answer, date: Option<&str>, connection: Option<&str>) {
    match answer.status.0 {
        // What most answers begin with need not be formatted.
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        // Writing to a vector never fails.
        status => drop(write!(out, "HTTP/1.1 {status} {}\r\n", answer.status.default_reason_phrase())),
    }
    if let Some(date) = date {
        field_line(out, "Date", date);
    }
    match answer.content_length {
        Some(length) => field_line(out, "Content-Length", &length.to_string()),
        None if answer.body.is_chunked() => field_line(out, "Transfer-Encoding", "chunked"),
        None => {}
    }
    answer.fields.write(out);
    if let Some(connection) = connection {
        field_line(out, "Connection", connection);
    }
    out.extend_from_slice(b"\r\n");
}
