//! What the pages of this server have in common: frame, style, and the policy that lets nothing else in.

use std::fmt::{Arguments, Result, Write};

use tiny_http::StatusCode;

/// The style of every page. Its hash stands in [`POLICY`].
const STYLE: &str = include_str!("page.css");

/// The script of a listing. Its hash stands in [`LISTING_POLICY`].
const SCRIPT: &str = include_str!("page.js");

/// The `Content-Security-Policy` of a page: the style above and nothing more. A test holds hash and style together.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-lhO2F9g7OPqcmKyCgm4d2918HwZIEPu8hw1DWQcxR1A='; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
/// The same of a listing, which has the script above and a form.
pub(super) const LISTING_POLICY: &str = "default-src 'none'; style-src 'sha256-lhO2F9g7OPqcmKyCgm4d2918HwZIEPu8hw1DWQcxR1A='; script-src 'sha256-gJdj3vaVG2Q4Ran3mc7XSHk9ytT+mOhiXztSKFZEk1w='; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

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

/// Ends a page that has a script.
pub(super) fn close_with_script(out: &mut String) -> Result {
    writeln!(out, "<script>{SCRIPT}</script>")?;
    close(out)
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
        406 => "The file is not there in a coding that you accept.",
        408 => "The request did not come in time.",
        412 => "The file is not the one that was asked for.",
        413 => "A request has no body here.",
        414 => "The address is too long.",
        416 => "The file has no such bytes.",
        417 => "The expectation of the request cannot be met.",
        429 => "Too many passwords are tried. Please try again in a moment.",
        431 => "The request has too many fields.",
        501 => "This method is not known.",
        503 => "The server is busy. Please try again in a moment.",
        505 => "This version of HTTP is not spoken here.",
        _ => "The server could not answer.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use sha2::Digest;

    #[test]
    fn the_policy_allows_exactly_our_style_and_our_script() {
        let hash = |text| base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let allowed = format!("default-src 'none'; style-src 'sha256-{style}'; ");
        assert!(POLICY.starts_with(&allowed), "the hash of page.css is {style}");
        assert!(LISTING_POLICY.starts_with(&allowed), "the hash of page.css is {style}");
        assert!(
            LISTING_POLICY.contains(&format!("; script-src 'sha256-{script}'; ")),
            "the hash of page.js is {script}"
        );
        assert!(!POLICY.contains("script") && !POLICY.contains("unsafe") && !LISTING_POLICY.contains("unsafe"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<') && !SCRIPT.contains('<'));
    }
}
