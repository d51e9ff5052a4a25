//! Line charts as SVG, and what all pictures of a report share.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The backend knows whole pixels only: all is drawn this much larger, and shown smaller.
const FINE: f64 = 4.0;

/// Colours that stay apart for those who don't see red and green apart (*Points of view: Color
/// blindness*, Bang Wong, 2011), without the yellow, which is hard to see on white.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
/// Shapes that [`marker`] knows.
pub const SHAPES: usize = 7;

/// Of titles, of other text, of the finer print, of grid lines.
pub const INK: RGBColor = RGBColor(31, 41, 55);
const TEXT: RGBColor = RGBColor(75, 85, 99);
pub const FAINT: RGBColor = RGBColor(156, 163, 175);
const GRID: RGBColor = RGBColor(229, 231, 235);

/// Where pictures are drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Whether it worked.
pub type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A picture of so many pixels, with what it says to those who don't see it.
pub fn svg((width, height): (f64, f64), title: &str, draw: impl FnOnce(&Area) -> Drawn) -> String {
    let mut svg = String::new();
    let (fine_width, fine_height) = at((width, height));
    let drawn = {
        let size = (fine_width as u32, fine_height as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)
            .and_then(|()| draw(&area))
            .and_then(|()| area.present())
    };
    let title = escape(title);
    match drawn {
        Ok(()) => svg.replacen(
            &format!("width=\"{fine_width}\" height=\"{fine_height}\""),
            &format!(
                "width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\" stroke-linejoin=\"round\" stroke-linecap=\"round\""
            ),
            1,
        ),
        Err(why) => format!(
            "<svg width=\"{width}\" height=\"40\" xmlns=\"http://www.w3.org/2000/svg\"><text y=\"24\">{title}: could not be drawn: {}</text></svg>",
            escape(&why.to_string())
        ),
    }
}

/// Pixels of the backend.
pub fn at((x, y): (f64, f64)) -> (i32, i32) {
    (length(x), length(y))
}

fn length(pixels: f64) -> i32 {
    (pixels * FINE).round() as i32
}

fn stroke(colour: impl Color, width: f64) -> ShapeStyle {
    colour.stroke_width(length(width) as u32)
}

fn font(size: f64, colour: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    // The backend divides by 1.24.
    let mut style = TextStyle::from(("sans-serif", size * FINE * 1.24));
    style.color = colour.to_backend_color();
    style.pos(Pos::new(horizontal, VPos::Center))
}

/// Text that begins at a point and is centred on it vertically.
pub fn text(area: &Area, point: (f64, f64), size: f64, colour: RGBColor, text: &str) -> Drawn {
    let style = font(size, colour, HPos::Left);
    area.draw(&Text::new(text.to_owned(), at(point), style))
}

/// The two lines above a picture.
pub fn heading(area: &Area, title: &str, subtitle: &str) -> Drawn {
    let mut style = font(16.0, INK, HPos::Left);
    style.font = style.font.style(FontStyle::Bold);
    area.draw(&Text::new(title.to_owned(), at((16.0, 22.0)), style))?;
    text(area, (16.0, 43.0), 12.5, TEXT, subtitle)
}

/// A point of a series: one of [`SHAPES`], about 2 `radius` wide, with a white rim that keeps it
/// apart from what it lies on.
pub fn marker(
    area: &Area,
    (x, y): (f64, f64),
    radius: f64,
    shape: usize,
    colour: RGBColor,
) -> Drawn {
    // Corners, how far each second lies in, degrees from the top, a radius that looks alike.
    let (corners, inner, turn, grow) = match shape % SHAPES {
        0 => (32, 1.0, 0.0, 1.0),
        1 => (4, 1.0, 45.0, 1.2),
        2 => (3, 1.0, 0.0, 1.35),
        3 => (4, 1.0, 0.0, 1.3),
        4 => (3, 1.0, 180.0, 1.35),
        5 => (10, 0.45, 0.0, 1.5),
        _ => (8, 0.4, 45.0, 1.5),
    };
    let outline = |radius: f64| -> Vec<(i32, i32)> {
        let corner = |k: usize| {
            let angle = f64::to_radians(turn) + std::f64::consts::TAU * k as f64 / corners as f64;
            let radius = radius * if k % 2 == 1 { inner } else { 1.0 };
            at((x + radius * angle.sin(), y - radius * angle.cos()))
        };
        (0..corners).map(corner).collect()
    };
    if corners == 32 {
        area.draw(&Circle::new(
            at((x, y)),
            length(radius + 0.8),
            WHITE.filled(),
        ))?;
        return area.draw(&Circle::new(at((x, y)), length(radius), colour.filled()));
    }
    area.draw(&Polygon::new(outline(radius * grow + 1.4), WHITE.filled()))?;
    area.draw(&Polygon::new(outline(radius * grow), colour.filled()))
}

