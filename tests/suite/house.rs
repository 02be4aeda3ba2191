//! That the house is as ARCHITECTURE.md says, and the documents true: who uses whom, tests that are named, files that are linked to.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All documents, by their paths from the root.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "deploy/README.md",
    "docs/figures.md",
    "docs/manual.md",
    "docs/promises.md",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of Rust beneath a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The anchors of the headings, as they are made on code hosts.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|rest| rest.trim_start_matches('#').trim());
    let kept = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(kept).collect()
}

#[test]
fn every_test_that_a_promise_names_is_there() {
    let code: String = ["src", "tests"].iter().flat_map(|folder| sources(&Path::new(ROOT).join(folder))).fold(
        String::new(),
        |mut all, path| {
            all.push_str(&fs::read_to_string(path).unwrap());
            all
        },
    );
    for document in ["README.md", "docs/promises.md"] {
        let text = read(document);
        let rows = text.lines().filter(|line| line.starts_with('|'));
        // The last column of a promise names tests, and nothing else looks like one.
        let is_test = |name: &&str| name.matches('_').count() >= 2 && !name.contains(['-', '.', '/', ' ']);
        let names: Vec<_> = rows.filter_map(|row| row.rsplit('|').nth(1)).flat_map(quoted).filter(is_test).collect();
        assert!(names.len() >= 10, "{document}: {names:?}");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{document}: {name}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.to_string() } else { folder.join(path).display().to_string() };
            assert!(Path::new(ROOT).join(&target).exists(), "{document}: {link}");
            if let Some(anchor) = anchor {
                assert!(anchors(&read(&target)).iter().any(|known| known == anchor), "{document}: {link}");
            }
        }
    }
}

/// A file of the library without its tests and comments, by its path beneath `src`.
fn code() -> Vec<(String, String)> {
    let folder = Path::new(ROOT).join("src");
    let without = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("\n#[cfg(test)]\n").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (path.strip_prefix(&folder).unwrap().display().to_string(), lines)
    };
    sources(&folder).into_iter().map(without).collect()
}

/// The modules of the library in their order, and to which of them what is public at its root belongs.
fn modules() -> (Vec<String>, Vec<(String, String)>) {
    let (_, lib) = code().into_iter().find(|(path, _)| path == "lib.rs").unwrap();
    let declared = lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let order = declared.map(|rest| rest.trim_end_matches(';').to_owned()).collect();
    let mut public = Vec::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub use ")) {
        let (module, rest) = line.split_once("::").unwrap_or((line, ""));
        let names = rest.rsplit("::").next().unwrap().trim_matches(['{', '}', ';']);
        public.extend(names.split(", ").map(|name| (name.trim_matches(['{', '}', ';']).to_owned(), module.to_owned())));
    }
    (order, public)
}

/// What a file names behind `crate::`, as far as the first name.
fn used(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()),
            Some(group) => {
                // Only what stands in no brace within.
                let (mut depth, mut begin) = (0, true);
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begin = true,
                        c if begin && c.is_alphabetic() => {
                            begin = false;
                            let rest = &group[at..];
                            found.push(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap());
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

#[test]
fn a_file_uses_only_what_stands_above_it() {
    let (order, public) = modules();
    assert!(order.len() > 20 && public.len() > 10, "{order:?} {public:?}");
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut uses = 0;
    for (path, code) in code() {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs");
        // The crate itself, and the program, which uses it from outside.
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{path} is in no module of lib.rs"));
        for name in used(&code) {
            let of = public.iter().find(|(known, _)| known == name).map_or(name, |(_, module)| module);
            // What was made public from another crate.
            if of == "tiny_http" {
                continue;
            }
            let used = place(of).unwrap_or_else(|| panic!("{path} uses crate::{name}, which is in no module"));
            assert!(used <= own, "{path} uses {of}, which stands below it in lib.rs");
            uses += 1;
        }
    }
    assert!(uses > 150, "{uses} uses were found");
}

#[test]
fn each_module_keeps_to_its_border() {
    let clock = ["Instant::now", "SystemTime::now", ".elapsed()"];
    let sockets = ["socket2", "TcpStream", "TcpListener", "UnixStream", "rustix::net"];
    let files = ["std::fs", "rustix::fs", "File::"];
    let writing =
        ["File::create", "OpenOptions", "fs::write", "create(true)", "append(true)", "remove_file", "rename("];
    for (folder, forbidden) in [
        ("limits.rs", &[&["crate::"][..], &clock, &sockets, &files][..]),
        ("http/", &[&clock, &sockets, &files]),
        ("network.rs", &[&clock, &sockets, &files]),
        ("budget.rs", &[&clock, &sockets]),
        ("tree/", &[&clock, &sockets, &writing]),
        ("auth/", &[&clock, &sockets, &writing]),
        ("answer/", &[&clock, &sockets, &writing]),
        ("downloads.rs", &[&clock, &sockets, &files]),
        ("admin/", &[&clock, &sockets, &writing]),
        ("front/direct/head.rs", &[&clock, &sockets, &files]),
        ("front/direct/drain.rs", &[&clock, &sockets, &files]),
        ("front/direct/tickets.rs", &[&clock, &sockets, &files]),
    ] {
        let all = code();
        let within: Vec<_> = all.iter().filter(|(path, _)| path.starts_with(folder)).collect();
        assert!(!within.is_empty(), "there is no {folder}");
        for (path, code) in within {
            for word in forbidden.iter().flat_map(|words| words.iter()) {
                let line = code.lines().find(|line| line.contains(word));
                assert!(line.is_none(), "{path}: {line:?}");
            }
        }
    }
    for (path, code) in code() {
        // Of tiny_http others know two plain types.
        let elsewhere = !path.starts_with("front/tiny/") && path != "lib.rs";
        for line in code.lines().filter(|line| elsewhere && line.contains("tiny_http::")) {
            let types =
                ["use tiny_http::Method;", "use tiny_http::StatusCode;", "use tiny_http::{Method, StatusCode};"];
            assert!(types.contains(&line.trim()), "{path}: {line}");
        }
        let sound = ["front/direct/progress.rs", "front/direct/poller.rs", "supervisor.rs", "main.rs"];
        assert!(sound.contains(&path.as_str()) || !code.contains("unsafe"), "{path} has unsafe code");
    }
}

#[test]
fn every_dependency_has_its_reason_and_every_module_its_row() {
    let architecture = read("ARCHITECTURE.md");
    let rows: Vec<_> = architecture.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let manifest = read("Cargo.toml");
    let mut within = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            within = section.contains("dependencies");
        } else if let (true, Some((name, _))) = (within, line.split_once(" = ")) {
            let has = rows
                .iter()
                .any(|row| row.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c)).any(|word| word == name));
            assert!(has, "ARCHITECTURE.md does not say why {name} is there");
        }
    }
    let (order, _) = modules();
    let mut last = 0;
    for module in order.iter().filter(|module| !["front", "parts"].contains(&module.as_str())) {
        let place = rows.iter().position(|row| row.split('`').any(|word| word.trim_end_matches('/') == module));
        let place = place.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {module}"));
        // The program's own ones share some.
        assert!(place + 1 >= last, "the row of {module} is not where it stands in lib.rs");
        last = place;
    }
    assert!(architecture.lines().count() <= 150, "it has {} lines", architecture.lines().count());
}
