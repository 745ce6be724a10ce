//! Rust functions that compiled code calls with addresses: sorting of lines, and printing. Functions of plain numbers are
//! in `host.rs`.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt::Write;

use pantile_ir::{DType, Kind};

use crate::vector::{Carrier, carrier};

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Starts a line with a label.
extern "C" fn begin(label: *const String) {
    // SAFETY: compiled code passes the address of a label that lives as long as the process.
    #[allow(unsafe_code, reason = "a label crosses from the compiler to its code as an address")]
    let label = unsafe { &*label };
    LINE.with_borrow_mut(|line| {
        line.clear();
        line.push_str(label);
        line.push(':');
    });
}

extern "C" fn float(x: f64) {
    LINE.with_borrow_mut(|line| write!(line, " {x}").unwrap_or(()));
}

extern "C" fn integer(x: i64) {
    LINE.with_borrow_mut(|line| write!(line, " {x}").unwrap_or(()));
}

extern "C" fn truth(x: i64) {
    LINE.with_borrow_mut(|line| write!(line, " {}", x != 0).unwrap_or(()));
}

extern "C" fn end() {
    LINE.with_borrow(|line| eprintln!("{line}"));
}

/// The address of the function that starts a printed line: `(label)`.
pub fn print_begin() -> usize {
    begin as extern "C" fn(*const String) as usize
}

/// The address of the function that adds a float.
pub fn print_float() -> usize {
    float as extern "C" fn(f64) as usize
}

/// The address of the function that adds an integer.
pub fn print_integer() -> usize {
    integer as extern "C" fn(i64) as usize
}

/// The address of the function that adds a bool.
pub fn print_truth() -> usize {
    truth as extern "C" fn(i64) as usize
}

/// The address of the function that prints the line.
pub fn print_end() -> usize {
    end as extern "C" fn() as usize
}

/// A label's address. Labels are few, in debug builds only, and live as long as the process: code may outlive whoever
/// compiled it.
pub fn label(text: &str) -> i64 {
    let label: &'static String = Box::leak(Box::new(text.to_owned()));
    std::ptr::from_ref(label).expose_provenance() as i64
}

/// The order of a sort: ascending or descending, NaNs last either way.
fn by<T: PartialOrd>(descending: bool) -> impl Fn(&T, &T) -> Ordering {
    move |a, b| match a.partial_cmp(b) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        #[allow(clippy::eq_op, reason = "only a NaN differs from itself")]
        None => (a != a).cmp(&(b != b)),
    }
}

/// # Safety
/// `line` points to `len` elements that only this call uses.
#[allow(unsafe_code, reason = "compiled code hands over a row as pointer and length")]
unsafe fn row<'a, T>(line: *mut T, len: i64) -> &'a mut [T] {
    // SAFETY: the caller's promise; an arena's line is aligned to 64 bytes.
    unsafe { std::slice::from_raw_parts_mut(line, usize::try_from(len).unwrap_or(0)) }
}

#[allow(unsafe_code, reason = "see `row`")]
extern "C" fn sort_line<T: PartialOrd>(line: *mut T, len: i64, descending: i64) {
    // SAFETY: called by compiled code with a line of the arena and the valid lanes of its dim, which fit it.
    unsafe { row(line, len) }.sort_unstable_by(by(descending != 0));
}

/// Leaves the k-th largest in front.
#[allow(unsafe_code, reason = "see `row`")]
extern "C" fn select_line<T: PartialOrd>(line: *mut T, len: i64, k: i64) {
    // SAFETY: as in `sort_line`; compiled code has clamped `k` to 1..=len and `len` is not 0.
    let row = unsafe { row(line, len) };
    let at = usize::try_from(k - 1).unwrap_or(0);
    if at < row.len() {
        row.select_nth_unstable_by(at, by(true));
        row.swap(0, at);
    }
}

type Line<T> = extern "C" fn(*mut T, i64, i64);

/// The address of the function that sorts a line of a dtype: `(line, len, descending)`.
pub fn sorter(dtype: DType) -> usize {
    match (carrier(dtype), dtype.kind()) {
        (Carrier::Float32, _) => sort_line::<f32> as Line<f32> as usize,
        (Carrier::Float64, _) => sort_line::<f64> as Line<f64> as usize,
        (Carrier::Int64, Kind::Unsigned) => sort_line::<u64> as Line<u64> as usize,
        (Carrier::Int64, _) => sort_line::<i64> as Line<i64> as usize,
        (_, Kind::Unsigned) => sort_line::<u32> as Line<u32> as usize,
        (_, _) => sort_line::<i32> as Line<i32> as usize,
    }
}

/// The address of the function that leaves the k-th largest of a line in front: `(line, len, k)`.
pub fn selector(dtype: DType) -> usize {
    match (carrier(dtype), dtype.kind()) {
        (Carrier::Float32, _) => select_line::<f32> as Line<f32> as usize,
        (Carrier::Float64, _) => select_line::<f64> as Line<f64> as usize,
        (Carrier::Int64, Kind::Unsigned) => select_line::<u64> as Line<u64> as usize,
        (Carrier::Int64, _) => select_line::<i64> as Line<i64> as usize,
        (_, Kind::Unsigned) => select_line::<u32> as Line<u32> as usize,
        (_, _) => select_line::<i32> as Line<i32> as usize,
    }
}
