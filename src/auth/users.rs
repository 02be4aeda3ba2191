//! An htpasswd file: a name and a bcrypt hash in each line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use bcrypt::BASE_64;
use subtle::ConstantTimeEq;

use super::basic::{Key, Tag};
use crate::limits;

/// The beginnings of the hashes that are known. They are the same function but for what old programs did wrong with it.
const KINDS: [&[u8]; 3] = [b"$2a$", b"$2b$", b"$2y$"];
/// Bytes of a password that bcrypt looks at; htpasswd cuts there, too.
const LOOKED_AT: usize = 72;
/// Bytes of a name; htpasswd makes no longer one.
const NAME: usize = 255;

/// Who may come in.
pub(super) struct Users {
    /// By the tags of their names: how long a search takes says nothing about names. There is at least one.
    sorted: Vec<(Tag, Hash)>,
}

/// A bcrypt hash, taken apart.
struct Hash {
    cost: u32,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read or what is wrong with which line, in one line. What stands there is not repeated: it may be a
    /// password.
    pub(super) fn read(path: &Path, key: &Key) -> Result<Self, String> {
        let name = path.display().to_string();
        let failed = |error| format!("cannot read {name}: {error}");
        // To open a fifo would wait for somebody who writes.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(format!("cannot read {name}: it is no file"));
        }
        let mut text = Vec::new();
        let most = limits::AUTH_FILE as u64;
        File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut text)).map_err(failed)?;
        if text.len() as u64 > most {
            return Err(format!("{name} has more than {most} bytes"));
        }
        Self::parse(&text, key).map_err(|(line, reason)| match line {
            Some(line) => format!("{name}, line {line}: {reason}"),
            None => format!("{name}: {reason}"),
        })
    }

    fn parse(text: &[u8], key: &Key) -> Result<Self, (Option<usize>, String)> {
        let mut users = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                let (name, hash) = user(line).map_err(|reason| (Some(number), reason))?;
                users.push((key.of_name(name), number, hash));
            }
        }
        users.sort_unstable_by_key(|(tag, number, _)| (*tag, *number));
        let mut pairs = users.iter().zip(users.iter().skip(1));
        if let Some(((_, first, _), (_, second, _))) = pairs.find(|((one, ..), (other, ..))| one == other) {
            return Err((Some(*second), format!("the same user as in line {first}")));
        }
        if users.is_empty() {
            return Err((None, "there is no user in it: make one with htpasswd -B".into()));
        }
        Ok(Self { sorted: users.into_iter().map(|(tag, _, hash)| (tag, hash)).collect() })
    }

    /// Whether this is the password of that user. It takes as long for a user that there is not.
    pub(super) fn verify(&self, name: &Tag, password: &[u8]) -> bool {
        let (at, known) = match self.sorted.binary_search_by(|(tag, _)| tag.cmp(name)) {
            Ok(at) => (at, true),
            // The hash of somebody else, always the same for this name: its cost is one that there is.
            Err(at) => (at % self.sorted.len().max(1), false),
        };
        self.sorted.get(at).is_some_and(|(_, hash)| hash.verify(password)) && known
    }
}

impl Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut key = [0; LOOKED_AT];
        let length = password.len().min(LOOKED_AT);
        // With the zero that ends it, if there is room.
        let end = (length + 1).min(LOOKED_AT);
        if let (Some(room), Some(password)) = (key.get_mut(..length), password.get(..length)) {
            room.copy_from_slice(password);
        }
        let digest = bcrypt::bcrypt(self.cost, self.salt, key.get(..end).unwrap_or(&key));
        digest.get(..self.digest.len()).is_some_and(|digest| self.digest.ct_eq(digest).into())
    }
}

/// The name and the hash in a line.
fn user(line: &[u8]) -> Result<(&[u8], Hash), String> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("no colon between a name and a hash")?;
    let (name, rest) = line.split_at(colon);
    if name.is_empty() || name.len() > NAME || name.iter().any(u8::is_ascii_control) {
        return Err(format!("no name of 1 to {NAME} bytes before the colon"));
    }
    hash(rest.strip_prefix(b":").unwrap_or(rest)).map(|hash| (name, hash))
}

