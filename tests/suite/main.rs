//! The server over a socket: one program of tests, so that it is linked once.
//!
//! What belongs where:
//! - `client`: a raw HTTP client, which hides nothing of what comes over the wire;
//! - `site`: folders to serve, and a server for each front there is;
//! - `requests`: one request, one answer: tables of named rows through one function;
//! - `rules`: what can be chosen about the pages of a site, and its fields;
//! - `site_files`: `_headers` and `_redirects`, the rules that lie at the root of a site;
//! - `access`: who is answered, by network and by password;
//! - `listing`: folders without an index, as a page and as JSON;
//! - `archive`: a folder as one download;
//! - `large`: folders with too many entries to be sorted, and pages of the JSON;
//! - `streaming`: long transfers, several requests on one connection, files that change meanwhile;
//! - `hostile`: clients that break the rules, come all at once, or stand still; and the stop;
//! - `heads`: what the direct front reads by itself: requests, their bodies, and where the next one begins;
//! - `order`: requests behind one another on a connection to the direct front;
//! - `pace`: how fast answers leave;
//! - `traffic`: what is told of requests at their end;
//! - `log`: the access log, and disks that are slow or full;
//! - `admin`: what a server tells about itself, also to a browser;
//! - `limits`: the bounds of the direct front in connections, time and rate;
//! - `listen`: where the server listens, what it does when it is started and stopped while others come, and its supervisor;
//! - `cache`: the cache of both fronts, and files that change;
//! - `balancer`: two of the real program behind a real balancer, restarted in turn;
//! - `deploy`: the files of `deploy/` agree with what is said of them;
//! - `properties`: what holds of each parser whatever comes, which `fuzz/` asks, too; `corpus`: asks it of what that has kept;
//! - `faults`: calls of the system that fail, or are interrupted, under the real program;
//! - `attacks`: attacks on the real program, which must give back what they cost;
//! - `slow`: slow attacks by a program that was made for them;
//! - `soak`: everything at once, for a long time, on the real program (`make soak`);
//! - `program`: the binary, its command line and its signals;
//! - `sandbox`: what the program may still do once it serves, and as who;
//! - `house`: that the code is as ARCHITECTURE.md says, and the documents true;
//! - `manual`: the man page and the completions, which are made from the table of options;
//! - `examples`: the programs in `examples/`;
//! - `dependencies`: how many crates come with it;
//! - `memory`: the claim that this server is for, measured by `measure`, the part of `benches/` that has its tests here.

// The helpers of tests are tests, which clippy.toml cannot know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod admin;
mod archive;
mod attacks;
mod balancer;
mod cache;
mod client;
mod corpus;
mod dependencies;
mod deploy;
mod examples;
mod faults;
mod heads;
mod hostile;
mod house;
mod large;
mod limits;
mod listen;
mod listing;
mod log;
mod manual;
#[path = "../../benches/measure/mod.rs"]
mod measure;
mod memory;
mod order;
mod pace;
mod program;
mod properties;
mod requests;
mod rules;
#[cfg(target_os = "linux")]
mod sandbox;
mod site;
mod site_files;
mod slow;
mod soak;
mod streaming;
mod traffic;
