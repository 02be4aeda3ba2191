//! The way through a folder and all that lies beneath it, always the same, with little in hand.

use std::fs::File;
use std::hash::Hasher;
use std::io;

use rustix::io::Errno;
use siphasher::sip::SipHasher13;

use super::resource::Visible;
use crate::http::validator::{Validators, Version};
use crate::limits::{ARCHIVE_NAMES_ABOVE, ARCHIVE_PATH};
use crate::tree::{Found, NAME, Reader, Tree, version_in, version_of};

/// The folder that is walked through.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) tree: Tree,
    pub(super) folder: File,
    /// What all paths in the archive begin with, without a slash.
    pub(super) name: Box<[u8]>,
    /// Whether it is the root of what is served.
    pub(super) top: bool,
    pub(super) visible: Visible,
    /// Bytes of names, each counted with 32 more, that are held of the folder that is read. A larger one is read again for each
    /// so many.
    pub(super) names: usize,
}

/// A walk through a folder and all that is beneath it: what is in a folder in the order of the names, each folder before
/// what is in it.
#[derive(Debug)]
pub(super) struct Walk {
    /// The path in the archive of what was found last, and where the part of it begins that is beneath the folder.
    pub(super) path: Vec<u8>,
    begin: usize,
    /// The folder that is being read.
    reader: Reader,
    /// From the outermost folder to this one; none at the end.
    levels: Vec<Level>,
    /// Of all that was found so far. The same on every machine and in every version: replicas agree, and a download can be
    /// resumed whatever was restarted meanwhile.
    pub(super) hash: SipHasher13,
}

/// A folder on the path of a walk.
#[derive(Debug, Default)]
struct Level {
    /// Bytes of the path until behind the slash of this folder.
    path: usize,
    /// Names that are still to be looked at, the next one last.
    names: Vec<Box<[u8]>>,
    /// The name that was looked at last.
    after: Box<[u8]>,
    /// Whether there are names behind these.
    more: bool,
    /// What they cost, once this is not the folder that is read.
    held: usize,
    /// Device and inode of the folder.
    place: (u64, u64),
}

impl Level {
    /// Of an open folder, whose path is so long; of its names nothing is known.
    fn new(path: usize, folder: &File) -> io::Result<Self> {
        let Version { device, inode, .. } = version_of(folder)?;
        Ok(Self { path, more: true, place: (device, inode), ..Self::default() })
    }
}

impl Walk {
    pub(super) fn new(folder: &Folder) -> io::Result<Self> {
        let path = [&*folder.name, b"/"].concat();
        let Found::Folder(root) = folder.tree.open_beneath(&folder.folder, b"")? else { return Err(changed()) };
        let level = Level::new(path.len(), &root)?;
        Ok(Self { begin: path.len(), path, reader: Reader::new(root)?, levels: vec![level], hash: SipHasher13::new() })
    }

    /// Goes on to the next file or folder; tells its length, if it is a file, and its version.
    pub(super) fn next(&mut self, folder: &Folder) -> io::Result<Option<(Option<u64>, Version)>> {
        loop {
            let is_top = folder.top && self.levels.len() == 1;
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(name) = level.names.pop() else {
                if level.more {
                    let wanted = |name: &[u8]| folder.visible.shows(name, is_top);
                    let found = self.reader.names_after(&level.after, usize::MAX, folder.names, wanted)?;
                    (level.names, level.more) = (found.names, found.more);
                    level.names.reverse();
                } else {
                    self.ascend(folder)?;
                }
                continue;
            };
            self.path.truncate(level.path);
            self.path.extend_from_slice(&name);
            level.after = name;
            let (length, version) = match version_in(self.reader.folder(), &level.after)? {
                // What of a folder changes with what is in it tells nothing.
                Some((true, version)) if self.descend(folder)? => (None, Version { length: 0, ..version }),
                Some((false, version)) => (Some(version.length), version),
                _ => continue,
            };
            // What an entity tag of its own would be, but for how young it is.
            let tag = Validators::new(&version, version.modified).etag.opaque;
            for part in [&*self.path, b"\0", tag.as_bytes(), b"\0"] {
                self.hash.write(part);
            }
            return Ok(Some((length, version)));
        }
    }

