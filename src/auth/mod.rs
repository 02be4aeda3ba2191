//! Who may come in, by name and password: HTTP Basic (RFC 7617) against an htpasswd file.
//!
//! To verify a password costs much on purpose. So that neither a page of many parts nor a flood of wrong passwords can make
//! the server pay for each request,
//! - credentials that were verified are remembered, some of them, by a keyed digest (`basic`);
//! - few are verified at once, one for each client, and who was wrong too often has to wait (`budget`). Nobody waits inside.

use std::time::Duration;

#[cfg(feature = "auth")]
mod basic;
#[cfg(feature = "auth")]
mod budget;
#[cfg(feature = "auth")]
mod users;

#[cfg(not(feature = "auth"))]
#[path = "absent.rs"]
mod basic;

pub use basic::Auth;
pub(crate) use basic::name;

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "auth"), expect(dead_code, reason = "nobody is asked"))]
pub(crate) enum Denied {
    /// Without credentials, or with wrong ones.
    Unknown,
    /// They were not looked at. The client may come again after this time.
    Later(Duration),
}
