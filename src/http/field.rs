//! Fields as they stand in a head (RFC 9112 section 5).

/// Appends a line with this field.
pub(crate) fn write(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(!name.is_empty() && !value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}
