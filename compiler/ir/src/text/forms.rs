//! How each op that is no row of an element-wise table is written, and one line on what it does: the words of printer,
//! parser and reference page. What it means exactly is said at [`Op`].

use crate::Op;

/// The written form of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its word.
    pub name: &'static str,
    /// How it is written after `results =`.
    pub syntax: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
}

macro_rules! forms {
    ($($pattern:pat => $name:literal, $syntax:literal, $doc:literal;)*) => {
        /// Every form, in the order of [`Op`].
        pub const FORMS: &[Form] = &[$(Form { name: $name, syntax: $syntax, doc: $doc },)*];

        /// The form of an op.
        pub fn form(op: &Op) -> &'static Form {
            match op {
                $($pattern => &Form { name: $name, syntax: $syntax, doc: $doc },)*
            }
        }
    };
}

forms! {
    Op::Const(..) => "const", "const 1.5", "A constant scalar; its dtype is the result's.";
    Op::Extent(_) => "extent", "extent N", "The number of elements of an extent, i64.";
    Op::BlockIndex(_) => "block_index", "block_index i", "The number of the dim's block, i64.";
    Op::BlockLen(_) => "block_len", "block_len i", "How many lanes of the dim's block are valid, i64.";
    Op::Pos(_) => "pos", "pos i", "Positions in the walk, an i64 tile.";
    Op::At(_) => "at", "at i", "Positions in memory, through the dim's order, an i64 tile.";
    Op::Valid(_) => "valid", "valid i", "True at every valid lane; a back end's padding lanes are false.";
    Op::OrderAt(_) => "order_at", "order_at N %x", "Memory position of walk position `%x` in an extent's order; -1: none.";
    Op::Unary(_) => "<unary>", "exp %x", "Element-wise op of one operand.";
    Op::Binary(_) => "<binary>", "add %a, %b", "Element-wise op of two operands; the result has the dims of both.";
    Op::Select => "select", "select %c, %a, %b", "`%a` where `%c` holds, else `%b`, element by element.";
    Op::Cast(_) => "cast", "cast f16 %x", "`%x` as another dtype.";
    Op::Broadcast(_) => "broadcast", "broadcast over {i, j} %x", "`%x`, constant along the named dims as well.";
    Op::Reduce(..) => "reduce", "reduce sum over {i, j} %x", "Reduces the named dims away.";
    Op::ArgReduce(..) => "<arg>", "argmax over j %x", "The lane of an extreme along a dim, i64.";
    Op::Scan(..) => "<scan>", "cumsum over j %x", "A running reduction along a dim, inclusive.";
    Op::Sort { .. } => "sort", "sort descending over j %x", "`%x` sorted along a dim, ascending unless said; NaNs last.";
    Op::KthLargest(_) => "kth_largest", "kth_largest over j %x, %k", "The k-th largest valid element along a dim.";
    Op::Gather(_) => "gather", "gather over j %x, %at", "`%x` read at lane `%at` along a dim; 0 where there is none.";
    Op::Dot(_) => "dot", "dot over {D} %a, %b", "The sum of products over dims of both, in the accumulator dtype.";
    Op::Split { .. } => "split", "split D into {a, b} %x", "A full dim seen as several, first slowest.";
    Op::Merge { .. } => "merge", "merge {a, b} into d %x", "Full dims seen as one, first slowest.";
    Op::Random => "random", "random %seed, %counter", "Uniform f32 in [0, 1) by Philox 4×32-10.";
    Op::Load(..) => "load", "load %q[%b, %h, i, D]", "Reads a tensor.";
    Op::Store { .. } => "store", "store %out[%b, i] = %v where %m", "Writes a tensor: `=`, `+=` or `atomic +=`.";
    Op::MaskGet(_) => "mask_get", "mask_get %keep[%b, %i, %j]", "Reads one bool of a mask.";
    Op::MaskPut(..) => "mask_put", "mask_put %keep[%b, r, c] = %v", "Writes whole rows of a mask.";
    Op::For(_) => "for", "for j in M by 128 bounds %lo..%hi list %keep[%b, %i] carry (%x: f32 = %init) where { … } do { … }",
        "A loop over the blocks of a walk, or over a range: `for %n: i64 in %lo..%hi`.";
    Op::If => "if", "if %c { … } else { … }", "One of two regions; both yield the results.";
    Op::Print(_) => "print", "print \"label\" %x", "Prints its operand, in debug builds.";
    Op::Assert(_) => "assert", "assert \"message\" %c", "Fails the launch where its operand is false, in debug builds.";
}
