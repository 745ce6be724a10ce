//! What warps do with products of their warpgroup: issue, close groups, wait. The products themselves are in
//! [`super::products`].

use super::arith::Lanes;
use super::block::Block;
use super::clock::{self, Role};
use super::error::{ErrorKind, Outcome};
use super::exec::At;
use super::products::{self, Left, Matrix, Sums};
use crate::simt::{Small, Wgmma, WgmmaLeft};

impl Block<'_> {
    pub(super) fn wgmma_fence(&mut self, at: At) -> Outcome<()> {
        let warp = &mut self.warps[at.warp];
        warp.whole()?;
        warp.products.fence = Some(warp.steps);
        Ok(())
    }

    /// An operand that all lanes must agree on.
    fn uniform(&self, at: At, n: usize) -> Outcome<u64> {
        let lanes = self.read(at, n)?;
        if lanes.iter().any(|value| *value != lanes[0]) {
            return Err(ErrorKind::Warpgroup("lanes give different matrix descriptors".into()).into());
        }
        Ok(lanes[0])
    }

    fn check_shape(&self, at: At, wgmma: &Wgmma) -> Outcome<()> {
        let wide = matches!(wgmma.dtype, Some(Small::F16 | Small::BF16));
        let told = if !(8..=256).contains(&wgmma.n) || !wgmma.n.is_multiple_of(8) {
            format!("a product of {} columns; multiples of 8 up to 256", wgmma.n)
        } else if !wide && (wgmma.transpose_left || wgmma.transpose_right) {
            "only operands of 16-bit elements can be transposed".into()
        } else if at.warp / 4 * 4 + 4 > self.warps.len() {
            "a product of a warpgroup in a block without four warps for it".into()
        } else {
            return Ok(());
        };
        Err(ErrorKind::Program(told).into())
    }

    pub(super) fn wgmma(&mut self, at: At, wgmma: Wgmma) -> Outcome<()> {
        self.warps[at.warp].whole()?;
        self.check_shape(at, &wgmma)?;
        let fence = self.warps[at.warp].products.fence.ok_or(ErrorKind::MissingWgmmaFence)?;
        let (left, left_bits, taken) = match wgmma.left {
            WgmmaLeft::Shared => {
                let bits = self.uniform(at, 0)?;
                (Left::Shared(Matrix::left(bits, at.warp, wgmma.transpose_left)?), bits, 1)
            }
            WgmmaLeft::Registers => {
                let registers: Vec<Lanes> = (0..4).map(|n| self.read(at, n).copied()).collect::<Outcome<_>>()?;
                if at.args[..4].iter().any(|slot| self.warps[at.warp].written(*slot) > fence) {
                    return Err(ErrorKind::MissingWgmmaFence.into());
                }
                (Left::Registers(registers), 0, 4)
            }
        };
        let right_bits = self.uniform(at, taken)?;
        let right = Matrix::right(right_bits, wgmma.n, wgmma.transpose_right)?;
        let sums = self.sums(at, &wgmma, taken + 1, fence)?;
        self.log(at.warp, (at.at, left_bits, right_bits))?;
        let agent = clock::agent(Role::Product, at.warp, self.warps.len());
        let time = self.warps[at.warp].products.groups + 1;
        let element = products::element(wgmma.dtype);
        if let Left::Shared(matrix) = &left {
            for address in matrix.addresses(element) {
                self.product_reads(at, agent, time, address)?;
            }
        }
        for address in right.addresses(element) {
            self.product_reads(at, agent, time, address)?;
        }
        let warp = &mut self.warps[at.warp];
        let number = warp.products.push(wgmma, left, right, sums);
        for (n, slot) in at.results.iter().enumerate() {
            warp.write_awaited(*slot, number, n);
        }
        Ok(())
    }

    /// What sums begin with: zeros, registers written before the last fence, or a product under way with the same shape.
    fn sums(&self, at: At, wgmma: &Wgmma, first: usize, fence: u32) -> Outcome<Sums> {
        let warp = &self.warps[at.warp];
        let slots = at.args.get(first..first + wgmma.n as usize / 2);
        let slots = slots.ok_or_else(|| ErrorKind::Program("a product lacks accumulators".into()))?;
        if !wgmma.accumulate {
            return Ok(Sums::Zero);
        }
        if let Some((number, 0)) = warp.awaited(slots[0]) {
            let same = slots.iter().enumerate().all(|(n, slot)| warp.awaited(*slot) == Some((number, n)));
            if same && warp.products.columns(number) == Some(wgmma.n) {
                return Ok(Sums::Of(number));
            }
        }
        let values = slots.iter().map(|slot| warp.read(self.code, *slot).copied()).collect::<Outcome<_>>()?;
        if slots.iter().any(|slot| warp.written(*slot) > fence) {
            return Err(ErrorKind::MissingWgmmaFence.into());
        }
        Ok(Sums::Registers(values))
    }

    pub(super) fn wgmma_commit(&mut self, at: At) -> Outcome<()> {
        let warp = &mut self.warps[at.warp];
        warp.whole()?;
        warp.products.groups += 1;
        warp.products.open = false;
        Ok(())
    }

    pub(super) fn wgmma_wait(&mut self, at: At, left: u32) -> Outcome<()> {
        let agent = clock::agent(Role::Product, at.warp, self.warps.len());
        let code = self.code;
        let warp = &mut self.warps[at.warp];
        warp.whole()?;
        let done = warp.products.groups.saturating_sub(left);
        warp.products.run(done, &self.shared.bytes);
        warp.products.waited = warp.products.waited.max(done);
        // Registers of later products may be those that this wait sets free.
        if left == 0 {
            warp.products.fence = None;
        }
        warp.known.learn(warp.full, agent, done);
        for (from, to) in at.args.iter().zip(at.results) {
            match warp.awaited(*from) {
                None => {
                    let value = *warp.read(code, *from)?;
                    warp.write(*to, &value);
                }
                Some((number, n)) => match warp.products.result(number, n).copied() {
                    Some(value) => warp.write(*to, &value),
                    None => warp.write_awaited(*to, number, n),
                },
            }
        }
        Ok(())
    }
}