/// Takes `$2y$05$` and 53 characters apart, 22 of which are the salt.
fn hash(text: &[u8]) -> Result<Hash, String> {
    if !KINDS.iter().any(|kind| text.starts_with(kind)) {
        return Err("not a bcrypt hash ($2y$, $2b$ or $2a$): make it with htpasswd -B".into());
    }
    let broken = || "a bcrypt hash that is not whole: make it with htpasswd -B".to_owned();
    let (Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'$']), Some(salt), Some(digest)) =
        (text.get(4..7), text.get(7..29), text.get(29..))
    else {
        return Err(broken());
    };
    let cost = u32::from((tens - b'0') * 10 + (ones - b'0'));
    let (least, most) = (limits::BCRYPT_COST_MIN, limits::BCRYPT_COST_MAX);
    if !(least..=most).contains(&cost) {
        return Err(format!("a hash of cost {cost}, not within {least} to {most}: make it with htpasswd -B -C 10"));
    }
    let mut hash = Hash { cost, salt: [0; 16], digest: [0; 23] };
    // One that is shorter has no place in the search for a password, and one that is longer does not fit.
    let whole = BASE_64.decode_slice(salt, &mut hash.salt) == Ok(hash.salt.len())
        && digest.len() == 31
        && BASE_64.decode_slice(digest, &mut hash.digest) == Ok(hash.digest.len());
    whole.then_some(hash).ok_or_else(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that another program made: password, hash.
    const KNOWN: &[(&str, &str)] = &[
        ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("", "$2y$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq"),
        ("Grüße: €", "$2y$04$abcdefghijklmnopqrstuuxPsBP2vhEbnQ/jtC7kjpSQD8Ff8cige"),
        (X71, "$2y$04$abcdefghijklmnopqrstuu.gc7UY/21CSNJGJg21jJzx9QiOpJ9bO"),
        (X72, "$2y$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"),
        ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    ];
    const X71: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    const X72: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    fn parse(text: &str, key: &Key) -> Result<Users, (Option<usize>, String)> {
        Users::parse(text.as_bytes(), key)
    }

    #[test]
    fn a_password_is_known_by_its_hash() {
        let key = Key::random();
        for (password, hash) in KNOWN {
            let users = parse(&format!("ann:{hash}"), &key).map_err(|_| hash).unwrap();
            let ask = |name: &str, password: &str| users.verify(&key.of_name(name.as_bytes()), password.as_bytes());
            assert!(ask("ann", password), "{hash}");
            assert!(!ask("ann", &format!(" {password}")), "{hash}");
            assert!(!ask("ann", &password.to_uppercase()) || password.is_empty(), "{hash}");
            assert!(!ask("Ann", password) && !ask("", password), "somebody else, whatever hash stands in");
        }
        // Of a long one the beginning counts, as for whoever made the hash.
        let users = parse(&format!("ann:{}", KNOWN[6].1), &key).map_err(|_| "").unwrap();
        assert!(users.verify(&key.of_name(b"ann"), format!("{X72}and more").as_bytes()));
    }

    #[test]
    fn each_user_has_a_password_of_its_own() {
        let key = Key::random();
        let text = format!("# who\n\n ann:{} \r\nbert:{}\n\t# end\nc d:{}", KNOWN[0].1, KNOWN[3].1, KNOWN[4].1);
        let users = parse(&text, &key).map_err(|(line, reason)| format!("{line:?} {reason}")).unwrap();
        let passwords = [KNOWN[0].0, KNOWN[3].0, KNOWN[4].0];
        for (name, own) in ["ann", "bert", "c d"].iter().zip(passwords) {
            for password in passwords {
                let right = users.verify(&key.of_name(name.as_bytes()), password.as_bytes());
                assert_eq!(right, password == own, "{name} {password}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_nothing_of_it_is_repeated() {
        let (key, good) = (Key::random(), KNOWN[0].1);
        let with = |from: &str, to: &str| format!("ann:{}", good.replacen(from, to, 1));
        for (text, line, word) in [
            (String::new(), None, "no user"),
            ("# nobody\n\n".into(), None, "no user"),
            ("tellnoone".into(), Some(1), "colon"),
            (format!("# a\nann:{good}\ntellnoone"), Some(3), "colon"),
            (format!(":{good}"), Some(1), "name"),
            (format!("{}:{good}", "a".repeat(256)), Some(1), "name"),
            (format!("a\u{7}b:{good}"), Some(1), "name"),
            (format!("ann:{good}\nbert:{good}\nann:{good}"), Some(3), "line 1"),
            ("ann:tellnoone".into(), Some(1), "htpasswd -B"),
            ("ann:".into(), Some(1), "htpasswd -B"),
            ("ann:$apr1$tellnoone$tellnoonetellnoonete.".into(), Some(1), "htpasswd -B"),
            ("ann:{SHA}tellnoone=".into(), Some(1), "htpasswd -B"),
            ("ann:$6$tellnoone$tellnoone".into(), Some(1), "htpasswd -B"),
            ("ann:rqXexS6ZhobKA".into(), Some(1), "htpasswd -B"),
            (with("$2y$", "$2x$"), Some(1), "not a bcrypt"),
            (with("$2y$", "$2$"), Some(1), "not a bcrypt"),
            (with("$04$", "$03$"), Some(1), "cost 3,"),
            (with("$04$", "$15$"), Some(1), "cost 15,"),
            (with("$04$", "$31$"), Some(1), "-C 10"),
            (with("$04$", "$4$"), Some(1), "not whole"),
            (with("$04$", "$+4$"), Some(1), "not whole"),
            (with("abc", "ab"), Some(1), "not whole"),
            (with("abc", "abcd"), Some(1), "not whole"),
            (with("abc", "a!c"), Some(1), "not whole"),
            (with("uu2r", "uz2r"), Some(1), "not whole"),
            (with("abc", "äc"), Some(1), "not whole"),
            (format!("ann:{good}:tellnoone"), Some(1), "not whole"),
        ] {
            let (at, reason) = parse(&text, &key).map(|_| text.clone()).unwrap_err();
            assert_eq!(at, line, "{text}: {reason}");
            assert!(
                reason.contains(word) && !reason.contains("tellnoone") && !reason.contains('\n'),
                "{text}: {reason}"
            );
        }
    }
}