/// About as wide as `text` gets.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.6
}

/// `text` with its end cut off where it is longer than `most` characters.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// For HTML and SVG, inside of elements and attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What a chart can show: other numbers would leave no room for the rest.
pub fn drawable(value: f64) -> bool {
    value.abs() < 1e30
}

/// A side of a chart.
pub struct Axis {
    /// What lies between its ends.
    pub range: Range<f64>,
    /// Where it has labels.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From one round number to another, with all values between them and about `steps` labels;
    /// `whole` for what has no halves.
    pub fn around(values: impl Iterator<Item = f64>, steps: f64, whole: bool) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&v| drawable(v)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let size = low.abs().max(high.abs());
        if high - low <= 1e-6 * size || size == 0.0 {
            let room = if size == 0.0 { 1.0 } else { 0.1 * size };
            (low, high) = (low - room, high + room);
        }
        let least = if whole { 1.0 } else { 0.0 };
        let rough = ((high - low) / steps).max(least);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * power)
            .into_iter()
            .find(|&step| step >= 0.999 * rough)
            .unwrap_or(rough);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let tick = |k: i64| (k as f64 * step, number(k as f64 * step, step));
        let ticks: Vec<(f64, String)> = (first..=last).map(tick).collect();
        Axis {
            range: first as f64 * step..last as f64 * step,
            ticks,
        }
    }

    /// No longer than from the lowest to the highest value.
    pub fn cut_to(mut self, low: f64, high: f64) -> Axis {
        if low < high {
            self.range = low..high;
            self.ticks.retain(|tick| (low..=high).contains(&tick.0));
        }
        self
    }
}

/// A multiple of `step`, with the digits that tell it from the next.
fn number(value: f64, step: f64) -> String {
    let power = |v: f64| (v * 1.001).log10().floor();
    let digits = (-power(step)).max(0.0) as usize;
    let text = match digits {
        0..=5 if value.abs() < 1e6 => format!("{value:.digits$}"),
        _ => {
            let digits = (power(value.abs()) - power(step)).max(0.0) as usize;
            format!("{value:.digits$e}")
        }
    };
    text.replace('-', "\u{2212}")
}

/// A line of a chart; what is no number breaks it.
pub struct Line {
    /// What is told apart from the other lines.
    pub name: String,
    /// x, y and half an interval around y, 0 for none.
    pub points: Vec<(f64, f64, f64)>,
}

/// A chart.
pub struct Plot<'a> {
    /// Of the picture, in pixels.
    pub size: (f64, f64),
    /// Above it.
    pub title: &'a str,
    /// Below the title: what is on the y axis.
    pub subtitle: &'a str,
    /// Below the x axis.
    pub below: &'a str,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// All on the same axes.
    pub lines: &'a [Line],
    /// Whether each point has a marker, and room beside those of the other lines.
    pub markers: bool,
}

/// Pixels between two names.
const NAME_STEP: f64 = 19.0;
const NAME_SIZE: f64 = 13.0;
const LONGEST_NAME: usize = 34;

