//! Which vector instructions the host has that Cranelift does not write, and how large its cache is. Nothing is emitted
//! here.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Instructions beyond Cranelift's 128-bit vectors. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Features {
    /// None: everything is Cranelift's.
    Baseline,
    /// AVX2, FMA and F16C: 256-bit vectors.
    Avx2,
    /// AVX-512F: 512-bit vectors.
    Avx512,
}

impl Features {
    /// All, fewest first.
    pub const ALL: &[Features] = &[Features::Baseline, Features::Avx2, Features::Avx512];

    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Features::Baseline => "baseline",
            Features::Avx2 => "avx2",
            Features::Avx512 => "avx512",
        }
    }

    /// The most that this machine has and the wide emitter can use.
    pub fn host() -> Features {
        #[cfg(all(target_arch = "x86_64", unix))]
        {
            if is_x86_feature_detected!("avx512f") {
                return Features::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
                return Features::Avx2;
            }
        }
        Features::Baseline
    }
}

/// The bytes of the largest cache, as the processor tells it; where it does not, what is usual.
pub fn last_cache() -> i64 {
    static BYTES: OnceLock<i64> = OnceLock::new();
    const USUAL: i64 = 32 << 20;
    *BYTES.get_or_init(|| told_cache().unwrap_or(USUAL))
}

#[cfg(target_arch = "x86_64")]
fn told_cache() -> Option<i64> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // Intel's leaf of caches, and AMD's.
    let leaf = if __cpuid(0).eax >= 4 && __cpuid_count(4, 0).eax & 31 != 0 { 4 } else { 0x8000_001d };
    if leaf != 4 && __cpuid(0x8000_0000).eax < leaf {
        return None;
    }
    let size = |n: u32| {
        let told = __cpuid_count(leaf, n);
        let of = |shift: u32, bits: u32| i64::from((told.ebx >> shift) & ((1 << bits) - 1)) + 1;
        (told.eax & 31 != 0).then(|| of(22, 10) * of(12, 10) * of(0, 12) * (i64::from(told.ecx) + 1))
    };
    (0..16).map_while(size).max()
}

#[cfg(not(target_arch = "x86_64"))]
fn told_cache() -> Option<i64> {
    None
}

impl Default for Features {
    fn default() -> Self {
        Features::host()
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Features {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Features::ALL.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
        let found = Features::ALL.iter().copied().find(|f| f.name() == text);
        found.ok_or_else(|| format!("`{text}` names no CPU features; there are {}", known()))
    }
}
