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

/// Whatever keeps us from measuring, said in a line.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Bytes in a MiB.
pub(crate) const MIB: u64 = 1 << 20;
