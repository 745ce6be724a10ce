//! A chart of lines over an axis from zero and an axis of magnitudes, with a title, the axes' names, and what each line is. Saving it is the
//! report's.

use crate::canvas::{Canvas, LETTER, Mark, Rgb, text_width};

/// Pixels of the area that the lines are in.
const AREA: (usize, usize) = (640, 420);
/// Around everything.
const MARGIN: usize = 20;
/// Between a text and what it belongs to.
const GAP: usize = 8;
/// A line of the legend.
const LEGEND_LINE: usize = LETTER + 14;
/// The piece of a line that the legend shows.
const SAMPLE: usize = 36;
/// Half the size of a mark.
const RADIUS: f64 = 5.0;
/// Numbers along an axis, about.
const TICKS: f64 = 6.0;
/// Most numbers along a logarithmic axis.
const MOST: usize = 10;

const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [34, 34, 34];
const GRID: Rgb = [228, 230, 234];
const AXIS: Rgb = [120, 124, 130];

/// Colours that people with any colour vision tell apart (Okabe and Ito), each with a mark of its own.
const STYLES: [(Rgb, Mark); 6] = [
    ([90, 90, 90], Mark::Cross),
    ([0, 114, 178], Mark::Disc),
    ([213, 94, 0], Mark::Square),
    ([0, 158, 115], Mark::Up),
    ([204, 121, 167], Mark::Diamond),
    ([230, 159, 0], Mark::Down),
];

/// Points that belong together, in any order.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn. Points that are no finite numbers are left out.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// Of the horizontal axis, which begins at zero.
    pub(crate) x_name: &'a str,
    /// Of the vertical axis, which is logarithmic: equal ratios are equally far apart, and zero lies at its lower end.
    pub(crate) y_name: &'a str,
    pub(crate) lines: &'a [Line],
}

/// One axis: the numbers along it, from one end to the other, and where values lie between them.
struct Axis {
    numbers: Vec<f64>,
    logarithmic: bool,
}

impl Axis {
    /// From zero to at least `end`.
    fn from_zero(end: f64) -> Self {
        let end = if end > 0.0 { end } else { 1.0 };
        let step = nice(end / TICKS);
        let count = (end / step - 1e-9).ceil() as usize;
        Self { numbers: (0..=count).map(|n| n as f64 * step).collect(), logarithmic: false }
    }

    /// From at most `least` to at least `largest`, both greater than zero: 1, 2 and 5 times powers of ten, or the powers
    /// alone if that were many.
    fn logarithmic(least: f64, largest: f64) -> Self {
        let powers = least.log10().floor() as i32..=largest.log10().ceil() as i32;
        let all = |times: &[f64]| -> Vec<f64> {
            let all: Vec<f64> = powers.clone().flat_map(|p| times.iter().map(move |n| n * 10f64.powi(p))).collect();
            let first = all.iter().rposition(|n| *n <= least * (1.0 + 1e-9)).unwrap_or(0);
            let last = all.iter().position(|n| *n >= largest * (1.0 - 1e-9)).unwrap_or(all.len() - 1);
            all[first..=last.max(first + 1).min(all.len() - 1)].to_vec()
        };
        let fine = all(&[1.0, 2.0, 5.0]);
        Self { numbers: if fine.len() <= MOST { fine } else { all(&[1.0]) }, logarithmic: true }
    }

    /// The part of the axis below a value.
    fn at(&self, value: f64) -> f64 {
        let (Some(&from), Some(&to)) = (self.numbers.first(), self.numbers.last()) else { return 0.0 };
        let part = if self.logarithmic {
            (value.max(from) / from).ln() / (to / from).ln()
        } else {
            (value - from) / (to - from)
        };
        part.clamp(0.0, 1.0)
    }

