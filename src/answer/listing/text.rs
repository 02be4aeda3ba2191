//! A listing as text: the page and the JSON.

use std::fmt::{self, Display, Write};

use super::query::Column;
use super::{Format, Listing, Row};
use crate::answer::page;
use crate::http::escape::{Html, Json, path};
use crate::http::{date, media_type};

impl Listing {
    fn shown_path(&self) -> Vec<u8> {
        let slash: &[u8] = if self.path.is_empty() { b"" } else { b"/" };
        [b"/", &*self.path, slash].concat()
    }

    pub(super) fn head(&self, out: &mut String) -> fmt::Result {
        if self.query.format == Format::Json {
            return write!(out, "{{\"path\":\"{}\",\"sorted\":{},\"entries\":[", Json(&self.shown_path()), self.sorted);
        }
        page::open(out, format_args!("Index of {}", Html(&self.shown_path())))?;
        let depth = if self.path.is_empty() { 0 } else { self.path.split(|b| *b == b'/').count() };
        // Wherever a proxy has put us, these links lead there.
        let up = |steps: usize| if steps == 0 { "./".to_owned() } else { "../".repeat(steps) };
        write!(out, "<nav aria-label=\"Path\"><h1><a href=\"{}\" title=\"The top folder\">/</a>", up(depth))?;
        for (number, segment) in self.path.split(|b| *b == b'/').take(depth).enumerate() {
            if number + 1 == depth {
                write!(out, "<b aria-current=\"page\"><bdi>{}</bdi></b>/", Html(segment))?;
            } else {
                write!(out, "<a href=\"{}\"><bdi>{}</bdi></a>/", up(depth - 1 - number), Html(segment))?;
            }
        }
        out.write_str("</h1></nav>\n")?;
        self.form(out)?;
        if !self.sorted {
            out.write_str("<p class=\"note\">Not sorted: there are too many entries.</p>\n")?;
        }
        out.write_str("<table>\n<thead><tr>")?;
        for (column, word, title) in Column::ALL {
            if !self.sorted {
                write!(out, "<th scope=\"col\">{title}</th>")?;
                continue;
            }
            let current = column == self.query.order.column;
            let (state, arrow) = match (current, self.query.order.descending) {
                (false, _) => ("none", ""),
                (true, false) => ("ascending", " \u{2191}"),
                (true, true) => ("descending", " \u{2193}"),
            };
            let next = if current && !self.query.order.descending { "desc" } else { "asc" };
            let link = self.query.link(format_args!("sort={word}&amp;order={next}"), "&amp;");
            write!(out, "<th scope=\"col\" aria-sort=\"{state}\"><a href=\"{link}\">{title}{arrow}</a></th>")?;
        }
        out.write_str("</tr></thead>\n<tbody>\n")?;
        if depth > 0 {
            out.write_str(
                "<tr class=\"up\"><td><a href=\"../\">Parent folder</a></td><td></td><td></td><td></td></tr>\n",
            )?;
        }
        Ok(())
    }

    /// The box for a part of a name. The script of the page answers it at once, without it the server does.
    fn form(&self, out: &mut String) -> fmt::Result {
        let (order, filter) = (self.query.order, Html(&self.query.filter));
        write!(
            out,
            "<form role=\"search\"><input type=\"search\" name=\"q\" value=\"{filter}\" placeholder=\"Filter by name\" \
             aria-label=\"Filter by name\" autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\">"
        )?;
        let column = Column::ALL.into_iter().find(|(column, ..)| *column == order.column && *column != Column::Name);
        if let Some((_, word, _)) = column {
            write!(out, "<input type=\"hidden\" name=\"sort\" value=\"{word}\">")?;
        }
        if order.descending {
            out.write_str("<input type=\"hidden\" name=\"order\" value=\"desc\">")?;
        }
        // What the script says, where those who type look.
        out.write_str("<output></output></form>\n")
    }

