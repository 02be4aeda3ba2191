//! The two files at the root of a site that static hosts know, `_headers` and `_redirects`: their grammar, and what of them
//! a path gets. A line that is wrong is left out, with its number and the reason; the rest holds.

pub(crate) mod headers;
mod pattern;
pub(crate) mod redirects;

use crate::limits::{SITE_FILE, SITE_FILE_LINE, SITE_FILE_RULES};

pub(crate) use pattern::Path;

/// Wrong lines that are told one by one: a file that is something else altogether does not fill the log.
const TOLD: usize = 20;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<R> {
    /// In the order of the file.
    pub(crate) rules: Vec<R>,
    /// The first wrong lines.
    pub(crate) wrong: Vec<Wrong>,
    /// Wrong lines beyond these.
    pub(crate) more_wrong: usize,
}

/// A line that is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

impl<R> Default for Parsed<R> {
    fn default() -> Self {
        Self { rules: Vec::new(), wrong: Vec::new(), more_wrong: 0 }
    }
}

impl<R> Parsed<R> {
    fn wrong(&mut self, line: usize, reason: &'static str) {
        match self.wrong.len() {
            TOLD => self.more_wrong += 1,
            _ => self.wrong.push(Wrong { line, reason }),
        }
    }
}

/// The lines that say something, without the blanks around them; why one of them cannot be read.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<&str, &'static str>)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // What does not fit ends with the last whole line that does.
    let whole = match text.get(..SITE_FILE) {
        Some(fits) if text.len() > SITE_FILE => fits.iter().rposition(|byte| *byte == b'\n').unwrap_or(0),
        _ => text.len(),
    };
    let (whole, rest) = text.split_at(whole);
    let last = whole.iter().filter(|byte| **byte == b'\n').count() + 2;
    let cut = (!rest.is_empty()).then_some((last, Err("this and what follows is beyond 64 KiB")));
    let read = whole.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, read(line)));
    read.filter(|(_, line)| !line.is_ok_and(|line| line.is_empty() || line.starts_with('#'))).chain(cut)
}

fn read(line: &[u8]) -> Result<&str, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > SITE_FILE_LINE {
        return Err("longer than 2,000 bytes");
    }
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a control character");
    }
    Ok(text.trim_matches([' ', '\t']))
}

/// Whether there is room for another one; if not, that is said.
fn has_room<R>(parsed: &mut Parsed<R>, count: usize, line: usize) -> bool {
    if count >= SITE_FILE_RULES {
        parsed.wrong(line, "this and what follows is beyond 1,000 rules");
    }
    count < SITE_FILE_RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_text_of_a_bounded_length() {
        let long = "x".repeat(SITE_FILE_LINE);
        let text = format!("\u{feff}a\r\n\n # b\n\tc \n\u{7f}\n{long}\n{long}x\n");
        let bytes = [text.as_bytes(), b"\xff\n"].concat();
        let found: Vec<_> = lines(&bytes).collect();
        let expected = [
            (1, Ok("a")),
            (4, Ok("c")),
            (5, Err("a control character")),
            (6, Ok(&*long)),
            (7, Err("longer than 2,000 bytes")),
            (8, Err("not UTF-8")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_that_is_too_long_ends_with_its_last_whole_line() {
        let beyond = Err("this and what follows is beyond 64 KiB");
        let text = "ab\n".repeat(SITE_FILE / 3 + 1);
        let found: Vec<_> = lines(text.as_bytes()).collect();
        assert_eq!(found.len(), SITE_FILE / 3 + 1);
        assert_eq!(found.last(), Some(&(SITE_FILE / 3 + 1, beyond)));
        assert_eq!(lines(&text.as_bytes()[..SITE_FILE]).find(|(_, line)| line.is_err()), None);
        assert_eq!(lines(&vec![b'x'; SITE_FILE + 1]).last(), Some((2, beyond)));
    }

    #[test]
    fn not_every_wrong_line_is_told() {
        let parsed = redirects::parse("x\n".repeat(TOLD + 5).as_bytes());
        assert_eq!((parsed.rules.len(), parsed.wrong.len(), parsed.more_wrong), (0, TOLD, 5));
        let parsed = redirects::parse("/a /b\n".repeat(SITE_FILE_RULES + 5).as_bytes());
        assert_eq!((parsed.rules.len(), parsed.wrong.len(), parsed.more_wrong), (SITE_FILE_RULES, 1, 0));
    }
}
