//! The programs in `examples/`, which are run as their readers would. That under hyper has its test with it (`make hyper`).

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::client::{Client, get};
use crate::program::Program;
use crate::site::{Folder, noise};

/// Where cargo has built the example, beside this program. `cargo test` does that; `cargo test --test suite` does not.
pub(crate) fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|folder| folder.parent()).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo build --examples, or plain cargo test, builds it", path.display());
    path
}

/// A folder with one file, and its content.
fn site() -> (Folder, Vec<u8>) {
    let (folder, content) = (Folder::new(), noise(9, 3_000_000));
    folder.file("file.bin", &content);
    (folder, content)
}

/// Asks the program for the file at the address that it prints first.
fn is_served(program: &mut Program, name: &str, content: &[u8]) {
    let line = program.line();
    let address = line.strip_prefix("http://").and_then(|address| address.parse().ok());
    let answer = Client::connect(address.unwrap_or_else(|| panic!("{line:?}"))).exchange(get("/file.bin"));
    assert_eq!((answer.status, answer.length()), (200, Some(content.len())), "{name}");
    assert!(answer.body == content, "{name}: the bytes are those of the file");
}

#[test]
fn every_server_serves_a_file_as_it_is() {
    let (folder, content) = site();
    for name in ["whole_file", "stream", "tiny_http"] {
        println!("example: {name}");
        is_served(&mut Program::start(Command::new(built(name)).arg(folder.root())), name, &content);
    }
}

#[test]
fn a_server_in_a_program_is_stopped_by_it_and_tells_what_it_did() {
    let (folder, content) = site();
    let mut program = Program::start(Command::new(built("server")).arg(folder.root()).stdin(Stdio::piped()));
    let mut input = program.input().unwrap();
    is_served(&mut program, "server", &content);
    writeln!(input).unwrap();
    assert!(program.line().contains(" workers busy, "));
    drop(input);
    let (status, last, complaints) = program.end();
    assert_eq!((status, complaints.as_str()), (Some(0), ""));
    assert!(last.contains("2xx 1, 3xx 0, 4xx 0, 5xx 0; 3000000 bytes; 0 clients left early"), "{last}");
}

#[test]
fn an_answer_needs_no_socket() {
    let (folder, content) = site();
    for (target, range, status, field, body) in [
        ("/file.bin", None, "200", "Content-Length: 3000000", Some(&content[..])),
        ("/file.bin", Some("bytes=7-"), "206", "Content-Range: bytes 7-2999999/3000000", Some(&content[7..])),
        ("/none", None, "404", "Content-Type: ", None),
    ] {
        let output = Command::new(built("answer")).arg(folder.root()).arg(target).args(range).output().unwrap();
        let head = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{target}: {head}");
        assert_eq!(head.lines().next(), Some(status), "{target}");
        assert!(head.lines().any(|line| line.starts_with(field)), "{target}: {head}");
        assert!(body.is_none_or(|body| output.stdout == body), "{target}: {} bytes", output.stdout.len());
    }
}
