//! Writes the man page of the program, or its completions for shells, from its own table of options:
//! `generate man FOLDER`, `generate completions FOLDER`. `make man` and `make completions` call it.

use std::error::Error;
use std::fs;
use std::path::Path;

use brooklet::cli::{EXAMPLES, NOTES, command};
use clap_complete::Shell;
use clap_mangen::Man;

/// What the table of options does not say.
const SIGNALS: &[(&str, &str)] = &[
    ("SIGINT, SIGTERM", "Stop: finish transfers for up to --drain. A second one stops at once."),
    ("SIGHUP", "Read the file of --auth, _headers and _redirects again. When its terminal is closed: stop."),
    ("SIGUSR1", "Reopen the access log, after it was rotated."),
];
const STATUSES: &[(&str, &str)] = &[
    ("0", "It was stopped, or --once was reached, and transfers were finished or had their time."),
    ("1", "It could not start, for example because the port is in use; or a second signal stopped it at once."),
    ("2", "The command line cannot work."),
];
const FILES: &[(&str, &str)] = &[
    ("ROOT/_headers", "Response headers by path, unless --no-site-files is given."),
    ("ROOT/_redirects", "Redirects and rewrites, unless --no-site-files is given."),
    ("ROOT/404.html", "The page for what is not found."),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (what, folder) = match &arguments[..] {
        [what, folder] => (what.as_str(), Path::new(folder)),
        _ => return Err("generate man|completions FOLDER".into()),
    };
    fs::create_dir_all(folder)?;
    match what {
        "man" => fs::write(folder.join("brooklet.1"), man()?)?,
        "completions" => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut command(), "brooklet", folder)?;
            }
            // bash takes words apart at `=`: what is completed then is the value of the word before.
            let (path, prev) = (folder.join("brooklet.bash"), "prev=\"$3\"\n");
            let script = fs::read_to_string(&path)?;
            if !script.contains(prev) {
                return Err("the completion for bash does not know the word before".into());
            }
            let value = format!("{prev}    [[ $prev != = ]] || prev=\"${{COMP_WORDS[COMP_CWORD-2]}}\"\n");
            fs::write(path, script.replacen(prev, &value, 1))?;
        }
        _ => return Err(format!("neither man nor completions: {what}").into()),
    }
    println!("{}", folder.display());
    Ok(())
}

fn man() -> Result<Vec<u8>, Box<dyn Error>> {
    // In a line, not as a list.
    let table = command().mut_args(|option| {
        let names: Vec<_> = option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        match option.get_help().filter(|_| option.get_action().takes_values() && !names.is_empty()) {
            Some(help) => {
                let help = format!("{help} [{}]", names.join(", "));
                option.help(help).hide_possible_values(true)
            }
            None => option,
        }
    });
    let man = Man::new(table);
    // Without a date: the page of a version is always the same.
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH BROOKLET 1 \"\" \"brooklet {version}\" \"User commands\"\n").into_bytes();
    man.render_name_section(&mut page)?;
    page.extend(b".SH SYNOPSIS\n\\fBbrooklet\\fR [\\fIOPTIONS\\fR] [\\fIROOT\\fR]\n");
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend(b".SH NOTES\n");
    for (number, note) in NOTES.iter().enumerate() {
        let between = if number > 0 { ".PP\n" } else { "" };
        page.extend(format!("{between}{}\n", escaped(note)).bytes());
    }
    for (title, rows) in [("SIGNALS", SIGNALS), ("EXIT STATUS", STATUSES), ("FILES", FILES), ("EXAMPLES", EXAMPLES)] {
        page.extend(format!(".SH \"{title}\"\n").bytes());
        for (name, text) in rows {
            page.extend(format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(text)).bytes());
        }
    }
    Ok(page)
}

/// As plain text of a man page.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // Such a line would be a command.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