    /// An entry; `number` counts those before it.
    pub(super) fn row(&self, out: &mut String, number: u64, row: &Row) -> fmt::Result {
        let Row { folder, length, .. } = *row;
        let (name, modified) = (row.name(&self.entries.names), row.modified());
        let slash = if folder { "/" } else { "" };
        let media_type = media_type::of(name);
        match self.query.format {
            Format::Html => {
                let (class, kind) = if folder { (" class=\"folder\"", "folder") } else { ("", media_type) };
                let (url, shown) = (path(name), Html(name));
                write!(out, "<tr{class}><td><a href=\"{url}{slash}\"><bdi>{shown}</bdi></a></td>")?;
                match folder {
                    true => out.write_str("<td></td>")?,
                    false => write!(out, "<td title=\"{length} bytes\">{}</td>", Size(length))?,
                }
                match (date::for_programs(modified), date::for_people(modified)) {
                    (Some(exact), Some(short)) => write!(out, "<td><time datetime=\"{exact}\">{short}</time></td>")?,
                    _ => out.write_str("<td></td>")?,
                }
                writeln!(out, "<td>{}</td></tr>", kind.split(';').next().unwrap_or_default())
            }
            Format::Json => {
                let comma = if number == 0 { "" } else { "," };
                write!(out, "{comma}\n{{\"name\":\"{}\",\"href\":\"{}{slash}\"", Json(name), path(name))?;
                match folder {
                    true => out.write_str(",\"type\":\"folder\"")?,
                    false => write!(
                        out,
                        ",\"type\":\"file\",\"size\":{length},\"media_type\":\"{}\"",
                        Json(media_type.as_bytes())
                    )?,
                }
                match date::for_programs(modified) {
                    Some(exact) => write!(out, ",\"modified\":\"{exact}\"}}"),
                    None => out.write_str("}"),
                }
            }
        }
    }

    pub(super) fn foot(&self, out: &mut String) -> fmt::Result {
        if self.query.format == Format::Json {
            out.write_str("\n]")?;
            if let Some(next) = &self.next {
                write!(out, ",\"next\":\"{}\"", Json(next.as_bytes()))?;
            }
            return out.write_str("}\n");
        }
        let (folders, files, bytes) = (self.entries.folders, self.entries.files, self.entries.bytes);
        let plural = |count| if count == 1 { "" } else { "s" };
        let filter = Html(&self.query.filter);
        match folders + files {
            0 if self.query.filter.is_empty() => {
                out.write_str("<tr class=\"none\"><td colspan=\"4\">Nothing is here.</td></tr>\n")?;
            }
            0 => writeln!(
                out,
                "<tr class=\"none\"><td colspan=\"4\">No name here contains <q dir=\"auto\">{filter}</q>. \
                 <a href=\"./\">Show all</a></td></tr>"
            )?,
            _ => {}
        }
        out.write_str("</tbody>\n</table>\n<footer>")?;
        write!(out, "{folders} folder{}, {files} file{}, {}", plural(folders), plural(files), Size(bytes))?;
        write!(out, " \u{b7} <a href=\"{}\">as JSON</a>", self.query.link("format=json", "&amp;"))?;
        if self.query.archive {
            out.write_str(" \u{b7} <a href=\"?archive=tar\">download as tar</a>")?;
        }
        out.write_str("</footer>\n")?;
        page::close_with_script(out)
    }
}

/// A number of bytes as people read it.
pub(crate) struct Size(pub(crate) u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = "B";
        let mut tenths = u128::from(self.0) * 10;
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            // Rounded, 1023.95 KiB is 1024.0: the next unit says that better.
            if tenths < 10_235 {
                break;
            }
            (unit, tenths) = (larger, (tenths + 512) / 1024);
        }
        match unit {
            "B" => write!(f, "{} B", self.0),
            _ => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1, "1 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1024 * 1024, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_size_is_what_people_would_say(bits in 0u32..64, number: u64, other: u64) {
            let (bytes, larger) = (number >> bits, (number >> bits).saturating_add(other >> bits));
            let said = |bytes| {
                let text = Size(bytes).to_string();
                let (number, unit) = text.split_once(' ').unwrap();
                let power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter().position(|known| *known == unit);
                let unit = 1024f64.powi(power.unwrap() as i32);
                assert!(number.len() <= 6 && (unit == 1.0 || number.split_once('.').unwrap().1.len() == 1), "{text}");
                (number.parse::<f64>().unwrap() * unit, unit)
            };
            let ((value, unit), (more, _)) = (said(bytes), said(larger));
            prop_assert!((value - bytes as f64).abs() <= 0.0501 * unit, "{} is {}", bytes, Size(bytes));
            prop_assert!(unit == 1.0 || value >= unit, "{} is {}", bytes, Size(bytes));
            prop_assert!(value <= more, "{} is {}, {} is {}", bytes, Size(bytes), larger, Size(larger));
        }
    }
}
