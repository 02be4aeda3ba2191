//! Charts as SVG: axes with units, each series with its name at its end, and colours for light and dark backgrounds that
//! also differ for who does not see red or green.

use std::fmt::Write;

use super::table::number;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 470.0;
/// The area of the points: left, top, right, bottom.
const AREA: [f64; 4] = [76.0, 74.0, 560.0, 410.0];
/// Between two names.
const LINE: f64 = 19.0;

/// The first part is for a light background, the second one for a dark one.
const STYLE: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 } .soft { fill: #59636e } .end { text-anchor: end } .middle { text-anchor: middle }
.back { fill: #fff } .grid { stroke: #d8dee4 } .axis { stroke: #8c959f } .bound { stroke: #59636e; stroke-dasharray: 2 4 }
path, line { fill: none } path { stroke-width: 2.2; stroke-linejoin: round } .strong { stroke-width: 3.6 }
.dashed { stroke-dasharray: 7 4 } .leader { stroke-width: 1; opacity: .55 }
.a { stroke: #c24e00 } .b { stroke: #00785a } .c { stroke: #0a58ca } .d { stroke: #7a6400 }
.fa { fill: #c24e00 } .fb { fill: #00785a } .fc { fill: #0a58ca } .fd { fill: #7a6400 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .soft { fill: #9ea7b3 } .back { fill: #0d1117 } .grid { stroke: #2b323b } .axis { stroke: #656d76 }
.bound { stroke: #9ea7b3 }
.a { stroke: #ff8d52 } .b { stroke: #3fd0a4 } .c { stroke: #6cb2ff } .d { stroke: #e6d35a }
.fa { fill: #ff8d52 } .fb { fill: #3fd0a4 } .fc { fill: #6cb2ff } .fd { fill: #e6d35a }
}
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
    /// These, at 0, 1 and so on.
    Names(Vec<&'static str>),
}

/// From where to where, and what it says there.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What it measures, and the unit.
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// How a series looks: series of the same kind have the same colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// `a` to `d`.
    pub(crate) colour: char,
    pub(crate) dashed: bool,
    pub(crate) strong: bool,
}

/// A line, or points, or both.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) line: Vec<(f64, f64)>,
    pub(crate) points: Vec<(f64, f64)>,
    /// Where it came to its end before its time.
    pub(crate) crosses: Vec<(f64, f64)>,
}

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// A value on the vertical axis that is not exceeded, and what it is.
    pub(crate) bound: Option<(f64, String)>,
    pub(crate) series: Vec<Series>,
}

impl Axis {
    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| match self.scale {
            Scale::Linear | Scale::Names(_) => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).ln(),
        };
        let (from, to) = (scaled(self.from), scaled(self.to));
        ((scaled(value) - from) / (to - from)).clamp(0.0, 1.0)
    }

    /// Values that are marked, round ones, and what is said there.
    fn ticks(&self) -> Vec<(f64, String)> {
        let within = |value: &f64| (self.from..=self.to * 1.000_001).contains(value);
        let marked = |values: Vec<f64>| values.into_iter().map(|value| (value, mark(value))).collect();
        match &self.scale {
            Scale::Names(names) => names.iter().enumerate().map(|(at, name)| (at as f64, (*name).into())).collect(),
            Scale::Linear => {
                let raw = (self.to - self.from) / 6.0;
                let magnitude = 10f64.powf(raw.log10().floor());
                let step =
                    [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * magnitude >= raw).unwrap_or(10.0) * magnitude;
                let first = (self.from / step).ceil() as i64;
                marked((first..first + 20).map(|at| at as f64 * step).filter(within).collect())
            }
            Scale::Logarithmic => {
                let decades = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
                let marks = |steps: &[f64]| -> Vec<f64> {
                    let all =
                        decades.clone().flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
                    all.filter(within).collect()
                };
                marked(Some(marks(&[1.0])).filter(|ticks| ticks.len() >= 3).unwrap_or_else(|| marks(&[1.0, 2.0, 5.0])))
            }
        }
    }
}

impl Chart {
    /// The chart as the content of an SVG file.
    pub(crate) fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
            escape(&self.title)
        );
        // Writing to a string never fails.
        let _ = self.draw(&mut out);
        out + "</svg>\n"
    }

    fn draw(&self, out: &mut String) -> std::fmt::Result {
        let [left, top, right, bottom] = AREA;
        writeln!(out, "<text class=\"title\" x=\"20\" y=\"30\">{}</text>", escape(&self.title))?;
        writeln!(out, "<text class=\"soft\" x=\"20\" y=\"51\">{}</text>", escape(&self.subtitle))?;
        for (tick, text) in self.y.ticks() {
            let y = self.down(tick);
            writeln!(out, "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            writeln!(
                out,
                "<text class=\"soft end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                left - 8.0,
                y + 4.5,
                escape(&text)
            )?;
        }
        for (tick, text) in self.x.ticks() {
            let x = self.across(tick);
            writeln!(
                out,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>",
                bottom + 5.0
            )?;
            writeln!(out, "<text class=\"soft middle\" x=\"{x:.1}\" y=\"{}\">{}</text>", bottom + 20.0, escape(&text))?;
        }
        writeln!(out, "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>")?;
        let (middle, under) = ((left + right) / 2.0, bottom + 42.0);
        writeln!(out, "<text class=\"middle\" x=\"{middle}\" y=\"{under}\">{}</text>", escape(self.x.label))?;
        let middle = (top + bottom) / 2.0;
        let turned = format!("transform=\"rotate(-90 22 {middle})\" x=\"22\" y=\"{middle}\"");
        writeln!(out, "<text class=\"middle\" {turned}>{}</text>", escape(self.y.label))?;
        if let Some((value, text)) = &self.bound {
            let y = self.down(*value);
            writeln!(out, "<line class=\"bound\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            writeln!(out, "<text class=\"soft end\" x=\"{right}\" y=\"{:.1}\">{}</text>", y - 7.0, escape(text))?;
        }
        self.draw_series(out)
    }

    fn draw_series(&self, out: &mut String) -> std::fmt::Result {
        let ends: Vec<_> = self.series.iter().map(|series| series.end().map(|at| self.point(at))).collect();
        let names = apart(ends.iter().map(|end| end.map_or(AREA[3], |(_, y)| y)).collect(), AREA[1], AREA[3]);
        for ((series, end), name) in self.series.iter().zip(ends).zip(names) {
            let Look { colour, dashed, strong } = series.look;
            let class =
                format!("{colour}{}{}", if dashed { " dashed" } else { "" }, if strong { " strong" } else { "" });
            let mut path = String::new();
            for (number, at) in series.line.iter().enumerate() {
                let (x, y) = self.point(*at);
                write!(path, "{}{x:.1} {y:.1}", if number == 0 { "M" } else { "L" })?;
            }
            writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>")?;
            for at in &series.points {
                let (x, y) = self.point(*at);
                writeln!(out, "<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>")?;
            }
            for at in &series.crosses {
                let (x, y) = self.point(*at);
                writeln!(out, "<path class=\"{colour}\" d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>", x - 5.0, y - 5.0)?;
            }
            let Some((x, y)) = end else { continue };
            let to = AREA[2] + 14.0;
            writeln!(out, "<path class=\"{colour} leader\" d=\"M{:.1} {y:.1}L{to} {name:.1}\"/>", x.min(to) + 5.0)?;
            writeln!(
                out,
                "<text class=\"f{colour}\" x=\"{}\" y=\"{:.1}\">{}</text>",
                to + 4.0,
                name + 4.5,
                escape(&series.name)
            )?;
        }
        Ok(())
    }

    fn across(&self, value: f64) -> f64 {
        AREA[0] + self.x.place(value) * (AREA[2] - AREA[0])
    }

    fn down(&self, value: f64) -> f64 {
        AREA[3] - self.y.place(value) * (AREA[3] - AREA[1])
    }

    fn point(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.across(x), self.down(y))
    }
}

