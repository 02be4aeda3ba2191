//! The only place that opens what a client named: beneath the root, by handle.
//!
//! The kernel resolves the path (`openat2(2)` with RESOLVE_BENEATH), or where it cannot, [`walk`] does, handle by
//! handle. Either way no check can be outrun by a rename, symbolic links work as long as they stay beneath the root, and
//! an absolute link is refused wherever it leads; unless [`Symlinks`] say otherwise.

mod folder;
mod walk;

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::io::Errno;

use crate::http::validator::Version;
use crate::rules::Symlinks;
pub(crate) use folder::{MANY, NAME, Reader};

/// Without waiting for whoever holds the other end of a fifo, and never making a terminal ours.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A folder that is held open, and all that lies beneath it; or one file in it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// Also that of the copies in bodies that are read while they are sent.
    root: Arc<OwnedFd>,
    /// The name of the one file that there is, if the root is no folder.
    only: Option<Box<[u8]>>,
    resolver: Resolver,
    pub(crate) symlinks: Symlinks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolver {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Kernel,
    Walk,
}

/// What was found at a path: these two are all that is ever served.
#[derive(Debug)]
pub(crate) enum Found {
    File(File, Version),
    Folder(File),
}

/// Where a file is, without symbolic links on the way, and which one it is.
#[derive(Debug)]
pub(crate) struct Place {
    /// Device and inode of each folder on the way, from the root on.
    folders: Vec<(u64, u64)>,
    pub(crate) version: Version,
}

/// One entry of a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) folder: bool,
    /// Bytes, of a file.
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

impl Tree {
    /// The folder, or the file, that is there now. Of a file the folder is held in which it lies, so that another file that takes
    /// its place is seen.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let open = |folder: &Path| {
            rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        let (root, only) = match open(root) {
            Err(rustix::io::Errno::NOTDIR) if root.is_file() => {
                let path = root.canonicalize()?;
                let (folder, name) = path.parent().zip(path.file_name()).ok_or(io::ErrorKind::NotFound)?;
                (open(folder)?, Some(name.as_bytes().into()))
            }
            folder => (folder?, None),
        };
        let resolver = Resolver::for_root(root.as_fd());
        Ok(Self { root: Arc::new(root), only, resolver, symlinks: Symlinks::Inside })
    }

    /// The path of the one file that there is, if the root is no folder.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        self.only.as_deref()
    }

    /// Opens the file or folder at `path`: segments joined by `/`, the empty path is the root.
    ///
    /// # Errors
    /// Those of `openat2(2)`; [`io::ErrorKind::NotFound`] for what is neither a regular file nor a folder.
    pub(crate) fn open(&self, path: &[u8]) -> io::Result<Found> {
        let symlinks = match self.only() {
            // Whatever lies beside it is not served, and what a link in its place leads to is another file.
            Some(only) if only != path => return Err(io::ErrorKind::NotFound.into()),
            Some(_) => Symlinks::Never,
            None => self.symlinks,
        };
        self.open_from(self.root.as_fd(), path, symlinks)
    }

    /// Opens the file or folder at `path` beneath an open folder, with no symbolic link on the way.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub(crate) fn open_beneath(&self, folder: &File, path: &[u8]) -> io::Result<Found> {
        self.open_from(folder.as_fd(), path, Symlinks::Never)
    }

    fn open_from(&self, folder: BorrowedFd<'_>, path: &[u8], symlinks: Symlinks) -> io::Result<Found> {
        let file = File::from(self.resolver.open(folder, path, symlinks)?);
        let metadata = file.metadata()?;
        if metadata.is_file() {
            Ok(Found::File(file, version(&metadata)))
        } else if metadata.is_dir() {
            Ok(Found::Folder(file))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Where the file at `path` is. None if there is no file, or a symbolic link on the way.
    pub(crate) fn place(&self, path: &[u8]) -> Option<Place> {
        let mut folders = Vec::new();
        for folder in folders_of(path) {
            folders.push(self.folder(folder)?);
        }
        Some(Place { folders, version: self.version(path)? })
    }

    /// Whether the file at `path` is the same one, in the same place, and unchanged.
    ///
    /// The folders are looked at before the file. A folder that is moved away in between takes the file along, and no file
    /// comes to another place without a new change time: so it was there when its folder was looked at.
    pub(crate) fn is_still(&self, path: &[u8], place: &Place) -> bool {
        folders_of(path).zip(&place.folders).all(|(folder, known)| self.folder(folder) == Some(*known))
            && self.version(path) == Some(place.version)
    }

    fn folder(&self, path: &[u8]) -> Option<(u64, u64)> {
        let (kind, version) = look(self.root.as_fd(), path)?;
        (kind == FileType::Directory).then_some((version.device, version.inode))
    }

    fn version(&self, path: &[u8]) -> Option<Version> {
        let (kind, version) = look(self.root.as_fd(), path)?;
        (kind == FileType::RegularFile).then_some(version)
    }

    /// What is under this name in an open folder at `path`; none if [`open`](Self::open) would not find it.
    pub(crate) fn entry(&self, folder: &File, path: &[u8], name: &[u8]) -> Option<Entry> {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let modified = since_1970(stat.st_mtime);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(Entry { folder: true, length: 0, modified }),
            FileType::RegularFile => Some(Entry { folder: false, length: stat.st_size.unsigned_abs(), modified }),
            FileType::Symlink => self.behind_link(path, name),
            _ => None,
        }
    }

    fn behind_link(&self, path: &[u8], name: &[u8]) -> Option<Entry> {
        let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
        match self.open(&[path, separator, name].concat()).ok()? {
            Found::File(_, version) => {
                Some(Entry { folder: false, length: version.length, modified: version.modified })
            }
            Found::Folder(folder) => {
                Some(Entry { folder: true, length: 0, modified: folder.metadata().ok()?.modified().ok()? })
            }
        }
    }
}

