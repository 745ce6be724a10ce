//! Refuses options and tensors that do not fit together, in one sentence that names the argument. It changes nothing.

use pantile::{DType, Error, Result, Tensor};

use super::{Budget, Order, RainFusion, Sequence};

/// Tokens a block: what a tile may hold in a kernel that is still worth running.
const BLOCKS: std::ops::RangeInclusive<usize> = 8..=1024;

impl RainFusion {
    /// Refuses options and tensors that do not fit together: q `[B, H, N, D]`, k and v `[B, G, M, D]`, G dividing H.
    ///
    /// # Errors
    /// One sentence that names the argument.
    pub fn check(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
        for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
            check_tensor(name, tensor)?;
        }
        let (qs, ks) = (q.shape(), k.shape());
        for (name, tensor) in [("k", k), ("v", v)] {
            if tensor.dtype() != q.dtype() {
                return refuse(name, format!("holds {}, but q holds {}", tensor.dtype(), q.dtype()));
            }
            for (axis, what) in [(0, "B"), (3, "D")] {
                agree(name, tensor, what, axis, ("q", qs[axis]))?;
            }
        }
        agree("v", v, "M", 2, ("k", ks[2]))?;
        if self.keys.is_none() && ks[2] != qs[2] {
            return refuse("k", format!("has N = {}, but q has N = {}; say what k holds by `keys`", ks[2], qs[2]));
        }
        if v.shape()[1] != ks[1] {
            return refuse("v", format!("has {} heads, but k has {}", v.shape()[1], ks[1]));
        }
        if !qs[1].is_multiple_of(ks[1]) {
            return refuse("k", format!("has {} heads, which do not divide q's {}", ks[1], qs[1]));
        }
        self.check_sequence("grid", &self.query_tokens(), ("q has N", qs[2]))?;
        if let Some(keys) = &self.keys {
            self.check_sequence("keys", keys, ("k has M", ks[2]))?;
        }
        self.check_budget(qs[1])?;
        self.check_order(qs[2])?;
        self.check_numbers()
    }

    fn check_sequence(&self, argument: &str, sequence: &Sequence, (has, tokens): (&str, usize)) -> Result<()> {
        let said = said(sequence);
        if sequence.clips.is_empty() {
            return refuse(argument, "holds no video or image; give at least one grid");
        }
        if sequence.clips.iter().any(|clip| clip.contains(&0)) {
            return refuse(argument, format!("{said} has a zero; frames, rows and columns must be positive"));
        }
        let Some(total) = sequence.tokens() else {
            return refuse(argument, format!("{said} has more than 2^31 - 1 tokens"));
        };
        if total != tokens {
            return refuse(argument, format!("{said} = {total} tokens, but {has} = {tokens}"));
        }
        let even = sequence.clips.iter().find(|clip| clip[0].is_multiple_of(2));
        if let (Order::Paper, false, Some([f, y, x])) = (&self.order, self.lone_last, even) {
            return refuse(
                argument,
                format!(
                    "{f},{y},{x} has an even number of frames; the paper's windows pair frames 1 to F − 1, so F must be \
                     odd (or set `lone_last`, or use another order, as mindie)"
                ),
            );
        }
        Ok(())
    }

    fn check_budget(&self, heads: usize) -> Result<()> {
        let (name, values) = (self.budget.name(), self.budget.values());
        if values.len() != 1 && values.len() != heads {
            return refuse(
                name,
                format!("has {} numbers; give one, or one for each of q's {heads} heads", values.len()),
            );
        }
        let wrong = values.iter().find(|x| match self.budget {
            Budget::Sparsity(_) => !(0.0..1.0).contains(*x),
            Budget::Mass(_) => !(**x > 0.0 && **x <= 1.0),
        });
        match (wrong, &self.budget) {
            (None, _) => Ok(()),
            (Some(x), Budget::Sparsity(_)) => refuse(name, format!("{x} is not in [0, 1)")),
            (Some(x), Budget::Mass(_)) => refuse(name, format!("{x} is not in (0, 1]")),
        }
    }

    fn check_order(&self, tokens: usize) -> Result<()> {
        match &self.order {
            Order::Windows { size: [f, y, x], .. } => {
                let size = f.checked_mul(*y).and_then(|n| n.checked_mul(*x));
                match size.filter(|n| (1..=4096).contains(n)) {
                    Some(_) => Ok(()),
                    None => refuse("order", format!("windows of {f}×{y}×{x} do not have 1 to 4096 tokens")),
                }
            }
            Order::Table(_) if self.keys.is_some() => {
                refuse("order", "a table walks q, k and v alike; leave `keys` out, or use another order")
            }
            Order::Table(table) => check_table(table, tokens),
            Order::Paper | Order::Mindie | Order::Raster | Order::Zigzag | Order::Morton | Order::Hilbert => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<()> {
        if self.compat && (!self.further.is_empty() || self.keys.is_some()) {
            return refuse("compat", "the reference knows one video that attends to itself; leave it out here");
        }
        if !BLOCKS.contains(&self.block) {
            return refuse("block", format!("{} is not in {BLOCKS:?} tokens", self.block));
        }
        if self.scale.is_some_and(|s| !s.is_finite()) {
            return refuse("scale", "must be finite");
        }
        Ok(())
    }
}

/// A table must hold each token once.
fn check_table(table: &[i32], tokens: usize) -> Result<()> {
    let mut seen = vec![false; tokens];
    for token in table.iter().filter(|t| **t != -1) {
        match usize::try_from(*token).ok().and_then(|t| seen.get_mut(t)) {
            None => return refuse("order", format!("its table holds {token}, but tokens are 0 to {}", tokens - 1)),
            Some(true) => return refuse("order", format!("its table holds token {token} twice")),
            Some(seen) => *seen = true,
        }
    }
    match seen.iter().position(|seen| !seen) {
        Some(token) => refuse("order", format!("its table does not hold token {token}; it must hold each once")),
        None => Ok(()),
    }
}

/// `13·15·26 + 4·8·8 + 77 text tokens`.
fn said(sequence: &Sequence) -> String {
    let mut parts: Vec<String> = sequence.clips.iter().map(|[f, y, x]| format!("{f}·{y}·{x}")).collect();
    if sequence.text > 0 {
        parts.push(format!("{} text tokens", sequence.text));
    }
    parts.join(" + ")
}

fn agree(name: &str, tensor: &Tensor, what: &str, axis: usize, (other, size): (&str, usize)) -> Result<()> {
    let own = tensor.shape()[axis];
    if own == size { Ok(()) } else { refuse(name, format!("has {what} = {own}, but {other} has {what} = {size}")) }
}

fn check_tensor(name: &str, tensor: &Tensor) -> Result<()> {
    let shape = tensor.shape();
    if shape.len() != 4 {
        return refuse(name, format!("has {} axes; it must be [B, H, N, D]", shape.len()));
    }
    if let Some(axis) = shape.iter().position(|n| *n == 0) {
        return refuse(name, format!("has shape {shape:?}; {} must not be zero", ["B", "H", "N", "D"][axis]));
    }
    if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return refuse(name, format!("holds {}; it must hold f32, f16 or bf16", tensor.dtype()));
    }
    Ok(())
}

/// An error about an argument.
pub(super) fn refuse<T>(argument: &str, message: impl Into<String>) -> Result<T> {
    Err(Error::Argument { item: "rainfusion".into(), argument: argument.into(), message: message.into() })
}
