//! Mask pictures: one square a block pair, as PNG. What the colours mean is told by `report.rs`.

use pantile_kernels::Protection;

/// Fewest pixels along the longer side, where blocks may be scaled up.
const SIDE: usize = 640;
/// Most pixels a block.
const LARGEST: usize = 16;

type Rgb = [u8; 3];

/// Kept because of its score.
pub(crate) const KEPT: Rgb = [31, 78, 140];
/// Not kept.
pub(crate) const SKIPPED: Rgb = [244, 245, 247];
/// Kept, in a row or column of the first frame.
pub(crate) const FRAME: Rgb = [222, 135, 48];
/// Kept, in a row or column of text.
pub(crate) const TEXT: Rgb = [72, 150, 90];
const LINE: Rgb = [214, 217, 222];

/// The mask of one head: `rows` × `columns` bools, row-major.
pub(crate) struct Picture<'a> {
    pub(crate) keep: &'a [bool],
    pub(crate) rows: &'a [Protection],
    pub(crate) columns: &'a [Protection],
}

impl Picture<'_> {
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

    /// As the bytes of a PNG file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let scale = self.scale();
        let (width, height) = (self.columns.len() * scale, self.rows.len() * scale);
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let edge = scale >= 6 && (x % scale == scale - 1 || y % scale == scale - 1);
                pixels.extend(if edge { LINE } else { self.color(y / scale, x / scale) });
            }
        }
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME, KEPT, Picture, SKIPPED};
    use pantile_kernels::Protection::{Frame, Free};

    #[test]
    fn each_block_is_a_square_of_its_colour() {
        let picture = Picture { keep: &[true, false, true, true], rows: &[Free, Free], columns: &[Free, Frame] };
        assert_eq!((picture.color(0, 0), picture.color(0, 1), picture.color(1, 1)), (KEPT, SKIPPED, FRAME));
        let bytes = picture.encode().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (32, 32));
        assert_eq!(pixels[..3], KEPT);
        assert_eq!(pixels[16 * 3..17 * 3], SKIPPED);
    }
}
