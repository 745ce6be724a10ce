//! Tensor-core products of one warp and the loads that feed them: which lane's register holds which element, as the PTX
//! ISA's tables have it ("Matrix Fragments for mma.m16n8k16" and its neighbours, "ldmatrix"). Shared with no other part
//! of the back end, so that each tests the other.
//!
//! Sums: products are exact in f32's exponent range; the accumulator comes first, then products by ascending k, each sum
//! rounded to nearest even. The hardware adds some at once and cuts bits off, so that results differ in the last bits.

use super::arith::Lanes;
use super::small;
use crate::simt::{Mma, Small};

/// Rows of A and the accumulators.
const ROWS: usize = 16;
/// Columns of B and the accumulators.
const COLUMNS: usize = 8;

/// Elements that an operand's registers hold.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Float(Small),
    Tf32,
    Byte { signed: bool },
}

impl Element {
    pub(super) fn bytes(self) -> usize {
        match self {
            Element::Float(Small::F16 | Small::BF16) => 2,
            Element::Float(Small::F8E4M3 | Small::F8E5M2) | Element::Byte { .. } => 1,
            Element::Tf32 => 4,
        }
    }

    /// The `n`th element of a register. Whole numbers below 2^24 are exact in f32.
    pub(super) fn of(self, register: u64, n: usize) -> f32 {
        let bits = (register >> (8 * self.bytes() * n)) as u32;
        match self {
            Element::Float(small @ (Small::F16 | Small::BF16)) => small::widen(small, bits & 0xffff),
            Element::Float(small @ (Small::F8E4M3 | Small::F8E5M2)) => small::widen(small, bits & 0xff),
            // The hardware reads 19 bits of the 32.
            Element::Tf32 => f32::from_bits(bits & 0xffff_e000),
            Element::Byte { signed: true } => f32::from(bits as i8),
            Element::Byte { signed: false } => f32::from(bits as u8),
        }
    }
}

/// The row and k of element `n` of register `register` of A in a lane.
fn place_a(element: Element, lane: usize, register: usize, n: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane & 3);
    let each = 4 / element.bytes();
    (group + 8 * (register & 1), in_group * each + n + 4 * each * (register >> 1))
}

/// The k and column of element `n` of register `register` of B in a lane.
fn place_b(element: Element, lane: usize, register: usize, n: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane & 3);
    let each = 4 / element.bytes();
    (in_group * each + n + 4 * each * register, group)
}

/// The row and column of accumulator `register` in a lane.
pub(super) fn place_c(lane: usize, register: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane & 3);
    (group + 8 * (register >> 1 & 1), 8 * (register >> 2) + 2 * in_group + (register & 1))
}

/// A, row by row, from a warp's four registers.
pub(super) fn gather_a(element: Element, registers: &[Lanes]) -> Vec<f32> {
    let (each, depth) = (4 / element.bytes(), 32 / element.bytes());
    let mut a = vec![0.0; ROWS * depth];
    for (register, lanes) in registers.iter().enumerate() {
        for (lane, bits) in lanes.iter().enumerate() {
            for n in 0..each {
                let (row, k) = place_a(element, lane, register, n);
                a[row * depth + k] = element.of(*bits, n);
            }
        }
    }
    a
}

/// B, k by k, from a warp's two registers.
fn gather_b(element: Element, registers: &[Lanes]) -> Vec<f32> {
    let (each, depth) = (4 / element.bytes(), 32 / element.bytes());
    let mut b = vec![0.0; depth * COLUMNS];
    for (register, lanes) in registers.iter().enumerate() {
        for (lane, bits) in lanes.iter().enumerate() {
            for n in 0..each {
                let (k, column) = place_b(element, lane, register, n);
                b[k * COLUMNS + column] = element.of(*bits, n);
            }
        }
    }
    b
}

/// `sums += A·B`, 16 rows, by ascending k.
pub(super) fn multiply(a: &[f32], b: &[f32], columns: usize, sums: &mut [f32]) {
    let depth = b.len() / columns;
    for (row, sums) in sums.chunks_exact_mut(columns).enumerate() {
        for k in 0..depth {
            let factor = a[row * depth + k];
            for (sum, b) in sums.iter_mut().zip(&b[k * columns..][..columns]) {
                *sum += factor * b;
            }
        }
    }
}

/// The operands' elements.
fn elements(mma: Mma) -> (Element, Element) {
    match mma {
        Mma::F16 => (Element::Float(Small::F16), Element::Float(Small::F16)),
        Mma::BF16 => (Element::Float(Small::BF16), Element::Float(Small::BF16)),
        Mma::TF32 => (Element::Tf32, Element::Tf32),
        Mma::F8(a, b) => (Element::Float(a), Element::Float(b)),
        Mma::I8(a, b) => (Element::Byte { signed: a }, Element::Byte { signed: b }),
    }
}

/// A product of one warp: four registers of A, two of B, four of C.
pub(super) fn product(mma: Mma, a: &[Lanes], b: &[Lanes], c: &[Lanes]) -> Vec<Lanes> {
    let (of_a, of_b) = elements(mma);
    let (a, b) = (gather_a(of_a, a), gather_b(of_b, b));
    let integers = matches!(mma, Mma::I8(..));
    let mut sums = [0.0f32; ROWS * COLUMNS];
    if !integers {
        each_c(|row, column, register, lane| sums[row * COLUMNS + column] = f32::from_bits(c[register][lane] as u32));
    }
    // A sum of 32 products of bytes is below 2^24, so f32 is exact.
    multiply(&a, &b, COLUMNS, &mut sums);
    let mut d = vec![[0; 32]; 4];
    each_c(|row, column, register, lane| {
        let sum = sums[row * COLUMNS + column];
        let bits = if integers { (c[register][lane] as u32).wrapping_add(sum as i32 as u32) } else { sum.to_bits() };
        d[register][lane] = u64::from(bits);
    });
    d
}

fn each_c(mut found: impl FnMut(usize, usize, usize, usize)) {
    for register in 0..4 {
        for lane in 0..32 {
            let (row, column) = place_c(lane, register);
            found(row, column, register, lane);
        }
    }
}

/// What a lane gets of an 8×8 matrix of 16-bit elements whose rows are given.
pub(super) fn matrix_element(rows: &[[u16; 8]; 8], lane: usize, transpose: bool) -> u64 {
    let (major, minor) = (lane / 4, 2 * (lane % 4));
    let pair = if transpose {
        [rows[minor][major], rows[minor + 1][major]]
    } else {
        [rows[major][minor], rows[major][minor + 1]]
    };
    u64::from(pair[0]) | u64::from(pair[1]) << 16
}
