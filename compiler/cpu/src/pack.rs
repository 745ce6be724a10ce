//! Rearranges the right operand of a dot into panels `[⌈N/16⌉][K][16]` of f32, converting its dtype, transposing, and
//! gathering its rows through an order on the way. It never reads outside the operand's valid lengths.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, Type, Value, types};
use cranelift_module::FuncId;
use pantile_ir::DType;

use crate::dot::{PANEL, panel_step};
use crate::vector::{ACCESS, Width, load};
use crate::{Emit, Jit, Limit, convert, vector};

/// Which axis of the operand has unit stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// `[K, N]`: a row is one k.
    N,
    /// `[N, K]`: a row is one column of the dot, and packing transposes.
    K,
}

/// What a packing function is specialised on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pack {
    /// Of the operand in memory, any number.
    pub dtype: DType,
    /// The axis along which its elements are consecutive.
    pub along: Along,
    /// Whether row `r` is found at `table[r]` (an i32) instead of `r`.
    pub gather: bool,
}

/// Operands of one call, i64 values.
#[derive(Clone, Copy, Debug)]
pub struct PackArgs {
    /// The operand's element of row 0 (through the table: of memory row 0) and column 0.
    pub from: Value,
    /// Bytes from one row to the next; may be negative or 0.
    pub row: Value,
    /// Address of the table's first entry, if rows are gathered; else anything.
    pub table: Value,
    /// Where the panels go.
    pub into: Value,
    /// Rows: K if consecutive along n, else N.
    pub rows: Value,
    /// Consecutive elements in a row: N, else K.
    pub columns: Value,
}

const PARAMS: [Type; 6] = [types::I64; 6];

/// The function for one kind, in `jit`.
///
/// # Errors
/// What Cranelift refuses.
pub fn piece(jit: &mut Jit, pack: Pack) -> Result<FuncId, Limit> {
    let signature = jit.signature(&PARAMS, &[]);
    let gather = if pack.gather { " gathered" } else { "" };
    jit.piece(&format!("pack {} along {:?}{gather}", pack.dtype, pack.along), signature, |e| emit(e, pack))
}

/// Calls it.
pub fn call(e: &mut Emit<'_>, function: FuncRef, args: &PackArgs) {
    e.ins().call(function, &[args.from, args.row, args.table, args.into, args.rows, args.columns]);
}

fn emit(e: &mut Emit<'_>, pack: Pack) {
    let p: Vec<Value> = (0..PARAMS.len()).map(|n| e.param(n)).collect();
    let args = PackArgs { from: p[0], row: p[1], table: p[2], into: p[3], rows: p[4], columns: p[5] };
    match pack.along {
        Along::N => copy_rows(e, pack, &args),
        Along::K => transpose_rows(e, pack, &args),
    }
    e.ins().return_(&[]);
}

/// The address of a row's first element.
fn row_address(e: &mut Emit<'_>, pack: Pack, args: &PackArgs, row: Value) -> Value {
    let row = if pack.gather {
        let entry = e.ins().ishl_imm_u(row, 2);
        let entry = e.ins().iadd(args.table, entry);
        e.ins().sload32(ACCESS, entry, 0)
    } else {
        row
    };
    let offset = e.ins().imul(row, args.row);
    e.ins().iadd(args.from, offset)
}

fn load_f32(e: &mut Emit<'_>, pack: Pack, width: Width, address: Value, offset: i32) -> Value {
    let x = load(e, pack.dtype, width, address, offset);
    convert::cast(e, x, DType::F32).value()
}

/// Rows along n: 16 elements at a time to the same place in each panel.
fn copy_rows(e: &mut Emit<'_>, pack: Pack, args: &PackArgs) {
    let bytes = pack.dtype.bytes() as i64;
    let zero = e.int(0);
    let panel = panel_step(e, args.rows);
    let whole = e.ins().band_imm_s(args.columns, -PANEL);
    let rows = e.open(zero, args.rows, &[args.into]);
    let from = row_address(e, pack, args, rows.index);
    let zero = e.int(0);
    let panels = e.open(zero, whole, &[from, rows.carried[0]]);
    let (at, to) = (panels.carried[0], panels.carried[1]);
    for v in 0..4 {
        let x = load_f32(e, pack, Width::Four, at, 4 * v * bytes as i32);
        e.ins().store(ACCESS, x, to, 16 * v);
    }
    let (next, next_to) = (e.ins().iadd_imm_s(at, PANEL * bytes), e.ins().iadd(to, panel));
    let end = e.close(panels, PANEL, &[next, next_to]);
    last_panel_row(e, pack, args, whole, end[0], end[1]);
    let next = e.ins().iadd_imm_s(rows.carried[0], PANEL * 4);
    e.close(rows, 1, &[next]);
}

