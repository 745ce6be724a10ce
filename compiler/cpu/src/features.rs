//! Which vector instructions the host has that Cranelift does not write. Nothing is emitted here.

use std::fmt;
use std::str::FromStr;

/// Instructions beyond Cranelift's 128-bit vectors. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Features {
    /// None: everything is Cranelift's.
    Baseline,
    /// AVX2 and FMA: 256-bit vectors.
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
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Features::Avx2;
            }
        }
        Features::Baseline
    }
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
