//! Names of files and what clients say, escaped for where they stand: in a URL, in HTML, in JSON, in a field, in a log.

use std::fmt::{self, Display, Formatter, Write};

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
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
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
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        characters(self.0, |c| json(c, f))
    }
}

/// The same in ASCII alone, so that a terminal that shows it takes nothing of it for a command, and no letter turns the line
/// around (U+202E).
pub(crate) struct AsciiJson<'a>(pub(crate) &'a str);

impl Display for AsciiJson<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_ascii() {
            true => json(c, f),
            // Beyond U+FFFF there are two units (RFC 8259 section 7).
            false => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}")),
        })
    }
}

fn json(c: char, f: &mut Formatter<'_>) -> fmt::Result {
    match c {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        // The separators end a line in JavaScript, and `<` a script: who pastes JSON into a page is safe as well.
        '<' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", c as u32),
        c if c.is_control() => write!(f, "\\u{:04x}", c as u32),
        c => f.write_char(c),
    }
}

/// Text between quotation marks in a line of a log, as nginx escapes it: what is no visible ASCII or space, and what would end
/// or escape the text, as `\xHH` for each byte.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

/// The same without spaces, where these separate the fields of a line.
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bytes(self.0, b' ', f)
    }
}

impl Display for Word<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bytes(self.0, b'!', f)
    }
}

/// Leaves the bytes from `least` to `~` as they are, but for two, and in one piece what needs no escape.
fn bytes(text: &str, least: u8, f: &mut Formatter<'_>) -> fmt::Result {
    let plain = |b: u8| (least..=b'~').contains(&b) && b != b'"' && b != b'\\';
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| !plain(b)) {
        // All before it are ASCII, so this is where a character begins.
        let (before, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        f.write_str(before)?;
        let mut characters = behind.chars();
        if let Some(c) = characters.next() {
            c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|b| write!(f, "\\x{b:02X}"))?;
        }
        rest = characters.as_str();
    }
    f.write_str(rest)
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
        let said = "a <\"\\\r\n\t\u{1b}\u{7f}\u{9b}\u{e9}\u{202e}\u{1f600}~";
        let quoted = "a <\\x22\\x5C\\x0D\\x0A\\x09\\x1B\\x7F\\xC2\\x9B\\xC3\\xA9\\xE2\\x80\\xAE\\xF0\\x9F\\x98\\x80~";
        assert_eq!(Quoted(said).to_string(), quoted);
        assert_eq!(Word(said).to_string(), quoted.replace(' ', "\\x20"));
        let json = "a \\u003c\\\"\\\\\\u000d\\u000a\\u0009\\u001b\\u007f\\u009b\\u00e9\\u202e\\ud83d\\ude00~";
        assert_eq!(AsciiJson(said).to_string(), json);
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