/// The part of a row that fills no panel: single elements over zeros.
fn last_panel_row(e: &mut Emit<'_>, pack: Pack, args: &PackArgs, whole: Value, from: Value, into: Value) {
    let once = e.ins().iadd_imm_s(whole, 1);
    let some = e.ins().icmp(IntCC::SignedLessThan, whole, args.columns);
    let limit = e.ins().select(some, once, whole);
    let pad = e.open(whole, limit, &[]);
    for v in 0..4 {
        let nothing = e.splat_constant(types::F32X4, 0);
        e.ins().store(ACCESS, nothing, into, 16 * v);
    }
    e.close(pad, 1, &[]);
    let rest = e.open(whole, args.columns, &[from, into]);
    let x = load_f32(e, pack, Width::One, rest.carried[0], 0);
    e.ins().store(ACCESS, x, rest.carried[1], 0);
    let next = e.ins().iadd_imm_s(rest.carried[0], pack.dtype.bytes() as i64);
    let next_to = e.ins().iadd_imm_s(rest.carried[1], 4);
    e.close(rest, 1, &[next, next_to]);
}

/// Rows that are transposed together: as many as there are registers to hold their addresses, to have more reads of
/// memory under way.
const TOGETHER: usize = 8;

/// Rows along k: rows become columns, four by four. Past the last row it is read again.
fn transpose_rows(e: &mut Emit<'_>, pack: Pack, args: &PackArgs) {
    let bytes = pack.dtype.bytes() as i64;
    let zero = e.int(0);
    let last = e.ins().iadd_imm_s(args.rows, -1);
    let whole = e.ins().band_imm_s(args.columns, -4);
    let room = e.ins().iadd_imm_s(args.rows, PANEL - 1);
    let room = e.ins().band_imm_s(room, -PANEL);
    let groups = e.open(zero, room, &[]);
    let from: Vec<Value> = (0..TOGETHER as i64)
        .map(|n| {
            let row = e.ins().iadd_imm_s(groups.index, n);
            let inside = e.ins().icmp(IntCC::SignedLessThan, row, last);
            let row = e.ins().select(inside, row, last);
            row_address(e, pack, args, row)
        })
        .collect();
    let into = column_address(e, args, groups.index);
    // The first row's address counts the trips: a register less.
    let ends = [whole, args.columns].map(|columns| {
        let bytes = e.ins().imul_imm_s(columns, bytes);
        e.ins().iadd(from[0], bytes)
    });
    let main = e.open(from[0], ends[0], &[&from[1..], &[into]].concat());
    let at = [&[main.index], &main.carried[..]].concat();
    let to = at[TOGETHER];
    for first in (0..TOGETHER).step_by(4) {
        let rows = [0, 1, 2, 3].map(|n| load_f32(e, pack, Width::Four, at[first + n], 0));
        for (n, column) in (0..).zip(transpose(e, rows)) {
            e.ins().store(ACCESS, column, to, 64 * n + 4 * first as i32);
        }
    }
    let next = step(e, &main.carried, 4, bytes);
    let end = e.close(main, 4 * bytes, &next);
    let rest = e.open(ends[0], ends[1], &end);
    let at = [&[rest.index], &rest.carried[..]].concat();
    for (n, from) in (0..).zip(&at[..TOGETHER]) {
        let x = load_f32(e, pack, Width::One, *from, 0);
        e.ins().store(ACCESS, x, at[TOGETHER], 4 * n);
    }
    let next = step(e, &rest.carried, 1, bytes);
    e.close(rest, bytes, &next);
    e.close(groups, TOGETHER as i64, &[]);
}

/// On by `by` columns, in all rows but the first and in the panel.
fn step(e: &mut Emit<'_>, carried: &[Value], by: i64, bytes: i64) -> Vec<Value> {
    let mut next: Vec<Value> = carried[..TOGETHER - 1].iter().map(|at| e.ins().iadd_imm_s(*at, by * bytes)).collect();
    next.push(e.ins().iadd_imm_s(carried[TOGETHER - 1], 4 * PANEL * by));
    next
}

/// Where column `row` (a multiple of 8) stands at k = 0: 16 to a panel, 4 bytes each.
fn column_address(e: &mut Emit<'_>, args: &PackArgs, row: Value) -> Value {
    let panel = panel_step(e, args.columns);
    let number = e.ins().sshr_imm_u(row, i64::from(PANEL.trailing_zeros()));
    let panel = e.ins().imul(number, panel);
    let inside = e.ins().band_imm_s(row, PANEL - 1);
    let inside = e.ins().ishl_imm_u(inside, 2);
    let offset = e.ins().iadd(panel, inside);
    e.ins().iadd(args.into, offset)
}

/// A 4×4 transpose: eight unpacks.
fn transpose(e: &mut Emit<'_>, r: [Value; 4]) -> [Value; 4] {
    let low01 = vector::shuffle32(e, r[0], r[1], [0, 4, 1, 5]);
    let high01 = vector::shuffle32(e, r[0], r[1], [2, 6, 3, 7]);
    let low23 = vector::shuffle32(e, r[2], r[3], [0, 4, 1, 5]);
    let high23 = vector::shuffle32(e, r[2], r[3], [2, 6, 3, 7]);
    [
        vector::shuffle32(e, low01, low23, [0, 1, 4, 5]),
        vector::shuffle32(e, low01, low23, [2, 3, 6, 7]),
        vector::shuffle32(e, high01, high23, [0, 1, 4, 5]),
        vector::shuffle32(e, high01, high23, [2, 3, 6, 7]),
    ]
}
