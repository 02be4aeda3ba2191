//! The programs in `examples/`: each is started, asked for one file, and killed.

use std::path::PathBuf;
use std::process::Command;

use crate::client::{Client, get};
use crate::program::Program;
use crate::site::{Folder, noise};

/// Where cargo has built the example, beside this program. `cargo test` does that; `cargo test --test suite` does not.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|folder| folder.parent()).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo build --examples, or plain cargo test, builds it", path.display());
    path
}

#[test]
fn every_example_serves_a_file_as_it_is() {
    let folder = Folder::new();
    let content = noise(9, 3_000_000);
    folder.file("file.bin", &content);
    for name in ["whole_file", "stream", "embed"] {
        println!("example: {name}");
        let mut program = Program::start(Command::new(built(name)).arg(folder.root()));
        let line = program.line();
        let address = line.strip_prefix("http://").and_then(|address| address.parse().ok());
        let answer = Client::connect(address.unwrap_or_else(|| panic!("{line:?}"))).exchange(get("/file.bin"));
        assert_eq!((answer.status, answer.length()), (200, Some(content.len())), "{name}");
        assert!(answer.body == content, "{name}: the bytes are those of the file");
    }
}
