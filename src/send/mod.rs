//! An answer on its way to the client: its head as bytes, and the copy of its body.

pub(crate) mod copy;
pub(crate) mod slice;

use std::io::Write;

use crate::answer::Answer;

/// Writes the head of an answer (RFC 9112 section 4) behind what is in `out`: the status line, the fields that every answer
/// has, those of this one. `date` and `connection` are the values of these fields, if they are to be sent.
pub(crate) fn head(out: &mut Vec<u8>, answer: &Answer, date: Option<&str>, connection: Option<&str>) {
    // Writing to a vector never fails.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status.0, answer.status.default_reason_phrase());
    let mut field = |name: &str, value: &str| {
        debug_assert!(!name.is_empty() && !value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    if let Some(date) = date {
        field("Date", date);
    }
    if let Some(length) = answer.content_length {
        field("Content-Length", &length.to_string());
    }
    for (name, value) in answer.fields.iter() {
        field(name, value);
    }
    if let Some(connection) = connection {
        field("Connection", connection);
    }
    out.extend_from_slice(b"\r\n");
}
