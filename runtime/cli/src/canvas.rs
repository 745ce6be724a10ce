//! A small canvas: rectangles, lines, marks and letters, saved as PNG. What is drawn is told by `picture.rs` and `chart.rs`.

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

/// Pixels a dot of a letter.
const DOT: usize = 2;
/// Width of a letter with the gap after it.
const ADVANCE: usize = 6 * DOT;
/// Height of a letter.
pub(crate) const LETTER: usize = 7 * DOT;

/// A shape that marks a point.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    Disc,
    Square,
    Diamond,
    Up,
    Down,
    Cross,
}

impl Mark {
    /// How far a place, seen from the middle, is outside of the shape; less than 0 inside.
    fn outside(self, (x, y): (f64, f64), radius: f64) -> f64 {
        let triangle = |y: f64| {
            let side = (1.95 * x.abs() - 1.1 * (y + 1.15 * radius)) / 1.95f64.hypot(1.1);
            side.max(y - 0.8 * radius)
        };
        let bar = |u: f64, v: f64| (u.abs() - 1.2 * radius).max(v.abs() - 0.3 * radius);
        let (u, v) = ((x + y) / 2f64.sqrt(), (x - y) / 2f64.sqrt());
        match self {
            Mark::Disc => x.hypot(y) - radius,
            Mark::Square => x.abs().max(y.abs()) - 0.9 * radius,
            Mark::Diamond => u.abs().max(v.abs()) - 0.9 * radius,
            Mark::Up => triangle(y),
            Mark::Down => triangle(-y),
            Mark::Cross => bar(u, v).min(bar(v, u)),
        }
    }
}

/// Pixels, row by row.
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize, color: Rgb) -> Self {
        Self { width, height, pixels: vec![color; width * height] }
    }

    #[cfg(test)]
    pub(crate) fn at(&self, x: usize, y: usize) -> Rgb {
        self.pixels[y * self.width + x]
    }

    /// A filled rectangle; what lies outside is cut off.
    pub(crate) fn fill(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), color: Rgb) {
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        for row in y..bottom {
            if x < right {
                self.pixels[row * self.width + x..row * self.width + right].fill(color);
            }
        }
    }

    /// A line with smooth edges.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, color: Rgb) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx * dx + dy * dy;
        self.blend((from, to), width, color, |x, y| {
            let along = if length == 0.0 { 0.0 } else { ((x - from.0) * dx + (y - from.1) * dy) / length };
            let along = along.clamp(0.0, 1.0);
            (x - from.0 - along * dx).hypot(y - from.1 - along * dy) - width / 2.0
        });
    }

    /// A mark with smooth edges and its middle at a point.
    pub(crate) fn mark(&mut self, mark: Mark, at: (f64, f64), radius: f64, color: Rgb) {
        self.blend((at, at), 2.0 * radius, color, |x, y| mark.outside((x - at.0, y - at.1), radius));
    }

    /// Colours what is not `outside`, which says by how much a place is; `margin` around the corners is looked at.
    fn blend(&mut self, (a, b): ((f64, f64), (f64, f64)), margin: f64, color: Rgb, outside: impl Fn(f64, f64) -> f64) {
        let span = |a: f64, b: f64, end: usize| {
            let (low, high) = (a.min(b) - margin - 1.0, a.max(b) + margin + 2.0);
            low.max(0.0) as usize..(high.max(0.0) as usize).min(end)
        };
        for y in span(a.1, b.1, self.height) {
            for x in span(a.0, b.0, self.width) {
                let share = (0.5 - outside(x as f64 + 0.5, y as f64 + 0.5)).clamp(0.0, 1.0);
                let pixel = &mut self.pixels[y * self.width + x];
                for (old, color) in pixel.iter_mut().zip(color) {
                    *old = (f64::from(*old) + (f64::from(color) - f64::from(*old)) * share).round() as u8;
                }
            }
        }
    }

    /// Letters from left to right, with their upper left corner at a point.
    pub(crate) fn text(&mut self, (x, y): (usize, usize), text: &str, color: Rgb) {
        for (column, row) in dots(text) {
            self.fill((x + column * DOT, y + row * DOT), (DOT, DOT), color);
        }
    }

    /// Letters from the bottom up, with the upper left corner of what they cover at a point.
    pub(crate) fn text_upwards(&mut self, (x, y): (usize, usize), text: &str, color: Rgb) {
        let bottom = y + text_width(text);
        for (column, row) in dots(text) {
            let up = (column + 1) * DOT;
            self.fill((x + row * DOT, bottom.saturating_sub(up)), (DOT, DOT), color);
        }
    }

    /// As the bytes of a PNG file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// The pixels that a text is wide.
