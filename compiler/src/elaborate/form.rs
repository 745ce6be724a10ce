//! What is known of an index as a linear form over the grid, loops and lanes: enough to tell whether it distinguishes
//! program instances. Not a general algebra: what is not linear, or not a quotient or remainder, is unknown.

use std::collections::BTreeMap;

use pantile_ir::{BinaryOp, DimId, ExtentId, ParamId};

/// Something a form is linear in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Atom {
    /// The number of the instance along a grid axis.
    Grid(usize),
    /// A loop's number, by loop.
    Loop(usize),
    /// The lane along a dim.
    Lane(DimId),
    /// An extent's size.
    Extent(ExtentId),
    /// A scalar parameter.
    Scalar(ParamId),
    /// `a / b`.
    Quotient(Box<Form>, Box<Form>),
    /// `a % b`.
    Remainder(Box<Form>, Box<Form>),
}

/// `Σ coefficient · atom + constant`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    /// Coefficients, none zero.
    pub(crate) terms: BTreeMap<Atom, i64>,
    /// The rest.
    pub(crate) constant: i64,
}

impl Form {
    /// A number.
    pub(crate) fn number(constant: i64) -> Self {
        Self { terms: BTreeMap::new(), constant }
    }

    /// One atom.
    pub(crate) fn atom(atom: Atom) -> Self {
        Self { terms: BTreeMap::from([(atom, 1)]), constant: 0 }
    }

    /// `a op b`, if that is a form.
    pub(crate) fn binary(op: BinaryOp, a: &Form, b: &Form) -> Option<Form> {
        match op {
            BinaryOp::Add => a.plus(b, 1),
            BinaryOp::Sub => a.plus(b, -1),
            BinaryOp::Mul if b.terms.is_empty() => a.times(b.constant),
            BinaryOp::Mul if a.terms.is_empty() => b.times(a.constant),
            BinaryOp::Div => Some(Form::atom(Atom::Quotient(Box::new(a.clone()), Box::new(b.clone())))),
            BinaryOp::Rem => Some(Form::atom(Atom::Remainder(Box::new(a.clone()), Box::new(b.clone())))),
            BinaryOp::Mul
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => None,
        }
    }

    /// `self · factor`.
    pub(crate) fn times(&self, factor: i64) -> Option<Form> {
        let mut out = Form::number(self.constant.checked_mul(factor)?);
        for (atom, c) in &self.terms {
            out.add(atom.clone(), c.checked_mul(factor)?)?;
        }
        Some(out)
    }

    fn plus(&self, other: &Form, factor: i64) -> Option<Form> {
        let other = other.times(factor)?;
        let mut out = self.clone();
        out.constant = out.constant.checked_add(other.constant)?;
        for (atom, c) in other.terms {
            out.add(atom, c)?;
        }
        Some(out)
    }

    fn add(&mut self, atom: Atom, c: i64) -> Option<()> {
        let sum = self.terms.get(&atom).copied().unwrap_or(0).checked_add(c)?;
        if sum == 0 {
            self.terms.remove(&atom);
        } else {
            self.terms.insert(atom, sum);
        }
        Some(())
    }

    /// The grid axes it depends on, also inside quotients.
    pub(crate) fn grid(&self) -> Vec<usize> {
        let mut axes: Vec<usize> = self
            .terms
            .keys()
            .flat_map(|atom| match atom {
                Atom::Grid(n) => vec![*n],
                Atom::Quotient(a, b) | Atom::Remainder(a, b) => [a.grid(), b.grid()].concat(),
                Atom::Loop(_) | Atom::Lane(_) | Atom::Extent(_) | Atom::Scalar(_) => Vec::new(),
            })
            .collect();
        axes.sort_unstable();
        axes.dedup();
        axes
    }

    /// Whether it is the same in every instance, lane and iteration.
    pub(crate) fn is_uniform(&self) -> bool {
        self.terms.keys().all(|atom| match atom {
            Atom::Extent(_) | Atom::Scalar(_) => true,
            Atom::Quotient(a, b) | Atom::Remainder(a, b) => a.is_uniform() && b.is_uniform(),
            Atom::Grid(_) | Atom::Loop(_) | Atom::Lane(_) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Atom, Form};
    use pantile_ir::BinaryOp;

    #[test]
    fn sums_cancel_and_products_scale() {
        let h = Form::atom(Atom::Grid(1));
        let twice = Form::binary(BinaryOp::Mul, &h, &Form::number(2)).unwrap();
        let once = Form::binary(BinaryOp::Sub, &twice, &h).unwrap();
        assert_eq!(once, h);
        assert_eq!(Form::binary(BinaryOp::Sub, &once, &h), Some(Form::number(0)));
        assert_eq!(Form::binary(BinaryOp::Mul, &h, &h), None);
    }
}
