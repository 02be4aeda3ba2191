//! Names of files, escaped for where they stand: in a URL, in HTML, in JSON, in a field.

use std::fmt::{self, Display, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All but the unreserved characters (RFC 3986 section 2.3) and the slash between segments. The colon is encoded too,
/// else a relative reference to a file `javascript:x` would be a scheme.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path for a URL. The outcome is ASCII and means the same in HTML, JSON and a field.
pub(crate) fn path(bytes: &[u8]) -> impl Display + '_ {
    percent_encode(bytes, PATH)
}

/// Text for an element or a quoted attribute of HTML; bytes that are no UTF-8 and control characters as U+FFFD.
pub(crate) struct Html<'a>(pub(crate) &'a [u8]);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        characters(self.0, |c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER),
            c => f.write_char(c),
        })
    }
}

/// The inside of a JSON string (RFC 8259 section 7); bytes that are no UTF-8 as U+FFFD.
pub(crate) struct Json<'a>(pub(crate) &'a [u8]);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        characters(self.0, |c| match c {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            // The separators end a line in JavaScript, and `<` a script: who pastes JSON into a page is safe as well.
            '<' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", c as u32),
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32),
            c => f.write_char(c),
        })
    }
}

/// What percent-encoding leaves as it is in a field (RFC 8187 section 3.2.1).
const FIELD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The value of `Content-Disposition` (RFC 6266) that makes a browser store what it gets in a file of this name. Those that
/// know ASCII alone get it with `_` for what they could take otherwise.
pub(crate) fn attachment(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%'));
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    match ascii == name {
        true => format!("attachment; filename=\"{ascii}\""),
        false => {
            let encoded = percent_encode(name.as_bytes(), FIELD);
            format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
        }
    }
}

fn characters(bytes: &[u8], mut write: impl FnMut(char) -> fmt::Result) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().try_for_each(&mut write)?;
        if !chunk.invalid().is_empty() {
            write(char::REPLACEMENT_CHARACTER)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_escape() {
        let name = b"a<b>&\"'\n\xff\xc3\xa9\\:/";
        assert_eq!(Html(name).to_string(), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}é\\:/");
        assert_eq!(Json(name).to_string(), "a\\u003cb>&\\\"'\\u000a\u{fffd}é\\\\:/");
        assert_eq!(path(name).to_string(), "a%3Cb%3E%26%22%27%0A%FF%C3%A9%5C%3A/");
    }

    #[test]
    fn a_name_to_store_something_under() {
        for (name, value) in [
            (&b"a b.iso"[..], "attachment; filename=\"a b.iso\""),
            (
                b"a\"\r\nX: y\\%41;",
                "attachment; filename=\"a___X: y__41;\"; filename*=UTF-8''a%22%0D%0AX%3A%20y%5C%2541%3B",
            ),
            ("sp\u{e4}\u{202e}".as_bytes(), "attachment; filename=\"sp__\"; filename*=UTF-8''sp%C3%A4%E2%80%AE"),
            (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        ] {
            assert_eq!(attachment(name), value);
        }
    }
}
