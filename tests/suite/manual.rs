//! The man page and the completions of `make man` and `make completions`, and docs/manual.md: they know every option, and no
//! other.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::examples::built;
use crate::site::Folder;

/// A folder with all of them.
fn made() -> Folder {
    let folder = Folder::new();
    for what in ["man", "completions"] {
        let made = Command::new(built("generate")).arg(what).arg(folder.root()).status();
        assert!(made.unwrap().success(), "{what}");
    }
    folder
}

fn options() -> BTreeSet<String> {
    let command = brooklet::cli::command();
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

/// What stands behind `before` up to anything that is in no name, wherever that is.
fn behind(text: &str, before: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect::<String>();
    text.split(before).skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

/// Runs a program that may be missing where nobody has to have it.
fn run(program: &str, arguments: &[&str], file: &Path) -> Option<Output> {
    match Command::new(program).args(arguments).arg(file).output() {
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: there is no {program} ({error})");
            None
        }
        output => Some(output.unwrap()),
    }
}

#[test]
fn the_man_page_has_every_option() {
    let folder = made();
    let page = std::fs::read_to_string(folder.path("brooklet.1")).unwrap();
    // In the line behind each `.TP`, without the roff of it.
    let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
    let heads = plain.split("\n.TP\n").skip(1).filter_map(|entry| entry.lines().next());
    let heads = heads.filter(|head| head.starts_with('-')).collect::<Vec<_>>().join("\n");
    assert_eq!(behind(&heads, "--"), options());
    for words in ["ROOT", "\n.SH \"EXIT STATUS\"\n", "\n.SH \"SIGNALS\"\n", "BROOKLET_ROOT", "[inside, never, follow]"]
    {
        assert!(plain.contains(words), "{words}");
    }
    if let Some(output) = run("mandoc", &["-Tlint", "-Wwarning"], &folder.path("brooklet.1")) {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // It has no date, so that the page of a version is always the same.
        let wrong: Vec<_> = said.lines().filter(|line| !line.contains("WARNING: missing date")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn each_shell_completes_every_option() {
    let folder = made();
    let bash = "source \"$0\"; COMP_WORDS=(brooklet \"${1-}\"); COMP_CWORD=1; \
                _brooklet brooklet \"${1-}\" brooklet; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let fish = "source $argv[1]; complete -C 'brooklet --'";
    for (shell, file, check, begins) in [
        ("bash", "brooklet.bash", &["-c", bash][..], "--"),
        ("zsh", "_brooklet", &["-n"], "'--"),
        ("fish", "brooklet.fish", &["-c", fish], "-l "),
    ] {
        let path = folder.path(file);
        let script = std::fs::read_to_string(&path).unwrap();
        // What may be repeated is marked so.
        let mut known = behind(&script.replace("'*--", "'--"), begins);
        known.retain(|name| shell != "bash" || options().contains(name));
        assert_eq!(known, options(), "{file}");
        let Some(output) = run(shell, check, &path) else { continue };
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && err.is_empty(), "{shell}: {err}");
        if shell == "fish" {
            assert_eq!(behind(&out, "--"), options());
        }
    }
    let completed = |word: &str| {
        let output = Command::new("bash").args(["-c", bash]).arg(folder.path("brooklet.bash")).arg(word).output();
        let found = String::from_utf8(output.unwrap().stdout).unwrap();
        found.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(completed("--max-"), ["--max-connections", "--max-connections-per-client"].map(String::from).into());
    // bash hands over the three parts of it.
    let value = "source \"$0\"; COMP_WORDS=(brooklet --symlinks = f); COMP_CWORD=3; _brooklet brooklet f =; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", value]).arg(folder.path("brooklet.bash")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "follow\n");
    let long = completed("--");
    assert_eq!(long, options().iter().map(|name| format!("--{name}")).collect());
}

#[test]
fn the_manual_has_a_row_for_every_option() {
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual.md")).unwrap();
    let rows = manual.lines().filter_map(|line| {
        let (option, rest) = line.strip_prefix("| `")?.split_once(" | ")?;
        let variable = rest.strip_prefix("`BROOKLET_")?.split('`').next()?;
        let name = option.rsplit("--").next()?.split(['`', ' ', '[']).next()?;
        Some((name.to_owned(), format!("BROOKLET_{variable}")))
    });
    let command = brooklet::cli::command();
    let known = command
        .get_arguments()
        .filter_map(|argument| Some((argument.get_id().to_string(), argument.get_env()?.to_str()?.to_owned())));
    assert_eq!(rows.collect::<BTreeSet<_>>(), known.collect());
}
