//! `print` and `assert` of debug builds: a print collects its elements through Rust functions, one call each. Speed is
//! no concern here.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write;

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_ir::{DType, Inst, Kind, Value};

use super::Lower;
use super::eval::Level;
use crate::{Counted, Limit, convert};

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

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

impl<'f> Lower<'_, 'f> {
    /// Opens loops over all dims of a value, which is then evaluated once an element.
    fn open_elements(&mut self, value: Value) -> Result<Vec<Counted>, Limit> {
        self.frame.vector = None;
        self.open_loads(value, &mut HashSet::new())?;
        let mut loops = Vec::new();
        for dim in self.facts.func.ty(value).dims() {
            let len = self.len(*dim);
            let counted = self.open_rows(len);
            self.frame.index.insert(*dim, counted.index);
            loops.push(counted);
        }
        Ok(loops)
    }

    fn close_elements(&mut self, loops: Vec<Counted>) {
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        self.frame = super::eval::Frame::default();
    }

    /// Prints all elements on one line, rows after each other.
    pub(super) fn print(&mut self, inst: &'f Inst, label: &str) -> Result<(), Limit> {
        // Labels are few and live in debug builds only; code may outlive whoever compiled it.
        let label: &'static String = Box::leak(Box::new(label.to_owned()));
        let address = self.e.int(std::ptr::from_ref(label).expose_provenance() as i64);
        let begin: extern "C" fn(*const String) = begin;
        self.e.call_host(begin as usize, &[types::I64], &[], &[address]);
        let loops = self.open_elements(inst.args[0])?;
        let x = self.value(inst.args[0], Level::Row)?;
        match x.dtype.kind() {
            Kind::Float => {
                let wide = convert::cast(&mut self.e, x, DType::F64);
                let float: extern "C" fn(f64) = float;
                self.e.call_host(float as usize, &[types::F64], &[], &[wide.value()]);
            }
            Kind::Bool => {
                let wide = self.e.ins().uextend(types::I64, x.value());
                let truth: extern "C" fn(i64) = truth;
                self.e.call_host(truth as usize, &[types::I64], &[], &[wide]);
            }
            Kind::Signed | Kind::Unsigned => {
                let wide = convert::cast(&mut self.e, x, DType::I64);
                let integer: extern "C" fn(i64) = integer;
                self.e.call_host(integer as usize, &[types::I64], &[], &[wide.value()]);
            }
        }
        self.close_elements(loops);
        let end: extern "C" fn() = end;
        self.e.call_host(end as usize, &[], &[], &[]);
        Ok(())
    }

    /// Stops the kernel where a bool is false.
    pub(super) fn assert(&mut self, inst: &'f Inst, message: &str) -> Result<(), Limit> {
        let loops = self.open_elements(inst.args[0])?;
        let holds = self.value(inst.args[0], Level::Row)?.value();
        self.check(holds, message.to_owned(), inst.span);
        self.close_elements(loops);
        Ok(())
    }
}