pub(crate) fn text_width(text: &str) -> usize {
    (text.chars().count() * ADVANCE).saturating_sub(DOT)
}

/// The dots of a text that are set: column and row.
fn dots(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.chars().enumerate().flat_map(|(n, c)| {
        let columns = glyph(c).into_iter().enumerate();
        columns.flat_map(move |(x, bits)| (0..7).filter(move |y| bits >> y & 1 == 1).map(move |y| (n * 6 + x, y)))
    })
}

/// Five columns of seven dots, the lowest bit on top. What has no letter here is a gap.
fn glyph(c: char) -> [u8; 5] {
    match GLYPHS.iter().find(|(known, _)| *known == c) {
        Some((_, columns)) => *columns,
        None => [0; 5],
    }
}

#[rustfmt::skip]
const GLYPHS: &[(char, [u8; 5])] = &[
    ('0', [0x3e, 0x51, 0x49, 0x45, 0x3e]), ('1', [0x00, 0x42, 0x7f, 0x40, 0x00]), ('2', [0x42, 0x61, 0x51, 0x49, 0x46]),
    ('3', [0x21, 0x41, 0x45, 0x4b, 0x31]), ('4', [0x18, 0x14, 0x12, 0x7f, 0x10]), ('5', [0x27, 0x45, 0x45, 0x45, 0x39]),
    ('6', [0x3c, 0x4a, 0x49, 0x49, 0x30]), ('7', [0x01, 0x71, 0x09, 0x05, 0x03]), ('8', [0x36, 0x49, 0x49, 0x49, 0x36]),
    ('9', [0x06, 0x49, 0x49, 0x29, 0x1e]), ('a', [0x20, 0x54, 0x54, 0x54, 0x78]), ('b', [0x7f, 0x48, 0x44, 0x44, 0x38]),
    ('c', [0x38, 0x44, 0x44, 0x44, 0x20]), ('d', [0x38, 0x44, 0x44, 0x48, 0x7f]), ('e', [0x38, 0x54, 0x54, 0x54, 0x18]),
    ('f', [0x08, 0x7e, 0x09, 0x01, 0x02]), ('g', [0x0c, 0x52, 0x52, 0x52, 0x3e]), ('h', [0x7f, 0x08, 0x04, 0x04, 0x78]),
    ('i', [0x00, 0x44, 0x7d, 0x40, 0x00]), ('j', [0x20, 0x40, 0x44, 0x3d, 0x00]), ('k', [0x7f, 0x10, 0x28, 0x44, 0x00]),
    ('l', [0x00, 0x41, 0x7f, 0x40, 0x00]), ('m', [0x7c, 0x04, 0x18, 0x04, 0x78]), ('n', [0x7c, 0x08, 0x04, 0x04, 0x78]),
    ('o', [0x38, 0x44, 0x44, 0x44, 0x38]), ('p', [0x7c, 0x14, 0x14, 0x14, 0x08]), ('q', [0x08, 0x14, 0x14, 0x18, 0x7c]),
    ('r', [0x7c, 0x08, 0x04, 0x04, 0x08]), ('s', [0x48, 0x54, 0x54, 0x54, 0x20]), ('t', [0x04, 0x3f, 0x44, 0x40, 0x20]),
    ('u', [0x3c, 0x40, 0x40, 0x20, 0x7c]), ('v', [0x1c, 0x20, 0x40, 0x20, 0x1c]), ('w', [0x3c, 0x40, 0x30, 0x40, 0x3c]),
    ('x', [0x44, 0x28, 0x10, 0x28, 0x44]), ('y', [0x0c, 0x50, 0x50, 0x50, 0x3c]), ('z', [0x44, 0x64, 0x54, 0x4c, 0x44]),
    ('.', [0x00, 0x60, 0x60, 0x00, 0x00]), (',', [0x00, 0x50, 0x30, 0x00, 0x00]), (':', [0x00, 0x36, 0x36, 0x00, 0x00]),
    ('L', [0x7f, 0x40, 0x40, 0x40, 0x40]), ('(', [0x00, 0x1c, 0x22, 0x41, 0x00]), (')', [0x00, 0x41, 0x22, 0x1c, 0x00]),
    ('_', [0x40, 0x40, 0x40, 0x40, 0x40]),
    ('%', [0x23, 0x13, 0x08, 0x64, 0x62]), ('-', [0x08, 0x08, 0x08, 0x08, 0x08]),
];