impl Plot<'_> {
    /// The chart as a picture. Names stand right of the plot, each at the height of its line's end.
    pub fn svg(&self) -> String {
        svg(self.size, self.title, |area| self.draw(area))
    }

    fn draw(&self, area: &Area) -> Drawn {
        heading(area, self.title, self.subtitle)?;
        let names: Vec<String> = self
            .lines
            .iter()
            .map(|line| shortened(&line.name, LONGEST_NAME))
            .collect();
        let widest = names
            .iter()
            .map(|n| text_width(n, NAME_SIZE))
            .fold(0.0, f64::max);
        let named = names.len() > 1;
        let gutter = if named { widest + 64.0 } else { 24.0 };
        let wide = self
            .y
            .ticks
            .iter()
            .map(|t| text_width(&t.1, 12.0))
            .fold(0.0, f64::max);
        let (left, right) = (wide + 24.0, self.size.0 - gutter);
        let (top, bottom) = (66.0, self.size.1 - 54.0);
        let below = font(12.5, TEXT, HPos::Center);
        let middle = at(((left + right) / 2.0, self.size.1 - 16.0));
        area.draw(&Text::new(self.below.to_owned(), middle, below))?;

        let height = |y: f64| {
            let Range { start, end } = self.y.range;
            bottom + (y.clamp(start, end) - start) / (end - start) * (top - bottom)
        };
        let along = |x: f64| {
            let Range { start, end } = self.x.range;
            left + (x - start) / (end - start) * (right - left)
        };
        for (y, label) in &self.y.ticks {
            let y = height(*y);
            let line = vec![at((left, y)), at((right, y))];
            area.draw(&PathElement::new(line, stroke(GRID, 1.0)))?;
            let style = font(12.0, TEXT, HPos::Right);
            area.draw(&Text::new(label.clone(), at((left - 8.0, y)), style))?;
        }
        let line = vec![at((left, bottom)), at((right, bottom))];
        area.draw(&PathElement::new(line, stroke(FAINT, 1.0)))?;
        for (x, label) in &self.x.ticks {
            let x = along(*x);
            let tick = vec![at((x, bottom)), at((x, bottom + 4.0))];
            area.draw(&PathElement::new(tick, stroke(FAINT, 1.0)))?;
            let style = font(12.0, TEXT, HPos::Center);
            area.draw(&Text::new(label.clone(), at((x, bottom + 16.0)), style))?;
        }
        let apart = match self.markers {
            true => (0.6 * (along(1.0) - along(0.0)) / self.lines.len().max(1) as f64).min(7.5),
            false => 0.0,
        };
        let place = |line: usize, (x, y, _): (f64, f64, f64)| {
            let beside = apart * (line as f64 - (self.lines.len() as f64 - 1.0) / 2.0);
            (along(x) + beside, height(y))
        };
        let shown = |point: &&(f64, f64, f64)| drawable(point.1);
        for (i, line) in self.lines.iter().enumerate() {
            let style = stroke(COLOURS[i % COLOURS.len()], 2.0);
            for piece in line.points.split(|point| !drawable(point.1)) {
                let path: Vec<(i32, i32)> = piece.iter().map(|&p| at(place(i, p))).collect();
                match path[..] {
                    // A lone point would be no line.
                    [point] if !self.markers => {
                        area.draw(&Circle::new(point, length(3.0), style.filled()))?;
                    }
                    _ => area.draw(&PathElement::new(path, style))?,
                }
            }
        }
        for (i, line) in self.lines.iter().enumerate().filter(|_| self.markers) {
            let style = stroke(COLOURS[i % COLOURS.len()], 1.2);
            for &point in line.points.iter().filter(shown) {
                let (x, y) = place(i, point);
                let half = point.2;
                if drawable(half) && half > 0.0 {
                    let (high, low) = (height(point.1 + half), height(point.1 - half));
                    for (from, to) in [
                        ((x, high), (x, low)),
                        ((x - 3.0, high), (x + 3.0, high)),
                        ((x - 3.0, low), (x + 3.0, low)),
                    ] {
                        area.draw(&PathElement::new(vec![at(from), at(to)], style))?;
                    }
                }
                marker(area, (x, y), 4.0, i, COLOURS[i % COLOURS.len()])?;
            }
        }
        if !named {
            return Ok(());
        }
        let mut ends: Vec<(usize, Option<(f64, f64)>)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| (i, line.points.iter().rfind(shown).map(|&p| place(i, p))))
            .collect();
        let end = |end: &(usize, Option<(f64, f64)>)| end.1.map_or(bottom, |point| point.1);
        ends.sort_by(|a, b| end(a).total_cmp(&end(b)));
        let furthest = ends
            .iter()
            .filter_map(|end| end.1.map(|point| point.0))
            .fold(left, f64::max);
        let wanted: Vec<f64> = ends.iter().map(end).collect();
        for (&(i, last), y) in ends.iter().zip(spread(&wanted, top, bottom)) {
            let colour = COLOURS[i % COLOURS.len()];
            let label = right + 20.0;
            // From a line that goes on to the plot's end, past the others' markers, to its name.
            if let Some((_, end)) = last.filter(|last| right - last.0 < 60.0) {
                let room = if self.markers { 9.0 } else { 0.0 };
                let lead = vec![
                    at((furthest + room, end)),
                    at((right, end)),
                    at((label - 4.0, y)),
                ];
                area.draw(&PathElement::new(lead, stroke(colour.mix(0.45), 1.0)))?;
            }
            let sample = vec![at((label, y)), at((label + 22.0, y))];
            area.draw(&PathElement::new(sample, stroke(colour, 2.0)))?;
            if self.markers {
                marker(area, (label + 11.0, y), 4.0, i, colour)?;
            }
            let name = names.get(i).map_or("", String::as_str);
            text(area, (label + 29.0, y), NAME_SIZE, INK, name)?;
        }
        Ok(())
    }
}

