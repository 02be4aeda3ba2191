//! A request as plain data, whichever front it came through.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use tiny_http::Method;

use crate::limits;

/// What a client asked for. Only the fields that a file server decides by are kept, and two for logs; several lines of one field are
/// combined with a comma (RFC 9110 section 5.3).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method, e.g. `GET`.
    pub method: &'a Method,
    /// The request target as it stood in the request line (RFC 9112 section 3.2).
    pub target: &'a str,
    /// The version as (major, minor).
    pub version: (u8, u8),
    /// The address of the client, or of the proxy before it. Over a Unix socket there is none. Where it is not known, nobody is who may come from some networks
    /// alone, and all are one client who is wrong with a password.
    pub client: Option<IpAddr>,
    /// `Host`
    pub host: Option<Cow<'a, str>>,
    /// `Accept`
    pub accept: Option<Cow<'a, str>>,
    /// `Accept-Encoding`
    pub accept_encoding: Option<Cow<'a, str>>,
    /// `Range`
    pub range: Option<Cow<'a, str>>,
    /// `If-Range`
    pub if_range: Option<Cow<'a, str>>,
    /// `If-Match`
    pub if_match: Option<Cow<'a, str>>,
    /// `If-None-Match`
    pub if_none_match: Option<Cow<'a, str>>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<Cow<'a, str>>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<Cow<'a, str>>,
    /// `Referer`: for who is told of requests, no decision depends on it.
    pub referer: Option<Cow<'a, str>>,
    /// `User-Agent`: the same.
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
    /// A request without fields, of version 1.1.
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

    /// Takes in one field line. A field that no decision depends on is passed over.
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
        if before.len() + value.len() <= limits::FIELD_VALUE {
            let combined = before.to_mut();
            combined.push_str(", ");
            combined.push_str(value);
        }
    }

    /// Same as [`push`](Self::push), as a chain.
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
