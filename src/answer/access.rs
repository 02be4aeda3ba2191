//! Whether a client is answered at all: by where it comes from, then by name and password.

use std::sync::Arc;
use std::time::SystemTime;

use tiny_http::Method;

use super::{Field, Refusal, Site};
use crate::auth::{self, Auth, Denied};
use crate::http::request::Request;
use crate::limits;
use crate::seldom::Seldom;

/// Asks a client for name and password (RFC 7617 section 2.1).
const CHALLENGE: &str = "Basic realm=\"brooklet\", charset=\"UTF-8\"";
/// What is not for everybody is kept by nobody who serves others.
const PRIVATE: &str = "private";

/// How far a client may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    In,
    /// As far as what is the same for everybody.
    AtTheDoor,
}

impl Site {
    /// Answers only requests with the name and password of one of these users; others get 401, or 429 after too many wrong passwords.
    /// With [`Rules::cors`](crate::Rules::cors) a preflight request (OPTIONS) needs no password: browsers send it without.
    ///
    /// Answers without a `Cache-Control` of their own say `private` then: by RFC 9111 section 3.5 a shared cache stores no answer to a
    /// request with credentials, but not every cache heeds that.
    ///
    /// Passwords cross the network unencrypted: put a proxy that speaks TLS before it.
    pub fn with_auth(self, auth: Arc<Auth>) -> Self {
        Self { auth: Some(auth), ..self }.private()
    }

    /// For files.
    pub(super) fn private(mut self) -> Self {
        if self.auth.is_some() && self.rules.cache_control.is_none() {
            self.rules.cache_control = Some(PRIVATE.into());
        }
        self
    }

    /// For whatever is no file.
    pub(super) fn keep_private(&self, fields: &mut Vec<Field>) {
        if self.auth.is_none() {
            return;
        }
        match fields.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("Cache-Control")) {
            // What is looked at anew each time may be kept all the same.
            Some((_, value)) if value == "no-cache" => *value = "private, no-cache".into(),
            Some(_) => {}
            None => fields.push(("Cache-Control".into(), PRIVATE.into())),
        }
    }

    /// Who has asked, of an answer that they were not refused: the name that was verified.
    pub(crate) fn user(&self, request: &Request<'_>) -> Option<String> {
        self.auth.as_ref().and(request.authorization.0.as_deref()).and_then(auth::name)
    }

    /// Whether the request is answered.
    pub(super) fn admit(&self, request: &Request<'_>, now: SystemTime) -> Result<Admitted, Refusal> {
        let allow = &self.rules.allow;
        // Of whom nothing is known, nobody is sure that it may.
        let from = |client| allow.iter().any(|network| network.contains(client));
        if !allow.is_empty() && !request.client.is_some_and(from) {
            return Err(Refusal::from(403));
        }
        match &self.auth {
            Some(_) if *request.method == Method::Options && self.rules.cors.is_some() => Ok(Admitted::AtTheDoor),
            Some(auth) => {
                let checked = auth.check(request.authorization.0.as_deref(), request.client, now);
                if matches!(checked, Err(Denied::Later(time)) if time != limits::AUTH_BUSY) {
                    static SELDOM: Seldom = Seldom::new();
                    let client = request.client.map_or("a client".into(), |client| client.to_canonical().to_string());
                    SELDOM.warn(format_args!(
                        "{client} was wrong with too many passwords, and has to wait for the next try"
                    ));
                }
                checked?;
                Ok(Admitted::In)
            }
            None => Ok(Admitted::In),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self { status: 401, field: Some(("WWW-Authenticate".into(), CHALLENGE.into())) },
            Denied::Later(time) => {
                // The whole second that it is over in.
                let seconds = time.as_millis().div_ceil(1000).max(1);
                Self { status: 429, field: Some(("Retry-After".into(), seconds.to_string().into())) }
            }
        }
    }
}
