//! HTTP Basic, and the memory of credentials that were verified.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::Denied;
use super::budget::Budget;
use super::users::Users;
use crate::limits;
use crate::network;

/// The users of an htpasswd file with bcrypt hashes, for [`Site::with_auth`](crate::Site::with_auth). A
/// [`Server`](crate::Server) reads its own, [`Config::auth`](crate::Config::auth). Needs the feature `auth`.
///
/// To verify a password takes long on purpose. One that was right is remembered for its client, as a digest with a key of this process,
/// so that a page of many parts is verified once; few are verified at once, and a client with many wrong ones has to wait (429).
pub struct Auth {
    path: PathBuf,
    key: Key,
    current: RwLock<Arc<Current>>,
    budget: Budget,
}

/// What one reading of the file has brought. What was verified against it ends with it.
struct Current {
    users: Users,
    verified: Mutex<Verified>,
}

impl Auth {
    /// Reads a file with `user:hash` in each line, as `htpasswd -B` writes it: hashes of bcrypt (`$2y$`, `$2b$` or `$2a$`) with a cost of
    /// 4 to 14. Empty lines and those that begin with `#` are skipped. Up to 1 MiB.
    ///
    /// # Errors
    /// In one line: why the file cannot be read or used.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, String> {
        let (path, key) = (path.as_ref().to_owned(), Key::random());
        let current = Current::read(&path, &key)?;
        Ok(Self { path, key, current: RwLock::new(current), budget: Budget::new() })
    }

    /// Reads the file again. Every password is verified anew then; transfers in flight go on.
    ///
    /// # Errors
    /// As [`read`](Self::read); the users stay as they were.
    pub fn reload(&self) -> Result<(), String> {
        let fresh = Current::read(&self.path, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Whether the client may come in with this value of `Authorization` (RFC 7617 section 2).
    pub(crate) fn check(
        &self,
        authorization: Option<&str>,
        client: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<(), Denied> {
        let mut room = [0; limits::CREDENTIALS];
        let Some(credentials) = authorization.and_then(|value| credentials(value, &mut room)) else {
            return Err(Denied::Unknown);
        };
        // Those of whom nothing is known are one client.
        let client = network::of_client(client.unwrap_or(Ipv6Addr::UNSPECIFIED.into()));
        let tag = self.key.of_credentials(&credentials, client);
        // Not the lock: others go on while this lasts, and the file may be read again.
        let current = Arc::clone(&*self.current.read().unwrap_or_else(PoisonError::into_inner));
        if current.verified().knows(&tag) {
            return Ok(());
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let verifying = self.budget.begin(client, now).map_err(Denied::Later)?;
        if !current.users.verify(&self.key.of_name(credentials.name), credentials.password) {
            return Err(Denied::Unknown);
        }
        verifying.succeeded();
        current.verified().keep(tag);
        Ok(())
    }
}

/// The name in a value of `Authorization`, whether it is right or not.
pub(crate) fn name(authorization: &str) -> Option<String> {
    let mut room = [0; limits::CREDENTIALS];
    credentials(authorization, &mut room).map(|credentials| String::from_utf8_lossy(credentials.name).into_owned())
}

/// Nothing of what is in it.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Current {
    fn read(path: &Path, key: &Key) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self { users: Users::read(path, key)?, verified: Mutex::default() }))
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name and a password.
struct Credentials<'a> {
    name: &'a [u8],
    password: &'a [u8],
}

/// Decodes them into the room; none if they are malformed, or longer than any that could be right.
fn credentials<'a>(value: &str, room: &'a mut [u8]) -> Option<Credentials<'a>> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let length = STANDARD.decode_slice(encoded.trim_ascii(), room).ok()?;
    let decoded = room.get(..length)?;
    if decoded.iter().any(u8::is_ascii_control) {
        return None;
    }
    // A name has no colon, a password may.
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Credentials { name: decoded.get(..colon)?, password: decoded.get(colon + 1..)? })
}

/// What is remembered of something secret: its digest with a key (SipHash-2-4, 128 bits).
pub(super) type Tag = [u8; 16];

/// The key of this process.
pub(super) struct Key([u8; 16]);

