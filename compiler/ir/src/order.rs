//! Walk orders: a map from positions to elements, as a kernel that fills its table or as the table itself. Running the
//! kernel is the business of who executes IR.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::Func;

/// A walk order: position → element.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// As in source, with its arguments: `windows_paper(13, 15, 26, 0)`; a table is `table(5070)`.
    pub name: String,
    /// The number of positions.
    pub len: i64,
    /// Whether some position may have no element (-1).
    pub holes: bool,
    /// What gives the elements.
    pub fill: OrderBody,
}

/// What gives an order's elements.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderBody {
    /// A kernel with one output `table: tensor<i32>[len]` and a grid over single positions.
    Kernel(Box<Func>),
    /// The elements themselves.
    Table(Table),
}

impl Order {
    /// A table as an order.
    pub fn of_table(table: Table) -> Self {
        let (len, holes) = (table.elements().len() as i64, table.holes());
        Self { name: format!("table({len})"), len, holes, fill: OrderBody::Table(table) }
    }

    /// The kernel that fills it, if it is one.
    pub fn kernel(&self) -> Option<&Func> {
        match &self.fill {
            OrderBody::Kernel(func) => Some(func),
            OrderBody::Table(_) => None,
        }
    }

    /// As [`Order::kernel`].
    pub fn kernel_mut(&mut self) -> Option<&mut Func> {
        match &mut self.fill {
            OrderBody::Kernel(func) => Some(func),
            OrderBody::Table(_) => None,
        }
    }
}

/// An element for each position, -1 where there is none, no element twice. Tables are equal by content; what `Debug` shows
/// tells two of them apart without listing either.
#[derive(Clone)]
pub struct Table {
    elements: Arc<Vec<i32>>,
    digest: [u64; 2],
    holes: bool,
    largest: Option<i32>,
}

/// Why numbers are no [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// More positions than 2^31 - 1.
    TooLong(usize),
    /// A number below -1, and its position.
    NoElement(usize, i32),
    /// An element, and two positions that have it.
    Twice(i32, usize, usize),
}

impl Table {
    /// Checks and takes the elements.
    ///
    /// # Errors
    /// If they are no table.
    pub fn new(elements: Vec<i32>) -> Result<Self, TableError> {
        if i32::try_from(elements.len()).is_err() {
            return Err(TableError::TooLong(elements.len()));
        }
        one_to_one(&elements)?;
        let largest = elements.iter().copied().max().filter(|e| *e >= 0);
        let digest = [0u8, 1].map(|seed| {
            let mut hasher = DefaultHasher::new();
            (seed, &elements).hash(&mut hasher);
            hasher.finish()
        });
        Ok(Self { holes: elements.contains(&-1), largest, digest, elements: Arc::new(elements) })
    }

    /// The element at each position, -1 where there is none.
    pub fn elements(&self) -> &Arc<Vec<i32>> {
        &self.elements
    }

    /// Whether some position has no element.
    pub fn holes(&self) -> bool {
        self.holes
    }

    /// The largest element; `None` if there is none.
    pub fn largest(&self) -> Option<i32> {
        self.largest
    }
}

/// Whether every number is -1 or an element that stands nowhere else.
///
/// # Errors
/// What is not so.
pub fn one_to_one(elements: &[i32]) -> Result<(), TableError> {
    if let Some(position) = elements.iter().position(|e| *e < -1) {
        return Err(TableError::NoElement(position, elements[position]));
    }
    let largest = elements.iter().max().map_or(0, |e| (*e).max(0) as usize);
    let mut seen = vec![0u64; largest / 64 + 1];
    for (second, element) in elements.iter().enumerate().filter(|(_, e)| **e >= 0) {
        let (word, bit) = (*element as usize / 64, 1 << (*element as usize % 64));
        if seen[word] & bit != 0 {
            let first = elements.iter().position(|e| e == element).unwrap_or(0);
            return Err(TableError::Twice(*element, first, second));
        }
        seen[word] |= bit;
    }
    Ok(())
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.elements, &other.elements) || self.digest == other.digest && self.elements == other.elements
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.digest;
        write!(f, "Table({} positions, {a:016x}{b:016x})", self.elements.len())
    }
}

impl std::error::Error for TableError {}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "a walk of {len} positions is too long; it has at most {}", i32::MAX),
            Self::NoElement(position, number) => {
                write!(f, "position {position} gives {number}, which is no element; -1 stands for none")
            }
            Self::Twice(element, first, second) => {
                write!(f, "positions {first} and {second} both give element {element}: not one-to-one")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Table, TableError};

    fn table(elements: &[i32]) -> Result<Table, TableError> {
        Table::new(elements.to_vec())
    }

    #[test]
    fn tables_are_one_to_one() {
        assert_eq!(table(&[2, -1, -2]), Err(TableError::NoElement(2, -2)));
        assert_eq!(table(&[1, 0, 1]), Err(TableError::Twice(1, 0, 2)));
        assert_eq!(table(&[-1, -1]).map(|t| (t.holes(), t.largest())), Ok((true, None)));
        assert_eq!(table(&[2, 0, 1]).map(|t| (t.holes(), t.largest())), Ok((false, Some(2))));
        assert_eq!(table(&[]).map(|t| (t.holes(), t.largest())), Ok((false, None)));
    }

    #[test]
    fn tables_are_told_apart_by_content() {
        let [a, b, c] = [[2, 0, 1], [2, 0, 1], [0, 2, 1]].map(|e| table(&e).expect("a table"));
        assert!(a == b && a != c && Order::of_table(a.clone()) != Order::of_table(c.clone()));
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        assert_ne!(format!("{a:?}"), format!("{c:?}"));
    }
}
