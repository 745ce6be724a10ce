//! Asynchronous products of warpgroups (`wgmma`): descriptors of operands in shared memory, what is under way, and the
//! arithmetic. Each warp of a warpgroup runs its 16 rows by itself, at any time between the issue and the wait.

use super::arith::Lanes;
use super::error::{ErrorKind, Outcome};
use super::fragments::{self, Element};
use crate::Swizzle;
use crate::simt::{Small, Wgmma};
use std::collections::VecDeque;

/// A descriptor, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    swizzle: Swizzle,
}

impl Descriptor {
    pub(super) fn new(bits: u64) -> Outcome<Self> {
        const KNOWN: u64 = 0xc000_3fff_3fff_3fff;
        if bits & !KNOWN != 0 {
            return Err(ErrorKind::Program(format!(
                "matrix descriptor {bits:#018x} sets other fields than its address, \
                offsets and swizzle"
            ))
            .into());
        }
        let field = |at: u32| ((bits >> at & 0x3fff) << 4) as u32;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        Ok(Self { start: field(0), leading: field(16), stride: field(32), swizzle })
    }

    /// Where 16 bytes lie that are contiguous along k: of row (or column) `row`, the `half`th of the two.
    fn along_k(&self, row: u32, half: u32) -> u32 {
        let (pitch, step) = match self.swizzle.span() {
            None => (16, self.leading),
            Some(bytes) => (bytes, 16),
        };
        self.swizzle.apply(self.start + row % 8 * pitch + row / 8 * self.stride + half * step)
    }

    /// Where 16 bytes lie that are contiguous along the rows (or columns): the `unit`th of them at `k`.
    fn along_rows(&self, unit: u32, k: u32) -> u32 {
        let offset = match self.swizzle.span() {
            None => k % 8 * 16 + k / 8 * self.leading + unit * self.stride,
            Some(bytes) => {
                let units = bytes / 16;
                unit % units * 16 + unit / units * self.leading + k % 8 * bytes + k / 8 * self.stride
            }
        };
        self.swizzle.apply(self.start + offset)
    }
}

/// 16 bytes of an operand: where they are, and the row and k of their first element.
struct Unit {
    address: u32,
    row: usize,
    k: usize,
}

/// An operand in shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    descriptor: Descriptor,
    /// The first row (or column) and how many there are.
    first: u32,
    rows: u32,
    transposed: bool,
}

impl Matrix {
    pub(super) fn left(bits: u64, warp: usize, transposed: bool) -> Outcome<Self> {
        Ok(Self { descriptor: Descriptor::new(bits)?, first: warp as u32 % 4 * 16, rows: 16, transposed })
    }

    pub(super) fn right(bits: u64, n: u32, transposed: bool) -> Outcome<Self> {
        Ok(Self { descriptor: Descriptor::new(bits)?, first: 0, rows: n, transposed })
    }

    fn units(&self, element: Element) -> Vec<Unit> {
        let each = 16 / element.bytes() as u32;
        if self.transposed {
            let units = self.rows / each;
            let unit = |u: u32, k: u32| Unit {
                address: self.descriptor.along_rows(self.first / each + u, k),
                row: (u * each) as usize,
                k: k as usize,
            };
            return (0..2 * each).flat_map(|k| (0..units).map(move |u| unit(u, k))).collect();
        }
        let unit = |row: u32, half: u32| Unit {
            address: self.descriptor.along_k(self.first + row, half),
            row: row as usize,
            k: (half * each) as usize,
        };
        (0..self.rows).flat_map(|row| (0..2).map(move |half| unit(row, half))).collect()
    }

    /// The addresses of the 16-byte units that it takes.
    pub(super) fn addresses(&self, element: Element) -> impl Iterator<Item = u32> {
        self.units(element).into_iter().map(|unit| unit.address)
    }

    /// Its elements: called with row, k and value.
    fn elements(&self, element: Element, memory: &[u8], mut found: impl FnMut(usize, usize, f32)) {
        for unit in self.units(element) {
            let at = unit.address as usize;
            let low = u64::from_le_bytes(std::array::from_fn(|n| memory[at + n]));
            let high = u64::from_le_bytes(std::array::from_fn(|n| memory[at + 8 + n]));
            let each = 16 / element.bytes();
            for n in 0..each {
                let word = if 2 * n < each { low } else { high };
                let value = element.of(word, n % (each / 2));
                if self.transposed {
                    found(unit.row + n, unit.k, value);
                } else {
                    found(unit.row, unit.k + n, value);
                }
            }
        }
    }
}

/// A left operand.
#[derive(Debug)]
pub(super) enum Left {
    Registers(Vec<Lanes>),
    Shared(Matrix),
}

/// What sums begin with.
#[derive(Debug)]
pub(super) enum Sums {
    Zero,
    Registers(Vec<Lanes>),
    /// Those of another product under way.
    Of(u32),
}

