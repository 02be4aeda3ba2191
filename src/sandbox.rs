//! What the process may still do once it serves: read what is served, and hardly anything else. Whatever a defect would let
//! somebody do in our name, the kernel does not.
//!
//! What is told here holds for the calling thread and those that it starts later. So it comes when all sockets listen, and
//! before there is another thread.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, Front};
use crate::rules::Symlinks;
use crate::user::User;

/// What stays allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Folders beneath which files are read and folders listed.
    pub read: Vec<PathBuf>,
    /// Folders beneath which files are read, but nothing is listed.
    pub reread: Vec<PathBuf>,
    /// Folders beneath which folders are listed, but nothing is read.
    pub list: Vec<PathBuf>,
    /// Folders beneath which files are created and written.
    pub write: Vec<PathBuf>,
    /// Folders from which names are removed.
    pub remove: Vec<PathBuf>,
    /// TCP ports that are connected to.
    pub connect: Vec<u16>,
}

impl Allowed {
    /// What a server with this configuration needs that listens at these ports, and at Unix sockets whose names it made.
    ///
    /// # Errors
    /// Those of finding where a path leads.
    pub fn for_server(config: &Config, ports: impl IntoIterator<Item = u16>, names: &[PathBuf]) -> io::Result<Self> {
        let everything = config.rules.symlinks == Symlinks::Follow;
        let root = config.root.canonicalize()?;
        // Of one file the folder: another one may take its place.
        let root = if root.is_dir() { root } else { folder_of(&root) };
        // Where its name is, and where a link in its place leads to.
        let reread = match &config.auth {
            Some(file) => vec![folder_of(file).canonicalize()?, folder_of(&file.canonicalize()?)],
            None => Vec::new(),
        };
        let tiny = config.front == Front::TinyHttp;
        let mut allowed = Self {
            read: vec![if everything { "/".into() } else { root }],
            reread,
            // It looks for the sockets that tiny_http holds in /proc/self/fd. That folder comes and goes with the memory that the
            // kernel has, and with it what is allowed beneath it; this one stays.
            list: if tiny { vec!["/proc".into()] } else { Vec::new() },
            // Where the access log is opened anew.
            write: match config.access_log.as_deref() {
                // Where its name is, and where a link in its place leads to.
                Some(file) if file != Path::new("-") => match file.canonicalize() {
                    Ok(real) => vec![folder_of(file).canonicalize()?, folder_of(&real)],
                    // It is open, and is nowhere: /dev/stdout that is a pipe. There is nothing to be opened anew.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    Err(error) => return Err(error),
                },
                _ => Vec::new(),
            },
            remove: names.iter().map(|name| folder_of(name).canonicalize()).collect::<io::Result<_>>()?,
            connect: if tiny { ports.into_iter().collect() } else { Vec::new() },
        };
        allowed.reread.dedup();
        allowed.write.dedup();
        let Self { read, reread, .. } = &mut allowed;
        reread.retain(|folder| !read.iter().any(|read| folder.starts_with(read)));
        Ok(allowed)
    }
}