impl Resolver {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn for_root(root: BorrowedFd<'_>) -> Self {
        // Kernels before 5.6 do not know the call, and some container runtimes forbid what they do not know.
        match Self::Kernel.open(root, b"", Symlinks::Inside) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                log::info!("the kernel has no openat2: paths are resolved folder by folder");
                Self::Walk
            }
            _ => Self::Kernel,
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn for_root(_: BorrowedFd<'_>) -> Self {
        Self::Walk
    }

    fn open(self, root: BorrowedFd<'_>, path: &[u8], symlinks: Symlinks) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Kernel => {
                use rustix::fs::ResolveFlags;
                let resolve = ResolveFlags::NO_MAGICLINKS
                    | match symlinks {
                        Symlinks::Inside => ResolveFlags::BENEATH,
                        Symlinks::Never => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                        Symlinks::Follow => ResolveFlags::empty(),
                    };
                let mut tries = crate::limits::OPEN_TRIES;
                loop {
                    match rustix::fs::openat2(root, path, READ, Mode::empty(), resolve) {
                        Err(Errno::AGAIN | Errno::INTR) if tries > 1 => tries -= 1,
                        outcome => return outcome,
                    }
                }
            }
            Self::Walk if symlinks == Symlinks::Follow => rustix::fs::openat(root, path, READ, Mode::empty()),
            Self::Walk => walk::open(root, path, symlinks == Symlinks::Inside),
        }
    }
}

/// The path of each folder on the way to what is at `path`, which is relative.
fn folders_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.filter_map(|end| path.get(..end))
}

/// What is at a path, without following a link at its end.
fn look(root: BorrowedFd<'_>, path: &[u8]) -> Option<(FileType, Version)> {
    stat(root, path).ok()
}

/// What is at a path, without following a link at its end. As fresh as opening it would be: a file system on a network asks
/// its server.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn stat(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<(FileType, Version)> {
    use rustix::fs::{StatxFlags, StatxTimestamp};
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME;
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    let stat = rustix::fs::statx(root, path, flags, wanted)?;
    let nanos = |time: StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let version = Version {
        length: stat.stx_size,
        modified: since_1970(stat.stx_mtime.tv_sec) + Duration::from_nanos(stat.stx_mtime.tv_nsec.into()),
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        changed: nanos(stat.stx_ctime),
    };
    Ok((FileType::from_raw_mode(stat.stx_mode.into()), version))
}

/// What is at a path, without following a link at its end.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn stat(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<(FileType, Version)> {
    let stat = rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let version = Version {
        length: stat.st_size.unsigned_abs(),
        modified: since_1970(stat.st_mtime) + Duration::from_nanos((stat.st_mtime_nsec as i64).unsigned_abs()),
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        changed: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
    };
    Ok((FileType::from_raw_mode(stat.st_mode), version))
}

