//! What plans and specialisations depend on, as a key by which they are found again. Whether arguments fit is not asked here.

use std::hash::{Hash, Hasher};

use pantile_compiler::OrderArg;
use pantile_ir::{Scalar, Table};

use crate::Arg;
use crate::launch::Out;

/// Kinds, dtypes and shapes of tensors and masks, what orders are, and the bits of scalars, so that -0.0 is not 0.0 and a NaN is
/// itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Key {
    words: Vec<u64>,
    /// Compared by their elements where they are not the same memory; the words say how many there are.
    tables: Vec<Table>,
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.words.hash(state);
    }
}

impl Key {
    /// Of arguments.
    pub(crate) fn of(args: &[Arg<'_>]) -> Self {
        let mut key = Self { words: Vec::with_capacity(6 * args.len()), tables: Vec::new() };
        args.iter().for_each(|arg| key.argument(arg));
        key
    }

    /// With outputs that the caller gives.
    pub(crate) fn with_outs(mut self, outs: &[Out<'_>]) -> Self {
        self.words.push(7);
        for out in outs {
            match out {
                Out::Tensor(tensor) => self.argument(&Arg::Tensor(tensor)),
                Out::Mask(mask) => self.argument(&Arg::Mask(mask)),
            }
        }
        self
    }

    fn argument(&mut self, arg: &Arg<'_>) {
        match arg {
            Arg::Tensor(tensor) => {
                self.words.extend([0, tensor.dtype() as u64]);
                self.shape(tensor.shape());
            }
            Arg::Mask(mask) => {
                self.words.push(1);
                self.shape(mask.shape());
            }
            Arg::Order(OrderArg::Named { name, args }) => {
                self.words.extend([5, args.len() as u64]);
                self.text(name);
                for (name, value) in args {
                    self.text(name);
                    self.words.push(*value as u64);
                }
            }
            Arg::Order(OrderArg::Table(table)) => {
                self.words.extend([6, table.elements().len() as u64]);
                self.tables.push(table.clone());
            }
            Arg::Scalar(Scalar::Bool(x)) => self.words.extend([2, u64::from(*x)]),
            Arg::Scalar(Scalar::Int(x)) => self.words.extend([3, *x as u64]),
            Arg::Scalar(Scalar::Float(x)) => self.words.extend([4, x.to_bits()]),
        }
    }

    fn shape(&mut self, shape: &[usize]) {
        self.words.push(shape.len() as u64);
        self.words.extend(shape.iter().map(|n| *n as u64));
    }

    fn text(&mut self, text: &str) {
        self.words.push(text.len() as u64);
        self.words.extend(text.bytes().map(u64::from));
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::{Arg, Scalar, Tensor};
    use pantile_compiler::OrderArg;
    use pantile_ir::DType;

    #[test]
    fn keys_tell_apart_what_plans_depend_on() {
        let t = |dtype, shape: &[usize]| Tensor::zeros(dtype, shape).unwrap();
        let (a, b, c) = (t(DType::F32, &[2, 3]), t(DType::F32, &[3, 2]), t(DType::I32, &[2, 3]));
        let (d, e) = (t(DType::F32, &[2]), t(DType::F32, &[]));
        let table = |elements: &[i32]| OrderArg::table(elements.to_vec()).unwrap();
        let named = |n| OrderArg::named("back", [("N", n)]);
        let orders = [named(3), named(4), table(&[0, 1]), table(&[1, 0])];
        let float = |x: f64| vec![Arg::Scalar(Scalar::Float(x))];
        let rows: Vec<Vec<Arg<'_>>> = vec![
            vec![],
            vec![Arg::Tensor(&a)],
            vec![Arg::Tensor(&b)],
            vec![Arg::Tensor(&c)],
            vec![Arg::Tensor(&d), Arg::Tensor(&e)],
            vec![Arg::Tensor(&e), Arg::Tensor(&d)],
            float(0.0),
            float(-0.0),
            float(1.0),
            vec![Arg::Scalar(Scalar::Int(1))],
            vec![Arg::Scalar(Scalar::Bool(true))],
            vec![Arg::Order(&orders[0])],
            vec![Arg::Order(&orders[1])],
            vec![Arg::Order(&orders[2])],
            vec![Arg::Order(&orders[3])],
        ];
        for (n, row) in rows.iter().enumerate() {
            let same = rows.iter().filter(|other| Key::of(other) == Key::of(row)).count();
            assert_eq!(same, 1, "row {n}");
        }
        assert_eq!(Key::of(&float(f64::NAN)), Key::of(&float(f64::NAN)));
    }
}
