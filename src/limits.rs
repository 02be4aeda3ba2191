//! The bounds of the server, each with its unit and its reason.
//!
//! They are for programs that want to know what they are; the values may change in any version. Those that have a field in
//! [`Config`](crate::Config) are its defaults and bounds.

use std::time::Duration;

/// Bytes of a copy buffer, unless told otherwise: a system call moves much, and the processor's cache still holds it.
pub const BUFFER_SIZE: usize = 64 * KIB;
/// The least buffer, in bytes. Below 8 KiB `std::io::copy` takes its own of 8 KiB.
pub const BUFFER_SIZE_MIN: usize = 4 * KIB;
/// The largest buffer, in bytes: more gains nothing.
pub const BUFFER_SIZE_MAX: usize = 1024 * KIB;

/// Copy buffers of that size at most, whatever the number of workers. Who finds none free copies through a small one: a
/// small host has no more processors than these to copy at the same time.
pub(crate) const LARGE_BUFFERS: usize = 16;
/// Bytes of the buffer that `std::io::copy` has on the stack, for what is short, and for who finds no large one free.
pub(crate) const SMALL_BUFFER: usize = 8 * KIB;
/// Bytes after which a transfer gives its large buffer back, and takes it again if nobody else has.
pub(crate) const LARGE_TURN: u64 = 4 * 1024 * KIB as u64;
/// Bytes after which a transfer with a small buffer looks for a large one again.
pub(crate) const SMALL_TURN: u64 = 256 * KIB as u64;

/// The most worker threads.
pub const WORKERS_MAX: usize = 4096;
/// Bytes of stack of a worker thread; with the small copy buffer it uses less than 64 KiB of them.
pub(crate) const WORKER_STACK: usize = 256 * KIB;

/// Bytes of a socket's send buffer, unless told otherwise. The system's own choice grows to 4 MiB: that much memory of the
/// kernel's for each client that is slow, and more than the processor's cache holds for one that is fast.
pub const SEND_BUFFER: usize = 512 * KIB;
/// The largest send buffer that can be asked for, in bytes.
pub const SEND_BUFFER_MAX: usize = 64 * 1024 * KIB;

/// Connections that may wait to be accepted (`listen(2)`).
pub(crate) const BACKLOG: i32 = 1024;
/// Connections at once, unless told otherwise.
pub const CONNECTIONS: usize = 10_000;
/// The most connections at once that can be asked for.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Connections over the limit that are told so (503) before they are closed; more than these are closed at once.
pub(crate) const REFUSALS: usize = 64;
/// Descriptors that are not for connections and what is sent through them: listening sockets, the poller, the log, folders
/// that are opened for a listing or on the way to a file.
pub(crate) const DESCRIPTORS_SPARE: usize = 64;

/// How long a connection may be silent between and within requests.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the head of a request may take from its first byte to its last, whatever drips in.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a transfer may wait for a client that takes nothing.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes in a second that a client has to take, averaged over the stall timeout: less is no use to anybody.
pub const MIN_RATE: u64 = 256;
/// The least rate that can be asked for, in bytes in a second: below it the head of an answer is what takes its time.
pub const RATE_LEAST: u64 = KIB as u64;
/// How long the beginning of an answer waits for the rate that all share. Who would wait longer is asked to come again (503):
/// sooner than that few will have given up.
pub const PACED_WAIT: Duration = Duration::from_secs(5);
/// Clients that share a rate and are told from one another, in some 500 KiB for each queue; all that come beside them share as one.
pub(crate) const SHARING_CLIENTS: usize = 4096;
/// How long a stop waits for the transfers in flight: as long as a client may stand still, and what supervisors wait for.
pub const DRAIN: Duration = Duration::from_secs(30);
/// How long a start waits for another server that begins to listen in the same folder.
pub const FOLDER_WAIT: Duration = Duration::from_secs(2);
/// How long a stop goes on accepting after nobody comes any more, for those whose connection is half established.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(100);
/// The same where all clients are on this machine: as long as a processor that has much to do may take for a packet.
pub(crate) const LAST_CALL_NEAR: Duration = Duration::from_millis(20);
/// The permissions of a Unix socket: for its owner and its group, to which the proxy before it has to belong.
pub const UNIX_MODE: u32 = 0o660;

