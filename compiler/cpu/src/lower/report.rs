//! `print` and `assert` of debug builds: a print collects its elements through Rust functions, one call each. Speed is
//! no concern here.

use std::collections::HashSet;

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_ir::{DType, Inst, Kind, Value};

use super::Lower;
use super::eval::Level;
use crate::{Counted, Limit, callbacks, convert};

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
        let address = self.e.int(callbacks::label(label));
        self.e.call_host(callbacks::print_begin(), &[types::I64], &[], &[address]);
        let loops = self.open_elements(inst.args[0])?;
        let x = self.value(inst.args[0], Level::Row)?;
        match x.dtype.kind() {
            Kind::Float => {
                let wide = convert::cast(&mut self.e, x, DType::F64);
                self.e.call_host(callbacks::print_float(), &[types::F64], &[], &[wide.value()]);
            }
            Kind::Bool => {
                let wide = self.e.ins().uextend(types::I64, x.value());
                self.e.call_host(callbacks::print_truth(), &[types::I64], &[], &[wide]);
            }
            Kind::Signed | Kind::Unsigned => {
                let wide = convert::cast(&mut self.e, x, DType::I64);
                self.e.call_host(callbacks::print_integer(), &[types::I64], &[], &[wide.value()]);
            }
        }
        self.close_elements(loops);
        self.e.call_host(callbacks::print_end(), &[], &[], &[]);
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