/// The folder in which a file lies.
fn folder_of(file: &Path) -> PathBuf {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Gives up everything but that, for good, and becomes this user, if there is one. Returns what holds from now on, and what the kernel lacks, in one line.
///
/// # Errors
/// The kernel has what is wanted and refuses it, or something that stays allowed cannot be found.
#[cfg(target_os = "linux")]
pub fn enter(allowed: &Allowed, user: Option<&User>) -> Result<String, String> {
    linux::enter(allowed, user)
}

/// There is nothing of the kind.
///
/// # Errors
/// Those of [`User::enter`].
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Allowed, user: Option<&User>) -> Result<String, String> {
    user.map_or(Ok(()), User::enter)?;
    Ok("nothing is given up: that needs Linux".into())
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Allowed, PathBuf, User};
    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetError, Scope,
    };
    use rustix::io::Errno;
    use rustix::thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    };

    /// What of Landlock is used: all that this version knows, as far as the kernel knows it, too. What later versions forbid is
    /// for whoever has tried them.
    const KNOWN: ABI = ABI::V6;

    /// What each version of Landlock has brought, and what therefore is not restricted before.
    const BROUGHT: [(ABI, &str); 4] = [
        (ABI::V3, "truncating files"),
        (ABI::V4, "TCP"),
        (ABI::V5, "ioctl on devices"),
        (ABI::V6, "signals and abstract sockets"),
    ];

    pub(super) fn enter(allowed: &Allowed, user: Option<&User>) -> Result<String, String> {
        let failed = |error: String| format!("sandbox: {error} (--no-sandbox does without)");
        set_no_new_privs(true).map_err(|error| failed(format!("new privileges cannot be ruled out: {error}")))?;
        // As who can find all of that.
        let landlock = restrict(allowed).map_err(failed)?;
        forgo_capabilities();
        user.map_or(Ok(()), User::enter)?;
        let capabilities = match drop_capabilities() {
            Ok(()) => "no capabilities".into(),
            Err(error) => format!("capabilities are kept: {error}"),
        };
        Ok(format!("{}; no new privileges, {capabilities}", describe(allowed, landlock)))
    }

    /// With Landlock, if there is some.
    fn restrict(allowed: &Allowed) -> Result<LandlockStatus, String> {
        let failed = |error: RulesetError| format!("Landlock refuses: {error}");
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
            .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
            .and_then(Ruleset::create)
            .map_err(failed)?;
        // A log is appended to, and begun anew once it is moved away.
        let write = AccessFs::WriteFile | AccessFs::MakeReg;
        let folders: [(&[PathBuf], BitFlags<AccessFs>); 5] = [
            (&allowed.read, AccessFs::ReadFile | AccessFs::ReadDir),
            (&allowed.reread, AccessFs::ReadFile.into()),
            (&allowed.list, AccessFs::ReadDir.into()),
            (&allowed.write, write),
            (&allowed.remove, AccessFs::RemoveFile.into()),
        ];
        for (paths, access) in folders {
            for path in paths {
                let folder = PathFd::new(path).map_err(|error| error.to_string())?;
                rules = rules.add_rule(PathBeneath::new(folder, access)).map_err(failed)?;
            }
        }
        for port in &allowed.connect {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(failed)?;
        }
        rules.restrict_self().map(|status| status.landlock).map_err(failed)
    }

    /// Those that a program would get that is started by root. Who may not do this would start none that gets some: that
    /// new privileges are ruled out sees to it.
    fn forgo_capabilities() {
        // The first number that the kernel does not know is the end.
        (0..u64::BITS)
            .map(|number| CapabilitySet::from_bits_retain(1 << number))
            .take_while(|capability| remove_capability_from_bounding_set(*capability).is_ok())
            .for_each(drop);
    }

    /// Those of this thread.
    fn drop_capabilities() -> rustix::io::Result<()> {
        match clear_ambient_capability_set() {
            // Kernels before 4.3 have none.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
        let none = CapabilitySet::empty();
        // A filter of system calls may forbid the call, and need not matter where there is nothing to give up.
        if capabilities(None).is_ok_and(|have| (have.effective | have.permitted | have.inheritable).is_empty()) {
            return Ok(());
        }
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
    }

    fn describe(allowed: &Allowed, landlock: LandlockStatus) -> String {
        let abi = match landlock {
            LandlockStatus::Available { effective_abi, .. } => effective_abi,
            LandlockStatus::NotEnabled => {
                return "files and network are not restricted: Landlock is switched off".into();
            }
            _ => return "files and network are not restricted: there is no Landlock (the kernel lacks it, or a filter of system calls hides it)".into(),
        };
        let names =
            |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ");
        let read = names(&[&allowed.read[..], &allowed.reread].concat());
        let read = if read == "/" { "reads everything".into() } else { format!("reads beneath {read} alone") };
        let write = match &allowed.write[..] {
            [] => "writes nothing".into(),
            folders => format!("writes beneath {}", names(folders)),
        };
        let write = match &allowed.remove[..] {
            [] => write,
            folders => format!("{write}, removes names beneath {}", names(folders)),
        };
        let connect = match &allowed.connect[..] {
            _ if abi < ABI::V4 => String::new(),
            [] => ", binds and connects nothing".into(),
            ports => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                format!(", binds nothing, connects to port {} alone", ports.join(" and "))
            }
        };
        let missing: Vec<_> = BROUGHT.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect();
        let missing = match &missing[..] {
            [] => String::new(),
            missing => format!(", which does not restrict {}", missing.join(", ")),
        };
        // `V7`
        let version = format!("{abi:?}");
        format!("{read}, {write}{connect} (Landlock ABI {}{missing})", version.trim_start_matches('V'))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_holds_and_what_is_missing_is_said() {
            let allowed = |read: &str, connect: &[u16], write: &[&str]| Allowed {
                read: vec![read.into()],
                reread: Vec::new(),
                list: Vec::new(),
                remove: Vec::new(),
                write: write.iter().map(PathBuf::from).collect(),
                connect: connect.to_vec(),
            };
            let www = allowed("/srv/www", &[], &[]);
            let have = |abi| LandlockStatus::Available { effective_abi: abi, kernel_abi: None };
            for (allowed, landlock, expected) in [
                (
                    &www,
                    have(ABI::V7),
                    "reads beneath /srv/www alone, writes nothing, binds and connects nothing (Landlock ABI 7)",
                ),
                (
                    &Allowed { reread: vec!["/etc/brooklet".into()], ..www.clone() },
                    have(ABI::V6),
                    "reads beneath /srv/www and /etc/brooklet alone, writes nothing, binds and connects nothing (Landlock ABI 6)",
                ),
                (
                    &allowed("/", &[80], &["/var/log", "/a"]),
                    have(ABI::V5),
                    "reads everything, writes beneath /var/log and /a, binds nothing, connects to port 80 alone \
                     (Landlock ABI 5, which does not restrict signals and abstract sockets)",
                ),
                (
                    &allowed("/srv/www", &[80], &[]),
                    have(ABI::V1),
                    "reads beneath /srv/www alone, writes nothing (Landlock ABI 1, which does not restrict truncating files, \
                     TCP, ioctl on devices, signals and abstract sockets)",
                ),
                (&www, LandlockStatus::NotEnabled, "files and network are not restricted: Landlock is switched off"),
                (
                    &www,
                    LandlockStatus::NotImplemented,
                    "files and network are not restricted: there is no Landlock (the kernel lacks it, or a filter of system calls hides it)",
                ),
            ] {
                assert_eq!(describe(allowed, landlock), expected);
            }
        }
    }
}
