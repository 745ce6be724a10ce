//! `print` on GPUs: an instance reserves room in the launch's buffer, and its threads write the elements there. What they mean
//! is said by `printed.rs`, which reads them on the host.

use pantile_ir::{DimId, Inst};

use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::printed::{HEAD, PRINT_BYTES, PrintSite, UNIT};
use crate::simt::{Compare, Op, Space, Ty, Value as Reg};

impl<'f> Lower<'f> {
    /// Writes a record: its site, the instance, the valid lanes along each dim, then all elements, padding included.
    pub(crate) fn print(&mut self, inst: &'f Inst, label: &str) -> Result<(), Limit> {
        let Some(word) = self.words.print() else { return Ok(()) };
        let value = inst.args[0];
        let (dims, dtype) = (self.dims(value), self.dtype(value));
        let sizes = dims.iter().map(|d| (self.func.dim(*d).name.clone(), 1u32 << self.bits(*d))).collect();
        let site = PrintSite { label: label.to_owned(), dtype, dims: sizes };
        let (offset, bytes) = (site.elements_at(), site.bytes());
        if bytes > PRINT_BYTES - HEAD {
            let most = PRINT_BYTES >> 10;
            let message = format!("`print` of {bytes} bytes: a launch's prints have {most} KiB; print a smaller part");
            return Err(Limit { message, span: inst.span });
        }
        self.prints.push(site);
        let number = self.prints.len() as i32 - 1;
        let buffer = self.word(word);
        let (address, fits) = self.reserve(buffer, bytes)?;
        let mut head = vec![self.b.i32(number), self.instance];
        for dim in dims {
            head.push(self.block(*dim)?.len);
        }
        for (n, x) in head.into_iter().enumerate() {
            let at = self.b.add_const(address, 4 * n as i64);
            self.b.store(Space::Global, 32, at, &[x], Some(fits));
        }
        let held = if self.is_scalar(value) {
            let spread = Spread { registers: Vec::new(), lanes: Vec::new(), warps: Vec::new() };
            Held { spread, registers: vec![self.scalar(value)?] }
        } else {
            self.anyhow(value)?
        };
        let places = self.row_major(&held.spread, dims);
        for (x, place) in held.registers.into_iter().zip(places) {
            let place = self.b.mul_const(place, dtype.bytes() as i64);
            let place = self.b.zero_extend(Ty::I64, place);
            let at = self.b.add(address, place);
            let at = self.b.add_const(at, i64::from(offset));
            let unit = element::to_units(&mut self.b, dtype, &[x])[0];
            self.b.store(Space::Global, 8 * dtype.bytes() as u8, at, &[unit], Some(fits));
        }
        Ok(())
    }

    /// The place of each register's element among all, the last dim's neighbours side by side.
    fn row_major(&mut self, spread: &Spread, dims: &[DimId]) -> Vec<Reg> {
        let zero = self.b.i32(0);
        let mut places = vec![zero; spread.len()];
        for dim in dims {
            let size = 1i64 << self.bits(*dim);
            let lanes = self.lanes(spread, *dim);
            places = places
                .into_iter()
                .zip(lanes)
                .map(|(place, lane)| {
                    let before = self.b.mul_const(place, size);
                    self.b.add(before, lane)
                })
                .collect();
        }
        places
    }

    /// Room for a record, the same for all threads: where it is, and whether it is there. One thread asks for it.
    fn reserve(&mut self, buffer: Reg, bytes: u32) -> Result<(Reg, Reg), Limit> {
        let scratch = self.scratch(4);
        let zero = self.b.i32(0);
        let both = self.b.binary(crate::simt::Binary::Or, self.lane, self.warp);
        let first = self.b.compare(Compare::Eq, both, zero);
        let shared = self.b.i32(scratch as i32);
        self.b.open(Vec::new());
        let units = self.b.i32((bytes / UNIT) as i32);
        let taken = self.b.emit(Op::AtomicFetchAdd, &[buffer, units], &[Ty::I32])[0];
        self.b.store(Space::Shared, 32, shared, &[taken], None);
        let then = self.b.close(Vec::new());
        self.b.open(Vec::new());
        let other = self.b.close(Vec::new());
        self.b.choose(first, then, other);
        self.meet();
        let taken = self.b.load(Space::Shared, 32, 1, shared, None)[0];
        let room = self.b.i32(((PRINT_BYTES - HEAD - bytes) / UNIT) as i32);
        let fits = self.b.compare(Compare::ULe, taken, room);
        let wide = self.b.zero_extend(Ty::I64, taken);
        let start = self.b.mul_const(wide, i64::from(UNIT));
        let start = self.b.add(buffer, start);
        Ok((self.b.add_const(start, i64::from(HEAD)), fits))
    }
}