impl Key {
    /// From the random numbers of the operating system, by way of the standard library.
    pub(super) fn random() -> Self {
        let random = RandomState::new();
        let [one, other] = [1u64, 2].map(|number| random.hash_one(number));
        Self(((u128::from(one) << 64) | u128::from(other)).to_ne_bytes())
    }

    pub(super) fn of_name(&self, name: &[u8]) -> Tag {
        self.digest(&[b"name:", name])
    }

    /// Of what was decoded: the same credentials can be written in several ways. And of the client: another one, who guesses,
    /// must not learn at once, and without a try less, what was right for this one.
    fn of_credentials(&self, credentials: &Credentials<'_>, client: IpAddr) -> Tag {
        let client = match client {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        self.digest(&[b"credentials:", &client.octets(), credentials.name, b":", credentials.password])
    }

    fn digest(&self, parts: &[&[u8]]) -> Tag {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        parts.iter().for_each(|part| hasher.write(part));
        hasher.finish128().as_bytes()
    }
}

/// The credentials that were verified, those that were last used.
#[derive(Default)]
struct Verified {
    /// Their tags, and when each was used. Nobody can choose a tag: how long a search takes says nothing.
    entries: HashMap<Tag, u64>,
    /// Counts uses.
    clock: u64,
}

impl Verified {
    /// Whether this is one of them.
    fn knows(&mut self, tag: &Tag) -> bool {
        self.clock += 1;
        let used = self.entries.get_mut(tag);
        used.map(|used| *used = self.clock).is_some()
    }

