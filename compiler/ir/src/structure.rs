//! What the blocks of a walk are in memory: boxes of a grid, or lanes that must be gathered. It is read off the table, so
//! which order filled that does not matter.

use std::collections::HashMap;
use std::fmt;

use crate::BlockTable;

/// A block whose lanes are the digits of a mixed-radix number, slowest first: 2×8×8 with strides 390, 26, 1. Its elements
/// are those of a box that strides address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxShape {
    /// How many values each digit has, at least 2; no digits for a single lane.
    pub sides: Vec<i64>,
    /// How far apart in memory two neighbours along each digit are, in elements.
    pub strides: Vec<i64>,
}

/// The blocks of a walk by their shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The boxes, and how many blocks are one like it; the most frequent first.
    pub boxes: Vec<(BoxShape, usize)>,
    /// For each block the row of `boxes`; `None` if it is no box or has no lanes.
    pub shapes: Vec<Option<usize>>,
    /// How many blocks have lanes and are no box.
    pub gathers: usize,
    /// The most lanes in a row that are neighbours in memory, of those blocks.
    pub longest_run: usize,
}

impl BoxShape {
    /// The box that lanes are, if they are one. Linear in their number.
    pub fn of(lanes: &[i32]) -> Option<Self> {
        let (mut sides, mut strides) = (Vec::new(), Vec::new());
        let mut every = 1;
        while every < lanes.len() {
            let count = lanes.len() / every;
            let lead = |n: usize| i64::from(lanes[n * every]);
            let step = lead(1) - lead(0);
            let side = 1 + (1..count).take_while(|n| lead(*n) - lead(n - 1) == step).count();
            let along = |n: usize| lead(n) == lead(n - n % side) + step * (n % side) as i64;
            if !count.is_multiple_of(side) || !(0..count).all(along) {
                return None;
            }
            sides.insert(0, side as i64);
            strides.insert(0, step);
            every *= side;
        }
        Some(Self { sides, strides })
    }

    /// Whether its lanes are neighbours in memory, one behind the other.
    pub fn is_row(&self) -> bool {
        self.strides.iter().all(|s| *s == 1)
    }
}

impl Structure {
    /// Of a block table, in time linear in its lanes.
    pub fn new(table: &BlockTable) -> Self {
        let mut known: HashMap<BoxShape, usize> = HashMap::new();
        let mut boxes: Vec<(BoxShape, usize)> = Vec::new();
        let mut made = Self { boxes: Vec::new(), shapes: Vec::new(), gathers: 0, longest_run: 0 };
        for (block, len) in table.len.iter().enumerate() {
            let lanes = &table.elem[block * table.size..][..*len as usize];
            let shape = BoxShape::of(lanes).filter(|_| !lanes.is_empty());
            if shape.is_none() && !lanes.is_empty() {
                made.gathers += 1;
                made.longest_run = made.longest_run.max(longest_run(lanes));
            }
            made.shapes.push(shape.map(|shape| {
                let row = *known.entry(shape.clone()).or_insert_with(|| {
                    boxes.push((shape, 0));
                    boxes.len() - 1
                });
                boxes[row].1 += 1;
                row
            }));
        }
        made.sort(boxes);
        made
    }

    /// The most frequent box first.
    fn sort(&mut self, boxes: Vec<(BoxShape, usize)>) {
        let mut places: Vec<usize> = (0..boxes.len()).collect();
        places.sort_by_key(|p| std::cmp::Reverse(boxes[*p].1));
        let mut to = vec![0; boxes.len()];
        places.iter().enumerate().for_each(|(row, place)| to[*place] = row);
        self.shapes.iter_mut().flatten().for_each(|row| *row = to[*row]);
        self.boxes = places.into_iter().map(|p| boxes[p].clone()).collect();
    }
}

fn longest_run(lanes: &[i32]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for (n, lane) in lanes.iter().enumerate() {
        let follows = n > 0 && i64::from(*lane) == i64::from(lanes[n - 1]) + 1;
        run = if follows { run + 1 } else { 1 };
        longest = longest.max(run);
    }
    longest
}

impl fmt::Display for BoxShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |numbers: &[i64], between| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(between);
        match self.sides[..] {
            [] => f.write_str("single elements"),
            [side] if self.is_row() => write!(f, "rows of {side}"),
            [side] => write!(f, "lines of {side} (stride {})", self.strides[0]),
            [..] => write!(f, "boxes {} (strides {})", listed(&self.sides, "×"), listed(&self.strides, ", ")),
        }
    }
}

/// What one block is, from the noun for several; `None` of what is no noun.
fn singular(several: &str) -> Option<String> {
    let plural = [("rows", "row"), ("lines", "line"), ("boxes", "box"), ("single elements", "single element")];
    plural.iter().find_map(|(many, one)| several.strip_prefix(many).map(|rest| format!("{one}{rest}")))
}

