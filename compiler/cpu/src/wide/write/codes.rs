//! Which instruction does what in 256 and in 512 bits. Nothing is written here.

use iced_x86::{Code, Register as Machine};

use crate::Features;
use crate::wide::{Memory, One, Shift, Two};

/// The width of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 8 lanes in each of 16.
    Ymm,
    /// 16 lanes in each of 32.
    Zmm,
}

impl Width {
    pub(super) fn of(features: Features) -> Option<Width> {
        match features {
            Features::Baseline => None,
            Features::Avx2 => Some(Width::Ymm),
            Features::Avx512 => Some(Width::Zmm),
        }
    }

    pub(super) fn lanes(self) -> u32 {
        self.pick(8, 16)
    }

    /// How many registers there are.
    pub(super) fn slots(self) -> u32 {
        self.pick(16, 32)
    }

    /// How often the lanes are halved until four are left.
    pub(super) fn halvings(self) -> usize {
        self.pick(1, 2)
    }

    fn pick<T>(self, ymm: T, zmm: T) -> T {
        match self {
            Width::Ymm => ymm,
            Width::Zmm => zmm,
        }
    }

    pub(super) fn register(self, slot: u32) -> Machine {
        self.pick(Machine::YMM0, Machine::ZMM0) + slot
    }

    /// The other half, then the other quarter, in the place of each.
    pub(super) fn turned(self, turn: usize) -> (Code, i32) {
        let wide = (Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, if turn == 0 { 0x4e } else { 0xb1 });
        self.pick((Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, 0x01), wide)
    }

    pub(super) fn broadcast_register(self) -> Code {
        self.pick(Code::VEX_Vbroadcastss_ymm_xmm, Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32)
    }

    pub(super) fn copy(self) -> Code {
        self.pick(Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512)
    }

    pub(super) fn load(self, memory: Memory) -> Code {
        match memory {
            Memory::Whole => self.pick(Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512),
            Memory::Signed16 => self.pick(Code::VEX_Vpmovsxwd_ymm_xmmm128, Code::EVEX_Vpmovsxwd_zmm_k1z_ymmm256),
            Memory::Unsigned16 => self.pick(Code::VEX_Vpmovzxwd_ymm_xmmm128, Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256),
            Memory::Half => self.widen_half(),
        }
    }

    /// f32s from f16s in half a register or in memory.
    pub(super) fn widen_half(self) -> Code {
        self.pick(Code::VEX_Vcvtph2ps_ymm_xmmm128, Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae)
    }

    /// The other way, rounding as its last operand says; 0 is to nearest, ties to even.
    pub(super) fn narrow_half(self) -> Code {
        self.pick(Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8, Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae)
    }

    /// The lower half of a register.
    pub(super) fn lower(self, slot: u32) -> Machine {
        self.pick(Machine::XMM0, Machine::YMM0) + slot
    }

    /// Stores of 16 bits as integers are one instruction in 512 bits only.
    pub(super) fn store(self, memory: Memory) -> Code {
        let whole = self.pick(Code::VEX_Vmovups_ymmm256_ymm, Code::EVEX_Vmovups_zmmm512_k1z_zmm);
        match memory {
            Memory::Whole => whole,
            Memory::Signed16 => self.pick(whole, Code::EVEX_Vpmovsdw_ymmm256_k1z_zmm),
            // Lanes that are narrowed this way are in range, or their saturation is the caller's.
            Memory::Unsigned16 => self.pick(whole, Code::EVEX_Vpmovusdw_ymmm256_k1z_zmm),
            Memory::Half => self.narrow_half(),
        }
    }

    /// A store of a whole register around the caches.
    pub(super) fn stream(self) -> Code {
        self.pick(Code::VEX_Vmovntps_m256_ymm, Code::EVEX_Vmovntps_m512_zmm)
    }

    /// The same of the lower half.
    pub(super) fn stream_lower(self) -> Code {
        self.pick(Code::VEX_Vmovntps_m128_xmm, Code::EVEX_Vmovntps_m256_ymm)
    }

    /// `first = second · third + first`.
    pub(super) fn add_product(self) -> Code {
        self.pick(Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256, Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er)
    }

    /// `first = first · second + third`.
    pub(super) fn multiply_add(self) -> Code {
        self.pick(Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256, Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er)
    }

    /// With the immediate operand, where there is one.
    pub(super) fn one(self, one: One) -> (Code, Option<i32>) {
        let round = self.pick(Code::VEX_Vroundps_ymm_ymmm256_imm8, Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae);
        match one {
            One::RoundHalf => (self.narrow_half(), Some(0)),
            One::Sqrt => (self.pick(Code::VEX_Vsqrtps_ymm_ymmm256, Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er), None),
            One::Nearest => (round, Some(0)),
            One::Floor => (round, Some(1)),
            One::Ceil => (round, Some(2)),
            One::Trunc => (round, Some(3)),
            One::FromSigned => {
                (self.pick(Code::VEX_Vcvtdq2ps_ymm_ymmm256, Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er), None)
            }
            One::Absolute => (self.pick(Code::VEX_Vpabsd_ymm_ymmm256, Code::EVEX_Vpabsd_zmm_k1z_zmmm512b32), None),
        }
    }

    pub(super) fn shift(self, shift: Shift) -> Code {
        match shift {
            Shift::Left => self.pick(Code::VEX_Vpslld_ymm_ymm_imm8, Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8),
            Shift::Logical => self.pick(Code::VEX_Vpsrld_ymm_ymm_imm8, Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8),
            Shift::Arithmetic => self.pick(Code::VEX_Vpsrad_ymm_ymm_imm8, Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8),
        }
    }

    pub(super) fn two(self, two: Two) -> Code {
        let (ymm, zmm) = match two {
            Two::Add => (Code::VEX_Vaddps_ymm_ymm_ymmm256, Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
            Two::Sub => (Code::VEX_Vsubps_ymm_ymm_ymmm256, Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
            Two::Mul => (Code::VEX_Vmulps_ymm_ymm_ymmm256, Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
            Two::Div => (Code::VEX_Vdivps_ymm_ymm_ymmm256, Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
            Two::Min => (Code::VEX_Vminps_ymm_ymm_ymmm256, Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae),
            Two::Max => (Code::VEX_Vmaxps_ymm_ymm_ymmm256, Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae),
            Two::And => (Code::VEX_Vpand_ymm_ymm_ymmm256, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32),
            Two::Or => (Code::VEX_Vpor_ymm_ymm_ymmm256, Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32),
            Two::Xor => (Code::VEX_Vpxor_ymm_ymm_ymmm256, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32),
            Two::IntAdd => (Code::VEX_Vpaddd_ymm_ymm_ymmm256, Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
            Two::IntSub => (Code::VEX_Vpsubd_ymm_ymm_ymmm256, Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
            Two::IntMul => (Code::VEX_Vpmulld_ymm_ymm_ymmm256, Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32),
            Two::SignedMin => (Code::VEX_Vpminsd_ymm_ymm_ymmm256, Code::EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32),
            Two::SignedMax => (Code::VEX_Vpmaxsd_ymm_ymm_ymmm256, Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32),
            Two::UnsignedMin => (Code::VEX_Vpminud_ymm_ymm_ymmm256, Code::EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32),
            Two::UnsignedMax => (Code::VEX_Vpmaxud_ymm_ymm_ymmm256, Code::EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32),
        };
        self.pick(ymm, zmm)
    }
}
