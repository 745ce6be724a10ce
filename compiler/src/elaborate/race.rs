//! Whether two program instances can store to one element: every axis of the grid must be told by the index. What is
//! not linear is taken not to tell.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{ParamId, StoreMode};
use pantile_syntax::ast::{BinOp, Expr, ExprKind, IndexExpr};

use super::form::{Atom, Form};
use super::index::{Place, Slot};
use super::sema::Sema;

impl Sema<'_, '_> {
    /// E0401 unless the store's index differs between any two instances, or it is atomic.
    pub(crate) fn distinct(
        &mut self,
        param: ParamId,
        place: &Place,
        mode: StoreMode,
        index: &[IndexExpr],
        span: Span,
    ) -> Option<()> {
        if mode == StoreMode::AtomicAdd {
            return Some(());
        }
        let told = self.told(place);
        let Some(missing) = (0..self.grid.len()).find(|n| !told.contains(n)) else { return Some(()) };
        self.collide(param, place, mode, missing, index, span)
    }

    /// The grid axes that an index tells.
    fn told(&self, place: &Place) -> Vec<usize> {
        let mut told = self.pinned.clone();
        let mut forms = Vec::new();
        for slot in &place.slots {
            match slot {
                Slot::Dim(d) => told.extend(self.grid.iter().position(|g| g.dim == Some(*d))),
                Slot::Number(form) => forms.extend(form.clone()),
            }
        }
        loop {
            let next = forms.iter().find_map(|f| self.tells(f, &told));
            match next {
                Some(n) => told.push(n),
                None => match rejoined(&forms) {
                    Some((a, b, whole)) => {
                        forms.remove(a.max(b));
                        forms[a.min(b)] = whole;
                    }
                    None => return told,
                },
            }
        }
    }

    /// The one grid axis that a form tells once those of `told` are known: all else in it is the same for all, or
    /// moves by less than a step of that axis.
    fn tells(&self, form: &Form, told: &[usize]) -> Option<usize> {
        let mut open = form.grid().into_iter().filter(|n| !told.contains(n));
        let n = open.next().filter(|_| open.next().is_none())?;
        let step = form.terms.get(&Atom::Grid(n))?.checked_abs()?;
        let mut reach: i64 = 0;
        for (atom, c) in form.terms.iter().filter(|(a, _)| **a != Atom::Grid(n)) {
            reach = reach.checked_add(self.reach(atom, told, n)?.checked_mul(c.checked_abs()?)?)?;
        }
        (reach < step).then_some(n)
    }

    /// How far apart an atom's values can be in one instance.
    fn reach(&self, atom: &Atom, told: &[usize], open: usize) -> Option<i64> {
        match atom {
            Atom::Grid(n) => told.contains(n).then_some(0),
            Atom::Extent(_) | Atom::Scalar(_) => Some(0),
            Atom::Lane(d) => Some(self.b.func.dim(*d).size - 1),
            Atom::Loop(n) => self.loops.get(*n).copied().flatten().map(|steps| (steps - 1).max(0)),
            Atom::Quotient(a, b) | Atom::Remainder(a, b) => {
                let fixed = |f: &Form| {
                    let grid = f.grid();
                    !grid.contains(&open)
                        && f.terms.keys().all(|a| !matches!(a, Atom::Lane(_) | Atom::Loop(_)))
                        && grid.iter().all(|n| told.contains(n))
                };
                (fixed(a) && fixed(b)).then_some(0)
            }
        }
    }

    fn collide(
        &mut self,
        param: ParamId,
        place: &Place,
        mode: StoreMode,
        missing: usize,
        index: &[IndexExpr],
        span: Span,
    ) -> Option<()> {
        let row = self.b.func.param(param);
        let name = row.name.clone();
        let grid = self.grid[missing].clone();
        let uses = place.slots.iter().position(|s| match s {
            Slot::Number(Some(f)) => f.grid().contains(&missing),
            Slot::Number(None) | Slot::Dim(_) => false,
        });
        let (var, others) = (&grid.name, self.others(missing));
        let message = format!("two program instances store the same element of `{name}`");
        let which = if grid.dim.is_some() { format!("index({var})") } else { var.clone() };
        let label = match uses {
            None => format!("instances `{which} = 0` and `{which} = 1`{others} both store here"),
            Some(_) => format!("instances that differ in `{which}` alone{others} can both store here"),
        };
        let mut error = Diagnostic::error(Code::E0401, span, message, label)
            .with_label(grid.span, format!("`{var}` is an axis of the grid"));
        if let Some(IndexExpr::Expr(e)) = uses.and_then(|n| index.get(n)) {
            error = error.with_label(e.span, format!("does not tell every `{which}` from every other"));
        }
        let help = match mode {
            StoreMode::Add => {
                format!("index `{name}` with `{var}`, or let the additions meet: `atomic {name}[…] += …;`")
            }
            StoreMode::Set | StoreMode::AtomicAdd => {
                format!("index `{name}` with `{var}`, or replace the grid axis `{var}` by a loop in the kernel")
            }
        };
        error = error.with_help(help);
        self.say(error)
    }

    fn others(&self, missing: usize) -> String {
        let names: Vec<String> =
            self.grid.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, g)| format!("`{}`", g.name)).collect();
        if names.is_empty() { String::new() } else { format!(" with the same {}", names.join(", ")) }
    }
}

/// A quotient and a remainder of one number by one divisor, as the two indices that together tell the number.
fn rejoined(forms: &[Form]) -> Option<(usize, usize, Form)> {
    let single = |f: &Form| f.terms.iter().next().filter(|_| f.terms.len() == 1).map(|(a, _)| a.clone());
    for (a, x) in forms.iter().enumerate() {
        for (b, y) in forms.iter().enumerate() {
            if let (Some(Atom::Quotient(n, d)), Some(Atom::Remainder(m, e))) = (single(x), single(y))
                && n == m
                && d == e
                && d.is_uniform()
            {
                return Some((a, b, *n));
            }
        }
    }
    None
}

/// The grid axes that a condition pins to one instance: `h == 0`.
pub(crate) fn pinned_by(cx: &mut Sema<'_, '_>, cond: &Expr) -> Vec<usize> {
    let ExprKind::Binary(op, a, b) = &cond.kind else { return Vec::new() };
    if *op == BinOp::And {
        return [pinned_by(cx, a), pinned_by(cx, b)].concat();
    }
    if *op != BinOp::Eq {
        return Vec::new();
    }
    // Only the forms are of interest: what this emits is thrown away.
    cx.b.open(&[]);
    let (x, y) = (cx.operand_of(a), cx.operand_of(b));
    cx.b.close(Vec::new());
    let (Some(x), Some(y)) = (x, y) else { return Vec::new() };
    let (Some(f), Some(g)) = (cx.form(&x.num), cx.form(&y.num)) else { return Vec::new() };
    let (varying, fixed) = if f.is_uniform() { (g, f) } else { (f, g) };
    let told = cx.pinned.clone();
    if fixed.is_uniform() { cx.tells(&varying, &told).into_iter().collect() } else { Vec::new() }
}
