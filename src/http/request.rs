//! A request as plain data, whichever front it came through.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use tiny_http::Method;

use crate::limits;

/// A request as plain data, for [`Site::answer`](crate::Site::answer).
///
/// It holds the header fields that a file server decides by (`Authorization` among them, which is not shown), and two for logs; all
/// others are ignored. Several lines of one field are
/// combined with a comma (RFC 9110 section 5.3), up to 8 KiB. A request of HTTP/1.1 needs a `Host`, or it is answered 400.
///
/// ```
/// use brooklet::{Request, tiny_http::Method};
///
/// let mut request = Request::new(&Method::Get, "/film.mkv?download");
/// request.push("host", "example.org");
/// request.push("Range", "bytes=0-499");
/// request.client = Some([192, 0, 2, 1].into());
/// assert_eq!(request.range.as_deref(), Some("bytes=0-499"));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method, e.g. `GET`.
    pub method: &'a Method,
    /// The request target as it stands in the request line, percent-encoded and with its query (RFC 9112 section 3.2).
    pub target: &'a str,
    /// The version of HTTP, major and minor.
    pub version: (u8, u8),
    /// The address of the client, or of the proxy before it; `None` if it is not known, as over a Unix socket. Then
    /// [`Rules::allow`](crate::Rules::allow) lets nobody in, unless it is empty, and wrong passwords are counted as those of one client.
    pub client: Option<IpAddr>,
    /// `Host` (RFC 9110 section 7.2).
    pub host: Option<Cow<'a, str>>,
    /// `Accept` (RFC 9110 section 12.5.1).
    pub accept: Option<Cow<'a, str>>,
    /// `Accept-Encoding` (RFC 9110 section 12.5.3).
    pub accept_encoding: Option<Cow<'a, str>>,
    /// `Range` (RFC 9110 section 14.2).
    pub range: Option<Cow<'a, str>>,
    /// `If-Range` (RFC 9110 section 13.1.5).
    pub if_range: Option<Cow<'a, str>>,
    /// `If-Match` (RFC 9110 section 13.1.1).
    pub if_match: Option<Cow<'a, str>>,
    /// `If-None-Match` (RFC 9110 section 13.1.2).
    pub if_none_match: Option<Cow<'a, str>>,
    /// `If-Modified-Since` (RFC 9110 section 13.1.3).
    pub if_modified_since: Option<Cow<'a, str>>,
    /// `If-Unmodified-Since` (RFC 9110 section 13.1.4).
    pub if_unmodified_since: Option<Cow<'a, str>>,
    /// `Referer`, for logs: no answer depends on it.
    pub referer: Option<Cow<'a, str>>,
    /// `User-Agent`, for logs: no answer depends on it.
    pub user_agent: Option<Cow<'a, str>>,
    /// `Authorization`
    pub(crate) authorization: Secret<'a>,
}

/// A value that is shown to nobody.
#[derive(Clone, Default)]
pub(crate) struct Secret<'a>(pub(crate) Option<Cow<'a, str>>);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

impl<'a> Request<'a> {
    /// A request of HTTP/1.1 without fields, from an unknown client.
    pub fn new(method: &'a Method, target: &'a str) -> Self {
        Self {
            method,
            target,
            version: (1, 1),
            client: None,
            host: None,
            accept: None,
            accept_encoding: None,
            range: None,
            if_range: None,
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            referer: None,
            user_agent: None,
            authorization: Secret(None),
        }
    }

    /// Adds one field line. The name is compared without regard to case; fields that are not needed are ignored. Do not call it with
    /// lines that were not parsed as RFC 9110 section 5.5 says: the value must not have CR, LF or NUL in it.
    pub fn push(&mut self, name: &str, value: &'a str) {
        let slot = match name.len() {
            4 if name.eq_ignore_ascii_case("host") => &mut self.host,
            5 if name.eq_ignore_ascii_case("range") => &mut self.range,
            6 if name.eq_ignore_ascii_case("accept") => &mut self.accept,
            7 if name.eq_ignore_ascii_case("referer") => &mut self.referer,
            8 if name.eq_ignore_ascii_case("if-range") => &mut self.if_range,
            8 if name.eq_ignore_ascii_case("if-match") => &mut self.if_match,
            10 if name.eq_ignore_ascii_case("user-agent") => &mut self.user_agent,
            13 if name.eq_ignore_ascii_case("if-none-match") => &mut self.if_none_match,
            13 if name.eq_ignore_ascii_case("authorization") => &mut self.authorization.0,
            15 if name.eq_ignore_ascii_case("accept-encoding") => &mut self.accept_encoding,
            17 if name.eq_ignore_ascii_case("if-modified-since") => &mut self.if_modified_since,
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => &mut self.if_unmodified_since,
            _ => return,
        };
        let Some(before) = slot else {
            *slot = Some(Cow::Borrowed(value));
            return;
        };
        if before.len() + 2 + value.len() <= limits::FIELD_VALUE {
            let combined = before.to_mut();
            combined.push_str(", ");
            combined.push_str(value);
        }
    }

    /// Adds one field line, as [`push`](Self::push) does, and returns the request.
    pub fn with(mut self, name: &str, value: &'a str) -> Self {
        self.push(name, value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let request = Request::new(&Method::Get, "/").with("authorization", "Basic secret");
        assert_eq!(request.authorization.0.as_deref(), Some("Basic secret"));
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn lines_of_one_field_are_combined_and_bounded() {
        let request = Request::new(&Method::Get, "/").with("accept", "a/b").with("ACCEPT", "c/d").with("x", "y");
        assert_eq!(request.accept.as_deref(), Some("a/b, c/d"));
        let long = "x".repeat(limits::FIELD_VALUE);
        let request = Request::new(&Method::Get, "/").with("Range", &long).with("Range", "bytes=0-1");
        assert_eq!(request.range.as_deref(), Some(long.as_str()));
    }
}
