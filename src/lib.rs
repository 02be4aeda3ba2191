//! A static file server that streams: however large the file and however slow the client, a transfer costs next to no memory.
//!
//! It serves one folder, or one file, over HTTP/1.1: conditional and range requests (RFC 9110), listings of folders,
//! precompressed files, archives of folders, users and passwords, an access log. It works with threads, without an async
//! runtime. The same code is the program `brooklet` (feature `cli`), whose manual (docs/manual.md) describes what is served
//! and how.
//!
//! # Three ways to use it
//!
//! **A server of its own.** A [`Server`] has its listening sockets and threads, and a [`Handle`] to stop it from elsewhere.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! use brooklet::{Config, Server};
//!
//! let config = Config { root: folder.into(), port: 0, ..Config::default() };
//! let server = Server::bind(config)?;
//! println!("http://{}", server.addresses()[0]);
//! let handle = server.handle();
//! let serving = std::thread::spawn(move || server.run());
//! // ... and when it is to end:
//! handle.stop();
//! serving.join().expect("it does not panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! **Inside a tiny_http server of yours.** A [`Site`] is a folder, opened once; [`Site::respond`] answers a request of the crate
//! `tiny_http`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use brooklet::{Site, tiny_http};
//!
//! let site = Site::open("/srv/www")?;
//! let server = tiny_http::Server::http("127.0.0.1:8080")?;
//! for request in server.incoming_requests() {
//!     // An error is the end of this one transfer.
//!     let _ = site.respond(request);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Without any socket.** [`Site::answer`] turns a [`Request`] into an [`Answer`], plain data both. The [`Body`] is read piece by
//! piece into a buffer of yours, so any server can send it, asynchronous ones too.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! use std::time::SystemTime;
//! use brooklet::{Position, Request, Site, tiny_http::Method};
//!
//! std::fs::write(folder.join("hello.txt"), "Hello, world")?;
//! let site = Site::open(folder)?;
//! let request = Request::new(&Method::Get, "/hello.txt")
//!     .with("Host", "localhost")
//!     .with("Range", "bytes=7-");
//! let mut answer = site.answer(&request, SystemTime::now());
//! assert_eq!(answer.status.0, 206);
//! assert_eq!(answer.fields.get("Content-Range"), Some("bytes 7-11/12"));
//!
//! let (mut buffer, mut position) = ([0; 64], Position::default());
//! let count = answer.body.read(&mut position, &mut buffer)?;
//! assert_eq!(&buffer[..count], b"world");
//! # Ok(())
//! # }
//! ```
//!
//! The folder `examples/` of the repository has a whole program for each, and one that sends a body with hyper.
//!
//! # Features
//! None is on by default.
//!
//! - `auth`: [`Config::auth`] and [`Auth`], users and passwords by HTTP Basic (RFC 7617), with bcrypt.
//! - `cli`: what the program needs beside the library; it switches `auth` on. No part of the interface.
//!
//! # What is promised
//! - Memory is bounded by the number of workers and connections ([`Config`]), whatever the sizes of files and the speed of
//!   clients. On the tiny-http front, which is for trusted clients, connections and heads of requests have no bound.
//! - Nothing outside the root is read, unless [`Rules::symlinks`] says so, and nothing beneath it is written.
//! - Length, validators and bytes of an answer are those of one open file. An answer that cannot be finished ends its
//!   connection: no client takes it for a whole one.
//! - A panic while a request is answered, which would be a defect, ends that request (500) and not the server.
//!
//! # What is not promised
//! - There is no encryption: put a proxy that speaks TLS before it.
//! - Symbolic links beneath the root are followed as long as they stay there, and that dotfiles are not served does not replace
//!   permissions: what nobody may see does not belong beneath the root.
//! - Bounds in [`limits`], texts of pages and of errors, and the level and wording of log messages may change in any version.
//! - Windows is not supported: files are opened by handle, beneath a folder, as Unix systems can.
//!
//! # Versions
//! Versions follow Semantic Versioning. Enums, and structs that are only read, are `non_exhaustive`. [`Config`] and [`Rules`] are
//! not, so that they can be written as `Config { port: 0, ..Config::default() }`: a new field in them is not counted as a breaking
//! change, so always end them with `..Config::default()`, and do not list all fields in a pattern.
//!
//! Rust 1.85 or later is needed; a new minor version may need a later one.
//!
//! # Logging
//! Messages go to the crate `log`, with targets that begin with `brooklet`. A [`Server`] logs each request at the level `debug`.

// The modules stand in the order in which a request passes through them; each uses only those above it.
//
// `unsafe_code` is denied, not forbidden (Cargo.toml): a call in `front::direct::progress` asks what a client has acknowledged, for
// which no crate has a safe one; those elsewhere than on Linux and in `supervisor` say beside them why they are sound.

#[cfg(not(unix))]
compile_error!("brooklet opens files by handle, beneath a folder, as Unix systems can");

pub mod limits;

mod seldom;

mod network;

mod rules;

mod budget;

mod config;

mod http;

mod tree;

mod auth;

mod answer;

mod send;

mod stop;

mod listen;

mod downloads;

mod traffic;

mod access_log;

mod admin;

pub mod front;

mod server;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod user;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod sandbox;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod greeting;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod browser;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod supervisor;

#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;

pub use answer::{Answer, Body, Fields, Position, Segment, Site};
pub use auth::Auth;
pub use config::{Config, Front, Listen, LogFormat};
pub use http::request::Request;
pub use network::Network;
pub use rules::{Coding, Rules, Symlinks};
pub use server::{Error, Handle, Server};
pub use traffic::{Exchange, Outcome, Statistics};

/// The crate `tiny_http`, whose `Method`, `StatusCode` and `Request` appear in this interface.
pub use tiny_http;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
