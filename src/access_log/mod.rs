//! The access log: a line for each request when it has ended, written by a thread of its own, so that a slow disk holds up no
//! answer. What waits for the disk is bounded; what finds no room is left out, counted, and said.

mod line;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};

use crate::config::LogFormat;
use crate::limits;
use crate::traffic::{Exchange, Outcome};

/// How long the first line waits for others to be written along with it: one call for many, and nobody who watches a log sees
/// that it is not at once.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of lines that are written without waiting for more.
const ENOUGH: usize = limits::LOG_QUEUE / 4;
/// How long what has been said of trouble is not said again.
const QUIET: Duration = Duration::from_secs(10);
/// How long the end waits for the last lines to be written.
const END: Duration = Duration::from_secs(2);

const _: () = assert!(ENOUGH <= limits::LOG_QUEUE);

/// A log that is open. Lines may come before [`start`](Self::start), and are written from then on.
pub(crate) struct AccessLog {
    /// `-` is stdout.
    path: PathBuf,
    format: LogFormat,
    queue: Mutex<Queue>,
    /// There is something for the thread that writes.
    filled: Condvar,
    /// It has taken what there was.
    taken: Condvar,
    /// It has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Whole lines.
    text: String,
    /// Lines that were not written: they found no room, or the file did not take them.
    left_out: u64,
    /// Lines that are being written.
    writing: u64,
    reopen: bool,
    end: bool,
    ended: bool,
    /// Until when the stop waits for room for those that it cuts off, all at once, and of whom an operator wants to know.
    patience: Option<Instant>,
    /// Where the thread begins, until then.
    file: Option<File>,
}