    /// Into the folder that was found last. False if it is to be left out.
    fn descend(&mut self, folder: &Folder) -> io::Result<bool> {
        let above: usize = self.levels.iter().map(|level| level.held).sum();
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        // Of a longer path nothing could be asked for, nor opened.
        if self.path.len() - self.begin >= ARCHIVE_PATH {
            return Ok(false);
        }
        let inner = match folder.tree.open_beneath(self.reader.folder(), &level.after) {
            Ok(Found::Folder(inner)) => inner,
            // It has become something else; the second walk will see that it is not what it was.
            Ok(Found::File(..)) => return Ok(false),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                    return Ok(false);
                }
                _ => return Err(error),
            },
        };
        // However deep it is, the names above are few: each time half of what is left.
        let room = ARCHIVE_NAMES_ABOVE.saturating_sub(above) / 2;
        let kept = level.names.iter().rev().take_while(|name| {
            level.held += name.len() + NAME;
            level.held <= room
        });
        let dropped = level.names.len() - kept.count();
        level.held = level.held.min(room);
        level.more |= dropped > 0;
        level.names.drain(..dropped);
        level.names.shrink_to_fit();
        self.path.push(b'/');
        self.levels.push(Level::new(self.path.len(), &inner)?);
        self.reader = Reader::new(inner)?;
        Ok(true)
    }

    /// Back to the next folder above that has something left.
    fn ascend(&mut self, folder: &Folder) -> io::Result<()> {
        self.levels.pop();
        while self.levels.last().is_some_and(|level| level.names.is_empty() && !level.more) {
            self.levels.pop();
        }
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.held = 0;
        self.path.truncate(level.path);
        let beneath = self.path.get(self.begin..).unwrap_or_default();
        let beneath = beneath.strip_suffix(b"/").unwrap_or(beneath);
        let Found::Folder(above) = folder.tree.open_beneath(&folder.folder, beneath)? else { return Err(changed()) };
        // Another folder may have taken its place.
        if Level::new(level.path, &above)?.place != level.place {
            return Err(changed());
        }
        self.reader = Reader::new(above)?;
        Ok(())
    }

    /// Whether everything was met.
    pub(super) fn is_over(&self) -> bool {
        self.levels.is_empty()
    }

    /// Opens the file that was found last.
    pub(super) fn open(&self, folder: &Folder) -> io::Result<Found> {
        let name = self.levels.last().map(|level| &*level.after).unwrap_or_default();
        folder.tree.open_beneath(self.reader.folder(), name)
    }
}

/// What was met is not what was met before.
pub(super) fn changed() -> io::Error {
    io::Error::other("what is in the archive changed while it was sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_above_are_few_however_deep_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().to_path_buf();
        for _ in 0..30 {
            for number in 0..300 {
                std::fs::write(path.join(format!("z-{number:0>60}")), "").unwrap();
            }
            path.push("a");
            std::fs::create_dir(&path).unwrap();
        }
        let tree = Tree::new(folder.path()).unwrap();
        let Ok(Found::Folder(root)) = tree.open(b"") else { panic!("it is one") };
        let visible = Visible { hidden: false, site_files: true };
        let folder = Folder { tree, folder: root, name: b"x"[..].into(), top: true, visible, names: 256 << 10 };
        let (mut walk, mut count) = (Walk::new(&folder).unwrap(), 0);
        while walk.next(&folder).unwrap().is_some() {
            count += 1;
            let levels = walk.levels.iter().rev().skip(1);
            let held: usize = levels.flat_map(|level| &level.names).map(|name| name.len() + NAME).sum();
            assert!(held <= ARCHIVE_NAMES_ABOVE, "{held}");
        }
        assert_eq!(count, 30 * 301);
    }
}
