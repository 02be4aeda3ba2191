//! A static file server that streams: however large the file and however slow the client, a transfer costs next to no memory.
//!
//! Synchronous threads, no async runtime. As a program it is `brooklet` (feature `cli`). As a library it serves a folder in
//! three ways:
//!
//! - [`Server`]: its own listener and threads, a handle to stop it;
//! - [`Site::respond`]: a folder inside a tiny_http server of yours;
//! - [`Site::answer`]: from a [`Request`] to an [`Answer`], plain data both, without any socket.
//!
//! # What is promised
//! Memory is bounded by the number of workers and connections, whatever the sizes of files and the speed of clients. Nothing
//! outside the root is read, nothing is written. Length, validators and bytes of an answer are those of one open file.
//!
//! # What is not promised
//! Symbolic links beneath the root are followed as long as they stay there: what may not be seen does not belong beneath it.
//! That dotfiles are not served keeps `.git` private, it does not replace permissions. There is no encryption.
//!
//! # The way of a request
//! The modules stand in the order in which a request passes through them; each uses only those above it.

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

/// The crate whose `Method`, `StatusCode` and `Request` are the vocabulary of this one.
pub use tiny_http;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
