//! What `print` left in a launch's buffer, as lines. A record that did not fit is not there, and the last line says so.
//!
//! The buffer begins with the number of units that were asked for, and is [`HEAD`] bytes further filled by records of whole
//! units: the number of the site, the instance, the valid lanes along each dim (I32 each), and the elements of the whole
//! tile, row-major.

use pantile_ir::{DType, eval, show};

/// Bytes of the buffer of a launch.
pub const PRINT_BYTES: u32 = 1 << 20;

/// Bytes before the records.
pub(crate) const HEAD: u32 = 16;

/// Records are made of so many bytes.
pub(crate) const UNIT: u32 = 16;

/// What a `print` prints.
#[derive(Clone, Debug)]
pub(crate) struct PrintSite {
    pub(crate) label: String,
    pub(crate) dtype: DType,
    /// Names, and lanes with padding.
    pub(crate) dims: Vec<(String, u32)>,
}

impl PrintSite {
    /// Where the elements begin in a record.
    pub(crate) fn elements_at(&self) -> u32 {
        (8 + 4 * self.dims.len() as u32).next_multiple_of(8)
    }

    /// Bytes of a record; more than a buffer has if it is very large.
    pub(crate) fn bytes(&self) -> u32 {
        let elements = self.dims.iter().fold(self.dtype.bytes() as u32, |all, (_, n)| all.saturating_mul(*n));
        self.elements_at().saturating_add(elements).min(2 * PRINT_BYTES).next_multiple_of(UNIT)
    }

    /// The line of a record, which has as many bytes as it needs.
    fn line(&self, record: &[u8]) -> String {
        let lens = (0..self.dims.len()).map(|n| word(record, 8 + 4 * n).unwrap_or(0) as usize);
        let dims: Vec<(&str, usize)> =
            self.dims.iter().zip(lens).map(|((name, size), len)| (name.as_str(), len.min(*size as usize))).collect();
        let element = |n: usize| {
            // Row-major among the valid lanes, then among all.
            let (mut rest, mut at, mut step) = (n, 0, 1);
            for ((_, len), (_, size)) in dims.iter().zip(&self.dims).rev() {
                at += rest % len.max(&1) * step;
                rest /= len.max(&1);
                step *= *size as usize;
            }
            let start = self.elements_at() as usize + at * self.dtype.bytes();
            eval::decode(self.dtype, record.get(start..start + self.dtype.bytes()).unwrap_or(&[0; 8]))
        };
        show(&self.label, &dims, self.dtype, &element)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The lines of a buffer, instance by instance, each in the order of its prints.
pub(crate) fn lines(sites: &[PrintSite], buffer: &[u8]) -> Vec<String> {
    let mut records = Vec::new();
    let used = u64::from(word(buffer, 0).unwrap_or(0)) * u64::from(UNIT) + u64::from(HEAD);
    let mut at = HEAD as usize;
    while (at as u64) < used {
        let record = buffer.get(at..).unwrap_or(&[]);
        let site = word(record, 0).and_then(|n| sites.get(n as usize));
        let Some((site, record)) = site.and_then(|s| Some((s, record.get(..s.bytes() as usize)?))) else { break };
        records.push((word(record, 4).unwrap_or(0), site.line(record)));
        at += record.len();
    }
    // Stable: an instance reserves one record after another.
    records.sort_by_key(|(instance, _)| *instance);
    let mut lines: Vec<String> = records.into_iter().map(|(_, line)| line).collect();
    if (at as u64) < used {
        lines.push(format!("(more was printed than {} KiB hold)", PRINT_BYTES >> 10));
    }
    lines
}