/// The version of what is under this name in an open folder, and whether that is a folder. None if it is neither a folder nor a
/// file, as a symbolic link is, if it may not be read, or is not there any more.
///
/// # Errors
/// Any other one of `statx(2)`.
pub(crate) fn version_in(folder: &File, name: &[u8]) -> io::Result<Option<(bool, Version)>> {
    use rustix::io::Errno;
    let (kind, version) = match stat(folder.as_fd(), name) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Kernels before 5.8 cannot say it for the user that counts; then opening it will.
    let access = rustix::fs::accessat(folder, name, rustix::fs::Access::READ_OK, AtFlags::EACCESS);
    Ok(match kind {
        _ if access == Err(Errno::ACCESS) => None,
        FileType::Directory => Some((true, version)),
        FileType::RegularFile => Some((false, version)),
        _ => None,
    })
}

/// The version of an open file.
pub(crate) fn version_of(file: &File) -> io::Result<Version> {
    file.metadata().map(|metadata| version(&metadata))
}

fn version(metadata: &Metadata) -> Version {
    Version {
        length: metadata.len(),
        device: metadata.dev(),
        // Where there is none it says as little as 1970 does.
        modified: metadata.modified().unwrap_or(UNIX_EPOCH),
        inode: metadata.ino(),
        changed: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    }
}

