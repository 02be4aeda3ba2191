//! The help, made from the table: for a terminal of 80 columns, each option beside its text.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use super::table::{EXAMPLES, NOTES};

/// Columns of a line, and those before the text of an option.
const WIDTH: usize = 80;
const INDENT: usize = 31;

/// The whole help.
pub(super) fn help(command: &Command) -> String {
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let mut text = wrapped(&about, WIDTH).join("\n");
    text += "\n\nUsage: brooklet [OPTIONS] [ROOT]\n\nExamples:\n";
    for (command, what) in EXAMPLES {
        row(&mut text, command, what, 43);
    }
    let mut heading = None;
    for argument in command.get_arguments() {
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let _ = write!(text, "\n{}:\n", heading.unwrap_or("Options"));
        }
        row(&mut text, &form(argument), &explained(argument), INDENT);
    }
    text += "\nNotes:\n";
    for note in NOTES {
        for line in wrapped(note, WIDTH - 2) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// What is written, and from this column on what it is for; below it, if there is no room beside it.
fn row(text: &mut String, left: &str, right: &str, column: usize) {
    let mut left = format!("  {left}");
    if left.len() + 2 > column {
        let _ = writeln!(text, "{left}");
        left.clear();
    }
    for line in wrapped(right, WIDTH - column) {
        let _ = writeln!(text, "{left:column$}{line}");
        left.clear();
    }
}

/// How it is written.
fn form(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = match value {
        Some(name) if argument.is_require_equals_set() => format!("[={name}]"),
        Some(name) => format!(" {name}"),
        None => String::new(),
    };
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}{value}"),
        (None, Some(long)) => format!("    --{long}{value}"),
        _ => argument.get_id().to_string(),
    }
}

/// What it is for, which values it may have, and which it has if it is not given.
fn explained(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if !matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        return text;
    }
    let names: Vec<_> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !names.is_empty() {
        let _ = write!(text, " [{}]", names.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() {
        let _ = write!(text, " [default: {}]", defaults.join(","));
    }
    text
}

/// Lines of at most so many columns. What stands in brackets stays together.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut words, mut inside) = (Vec::<String>::new(), false);
    for word in text.split(' ') {
        match words.last_mut().filter(|_| inside) {
            Some(last) => {
                last.push(' ');
                last.push_str(word);
            }
            None => words.push(word.to_owned()),
        }
        inside = (inside || word.starts_with('[')) && !word.ends_with(']');
    }
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = word,
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}