/// One product of one warp.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) wgmma: Wgmma,
    pub(super) left: Left,
    pub(super) right: Matrix,
    pub(super) sums: Sums,
    pub(super) group: u32,
    /// Whether another product goes on with its sums.
    continued: bool,
    /// The accumulators, once it has run; nothing if they were taken over.
    result: Option<Vec<Lanes>>,
}

/// The products of a warp that matter still.
#[derive(Debug, Default)]
pub(super) struct Products {
    queue: VecDeque<(u32, Product)>,
    made: u32,
    /// Those in the queue that have run.
    ran: usize,
    /// Groups closed.
    pub(super) groups: u32,
    /// Groups known to be done.
    pub(super) waited: u32,
    /// Whether products were made since.
    pub(super) open: bool,
    /// The step of the last fence.
    pub(super) fence: Option<u32>,
    /// How many entries of its warpgroup's log this warp has met.
    pub(super) logged: usize,
}

/// So many products that have run are kept: others may begin with their sums, and waits hand them out.
const KEPT: usize = 4096;

/// The dtype of the operands' elements.
pub(super) fn element(dtype: Option<Small>) -> Element {
    dtype.map_or(Element::Tf32, Element::Float)
}

impl Products {
    /// Adds a product; its number.
    pub(super) fn push(&mut self, wgmma: Wgmma, left: Left, right: Matrix, sums: Sums) -> u32 {
        self.made += 1;
        self.open = true;
        if let Sums::Of(number) = sums
            && let Ok(n) = self.queue.binary_search_by_key(&number, |(number, _)| *number)
        {
            self.queue[n].1.continued = true;
        }
        let product = Product { wgmma, left, right, sums, group: self.groups + 1, continued: false, result: None };
        self.queue.push_back((self.made, product));
        while self.ran > KEPT {
            self.queue.pop_front();
            self.ran -= 1;
        }
        self.made
    }

    fn find(&self, number: u32) -> Option<&Product> {
        let n = self.queue.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.queue[n].1)
    }

    /// Columns of a product that none goes on with yet.
    pub(super) fn columns(&self, number: u32) -> Option<u32> {
        self.find(number).filter(|p| !p.continued).map(|p| p.wgmma.n)
    }

    /// Whether products are known not to be done.
    pub(super) fn under_way(&self) -> bool {
        self.open || self.waited < self.groups
    }

    /// An accumulator, if its product is known to be done.
    pub(super) fn result(&self, number: u32, accumulator: usize) -> Option<&Lanes> {
        let product = self.find(number).filter(|p| p.group <= self.waited)?;
        product.result.as_ref()?.get(accumulator)
    }

    /// Runs products up to a group, in order.
    pub(super) fn run(&mut self, up_to: u32, memory: &[u8]) {
        while let Some((_, product)) = self.queue.get(self.ran)
            && product.group <= up_to
        {
            let before = match &product.sums {
                Sums::Of(number) => self.queue.binary_search_by_key(number, |(number, _)| *number).ok(),
                Sums::Zero | Sums::Registers(_) => None,
            };
            let taken = before.and_then(|n| self.queue[n].1.result.take());
            let product = &mut self.queue[self.ran].1;
            let result = match &product.sums {
                Sums::Registers(values) => multiply(product, Some(values), memory),
                Sums::Zero | Sums::Of(_) => multiply(product, taken.as_deref(), memory),
            };
            product.result = Some(result);
            (product.left, product.sums) = (Left::Registers(Vec::new()), Sums::Zero);
            self.ran += 1;
        }
    }
}

fn multiply(product: &Product, begin: Option<&[Lanes]>, memory: &[u8]) -> Vec<Lanes> {
    let element = element(product.wgmma.dtype);
    let (columns, depth) = (product.wgmma.n as usize, 32 / element.bytes());
    let a = match &product.left {
        Left::Registers(registers) => fragments::gather_a(element, registers),
        Left::Shared(matrix) => {
            let mut a = vec![0.0; 16 * depth];
            matrix.elements(element, memory, |row, k, value| a[row * depth + k] = value);
            a
        }
    };
    let mut b = vec![0.0; depth * columns];
    product.right.elements(element, memory, |column, k, value| b[k * columns + column] = value);
    let mut sums = vec![0.0f32; 16 * columns];
    let each = |found: &mut dyn FnMut(usize, usize, usize)| {
        for register in 0..columns / 2 {
            for lane in 0..32 {
                let (row, column) = fragments::place_c(lane, register);
                found(row * columns + column, register, lane);
            }
        }
    };
    if let Some(begin) = begin {
        each(&mut |at, register, lane| sums[at] = f32::from_bits(begin[register][lane] as u32));
    }
    fragments::multiply(&a, &b, columns, &mut sums);
    let mut result = vec![[0; 32]; columns / 2];
    each(&mut |at, register, lane| result[register][lane] = u64::from(sums[at].to_bits()));
    result
}