#[cfg(test)]
mod tests {
    use super::{Canvas, LETTER, Mark, dots, text_width};

    #[test]
    fn letters_are_drawn_either_way_and_cut_at_the_edge() {
        assert_eq!(dots("1").filter(|(x, _)| *x == 2).count(), 7, "the stem of a one");
        assert_eq!((text_width("ab"), dots(" ?").count()), (22, 0));
        let (white, black) = ([255; 3], [0; 3]);
        let drawn = |c: &Canvas| {
            (0..c.height).flat_map(|y| (0..c.width).map(move |x| c.at(x, y))).filter(|p| *p == black).count()
        };
        let mut flat = Canvas::new(text_width("k1"), LETTER, white);
        flat.text((0, 0), "k1", black);
        let mut upright = Canvas::new(LETTER, text_width("k1"), white);
        upright.text_upwards((0, 0), "k1", black);
        assert_eq!(drawn(&flat), dots("k1").count() * 4);
        assert_eq!(drawn(&upright), drawn(&flat));
        assert_eq!(upright.at(0, upright.height - 1), black, "the stem of the k begins at the bottom");
        flat.text((flat.width - 1, LETTER - 1), "kkk", black);
        flat.fill((900, 900), (5, 5), black);
    }
    #[test]
    fn lines_and_marks_are_where_they_should_be_and_cut_at_the_edge() {
        let (white, black) = ([255; 3], [0; 3]);
        let mut canvas = Canvas::new(40, 40, white);
        canvas.line((5.0, 20.0), (35.0, 20.0), 2.0, black);
        assert_eq!([canvas.at(20, 19), canvas.at(20, 20)], [black; 2]);
        assert_eq!([canvas.at(20, 16), canvas.at(20, 23), canvas.at(2, 20), canvas.at(38, 20)], [white; 4]);
        for mark in [Mark::Disc, Mark::Square, Mark::Diamond, Mark::Up, Mark::Down, Mark::Cross] {
            let mut canvas = Canvas::new(40, 40, white);
            canvas.mark(mark, (20.0, 20.0), 6.0, black);
            assert_eq!((canvas.at(20, 20), canvas.at(20, 32), canvas.at(8, 20)), (black, white, white));
            canvas.mark(mark, (0.0, 39.0), 6.0, black);
            canvas.mark(mark, (-90.0, 400.0), 6.0, black);
        }
        let mut up = Canvas::new(40, 40, white);
        up.mark(Mark::Up, (20.0, 20.0), 6.0, black);
        let row = |y: usize| (0..40).filter(|x| up.at(*x, y) != white).count();
        assert!(row(16) < row(22), "a triangle that stands is wider below");
    }
}
