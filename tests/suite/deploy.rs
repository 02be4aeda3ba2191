//! The files of `deploy/` agree with what is said of them. The image and the Debian package are tried by programs of their own,
//! `deploy/test-image` and `deploy/debian/test`; the units by `listen`, the configuration of HAProxy by `balancer`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// `64Mi`, `64M` and `64m` in bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "k" | "ki" => 1 << 10,
        "m" | "mi" => 1 << 20,
        "g" | "gi" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok().map(|number| number * unit)
}

/// The sizes that stand in a text behind these words; the words of a text are what punctuation and spaces leave.
fn sizes(text: &str, behind: &[&str]) -> Vec<u64> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let words: Vec<_> = text.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).collect();
    let found = words.windows(behind.len() + 1).filter(|window| window.starts_with(behind));
    found.filter_map(|window| bytes(window[behind.len()])).collect()
}

#[test]
fn a_limit_of_memory_leaves_an_eighth_beside_the_budget() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut limited = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Of texts for people only their examples could be meant.
        if !entry.file_type().unwrap().is_file() || name.ends_with(".md") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let all = |ways: &[&[&str]]| ways.iter().flat_map(|way| sizes(&text, way)).collect::<Vec<_>>();
        let limits = all(&[&["--memory"], &["limits", "memory"], &["MemoryMax"], &["mem_limit"]]);
        let budgets = all(&[&["BROOKLET_MEMORY"], &["BROOKLET_MEMORY", "value"]]);
        for limit in &limits {
            assert_eq!(budgets.len(), 1, "{name}: a limit of {limit} bytes, and one budget");
            assert!(budgets[0] * 8 <= limit * 7, "{name}: {} bytes are not an eighth less than {limit}", budgets[0]);
        }
        limited.insert(name, limits.len());
    }
    assert_eq!((limited["Containerfile"], limited["kubernetes.yaml"]), (1, 1), "{limited:?}");
}

#[test]
fn the_image_is_made_of_the_program_alone() {
    let text = include_str!("../../deploy/Containerfile");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instructions: Vec<_> = lines.filter_map(|line| line.split_once(' ')).collect();
    let what_fills_it = instructions.iter().filter(|(name, _)| !["USER", "EXPOSE", "ENV", "ENTRYPOINT"].contains(name));
    assert!(what_fills_it.eq(&[("FROM", "scratch"), ("COPY", "brooklet /brooklet")]), "{instructions:?}");
    assert!(
        instructions.contains(&("USER", "65534:65534")) && instructions.contains(&("ENTRYPOINT", r#"["/brooklet"]"#))
    );
}