impl Series {
    /// Where its name belongs to.
    fn end(&self) -> Option<(f64, f64)> {
        let all = self.line.iter().chain(&self.points).chain(&self.crosses);
        all.copied().reduce(|last, at| if at.0 >= last.0 { at } else { last })
    }
}

/// Along the most of all that stand here or further left.
pub(crate) fn highest(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (x, y) in sorted {
        let most = line.last().map_or(y, |last| last.1.max(y));
        match line.last_mut().filter(|last| last.0 == x) {
            Some(last) => last.1 = most,
            None => line.push((x, most)),
        }
    }
    line
}

/// Moves what is too near to each other apart, in the same order, as little as there is room for.
fn apart(wanted: Vec<f64>, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<_> = (0..wanted.len()).collect();
    let at = |number: &usize| wanted.get(*number).copied().unwrap_or(top);
    order.sort_by(|a, b| at(a).total_cmp(&at(b)));
    let mut placed: Vec<f64> = order.iter().map(at).collect();
    let mut least = top;
    for place in &mut placed {
        *place = place.max(least);
        least = *place + LINE;
    }
    let mut most = bottom;
    for place in placed.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LINE;
    }
    let mut names = vec![0.0; wanted.len()];
    for (number, place) in order.into_iter().zip(placed) {
        if let Some(name) = names.get_mut(number) {
            *name = place;
        }
    }
    names
}

