//! Measuring file servers from outside, brooklet and others, on this machine alone.
//!
//! What belongs where:
//! - `process`: what the operating system says of a server: memory, processor time;
//! - `limit`: a bound for the memory of a server, so that its death harms nobody else;
//! - `server`: the servers, how they are started and ended;
//! - `crowd`: clients that read slowly;
//! - `load`: as many requests as a server answers;
//! - `memory`: how much memory a server takes for a crowd;
//! - `chart`, `table`: what was measured, as a picture and as text.

// Each program that measures uses its part, and is no test.
#![allow(dead_code, unused_imports)]

pub(crate) mod chart;
pub(crate) mod crowd;
pub(crate) mod limit;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod table;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Whatever keeps us from measuring, said in a line.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Makes a file of so many bytes, without holes, if it is not there yet; and its name. One that has just been made is given
/// the time in which it may change again unseen, so that it can be kept in a cache.
pub(crate) fn file(folder: &Path, size: u64) -> Result<String> {
    let name = format!("{size}.bin");
    let path = folder.join(&name);
    if fs::metadata(&path).map_or(u64::MAX, |found| found.len()) != size {
        let block: Vec<_> = (0..MIB).map(|at| (at % 251) as u8).collect();
        let mut file = fs::File::create(&path)?;
        let mut left = size;
        while left > 0 {
            let count = left.min(MIB);
            file.write_all(block.get(..count as usize).unwrap_or_default())?;
            left -= count;
        }
        std::thread::sleep(SETTLING);
    }
    Ok(name)
}

/// What brooklet gives a file before it is kept.
const SETTLING: Duration = Duration::from_millis(2100);

/// Bytes in a MiB.
pub(crate) const MIB: u64 = 1 << 20;