/// How many shapes are listed; the others are counted.
const LISTED: usize = 3;

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.shapes.len();
        let mut parts: Vec<(usize, String)> =
            self.boxes.iter().take(LISTED).map(|(shape, count)| (*count, shape.to_string())).collect();
        let others: usize = self.boxes.iter().skip(LISTED).map(|(_, count)| count).sum();
        match self.boxes.len().saturating_sub(LISTED) {
            0 => {}
            1 => parts.push((others, "boxes of another shape".into())),
            more => parts.push((others, format!("boxes of {more} other shapes"))),
        }
        if self.gathers > 0 {
            parts.push((self.gathers, format!("gathered in runs of up to {}", self.longest_run)));
        }
        let empty = self.shapes.iter().filter(|s| s.is_none()).count() - self.gathers;
        if empty > 0 {
            parts.push((empty, "empty".into()));
        }
        for (n, (count, what)) in parts.iter().enumerate() {
            let one = if *count == 1 { singular(what) } else { None };
            match (n, count, one) {
                (0, _, Some(one)) => write!(f, "1 of {all} blocks is a {one}")?,
                (0, 1, None) => write!(f, "1 of {all} blocks is {what}")?,
                (0, _, None) => write!(f, "{count} of {all} blocks are {what}")?,
                (_, _, Some(one)) => write!(f, ", 1 {one}")?,
                (_, _, None) => write!(f, ", {count} {what}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxShape, Structure};
    use crate::BlockTable;

    fn shape(lanes: &[i32]) -> Option<(Vec<i64>, Vec<i64>)> {
        BoxShape::of(lanes).map(|b| (b.sides, b.strides))
    }

    #[test]
    fn boxes_are_mixed_radix_numbers() {
        assert_eq!(shape(&[5, 6, 7, 8]), Some((vec![4], vec![1])));
        assert_eq!(shape(&[5, 4, 3]), Some((vec![3], vec![-1])));
        assert_eq!(shape(&[0, 1, 10, 11, 100, 101, 110, 111]), Some((vec![2, 2, 2], vec![100, 10, 1])));
        assert_eq!(shape(&[0, 1, 2, 3, 9, 10, 11, 12]), Some((vec![2, 4], vec![9, 1])));
        assert_eq!(shape(&[7]), Some((vec![], vec![])));
        assert_eq!(shape(&[0, 1, 2, 4]), None);
        assert_eq!(shape(&[0, 1, 5, 7]), None);
        assert_eq!(shape(&[0, 1, 10, 11, 20, 21, 31, 32]), None);
        assert_eq!(shape(&[i32::MAX, 0]), Some((vec![2], vec![-i64::from(i32::MAX)])));
    }

    /// Any box is found again: digits that continue one another fall together, nothing else does.
    #[test]
    fn every_box_is_found() {
        for sides in [[2, 3, 4], [3, 2, 2], [2, 2, 5], [4, 1, 3], [1, 1, 6]] {
            for steps in [[100, 10, 1], [60, 7, -2], [12, 4, 1], [1, 30, 200], [-50, 13, 3]] {
                let lane = |n: i32| {
                    let [_, y, x] = sides;
                    1000 + n / (y * x) * steps[0] + n / x % y * steps[1] + n % x * steps[2]
                };
                let lanes: Vec<i32> = (0..sides.iter().product()).map(lane).collect();
                let found = BoxShape::of(&lanes).unwrap_or_else(|| panic!("{sides:?} {steps:?}"));
                let digits = |n: i64| {
                    let (mut rest, mut at) = (n, 1000);
                    for (side, step) in found.sides.iter().zip(&found.strides).rev() {
                        at += rest % side * step;
                        rest /= side;
                    }
                    at as i32
                };
                assert!(lanes.iter().copied().eq((0..lanes.len() as i64).map(digits)), "{sides:?} {steps:?}: {found}");
                assert!(found.sides.len() <= 3, "{found}");
            }
        }
    }

    #[test]
    fn blocks_are_counted_by_shape() {
        let order = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 6, 7, 12, 15, 13, 14, -1, -1, -1, -1, 16];
        let structure = Structure::new(&BlockTable::new(&order, 4));
        assert_eq!(structure.shapes, [Some(0), Some(0), Some(1), None, None, Some(2)]);
        assert_eq!(
            structure.to_string(),
            "2 of 6 blocks are boxes 2×2 (strides 8, 1), 1 row of 4, 1 single element, 1 gathered in runs of up to 2, 1 empty"
        );
    }

    #[test]
    fn one_block_is_told_as_one() {
        let told = |order: &[i32]| Structure::new(&BlockTable::new(order, 4)).to_string();
        assert_eq!(told(&[0, 1, 2, 3]), "1 of 1 blocks is a row of 4");
        assert_eq!(told(&[0, 1, 3, 2]), "1 of 1 blocks is gathered in runs of up to 2");
        assert_eq!(told(&[0, 1, 2, 3, 4, 5, 6, 7]), "2 of 2 blocks are rows of 4");
    }
}
