//! How much comes with brooklet: the numbers in the README are those that cargo counts.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// How many crates a program gets with the library and these features on 64-bit Linux, whatever this machine is.
///
/// The development dependency on ourselves, which is there for who works in this folder, switches features on (see Cargo.toml):
/// so cargo is asked in a copy of the manifest without that line, as in `make check`.
fn count(features: &str) -> usize {
    let (own, copy) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir().unwrap());
    let manifest = std::fs::read_to_string(own.join("Cargo.toml")).unwrap();
    let others = manifest.lines().filter(|line| !line.starts_with("brooklet = {")).collect::<Vec<_>>().join("\n");
    assert!(others.len() < manifest.len() - 20, "the line is there");
    std::fs::write(copy.path().join("Cargo.toml"), others).unwrap();
    std::fs::copy(own.join("Cargo.lock"), copy.path().join("Cargo.lock")).unwrap();
    for folder in ["src", "tests", "benches"] {
        std::os::unix::fs::symlink(own.join(folder), copy.path().join(folder)).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--target", "x86_64-unknown-linux-gnu"]);
    let output = cargo.args(["--features", features]).current_dir(&copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // A crate that comes several times has its name, its version and a mark behind them.
    let crates: HashSet<_> = text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>()).collect();
    assert!(crates.contains(&vec!["brooklet", concat!("v", env!("CARGO_PKG_VERSION"))]), "{text}");
    crates.len() - 1
}

#[test]
fn the_readme_says_how_many_crates_come_with_it() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    // Wherever its lines are broken.
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let [library, auth, program] = ["", "auth", "cli"].map(count);
    let said =
        format!("The library brings {library} crates with it, {auth} with `auth`; the program consists of {program}");
    assert!(readme.contains(&said), "the README does not say: {said}");
}