    /// Keeps one, in place of the one that was not used for longest if there are too many.
    fn keep(&mut self, tag: Tag) {
        if self.entries.len() >= limits::VERIFIED && !self.entries.contains_key(&tag) {
            let oldest = self.entries.iter().min_by_key(|(_, used)| **used).map(|(tag, _)| *tag);
            oldest.and_then(|tag| self.entries.remove(&tag));
        }
        self.clock += 1;
        self.entries.insert(tag, self.clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tempfile::TempDir;

    /// Of `secret`, and of the empty password.
    const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    const EMPTY: &str = "$2y$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq";
    const NOW: SystemTime = UNIX_EPOCH;

    fn auth(text: &str) -> (TempDir, Auth) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users"), text).unwrap();
        let auth = Auth::read(folder.path().join("users")).unwrap();
        (folder, auth)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn credentials_are_read_in_one_way() {
        let mut room = [0; limits::CREDENTIALS];
        let mut read = |value: &str| {
            credentials(value, &mut room).map(|c| format!("{} {}", c.name.escape_ascii(), c.password.escape_ascii()))
        };
        for (value, expected) in [
            (basic("a:b"), Some("a b")),
            (basic("a:b").replacen("Basic ", "bASIC   ", 1), Some("a b")),
            (basic("a:b:c"), Some("a b:c")),
            (basic(":"), Some(" ")),
            (basic("a b:"), Some("a b ")),
            (basic("ü:"), Some("\\xc3\\xbc ")),
            (basic("a"), None),
            (basic(""), None),
            (basic("a:b\0"), None),
            (basic("a\n:b"), None),
            (basic("a:b\u{7f}"), None),
            ("Basic".into(), None),
            ("Basic ".into(), None),
            ("Bearer YTpi".into(), None),
            ("Basic YTpi".into(), Some("a b")),
            ("Basic YTpi=".into(), None),
            ("Basic YTo".into(), None),
            ("Basic YTo=".into(), Some("a ")),
            // Bits that no encoder writes.
            ("Basic YTp=".into(), None),
            ("Basic YTpi, Basic YTpi".into(), None),
            ("Basic YTpi Basic".into(), None),
            ("Basic ÄÖÜ=".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(read(&value).as_deref(), expected, "{value}");
        }
        let long = "x".repeat(limits::CREDENTIALS);
        assert!(read(&basic(&format!("a:{}", &long[2..]))).is_some());
        assert!(read(&basic(&format!("a:{long}"))).is_none());
    }

    #[test]
    fn what_was_right_is_let_in_though_there_is_no_try_left_and_nothing_else_is() {
        let (_folder, auth) = auth(&format!("ann:{SECRET}\nbert:{EMPTY}"));
        let ask = |credentials: &str| auth.check(Some(&basic(credentials)), None, NOW);
        assert_eq!(ask("ann:secret"), Ok(()));
        let tries = (0..100).take_while(|_| ask("ann:wrong") == Err(Denied::Unknown)).count();
        assert_eq!(tries, limits::AUTH_FAILURES as usize);
        assert_eq!(ask("ann:wrong"), Err(Denied::Later(limits::AUTH_PAUSE)));
        assert_eq!(ask("ann:secret"), Ok(()), "it is remembered");
        assert_eq!(auth.check(Some(&basic("ann:secret").replace("Basic", "basic ")), None, NOW), Ok(()));
        assert_eq!(ask("bert:"), Err(Denied::Later(limits::AUTH_PAUSE)), "it is not, though it is right");
        // Without credentials nothing is verified, and nobody has to wait.
        assert_eq!(auth.check(None, None, NOW), Err(Denied::Unknown));
        assert_eq!(auth.check(Some("Basic ???"), None, NOW), Err(Denied::Unknown));
        let elsewhere = Some("2001:db8::1".parse().unwrap());
        assert_eq!(auth.check(Some(&basic("bert:")), elsewhere, NOW), Ok(()), "another client");
        let guess = |credentials: &str| auth.check(Some(&basic(credentials)), elsewhere, NOW);
        while guess("ann:wrong") == Err(Denied::Unknown) {}
        assert_eq!(
            guess("ann:secret"),
            Err(Denied::Later(limits::AUTH_PAUSE)),
            "what is right elsewhere is no hint here"
        );
        assert_eq!(auth.check(Some(&basic("ann:wrong")), None, NOW + Duration::from_secs(5)), Err(Denied::Unknown));
    }

    #[test]
    fn the_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let (folder, auth) = auth(&format!("ann:{SECRET}"));
        let ask = |credentials: &str| auth.check(Some(&basic(credentials)), None, NOW);
        let write = |text: &str| std::fs::write(folder.path().join("users"), text).unwrap();
        assert_eq!(ask("ann:secret"), Ok(()));
        write("ann:secret");
        assert!(auth.reload().unwrap_err().contains("line 1"));
        assert_eq!(ask("ann:secret"), Ok(()));
        write(&format!("ann:{EMPTY}"));
        assert_eq!(ask("ann:secret"), Ok(()), "nobody has read it");
        auth.reload().unwrap();
        assert_eq!(ask("ann:secret"), Err(Denied::Unknown), "what was verified before counts no more");
        assert_eq!(ask("ann:"), Ok(()));
        drop(folder);
        assert!(auth.reload().is_err());
        assert_eq!(ask("ann:"), Ok(()));
        assert!(!format!("{auth:?}").contains("$2y$"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let mut verified = Verified::default();
        let tag = |number: u32| u128::from(number).to_ne_bytes();
        let count = limits::VERIFIED as u32;
        verified.keep(tag(0));
        for number in 1..=3 * count {
            verified.keep(tag(number));
            verified.keep(tag(number));
            assert!(verified.knows(&tag(0)) && verified.knows(&tag(number)));
            assert!(verified.entries.len() <= limits::VERIFIED);
        }
        let known = (0..=3 * count).filter(|number| verified.knows(&tag(*number)));
        assert!(known.eq(std::iter::once(0).chain(2 * count + 2..=3 * count)));
    }

    #[test]
    fn each_key_has_its_own_tags() {
        let (one, other) = (Key::random(), Key::random());
        assert_ne!(one.of_name(b"a"), other.of_name(b"a"));
        assert_ne!(one.of_name(b"a"), one.of_name(b"b"));
        let of =
            |password, client: &str| one.of_credentials(&Credentials { name: b"a", password }, client.parse().unwrap());
        assert_eq!(of(b"b", "::1"), of(b"b", "::1"));
        assert_ne!(of(b"b", "::1"), of(b"c", "::1"));
        assert_ne!(of(b"b", "::1"), of(b"b", "::2"));
    }
}
