//! What the pages of this server have in common: frame, style, and the policy that lets nothing else in.

use std::fmt::{Arguments, Result, Write};

use tiny_http::StatusCode;

/// The style of every page. Its hash stands in [`POLICY`].
const STYLE: &str = include_str!("page.css");

/// The `Content-Security-Policy` of every page: the style above and nothing more. A test holds hash and style together.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-WXeqMsRPhb33X9K8iv9ANBxfP6hGeXjq/+CgqasXI5Y='; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Begins a page; `title` is escaped already.
pub(super) fn open(out: &mut String, title: Arguments<'_>) -> Result {
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
}

/// Ends a page.
pub(super) fn close(out: &mut String) -> Result {
    out.write_str("</body>\n</html>\n")
}

/// The page that tells a person about an error.
pub(super) fn error(status: u16) -> String {
    let (reason, explanation) = (StatusCode(status).default_reason_phrase(), explanation(status));
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = open(&mut out, format_args!("{status} {reason}"))
        .and_then(|()| writeln!(out, "<main class=\"error\"><h1>{status} {reason}</h1><p>{explanation}</p></main>"))
        .and_then(|()| close(&mut out));
    out
}

/// The same as text.
pub(super) fn error_as_text(status: u16) -> String {
    format!("{status} {}: {}\n", StatusCode(status).default_reason_phrase(), explanation(status))
}

fn explanation(status: u16) -> &'static str {
    match status {
        400 => "The request is malformed.",
        401 => "This needs a name and a password.",
        403 => "You may not read this.",
        404 => "There is nothing at this address.",
        405 => "Files are only read here.",
        412 => "The file is not the one that was asked for.",
        413 => "A request has no body here.",
        414 => "The address is too long.",
        416 => "The file has no such bytes.",
        429 => "Too many passwords are tried. Please try again in a moment.",
        431 => "The request has too many fields.",
        501 => "This method is not known.",
        503 => "The server is busy. Please try again in a moment.",
        _ => "The server could not answer.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use sha2::Digest;

    #[test]
    fn the_policy_allows_exactly_our_style() {
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "the hash of page.css is {hash}");
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    }
}
