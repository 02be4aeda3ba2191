//! Who the process becomes once it listens: a user without the rights of root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user, and all the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl User {
    /// Finds `USER` or `USER:GROUP`, names or numbers, in `/etc/passwd` and `/etc/group`. Without a group it is that of the user.
    /// The further groups of the user are those that name it. Of a number that nobody has, the group must be said, too.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn find(text: &str) -> Result<Self, String> {
        // What cannot be read names nobody; numbers do without it.
        let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Self::find_in(text, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn find_in(text: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (user, wanted) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let entry = find(passwd, user);
        let uid = entry.as_ref().map(|entry| entry.id).or_else(|| id(user));
        let uid = uid.ok_or_else(|| format!("user: there is no user {user} in /etc/passwd, and it is no number"))?;
        let gid = match wanted {
            Some(wanted) => find(group, wanted)
                .map(|entry| entry.id)
                .or_else(|| id(wanted))
                .ok_or_else(|| format!("user: there is no group {wanted} in /etc/group, and it is no number"))?,
            None => entry
                .as_ref()
                .and_then(|entry| id(entry.rest.split(':').next()?))
                .ok_or_else(|| format!("user: which group {user} is in stands nowhere: say it as {user}:GROUP"))?,
        };
        let name = entry.map_or(user, |entry| entry.name);
        let further = entries(group).filter(|entry| entry.rest.split(',').any(|member| member == name));
        let mut groups: Vec<u32> = further.map(|entry| entry.id).chain([gid]).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(Self { name: name.into(), uid, gid, groups })
    }

    /// Becomes this user for good. Only the calling thread does, and those that it starts later: call it before there are others.
    ///
    /// # Errors
    /// Why not: only root can.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn enter(&self) -> Result<(), String> {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let groups: Vec<_> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // The right to do it goes with the last of them.
        set_thread_groups(&groups)
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .map_err(|error| format!("user: cannot become {self}: {error}; only root can"))
    }

    /// Has a command run as this user, in its group alone.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// There is no way to.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn enter(&self) -> Result<(), String> {
        Err(format!("user: cannot become {self}: brooklet can on Linux alone"))
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {} (UID {}, GID {})", self.name, self.uid, self.gid)
    }
}

/// A line of one of the files: `name:password:number:` and the rest.
struct Entry<'a> {
    name: &'a str,
    id: u32,
    rest: &'a str,
}

/// The entry of this name, or else of this number: a name may look like a number (`chown(1)` does the same).
fn find<'a>(file: &'a str, text: &str) -> Option<Entry<'a>> {
    let named = entries(file).find(|entry| entry.name == text);
    named.or_else(|| entries(file).find(|entry| id(text) == Some(entry.id)))
}

/// Lines that are no entries name nobody.
fn entries(file: &str) -> impl Iterator<Item = Entry<'_>> {
    file.lines().filter_map(|line| {
        let mut parts = line.splitn(4, ':');
        let (name, _, number, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Entry { name, id: id(number)?, rest })
    })
}

/// A number of a user or a group; the last one says that there is none (`setresuid(2)`).
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# a line that is none\nwww:x:33:34:W:/:/no\nodd:x:y:1::\n";
        let group = "root:x:0:\nwww:x:34:\nmedia:x:50:ann,www\nwwwx:x:60:wwwx\nlog:x:7:www\n";
        for (text, expected) in [
            ("www", Ok(("www", 33, 34, &[7, 34, 50][..]))),
            ("33", Ok(("www", 33, 34, &[7, 34, 50]))),
            ("www:media", Ok(("www", 33, 50, &[7, 50]))),
            ("www:0", Ok(("www", 33, 0, &[0, 7, 50]))),
            ("1234:1235", Ok(("1234", 1234, 1235, &[1235]))),
            ("1234:log", Ok(("1234", 1234, 7, &[7]))),
            ("1234", Err("1234:GROUP")),
            ("nobody", Err("no user nobody")),
            ("www:nobody", Err("no group nobody")),
            ("www:", Err("no group")),
            (":www", Err("no user")),
            ("", Err("no user")),
            ("-1", Err("no user -1")),
            ("+33", Err("no user +33")),
            ("4294967295:0", Err("no user 4294967295")),
            ("4294967296:0", Err("no user 4294967296")),
            ("odd", Err("no user odd")),
        ] {
            let found = User::find_in(text, passwd, group);
            let found = found.as_ref().map(|user| (&*user.name, user.uid, user.gid, &*user.groups));
            match (found, expected) {
                (Err(error), Err(word)) => assert!(error.contains(word), "{text}: {error}"),
                (found, expected) => assert_eq!(found.map_err(|error| &**error), expected, "{text}"),
            }
        }
        let found = User::find_in("33", "www:x:33:34::\n33:x:1000:1001::\n", "");
        assert_eq!(found.map(|user| (user.uid, user.gid)), Ok((1000, 1001)), "a name that looks like a number");
        assert!(User::find_in("0:0", "", "").is_ok_and(|user| user.uid == 0));
    }
}