    /// The numbers along it and their text.
    fn ticks(&self) -> Vec<(f64, String)> {
        let digits = |x: f64| (-x.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
        let step = self.numbers.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let text = |n: f64| {
            let digits = digits(if self.logarithmic { n } else { step });
            format!("{n:.digits$}")
        };
        self.numbers.iter().map(|n| (*n, text(*n))).collect()
    }
}

/// The least of 1, 2 or 5 times a power of ten that is not below.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|n| n * power >= step * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Canvas {
        let finite = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
        let all = || self.lines.iter().flat_map(|l| l.points.iter().filter(finite));
        let positive = || all().map(|p| p.1).filter(|y| *y > 0.0);
        let x = Axis::from_zero(all().map(|p| p.0).fold(0.0, f64::max));
        let largest = positive().fold(0.0, f64::max);
        let y = match largest > 0.0 {
            true => Axis::logarithmic(positive().fold(f64::INFINITY, f64::min), largest),
            false => Axis::logarithmic(0.1, 1.0),
        };
        let numbers = y.ticks().iter().map(|(_, text)| text_width(text)).max().unwrap_or(0);
        let (left, top) = (MARGIN + LETTER + 2 * GAP + numbers + GAP, MARGIN + LETTER + 3 * GAP);
        let (right, bottom) = (left + AREA.0, top + AREA.1);
        let names = self.lines.iter().map(|line| text_width(&line.name)).max().unwrap_or(0);
        let width = (right + 3 * GAP + SAMPLE + GAP + names).max(MARGIN + text_width(self.title)) + MARGIN;
        let mut canvas = Canvas::new(width, bottom + GAP + LETTER + 2 * GAP + LETTER + MARGIN, PAPER);
        canvas.text((MARGIN, MARGIN), self.title, INK);
        self.axes(&mut canvas, (left, top), (&x, &y));
        let (wide, high) = (AREA.0 as f64, AREA.1 as f64);
        let pixel = |(a, b): (f64, f64)| (left as f64 + wide * x.at(a), bottom as f64 - high * y.at(b));
        for (line, (color, mark)) in self.lines.iter().zip(STYLES.iter().cycle()) {
            let mut points: Vec<(f64, f64)> = line.points.iter().filter(finite).copied().collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points: Vec<(f64, f64)> = points.into_iter().map(pixel).collect();
            points.windows(2).for_each(|pair| canvas.line(pair[0], pair[1], 2.0, *color));
            points.iter().for_each(|at| canvas.mark(*mark, *at, RADIUS, *color));
        }
        for (n, (line, (color, mark))) in self.lines.iter().zip(STYLES.iter().cycle()).enumerate() {
            let (start, middle) = (right + 3 * GAP, top + n * LEGEND_LINE + LETTER / 2);
            let (from, to) = ((start as f64, middle as f64), ((start + SAMPLE) as f64, middle as f64));
            canvas.line(from, to, 2.0, *color);
            canvas.mark(*mark, ((from.0 + to.0) / 2.0, to.1), RADIUS, *color);
            canvas.text((start + SAMPLE + GAP, middle - LETTER / 2), &line.name, INK);
        }
        canvas
    }

    /// Grid, numbers and names.
    fn axes(&self, canvas: &mut Canvas, (left, top): (usize, usize), (x, y): (&Axis, &Axis)) {
        let (right, bottom) = (left + AREA.0, top + AREA.1);
        for (value, text) in x.ticks() {
            let at = left + (AREA.0 as f64 * x.at(value)).round() as usize;
            canvas.fill((at, top), (1, AREA.1), GRID);
            canvas.text((at.saturating_sub(text_width(&text) / 2), bottom + GAP), &text, INK);
        }
        for (value, text) in y.ticks() {
            let at = bottom - (AREA.1 as f64 * y.at(value)).round() as usize;
            canvas.fill((left, at), (AREA.0, 1), GRID);
            let (width, height) = (text_width(&text), LETTER / 2);
            canvas.text((left.saturating_sub(GAP + width), at.saturating_sub(height)), &text, INK);
        }
        canvas.fill((left, top), (1, AREA.1 + 1), AXIS);
        canvas.fill((left, bottom), (AREA.0 + 1, 1), AXIS);
        let middle = |from: usize, size: usize, text: &str| (from + size / 2).saturating_sub(text_width(text) / 2);
        let names = bottom + GAP + LETTER + 2 * GAP;
        canvas.text((middle(left, right - left, self.x_name), names), self.x_name, INK);
        canvas.text_upwards((MARGIN, middle(top, AREA.1, self.y_name)), self.y_name, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::{AREA, Axis, Chart, Line, PAPER, STYLES, nice};

    #[test]
    fn axes_end_at_a_number_and_hold_what_is_drawn() {
        let text = |axis: &Axis| axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ");
        assert_eq!([nice(0.9), nice(1.1), nice(2.0), nice(0.031)], [1.0, 2.0, 2.0, 0.05]);
        let axis = Axis::from_zero(0.23);
        assert_eq!(text(&axis), "0.00 0.05 0.10 0.15 0.20 0.25");
        assert_eq!([axis.at(0.0), axis.at(0.125), axis.at(9.0)], [0.0, 0.5, 1.0]);
        assert_eq!(text(&Axis::from_zero(82.1)), "0 20 40 60 80 100");
        assert_eq!(text(&Axis::from_zero(0.0)), "0.0 0.2 0.4 0.6 0.8 1.0");
        let axis = Axis::logarithmic(0.033, 0.46);
        assert_eq!(text(&axis), "0.02 0.05 0.1 0.2 0.5");
        assert!((axis.at(0.1) - 0.5).abs() < 1e-9 && axis.at(0.0) == 0.0, "zero lies at the lower end");
        assert_eq!(text(&Axis::logarithmic(0.2, 0.2)), "0.2 0.5");
        assert_eq!(text(&Axis::logarithmic(3e-5, 7.0)), "0.00001 0.0001 0.001 0.01 0.1 1 10");
    }

    #[test]
    fn lines_are_drawn_where_their_points_are() {
        let line = |points: &[(f64, f64)]| Line { name: "raster".into(), points: points.to_vec() };
        let lines = [
            line(&[(100.0, 0.1), (0.0, 0.5), (f64::NAN, 0.2), (50.0, f64::INFINITY)]),
            line(&[]),
            line(&[(50.0, 0.5)]),
        ];
        let draw = |lines| Chart { title: "a title", x_name: "x", y_name: "y", lines }.draw();
        let canvas = draw(&lines);
        let count = |color| {
            (0..canvas.height)
                .flat_map(|y| (0..canvas.width).map(move |x| (x, y)))
                .filter(|(x, y)| canvas.at(*x, *y) == color)
                .count()
        };
        // A line from corner to corner, two pixels wide, has at least as many pixels as the area is wide.
        assert!(count(STYLES[0].0) > AREA.0, "{}", count(STYLES[0].0));
        assert!(count(STYLES[2].0) > 100 && count(PAPER) > AREA.0 * AREA.1 / 2);
        assert!(draw(&[]).width > AREA.0);
    }
}