/// Bytes of the head of a request: the request line and all fields. A longer one is answered 431 or 414.
pub const HEAD: usize = 16 * KIB;
/// Bytes of unfinished heads, and of requests sent ahead, that are held for all connections. While there are more, those that
/// have waited longest are closed: slow heads cannot fill the memory, and who is quick is not kept out by them.
pub const HEADS_HELD: usize = 256 * KIB;
/// Bytes of a request target; a longer one is answered 414.
pub const TARGET: usize = 8 * KIB;
/// Fields of a request; more are answered 431.
pub const FIELDS: usize = 100;
/// Bytes of a field's combined value (RFC 9110 section 5.3); further lines of the same field are left out.
pub const FIELD_VALUE: usize = 8 * KIB;

/// Parts of a multipart/byteranges answer. Who asks for more gets the whole representation: many small ranges are an
/// attack more often than a need (RFC 9110 section 17.15).
pub const RANGES: usize = 16;

/// Range specs of a request. Who sends more gets the whole representation before they are looked at.
pub const RANGE_SPECS: usize = 1000;

/// Tries of an open that the kernel interrupts because a folder was renamed meanwhile (`openat2(2)`, EAGAIN).
pub const OPEN_TRIES: usize = 16;
/// Symbolic links that one path may pass through, as in Linux.
pub const SYMLINKS: usize = 40;

/// Folders that a path may lead through where the kernel does not resolve it: each is a descriptor for that while.
pub const DEPTH: usize = 128;

/// Entries of a listing that is sorted. One with more is sent as the folder is read, in the order of the folder.
pub const LISTING_SORTED: usize = 20_000;
/// Bytes of the names of a listing that is sorted, and of those of a page of the JSON. Beside each name are kept 24 bytes.
pub const LISTING_NAMES: usize = 1024 * KIB;
/// Bytes of all listings that are held while they are sent. Who finds no room is sent one that is not sorted, or a shorter page.
pub const LISTINGS_HELD: usize = 4 * 1024 * KIB;
/// Entries that can be asked for as one page of the JSON.
pub const LISTING_PAGE: usize = 10_000;
/// Entries of a listing that are rendered at once, so that a page of any length needs no more memory than these.
pub(crate) const LISTING_ROWS: usize = 32;

/// Folders that are sent as archives at once; who would like another one is asked to come again (503). Each holds two
/// descriptors more than a file and the names below.
pub const ARCHIVES: usize = 16;
/// Bytes of names, each counted with 32 more, that an archive holds of the folder that it is at, if it is the only one: those of
/// some 48,000 files. Of a larger folder all names are read again for each so many.
pub(crate) const ARCHIVE_NAMES: usize = 2048 * KIB;
/// The same of each of many, so that all of them hold less than 5 MiB.
pub(crate) const ARCHIVE_NAMES_MIN: usize = 128 * KIB;
/// Bytes of names that it holds of all folders on the way there, so that most of them need not be read again.
pub(crate) const ARCHIVE_NAMES_ABOVE: usize = 256 * KIB;
/// Bytes of a path in an archive beneath its folder. The system opens none that is longer (PATH_MAX): deeper folders are left out.
pub const ARCHIVE_PATH: usize = 4000;

/// Bytes of a request body that nobody asked for that are read and thrown away, so that the connection can be used again.
pub const DRAINED: usize = 64 * KIB;
/// How long that may take, and how long a connection that is being closed is read until the client has read its answer.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of the cache, unless told otherwise.
pub const CACHE: usize = 1024 * KIB;
/// The largest cache that can be asked for, in bytes.
pub const CACHE_MAX: usize = 1024 * 1024 * KIB;
/// Bytes of a file whose content is kept in the cache; of a larger one the open file is kept.
pub const CACHED_CONTENT: usize = 16 * KIB;
/// Open files in the cache: each is a descriptor.
pub const CACHED_FILES: usize = 64;