/// A round value, as short as it can be said.
fn mark(value: f64) -> String {
    let text = number(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, from: f64, to: f64) -> Axis {
        Axis { label: "MiB", scale, from, to }
    }

    #[test]
    fn values_have_their_place() {
        let (linear, logarithmic) = (axis(Scale::Linear, 0.0, 20.0), axis(Scale::Logarithmic, 1.0, 10_000.0));
        assert_eq!([0.0, 5.0, 20.0, 30.0].map(|value| linear.place(value)), [0.0, 0.25, 1.0, 1.0]);
        for (value, place) in [(1.0, 0.0), (10.0, 0.25), (100.0, 0.5), (0.0, 0.0), (1e9, 1.0)] {
            assert!((logarithmic.place(value) - place).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn axes_are_marked_at_round_values() {
        let ticks = |scale, from, to| {
            axis(scale, from, to).ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ticks(Scale::Linear, 0.0, 8.0), "0 2 4 6 8");
        assert_eq!(ticks(Scale::Linear, 0.0, 10.5), "0 2 4 6 8 10");
        assert_eq!(ticks(Scale::Linear, 0.0, 2.2), "0 0.5 1 1.5 2");
        assert_eq!(ticks(Scale::Logarithmic, 0.8, 25_000.0), "1 10 100 1,000 10,000");
        assert_eq!(ticks(Scale::Logarithmic, 0.4, 4.0), "0.5 1 2");
        assert_eq!(ticks(Scale::Names(vec!["a", "b"]), -0.5, 1.5), "a b");
    }

    #[test]
    fn a_line_goes_along_the_highest() {
        let points = [(10.0, 3.0), (1.0, 2.0), (10.0, 5.0), (100.0, 4.0)];
        assert_eq!(highest(&points), [(1.0, 2.0), (10.0, 5.0), (100.0, 5.0)]);
    }

    #[test]
    fn names_do_not_overlap() {
        assert_eq!(apart(vec![50.0, 10.0, 12.0], 0.0, 100.0), [50.0, 10.0, 10.0 + LINE]);
        let names = apart(vec![99.0, 100.0, 98.0], 0.0, 100.0);
        assert_eq!(names, [100.0 - LINE, 100.0, 100.0 - 2.0 * LINE]);
    }

    #[test]
    fn a_chart_is_well_formed() {
        let look = Look { colour: 'a', dashed: true, strong: false };
        let line = vec![(1.0, 2.0), (2.0, 3.0)];
        let series = Series { name: "a < b".into(), look, points: line.clone(), crosses: vec![(3.0, 3.0)], line };
        let svg = Chart {
            title: "this & that".into(),
            subtitle: String::new(),
            x: axis(Scale::Linear, 0.0, 4.0),
            y: axis(Scale::Logarithmic, 1.0, 100.0),
            bound: Some((50.0, "enough".into())),
            series: vec![series],
        }
        .svg();
        for part in ["<title>this &amp; that</title>", ">a &lt; b</text>", "class=\"a dashed\" d=\"M", ">enough<"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!((svg.matches("<circle").count(), svg.matches("l10 10m0").count()), (2, 1));
        // The middle of a linear axis, and of a logarithmic one.
        assert!(svg.contains("cx=\"318.0\" cy=\"329.8\""), "{svg}");
        assert!(svg.contains("(prefers-color-scheme: dark)") && svg.matches(">MiB</text>").count() == 2, "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