impl AccessLog {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path, format: LogFormat) -> io::Result<Self> {
        let queue = Mutex::new(Queue { file: Some(open(path)?), ..Queue::default() });
        Ok(Self {
            path: path.into(),
            format,
            queue,
            filled: Condvar::new(),
            taken: Condvar::new(),
            ended: Condvar::new(),
        })
    }

    /// Starts the thread that writes.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        let Some(file) = self.queue().file.take() else { return Ok(()) };
        let log = Arc::clone(self);
        let thread = std::thread::Builder::new().name("access-log".into()).stack_size(limits::WORKER_STACK);
        thread.spawn(move || log.write(file)).map(drop)
    }

    /// Takes a line. Never waits for the disk, but where the stop cuts off many at once, and then not for long.
    pub(crate) fn take(&self, exchange: &Exchange) {
        let mut queue = self.queue();
        if queue.end {
            return;
        }
        if exchange.outcome == Outcome::CutOff {
            // Nobody else is served any more whom waiting could hold up.
            let until = *queue.patience.get_or_insert_with(|| Instant::now() + END);
            let full = |queue: &mut Queue| queue.text.len() >= limits::LOG_QUEUE / 2 && !queue.end;
            let wait = until.saturating_duration_since(Instant::now());
            queue = self.taken.wait_timeout_while(queue, wait, full).unwrap_or_else(PoisonError::into_inner).0;
        }
        let before = queue.text.len();
        let written = match self.format {
            LogFormat::Combined => writeln!(queue.text, "{}", exchange.combined()),
            LogFormat::Json => writeln!(queue.text, "{}", exchange.json()),
        };
        let after = queue.text.len();
        if written.is_err() || after > limits::LOG_QUEUE {
            queue.text.truncate(before);
            queue.left_out = queue.left_out.saturating_add(1);
            return;
        }
        drop(queue);
        if before == 0 || (before < ENOUGH && after >= ENOUGH) {
            self.filled.notify_one();
        }
    }

    /// Has the file opened anew, when what has come so far is written.
    pub(crate) fn reopen(&self) {
        self.queue().reopen = true;
        self.filled.notify_one();
    }

    /// Takes no more lines, and waits until the others are written, but not for long.
    pub(crate) fn end(&self) {
        let mut queue = self.queue();
        queue.end = true;
        self.filled.notify_one();
        if queue.file.take().is_some() {
            // Nobody writes.
            queue.ended = true;
        }
        let waited = self.ended.wait_timeout_while(queue, END, |queue| !queue.ended);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = lines(queue.text.as_bytes()).saturating_add(queue.writing);
        let left_out = std::mem::take(&mut queue.left_out).saturating_add(left);
        queue.text.clear();
        queue.writing = 0;
        drop(queue);
        if left_out > 0 {
            log::warn!("access log {}: {left_out} lines were left out until the end", self.path.display());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the end.
    fn write(&self, file: File) {
        let mut out = Out { to: file, torn: Vec::new() };
        let mut trouble = Trouble::default();
        let mut text = String::new();
        loop {
            let (reopen, end) = self.wait(&mut text, &trouble);
            if !(text.is_empty() && out.torn.is_empty()) {
                let count = lines(text.as_bytes());
                let written = out.write(text.as_bytes());
                let mut queue = self.queue();
                queue.writing = 0;
                trouble.failed = written.err().map(|Failed { error, written }| {
                    queue.left_out = queue.left_out.saturating_add(count.saturating_sub(written));
                    error
                });
                drop(queue);
                // One burst is no reason to hold so much for good.
                text.clear();
                text.shrink_to(ENOUGH);
            }
            self.say(&mut trouble);
            if reopen {
                self.reopened(&mut out);
            }
            if end {
                break;
            }
        }
        let mut queue = self.queue();
        queue.left_out = queue.left_out.saturating_add(u64::from(!out.torn.is_empty()));
        queue.ended = true;
        drop(queue);
        self.ended.notify_all();
    }

    /// Takes what there is, and whether the file is to be opened anew, and whether this is the end. Waits until there is
    /// something, or something may be said.
    fn wait(&self, text: &mut String, trouble: &Trouble) -> (bool, bool) {
        let nothing = |queue: &mut Queue| queue.text.is_empty() && !queue.reopen && !queue.end;
        let queue = self.queue();
        let mut queue = match trouble.is_to_be_said(queue.left_out) {
            true => {
                let waited = self.filled.wait_timeout_while(queue, trouble.quiet(), nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            false => self.filled.wait_while(queue, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        if !queue.text.is_empty() {
            let few = |queue: &mut Queue| queue.text.len() < ENOUGH && !queue.reopen && !queue.end;
            let waited = self.filled.wait_timeout_while(queue, GATHER, few);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut queue.text, text);
        self.taken.notify_all();
        queue.writing = lines(text.as_bytes());
        (std::mem::take(&mut queue.reopen), queue.end)
    }

    /// Says what an operator has to know of what was just written, if it may be said now.
    fn say(&self, trouble: &mut Trouble) {
        let mut queue = self.queue();
        if !trouble.is_to_be_said(queue.left_out) || !trouble.quiet().is_zero() {
            return;
        }
        trouble.said = Some(Instant::now());
        let (path, again) = (self.path.display(), trouble.told);
        trouble.told = trouble.failed.is_some();
        match &trouble.failed {
            Some(error) => {
                drop(queue);
                log::error!("access log {path} cannot be written: {error}; lines are left out until it can");
            }
            None => {
                let left_out = std::mem::take(&mut queue.left_out);
                drop(queue);
                let why = if again { "is written again" } else { "could not be written as fast as requests came" };
                log::warn!("access log {path} {why}: {left_out} lines were left out");
            }
        }
    }

    fn reopened(&self, out: &mut Out<File>) {
        match open(&self.path) {
            Ok(file) => {
                if !is_same(&out.to, &file) && !std::mem::take(&mut out.torn).is_empty() {
                    // What the old one lacks nobody can add any more.
                    let mut queue = self.queue();
                    queue.left_out = queue.left_out.saturating_add(1);
                }
                out.to = file;
                log::info!("access log {} was opened anew", self.path.display());
            }
            Err(error) => {
                let path = self.path.display();
                log::error!("access log {path} cannot be opened anew: {error}; the file of before is written on");
            }
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("path", &self.path).field("format", &self.format).finish_non_exhaustive()
    }
}

/// How writing goes, and what was said of it.
#[derive(Default)]
struct Trouble {
    /// Why the last write failed, if it did.
    failed: Option<io::Error>,
    /// That it fails was said, and not yet that it does no longer.
    told: bool,
    /// When something was said.
    said: Option<Instant>,
}

impl Trouble {
    /// Whether an operator does not know yet how things are.
    fn is_to_be_said(&self, left_out: u64) -> bool {
        match self.failed {
            Some(_) => !self.told,
            None => self.told || left_out > 0,
        }
    }

    /// How long nothing is said: each failure and its end, but not for ever in turn.
    fn quiet(&self) -> Duration {
        self.said.map_or(Duration::ZERO, |said| QUIET.saturating_sub(said.elapsed()))
    }
}

/// Where lines go, and what of one it did not take.
struct Out<W> {
    to: W,
    torn: Vec<u8>,
}

struct Failed {
    error: io::Error,
    /// Lines that are in the file, or of which a part is.
    written: u64,
}

impl<W: io::Write + AsFd> Out<W> {
    /// Writes lines, behind the rest of the one that was torn.
    fn write(&mut self, text: &[u8]) -> Result<(), Failed> {
        let torn = std::mem::take(&mut self.torn);
        if let Err((error, count)) = put(&mut self.to, &torn) {
            self.torn = torn.get(count..).unwrap_or_default().into();
            return Err(Failed { error, written: 0 });
        }
        put(&mut self.to, text).map_err(|(error, count)| {
            let (written, rest) = text.split_at_checked(count).unwrap_or((text, &[]));
            let mut whole = lines(written);
            if written.last().is_some_and(|last| *last != b'\n') {
                self.torn = rest.split_inclusive(|b| *b == b'\n').next().unwrap_or_default().into();
                whole += 1;
            }
            Failed { error, written: whole }
        })
    }
}

/// Writes all of it, else says why not, and how many bytes were written.
fn put(to: &mut (impl io::Write + AsFd), bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let error = match to.write(rest) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                continue;
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Interrupted => {}
            // Whoever shares stdout with us has made it so.
            ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            _ => return Err((error, bytes.len() - rest.len())),
        }
    }
    Ok(())
}

/// Whether both are one file.
fn is_same(one: &File, other: &File) -> bool {
    let [one, other] = [one, other].map(|file| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino)));
    one.is_ok() && one == other
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|b| **b == b'\n').count() as u64
}

/// Opens the log so that each write goes to its end.
fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
    }
    // Not waiting is for a fifo that nobody reads: that is an error now, not a wait without end.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::BorrowedFd;

    /// A disk with so much room.
    struct Disk {
        content: Vec<u8>,
        room: usize,
        descriptor: File,
    }

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A few at a time.
            let count = bytes.len().min(self.room - self.content.len()).min(7);
            self.content.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Disk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.descriptor.as_fd()
        }
    }

    #[test]
    fn a_line_that_was_torn_is_finished_before_others_follow() {
        let text = b"first line\nsecond line\nthird line\n";
        for room in 0..=text.len() {
            let disk = Disk { content: Vec::new(), room, descriptor: File::open("/dev/null").unwrap() };
            let mut out = Out { to: disk, torn: Vec::new() };
            let written = out.write(text).map_or_else(|failed| failed.written, |()| 3);
            let begun = text[..room].split_inclusive(|b| *b == b'\n').count() as u64;
            assert_eq!(written, begun, "{room} bytes");
            // As long as the disk is full a torn line stays torn.
            if room < text.len() {
                assert_eq!(out.write(b"lost\n").map_err(|failed| failed.written), Err(0));
            }
            out.to.room = 1000;
            assert!(out.write(b"last\n").is_ok());
            let whole: Vec<_> =
                text.split_inclusive(|b| *b == b'\n').take(begun as usize).chain([&b"last\n"[..]]).collect();
            assert_eq!(
                out.to.content.escape_ascii().to_string(),
                whole.concat().escape_ascii().to_string(),
                "{room} bytes"
            );
        }
    }
}
