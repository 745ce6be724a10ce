//! Floats below 32 bits, to and from f32 as the hardware converts them. Arithmetic on them is done in f32, not here.

use crate::simt::Small;
use half::{bf16, f16};

/// Exponent bits, mantissa bits, greatest finite value.
fn byte_format(small: Small) -> (u32, u32, f32) {
    match small {
        Small::F8E4M3 => (4, 3, 448.0),
        Small::F8E5M2 => (5, 2, 57344.0),
        Small::F16 | Small::BF16 => (0, 0, 0.0),
    }
}

/// The value of the low 8 or 16 bits.
pub(super) fn widen(small: Small, bits: u32) -> f32 {
    match small {
        Small::F16 => f16::from_bits(bits as u16).to_f32(),
        Small::BF16 => bf16::from_bits(bits as u16).to_f32(),
        Small::F8E4M3 if bits & 0x7f == 0x7f => f32::NAN,
        // The upper byte of a half.
        Small::F8E5M2 => f16::from_bits((bits as u16) << 8).to_f32(),
        Small::F8E4M3 => {
            let exponent = bits >> 3 & 15;
            let mantissa = (bits & 7) as f32;
            let size = if exponent == 0 {
                mantissa / 512.0
            } else {
                (1.0 + mantissa / 8.0) * f32::from_bits((exponent + 120) << 23)
            };
            if bits & 0x80 == 0 { size } else { -size }
        }
    }
}

/// The nearest small float, ties to even. 16 bits overflow to infinity, 8 bits to the greatest finite.
pub(super) fn narrow(small: Small, x: f32) -> u32 {
    match small {
        Small::F16 => u32::from(f16::from_f32(x).to_bits()),
        Small::BF16 => u32::from(bf16::from_f32(x).to_bits()),
        Small::F8E4M3 | Small::F8E5M2 => narrow_byte(small, x),
    }
}

fn narrow_byte(small: Small, x: f32) -> u32 {
    let (exponent_bits, mantissa_bits, greatest) = byte_format(small);
    if x.is_nan() {
        return 0x7f;
    }
    let sign = x.to_bits() >> 31 << 7;
    let size = x.abs().min(greatest);
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let exponent = ((size.to_bits() >> 23) as i32 - 127).max(1 - bias);
    let step = f32::from_bits(((exponent - mantissa_bits as i32 + 127) as u32) << 23);
    let units = (size / step).round_ties_even() as u32;
    // Units of a normal number contain the implied one, and may round up into the next binade: both carry into the exponent.
    sign | ((((exponent + bias - 1) as u32) << mantissa_bits) + units)
}

/// The bits of the nearest tf32, which has 10 bits of fraction in the upper ones; ties away from zero.
pub(super) fn tf32(x: f32) -> u32 {
    let bits = x.to_bits();
    // Half a step carries into the exponent, up to infinity.
    if x.is_nan() { 0x7fff_ffff } else { (bits + 0x1000) & 0xffff_e000 }
}

#[cfg(test)]
mod tests {
    use super::{narrow, tf32, widen};
    use crate::simt::Small;

    fn values(small: Small) -> Vec<(u32, f32)> {
        let all = (0..128).map(|bits| (bits, widen(small, bits)));
        all.filter(|(_, x)| x.is_finite()).collect()
    }

    #[test]
    fn bytes_are_what_their_fields_say() {
        for (bits, x) in [(0x38, 1.0), (0x7e, 448.0), (0x01, 1.0 / 512.0), (0x08, 1.0 / 64.0), (0xb8, -1.0)] {
            assert_eq!(widen(Small::F8E4M3, bits), x);
        }
        for (bits, x) in [(0x3c, 1.0), (0x7b, 57344.0), (0x01, 1.0 / 65536.0), (0x7c, f32::INFINITY), (0xbc, -1.0)] {
            assert_eq!(widen(Small::F8E5M2, bits), x);
        }
        assert!(widen(Small::F8E4M3, 0xff).is_nan() && widen(Small::F8E5M2, 0x7d).is_nan());
    }

    #[test]
    fn tf32_rounds_to_the_nearest_ties_away() {
        let step = f32::EPSILON * 8192.0;
        for (x, want) in [
            (1.0, 1.0),
            (1.0 + step, 1.0 + step),
            (1.0 + step * 0.499, 1.0),
            (-1.0 - step * 0.5, -1.0 - step),
            (1.0 + step * 1.5, 1.0 + step * 2.0),
            (2.0 - step * 0.25, 2.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(f32::from_bits(tf32(x)), want, "{x}");
        }
        assert!(f32::from_bits(tf32(f32::NAN)).is_nan() && f32::from_bits(tf32(-f32::NAN)).is_nan());
    }

    #[test]
    fn bytes_round_to_the_nearest_ties_to_even_and_saturate() {
        for small in [Small::F8E4M3, Small::F8E5M2] {
            let all = values(small);
            for pair in all.windows(2) {
                let ((a, x), (b, y)) = (pair[0], pair[1]);
                assert!(x < y);
                let middle = (x + y) / 2.0;
                let even = if a % 2 == 0 { a } else { b };
                let (below, above) = (middle - (y - x) / 16.0, middle + (y - x) / 16.0);
                for (value, bits) in [(x, a), (below, a), (middle, even), (above, b), (y, b)] {
                    assert_eq!(narrow(small, value), bits, "{small:?} {value}");
                    assert_eq!(narrow(small, -value), bits | 0x80, "{small:?} -{value}");
                }
            }
            let (last, greatest) = all[all.len() - 1];
            for big in [greatest * 1.01, 1e9, f32::INFINITY] {
                assert_eq!((narrow(small, big), narrow(small, -big)), (last, last | 0x80));
            }
            assert!(widen(small, narrow(small, f32::NAN)).is_nan());
            assert_eq!(narrow(small, 1e-30), 0);
        }
    }
}
