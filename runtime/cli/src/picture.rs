//! Mask pictures: one square a block pair, with its axes, a title and what the colours mean. Saving them is the report's.

use pantile_kernels::Protection;

use crate::canvas::{Canvas, LETTER, Rgb, text_width};

/// Fewest pixels along the longer side, where blocks may be scaled up.
const SIDE: usize = 640;
/// Most pixels a block.
const LARGEST: usize = 32;
/// Fewest pixels from one number at an axis to the next.
const TICKS: usize = 60;
/// Around everything.
const MARGIN: usize = 16;
/// Between a text and what it belongs to.
const GAP: usize = 6;
/// A line of the legend.
const LEGEND_LINE: usize = LETTER + 8;

const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [34, 34, 34];
const LINE: Rgb = [214, 217, 222];
/// Kept because of its score.
const KEPT: Rgb = [31, 78, 140];
/// Not kept.
const SKIPPED: Rgb = [244, 245, 247];
/// Kept, in a row or column of the first frame.
const FRAME: Rgb = [222, 135, 48];
/// Kept, in a row or column of text.
const TEXT: Rgb = [72, 150, 90];

/// Along the columns; the rows are named in short, beside them.
const COLUMNS_NAME: &str = "key block, in walk order";

/// What the colours mean.
pub(crate) const LEGEND: [(Rgb, &str); 4] =
    [(KEPT, "kept by score"), (FRAME, "kept: first frame"), (TEXT, "kept: text"), (SKIPPED, "skipped")];

/// The mask of one head: `rows` × `columns` bools, row-major.
pub(crate) struct Picture<'a> {
    pub(crate) title: &'a str,
    pub(crate) keep: &'a [bool],
    pub(crate) rows: &'a [Protection],
    pub(crate) columns: &'a [Protection],
}

impl Picture<'_> {
    /// Pixels a block.
    fn scale(&self) -> usize {
        (SIDE / self.rows.len().max(self.columns.len()).max(1)).clamp(2, LARGEST)
    }

    fn color(&self, row: usize, column: usize) -> Rgb {
        let either = |p: Protection| self.rows[row] == p || self.columns[column] == p;
        match self.keep[row * self.columns.len() + column] {
            false => SKIPPED,
            true if either(Protection::Text) => TEXT,
            true if either(Protection::Frame) => FRAME,
            true => KEPT,
        }
    }

    /// The upper left corner of the squares: right of the axis of the rows, below the title and the axis of the columns.
    fn corner(&self) -> (usize, usize) {
        let numbers = text_width(&self.rows.len().to_string());
        (MARGIN + LETTER + GAP + numbers + GAP, MARGIN + LETTER + 2 * GAP + LETTER + GAP + LETTER + GAP)
    }

    /// The lines of the legend that this picture needs.
    fn legend(&self) -> impl Iterator<Item = (Rgb, &'static str)> {
        let any = |p: Protection| self.rows.contains(&p) || self.columns.contains(&p);
        let (frame, text) = (any(Protection::Frame), any(Protection::Text));
        LEGEND.into_iter().filter(move |(color, _)| match *color {
            FRAME => frame,
            TEXT => text,
            _ => true,
        })
    }

    pub(crate) fn draw(&self) -> Canvas {
        let scale = self.scale();
        let (left, top) = self.corner();
        let (width, height) = (self.columns.len() * scale, self.rows.len() * scale);
        let words = LEGEND.iter().map(|(_, what)| left + LEGEND_LINE + text_width(what)).max().unwrap_or(0);
        let heads = (MARGIN + text_width(self.title)).max(left + text_width(COLUMNS_NAME));
        let right = (left + width).max(heads).max(words);
        let below = top + height.max(text_width("query block")) + 2 * GAP;
        let legend = self.legend().count() * LEGEND_LINE;
        let mut canvas = Canvas::new(right + MARGIN, below + legend + MARGIN - GAP, PAPER);
        canvas.text((MARGIN, MARGIN), self.title, INK);
        self.axes(&mut canvas);
        canvas.fill((left - 1, top - 1), (width + 2, height + 2), LINE);
        let square = if scale >= 6 { scale - 1 } else { scale };
        for row in 0..self.rows.len() {
            for column in 0..self.columns.len() {
                let at = (left + column * scale, top + row * scale);
                canvas.fill(at, (square, square), self.color(row, column));
            }
        }
        for (n, (color, what)) in self.legend().enumerate() {
            let y = below + n * LEGEND_LINE;
            canvas.fill((left - 1, y - 1), (LETTER + 2, LETTER + 2), INK);
            canvas.fill((left, y), (LETTER, LETTER), color);
            canvas.text((left + LEGEND_LINE, y), what, INK);
        }
        canvas
    }

    /// Names of the axes and numbers of blocks along them.
    fn axes(&self, canvas: &mut Canvas) {
        let scale = self.scale();
        let (left, top) = self.corner();
        canvas.text((left, top - 2 * (LETTER + GAP)), COLUMNS_NAME, INK);
        canvas.text_upwards((MARGIN, top), "query block", INK);
        let middle = scale / 2;
        for n in (0..self.columns.len()).step_by(step(scale)) {
            let (number, x) = (n.to_string(), left + n * scale + middle);
            let start = x.saturating_sub(text_width(&number) / 2);
            canvas.text((start, top - LETTER - GAP), &number, INK);
        }
        for n in (0..self.rows.len()).step_by(step(scale)) {
            let (number, y) = (n.to_string(), top + n * scale + middle);
            let start = (left - GAP).saturating_sub(text_width(&number));
            canvas.text((start, y.saturating_sub(LETTER / 2)), &number, INK);
        }
    }
}

/// Blocks from one number to the next: 1, 2 or 5 times a power of ten.
fn step(scale: usize) -> usize {
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|n| n * 10usize.saturating_pow(power)));
    steps.into_iter().find(|n| n.saturating_mul(scale) >= TICKS).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{FRAME, KEPT, Picture, SKIPPED, step};
    use pantile_kernels::Protection::{Frame, Free};

    #[test]
    fn each_block_is_a_square_of_its_colour() {
        let (rows, columns) = ([Free, Free], [Free, Frame]);
        let picture = Picture { title: "head 0", keep: &[true, false, true, true], rows: &rows, columns: &columns };
        assert_eq!((picture.color(0, 0), picture.color(0, 1), picture.color(1, 1)), (KEPT, SKIPPED, FRAME));
        assert_eq!(picture.legend().count(), 3);
        let canvas = picture.draw();
        let (left, top) = picture.corner();
        let middle = |row: usize, column: usize| canvas.at(left + column * 32 + 16, top + row * 32 + 16);
        assert_eq!([middle(0, 0), middle(0, 1), middle(1, 0), middle(1, 1)], [KEPT, SKIPPED, KEPT, FRAME]);

        let bytes = canvas.encode().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (canvas.width, canvas.height));
        let at = (top * canvas.width + left) * 3;
        assert_eq!(pixels[at..at + 3], KEPT);
    }

    #[test]
    fn masks_of_any_size_are_drawn() {
        for (rows, columns) in [(0, 0), (1, 1), (1, 300), (700, 700)] {
            let keep = vec![true; rows * columns];
            let (r, c) = (vec![Free; rows], vec![Free; columns]);
            let canvas = Picture { title: "a title", keep: &keep, rows: &r, columns: &c }.draw();
            assert!(canvas.width > columns * 2 && canvas.height > rows * 2);
        }
        assert_eq!([step(16), step(2), step(32)], [5, 50, 2]);
    }
}
