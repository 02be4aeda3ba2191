//! Opens an address in a browser: a program of somebody else, which is not ours to wait for.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::user::User;

/// What opens an address with whatever the desktop has.
const USUAL: &str = if cfg!(target_vendor = "apple") { "open" } else { "xdg-open" };

/// What `BROWSER` names, a command with its arguments, or the usual one.
pub fn name() -> String {
    std::env::var("BROWSER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| USUAL.into())
}

/// Starts a browser with this address. It may do what the caller may, or this user; so it has to be started before anything is
/// given up. That it fails is told by its exit status.
///
/// # Errors
/// Those of starting a shell.
pub fn open(url: &str, user: Option<&User>) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    // In a group of its own: what ends the server at the terminal does not end the browser.
    command.args(["-c", "exec $1 \"$0\"", url, &name()]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        user.run(&mut command);
    }
    command.spawn()
}