/// Bytes of `_headers`, and of `_redirects`, that are read: more than the rules of a site that people write.
pub const SITE_FILE: usize = 64 * KIB;
/// Bytes of a line of these files: longer than any policy that people write, and a match takes time for each of them.
pub const SITE_FILE_LINE: usize = 2000;
/// Fields in `_headers`, and redirects in `_redirects`: for each request all of them are looked at.
pub const SITE_FILE_RULES: usize = 1000;
/// Bytes of a file of users: some ten thousand of them.
pub const AUTH_FILE: usize = 1024 * KIB;
/// Bytes of a name and a password with the colon between them. bcrypt looks at 72 of a password; longer ones are 401.
pub const CREDENTIALS: usize = KIB;
/// The least cost of a hash, that of bcrypt itself: twice to the power of it.
pub const BCRYPT_COST_MIN: u32 = 4;
/// The highest cost of a hash: a second of a processor for each try, and several on a small machine.
pub const BCRYPT_COST_MAX: u32 = 14;
/// Credentials that were verified and are remembered, those of each client for themselves: more than there are users of a small host. Each costs some 50 bytes.
pub const VERIFIED: usize = 1024;
/// When a client may come again for whom nothing can be verified now.
pub const AUTH_BUSY: Duration = Duration::from_secs(1);
/// Wrong passwords of a client in a row, as many as somebody needs who has forgotten which one it was; then it has to wait.
pub const AUTH_FAILURES: u32 = 10;
/// How long it takes until it has one try more: seventeen thousand a day are no way to find a password.
pub const AUTH_PAUSE: Duration = Duration::from_secs(5);
/// Clients of whom wrong passwords are remembered, in some 100 KiB, however many guess.
pub const AUTH_CLIENTS: usize = 1024;

/// Bytes of a request target that are kept for who is told of a request at its end: those of nearly all, and few enough for
/// ten thousand clients that do not take their answer.
pub const TOLD_TARGET: usize = KIB;
/// Bytes of `Referer`, of `User-Agent` and of a name that are kept for the same.
pub const TOLD_FIELD: usize = 256;

/// Requests, of all clients together, that may wait for the client to acknowledge their answers while another request of the same
/// connection is answered already: about 2 KiB each. What is sent ahead beyond them counts as received when the socket has taken it,
/// and as no complete download.
pub(crate) const TOLD_AHEAD: usize = 64;

/// Files of which a client has a part that are remembered to see when it has all of it; then the oldest is forgotten.
pub(crate) const DOWNLOADS_BEGUN: usize = 256;
/// Ranges of each: 4 KiB of them.
pub(crate) const DOWNLOAD_RANGES: usize = 256;

/// Bytes of lines that wait to be written to the access log, and of those that are being written: a hundredth of a second of the
/// most that two processors answer. While the disk is slower than that, lines are left out.
pub(crate) const LOG_QUEUE: usize = 256 * KIB;

/// Connections at once to the page about the server, and as many answers that are held for slow ones: some KiB each, 300 KiB if
/// somebody asks for a hundred files with names made for it.
pub(crate) const ADMIN_CONNECTIONS: usize = 16;
/// Transfers that this page shows, those that last longest. Of the others it tells how many there are.
pub(crate) const ADMIN_TRANSFERS: usize = 100;
/// Bytes of the target of each of them: more does not fit into a line.
pub(crate) const ADMIN_TARGET: usize = 256;
/// Bytes of a socket's send buffer there: a page without transfers.
pub(crate) const ADMIN_SEND_BUFFER: usize = 32 * KIB;
/// Moments of which memory and rates are remembered for its picture: five minutes, in 6 KiB.
pub(crate) const ADMIN_SAMPLES: usize = 150;

/// Bytes of a request body that tiny_http reads before it hands the request over, if the client waits for nothing. Its choice.
pub const READ_BODY: usize = KIB;
/// Bytes of a request body that tiny_http may be left to read by itself: it allocates the length that the client names.
pub const UNREAD_BODY: usize = 64 * KIB;

const KIB: usize = 1024;

const _: () = {
    assert!(BUFFER_SIZE_MIN <= BUFFER_SIZE && BUFFER_SIZE <= BUFFER_SIZE_MAX);
    assert!(SMALL_TURN > SMALL_BUFFER as u64 && LARGE_TURN > BUFFER_SIZE_MAX as u64);
    assert!(ARCHIVE_NAMES_MIN <= ARCHIVE_NAMES && ARCHIVE_NAMES_ABOVE <= ARCHIVE_NAMES);
    assert!(TARGET < HEAD && HEAD <= HEADS_HELD);
    assert!(SITE_FILE_LINE < SITE_FILE);
    assert!(LISTING_ROWS <= LISTING_PAGE && LISTING_PAGE <= LISTING_SORTED && LISTING_NAMES < LISTINGS_HELD);
    assert!(RANGES <= RANGE_SPECS);
};