fn since_1970(seconds: impl Into<i64>) -> SystemTime {
    let seconds: i64 = seconds.into();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn resolvers() -> Vec<Resolver> {
        vec![
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Resolver::Kernel,
            Resolver::Walk,
        ]
    }

    fn kind(found: io::Result<Found>) -> &'static str {
        match found {
            Ok(Found::File(..)) => "file",
            Ok(Found::Folder(_)) => "folder",
            Err(_) => "nothing",
        }
    }

    /// A root with an outside beside it.
    fn fixture() -> tempfile::TempDir {
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().join("root");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::create_dir(lab.path().join("root-private")).unwrap();
        std::fs::write(lab.path().join("root-private/secret"), "secret").unwrap();
        std::fs::write(lab.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("a/b/file"), "file").unwrap();
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff\n")), "odd").unwrap();
        for (link, target) in [
            ("to-file", "a/b/file"),
            ("to-folder", "a/b"),
            ("a/b/c/up", "../../../to-folder"),
            ("a/b/c/above", "../../../../secret"),
            ("out", "../secret"),
            ("out-folder", ".."),
            ("sibling", "../root-private"),
            ("round", "../root/a"),
            ("loop", "loop"),
            ("ping", "pong"),
            ("pong", "ping"),
            ("etc", "/etc"),
            ("proc", "/proc/self/root"),
            ("dangling", "nowhere"),
            ("dot", "a/./b/../b/file"),
            ("slashes", "a//b/"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(root.join("a"), root.join("absolute")).unwrap();
        #[cfg(not(target_vendor = "apple"))]
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        symlink("fifo", root.join("to-fifo")).unwrap();
        lab
    }

    #[test]
    fn links_are_followed_as_far_as_is_said() {
        let lab = fixture();
        for resolver in resolvers() {
            for (symlinks, expected) in [
                (Symlinks::Inside, ["file", "file", "file", "nothing", "nothing", "nothing"]),
                (Symlinks::Never, ["file", "nothing", "nothing", "nothing", "nothing", "nothing"]),
                (Symlinks::Follow, ["file", "file", "file", "file", "folder", "nothing"]),
            ] {
                let tree = Tree { resolver, symlinks, ..Tree::new(&lab.path().join("root")).unwrap() };
                let paths = ["a/b/file", "to-file", "to-folder/file", "out", "etc", "loop"];
                let found = paths.map(|path| kind(tree.open(path.as_bytes())));
                assert_eq!(found, expected, "{resolver:?} {symlinks:?}");
            }
        }
    }

    #[test]
    fn what_is_beneath_is_found_and_nothing_else() {
        let lab = fixture();
        for resolver in resolvers() {
            let tree = Tree { resolver, ..Tree::new(&lab.path().join("root")).unwrap() };
            for (path, expected) in [
                (&b""[..], "folder"),
                (b"a", "folder"),
                (b"a/b/file", "file"),
                (b"\xff\n", "file"),
                (b"to-file", "file"),
                (b"to-folder", "folder"),
                (b"to-folder/file", "file"),
                (b"a/b/c/up/file", "file"),
                (b"dot", "file"),
                (b"slashes", "folder"),
                (b"slashes/file", "file"),
                (b"nothing", "nothing"),
                (b"nothing/at/all", "nothing"),
                (b"a/b/file/x", "nothing"),
                (b"to-file/x", "nothing"),
                (b"a/b/c/above", "nothing"),
                (b"out", "nothing"),
                (b"out-folder", "nothing"),
                (b"out-folder/root/a/b/file", "nothing"),
                (b"sibling", "nothing"),
                (b"sibling/secret", "nothing"),
                (b"round", "nothing"),
                (b"loop", "nothing"),
                (b"ping", "nothing"),
                (b"etc", "nothing"),
                (b"etc/passwd", "nothing"),
                (b"proc", "nothing"),
                (b"absolute", "nothing"),
                (b"dangling", "nothing"),
                (b"fifo", "nothing"),
                (b"to-fifo", "nothing"),
                (b"socket", "nothing"),
                (b"fifo/x", "nothing"),
                (&[b'x'; 300], "nothing"),
                (&b"y/".repeat(4000), "nothing"),
                (b"..", "nothing"),
                (b"a/../../secret", "nothing"),
            ] {
                let name = String::from_utf8_lossy(path);
                assert_eq!(kind(tree.open(path)), expected, "{resolver:?} {:.60}", name);
            }
        }
    }

    #[test]
    fn a_chain_of_links_ends() {
        let lab = tempfile::tempdir().unwrap();
        std::fs::write(lab.path().join("0"), "").unwrap();
        for i in 1..=crate::limits::SYMLINKS + 1 {
            symlink((i - 1).to_string(), lab.path().join(i.to_string())).unwrap();
        }
        for resolver in resolvers() {
            let tree = Tree { resolver, ..Tree::new(lab.path()).unwrap() };
            let most = crate::limits::SYMLINKS;
            assert_eq!(kind(tree.open(most.to_string().as_bytes())), "file", "{resolver:?}");
            assert_eq!(kind(tree.open((most + 1).to_string().as_bytes())), "nothing", "{resolver:?}");
        }
    }

    #[test]
    fn entries_are_what_can_be_opened() {
        let lab = fixture();
        let tree = Tree::new(&lab.path().join("root")).unwrap();
        let Found::Folder(folder) = tree.open(b"").unwrap() else { panic!("the root is a folder") };
        let mut names = Vec::new();
        let mut reader = Reader::new(folder.try_clone().unwrap()).unwrap();
        reader
            .all(|name| {
                names.extend(tree.entry(&folder, b"", name).map(|entry| (name.to_vec(), entry.folder)));
                true
            })
            .unwrap();
        names.sort();
        let expected: Vec<(&[u8], bool)> = vec![
            (b"a", true),
            (b"dot", false),
            (b"slashes", true),
            (b"to-file", false),
            (b"to-folder", true),
            (b"\xff\n", false),
        ];
        assert_eq!(names, expected.into_iter().map(|(n, f)| (n.to_vec(), f)).collect::<Vec<_>>());
    }

    /// A thread swaps a folder for a link to the outside as fast as it can: no byte from outside ever comes.
    #[test]
    fn no_rename_outruns_the_resolver() {
        use std::io::Read;
        use std::sync::atomic::{AtomicBool, Ordering};
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().join("root");
        for (folder, text) in [("root/folder", "inside"), ("outside", "secret")] {
            std::fs::create_dir_all(lab.path().join(folder)).unwrap();
            std::fs::write(lab.path().join(folder).join("file"), text).unwrap();
        }
        symlink("../outside", root.join("link")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (folder, link, aside) = (root.join("folder"), root.join("link"), root.join("aside"));
                while !stop.load(Ordering::Relaxed) {
                    for (from, to) in [(&folder, &aside), (&link, &folder), (&folder, &link), (&aside, &folder)] {
                        std::fs::rename(from, to).unwrap();
                    }
                }
            });
            let mut inside = 0;
            for resolver in resolvers() {
                let tree = Tree { resolver, ..Tree::new(&root).unwrap() };
                for _ in 0..20_000 {
                    if let Ok(Found::File(mut file, _)) = tree.open(b"folder/file") {
                        let mut text = String::new();
                        file.read_to_string(&mut text).unwrap();
                        assert_eq!(text, "inside");
                        inside += 1;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(inside > 0);
        });
    }
}