/// Heights in rising order, moved as little as needed to lie [`NAME_STEP`] apart (or as far as there
/// is room).
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let step = NAME_STEP.min((bottom - top) / wanted.len().max(1) as f64);
    // Groups that touch share the mean of their wishes: each is (first height, members).
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for &want in wanted {
        let mut group = (want.clamp(top, bottom), 1);
        while let Some(&(first, members)) = groups.last() {
            if first + members as f64 * step <= group.0 {
                break;
            }
            groups.pop();
            // What each group's first would be, were all its members to give way alike.
            let own = group.0 - members as f64 * step;
            let (a, b) = (members as f64, group.1 as f64);
            group = ((first * a + own * b) / (a + b), members + group.1);
            let most = bottom - (group.1 - 1) as f64 * step;
            group.0 = group.0.min(most).max(top);
        }
        groups.push(group);
    }
    let heights =
        |&(first, members): &(f64, usize)| (0..members).map(move |k| first + k as f64 * step);
    groups.iter().flat_map(heights).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_and_inside() {
        for wanted in [
            vec![],
            vec![50.0],
            vec![10.0, 100.0],
            vec![50.0, 50.0, 51.0, 300.0],
            vec![400.0; 5],
            vec![0.0; 40],
        ] {
            let heights = spread(&wanted, 60.0, 400.0);
            assert_eq!(heights.len(), wanted.len());
            let step = NAME_STEP.min(340.0 / wanted.len().max(1) as f64) - 1e-9;
            assert!(
                heights.windows(2).all(|w| w[1] - w[0] >= step),
                "{heights:?}"
            );
            assert!(
                heights.iter().all(|&h| (59.9..=400.1).contains(&h)),
                "{heights:?}"
            );
        }
    }

    #[test]
    fn ticks_are_round_and_around_all() {
        for (low, high, whole) in [
            (0.0, 0.0, false),
            (1e-7, 1.1e-7, false),
            (-3.4, -0.2, false),
            (1.0, 3.0, true),
            (1e29, -1e29, false),
            (5.0, f64::NAN, false),
        ] {
            let axis = Axis::around([low, high].into_iter(), 5.0, whole);
            let inside = |v: f64| v.is_nan() || axis.range.start <= v && v <= axis.range.end;
            assert!(
                inside(low) && inside(high),
                "{low} {high}: {:?}",
                axis.range
            );
            assert!((2..=9).contains(&axis.ticks.len()), "{:?}", axis.ticks);
            let mut labels: Vec<&String> = axis.ticks.iter().map(|t| &t.1).collect();
            labels.dedup();
            assert_eq!(labels.len(), axis.ticks.len(), "{labels:?}");
        }
    }
}
