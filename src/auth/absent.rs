//! In the place of `basic` where the feature `auth` is off: there is no [`Auth`].

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use super::Denied;

/// Stands in for the users of an htpasswd file while the feature `auth` is off: it has no value.
#[derive(Debug)]
pub enum Auth {}

impl Auth {
    /// Fails.
    ///
    /// # Errors
    /// Always: the feature `auth` is off.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, String> {
        Err(format!("{}: this brooklet is built without the feature auth", path.as_ref().display()))
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn reload(&self) -> Result<(), String> {
        match *self {}
    }

    pub(crate) fn check(&self, _: Option<&str>, _: Option<IpAddr>, _: SystemTime) -> Result<(), Denied> {
        match *self {}
    }
}

pub(crate) fn name(_: &str) -> Option<String> {
    None
}
