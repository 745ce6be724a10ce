//! Changes of representation, small floats included. Targets without 8-bit floats compute them from singles, to the same
//! bits.

use super::{Printer, llvm};
use crate::simt::{Convert, Inst, Small, Value};

/// What an 8-bit float is made of.
struct Eight {
    /// Bits of the fraction.
    fraction: u32,
    /// The exponent's bias.
    bias: u32,
    /// The greatest finite number.
    most: f32,
}

const E4M3: Eight = Eight { fraction: 3, bias: 7, most: 448.0 };
const E5M2: Eight = Eight { fraction: 2, bias: 15, most: 57344.0 };

/// A single as LLVM writes it.
fn single(x: f32) -> String {
    format!("0x{:016X}", f64::from(x).to_bits())
}

impl Printer<'_> {
    pub(super) fn convert(&mut self, how: Convert, inst: &Inst) {
        let (result, x) = (inst.results[0], inst.args[0]);
        let (from, to) = (self.ty(x), self.ty(result));
        let name = match how {
            Convert::ZeroExtend(_) => "zext",
            Convert::SignExtend => "sext",
            Convert::Truncate => "trunc",
            Convert::SignFrom(bits) => {
                let low = self.temp(&format!("trunc {} to i{bits}", self.typed(x)));
                return self.set(result, &format!("sext i{bits} {low} to i32"));
            }
            Convert::FromSigned(_) => "sitofp",
            Convert::FromUnsigned(_) => "uitofp",
            Convert::ToSigned(_) => return self.saturate("", result, x),
            Convert::ToUnsigned(_) => return self.saturate("u", result, x),
            Convert::Float(_) if to == "double" => "fpext",
            Convert::Float(_) => "fptrunc",
            Convert::Bits(_) => "bitcast",
            Convert::Widen(small) => return self.widen(small, result, x),
            Convert::Tf32 => {
                return self.set(result, &format!("call i32 @llvm.nvvm.f2tf32.rna({})", self.typed(x)));
            }
        };
        self.set(result, &format!("{name} {from} {} to {to}", self.name(x)));
    }

    /// The machine's conversion saturates; it gives 0 for a NaN only from and to 32 bits.
    fn saturate(&mut self, unsigned: &str, result: Value, x: Value) {
        let (from, to) = (self.ty(x), self.ty(result));
        let (f, i) = (if from == "float" { "f" } else { "d" }, if to == "i32" { "i" } else { "ll" });
        let call = format!("call {to} @llvm.nvvm.{f}2{unsigned}{i}.rz({})", self.typed(x));
        if from == "float" && to == "i32" {
            return self.set(result, &call);
        }
        let nan = self.temp(&format!("fcmp uno {}, {}", self.typed(x), self.name(x)));
        let number = self.temp(&call);
        self.set(result, &format!("select i1 {nan}, {to} 0, {to} {number}"));
    }

    fn widen(&mut self, small: Small, result: Value, x: Value) {
        let x = self.typed(x);
        match small {
            Small::BF16 => {
                let high = self.temp(&format!("shl {x}, 16"));
                self.set(result, &format!("bitcast i32 {high} to float"));
            }
            Small::F16 => {
                let low = self.temp(&format!("trunc {x} to i16"));
                self.half(result, &low);
            }
            // It is the upper byte of a half.
            Small::F8E5M2 => {
                let low = self.temp(&format!("trunc {x} to i16"));
                let half = self.temp(&format!("shl i16 {low}, 8"));
                self.half(result, &half);
            }
            Small::F8E4M3 if self.target.has_f8() => {
                let low = self.temp(&format!("trunc {x} to i16"));
                let pair = self.temp(&format!("call <2 x half> @llvm.nvvm.e4m3x2.to.f16x2.rn(i16 {low})"));
                let half = self.temp(&format!("extractelement <2 x half> {pair}, i32 0"));
                self.set(result, &format!("fpext half {half} to float"));
            }
            Small::F8E4M3 => self.widen_e4m3(result, &x),
        }
    }

    fn half(&mut self, result: Value, bits: &str) {
        let half = self.temp(&format!("bitcast i16 {bits} to half"));
        self.set(result, &format!("fpext half {half} to float"));
    }

    /// Exponent and fraction, moved where a single has them, are the number but for the bias, which one exact product mends.
    fn widen_e4m3(&mut self, result: Value, x: &str) {
        let magnitude = self.temp(&format!("and {x}, 127"));
        let moved = self.temp(&format!("shl i32 {magnitude}, 20"));
        let small = self.temp(&format!("bitcast i32 {moved} to float"));
        let number = self.temp(&format!("fmul float {small}, {}", single(f32::from_bits((127 + 120) << 23))));
        let nan = self.temp(&format!("icmp eq i32 {magnitude}, 127"));
        let number = self.temp(&format!("select i1 {nan}, float 0x7FF8000000000000, float {number}"));
        let bits = self.temp(&format!("bitcast float {number} to i32"));
        let sign = self.temp(&format!("and {x}, 128"));
        let sign = self.temp(&format!("shl i32 {sign}, 24"));
        let signed = self.temp(&format!("or i32 {bits}, {sign}"));
        self.set(result, &format!("bitcast i32 {signed} to float"));
    }

    pub(super) fn narrow(&mut self, small: Small, inst: &Inst) {
        let result = inst.results[0];
        let both = self.list(&inst.args);
        match small {
            Small::F16 => {
                let pair = self.temp(&format!("call <2 x half> @llvm.nvvm.ff2f16x2.rn({both})"));
                self.set(result, &format!("bitcast <2 x half> {pair} to i32"));
            }
            Small::BF16 => {
                let pair = self.temp(&format!("call <2 x bfloat> @llvm.nvvm.ff2bf16x2.rn({both})"));
                self.set(result, &format!("bitcast <2 x bfloat> {pair} to i32"));
            }
            Small::F8E4M3 | Small::F8E5M2 if self.target.has_f8() => {
                let name = if small == Small::F8E4M3 { "e4m3x2" } else { "e5m2x2" };
                let pair = self.temp(&format!("call i16 @llvm.nvvm.ff.to.{name}.rn({both})"));
                self.set(result, &format!("zext i16 {pair} to i32"));
            }
            Small::F8E4M3 => self.narrow_both(&E4M3, inst),
            Small::F8E5M2 => self.narrow_both(&E5M2, inst),
        }
    }

    fn narrow_both(&mut self, format: &Eight, inst: &Inst) {
        let high = self.narrow_one(format, inst.args[0]);
        let low = self.narrow_one(format, inst.args[1]);
        let high = self.temp(&format!("shl i32 {high}, 8"));
        self.set(inst.results[0], &format!("or i32 {high}, {low}"));
    }

    /// Rounds a single to 8 bits, saturated: normal numbers by adding half a unit to their bits, small ones by adding a
    /// number so large that its last place is the format's least step.
    fn narrow_one(&mut self, format: &Eight, x: Value) -> String {
        debug_assert_eq!(self.ty(x), llvm(crate::simt::Ty::F32));
        let Eight { fraction, bias, most } = *format;
        let (cut, x) = (23 - fraction, self.name(x).to_string());
        let magnitude = self.temp(&format!("call float @llvm.fabs.f32(float {x})"));
        let over = self.temp(&format!("fcmp ogt float {magnitude}, {}", single(most)));
        let magnitude = self.temp(&format!("select i1 {over}, float {}, float {magnitude}", single(most)));
        let bits = self.temp(&format!("bitcast float {magnitude} to i32"));
        let odd = self.temp(&format!("lshr i32 {bits}, {cut}"));
        let odd = self.temp(&format!("and i32 {odd}, 1"));
        let up = self.temp(&format!("add i32 {odd}, {}", (1 << (cut - 1)) - 1));
        let rounded = self.temp(&format!("add i32 {bits}, {up}"));
        let rounded = self.temp(&format!("lshr i32 {rounded}, {cut}"));
        let normal = self.temp(&format!("sub i32 {rounded}, {}", (127 - bias) << fraction));
        let least = f32::from_bits((128 - bias) << 23);
        let step = f32::from_bits((128 - bias - fraction + 23) << 23);
        let sum = self.temp(&format!("fadd float {magnitude}, {}", single(step)));
        let sum = self.temp(&format!("bitcast float {sum} to i32"));
        let tiny = self.temp(&format!("sub i32 {sum}, {}", step.to_bits()));
        let is_tiny = self.temp(&format!("fcmp olt float {magnitude}, {}", single(least)));
        let number = self.temp(&format!("select i1 {is_tiny}, i32 {tiny}, i32 {normal}"));
        let sign = self.temp(&format!("bitcast float {x} to i32"));
        let sign = self.temp(&format!("lshr i32 {sign}, 24"));
        let sign = self.temp(&format!("and i32 {sign}, 128"));
        let signed = self.temp(&format!("or i32 {number}, {sign}"));
        let nan = self.temp(&format!("fcmp uno float {x}, {x}"));
        self.temp(&format!("select i1 {nan}, i32 127, i32 {signed}"))
    }
}
