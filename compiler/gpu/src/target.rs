//! GPU architectures, and what each can do. Which instructions a kernel uses is decided elsewhere.

use std::fmt;
use std::str::FromStr;

/// A GPU architecture, by its compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Major and minor version: 90 for 9.0.
    sm: u32,
}

impl Target {
    /// Ampere, the oldest that is supported.
    pub const SM_80: Target = Target { sm: 80 };
    /// Hopper with what exists there alone (`sm_90a`).
    pub const SM_90A: Target = Target { sm: 90 };
    /// Blackwell, data centre (`sm_100a`).
    pub const SM_100A: Target = Target { sm: 100 };
    /// Blackwell, workstation (`sm_120a`).
    pub const SM_120A: Target = Target { sm: 120 };

    /// The targets whose code is tested.
    pub const TESTED: &[Target] = &[Self::SM_80, Self::SM_90A, Self::SM_100A, Self::SM_120A];

    /// The target of a device with this compute capability.
    ///
    /// # Errors
    /// If it is older than 8.0.
    pub fn of_capability(major: u32, minor: u32) -> Result<Self, String> {
        let sm = major * 10 + minor;
        if sm < Self::SM_80.sm {
            return Err(format!("compute capability {major}.{minor} is too old; 8.0 is the least"));
        }
        Ok(Self { sm })
    }

    /// The compute capability as one number: 90 for 9.0.
    pub fn capability(self) -> u32 {
        self.sm
    }

    /// Whether there are `wgmma` and `setmaxnreg`: on sm_90a alone.
    pub fn has_wgmma(self) -> bool {
        self.sm == 90
    }

    /// Whether there are bulk tensor copies (TMA) and `mbarrier` transactions.
    pub fn has_tma(self) -> bool {
        self.sm >= 90
    }

    /// Whether `mma.sync` takes f8 operands.
    pub fn has_f8(self) -> bool {
        self.sm >= 89
    }

    /// Whether `mma.sync` multiplies f8 as they are. Elsewhere each use of an operand makes f16 of it.
    pub fn multiplies_f8(self) -> bool {
        self.sm == 89 || self.sm >= 120
    }

    /// The most bytes of shared memory that a block may ask for.
    pub fn shared_bytes(self) -> usize {
        match self.sm {
            80 | 87 => 163 << 10,
            90..=109 => 227 << 10,
            _ => 99 << 10,
        }
    }

    /// The name LLVM and `ptxas` know it by: `sm_90a`.
    pub fn name(self) -> String {
        let suffix = if self.sm >= 90 { "a" } else { "" };
        format!("sm_{}{suffix}", self.sm)
    }

    /// The version of PTX that its code is written in, as LLVM's feature names it.
    pub fn ptx(self) -> &'static str {
        match self.sm {
            // The least that has products of 8-bit floats; a driver of CUDA 12.4 takes it.
            ..100 => "ptx84",
            100..103 => "ptx86",
            120 => "ptx87",
            _ => "ptx88",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("sm_").map(|t| t.trim_end_matches('a'));
        let sm: Option<u32> = digits.and_then(|d| d.parse().ok());
        match sm {
            Some(sm) if (80..=130).contains(&sm) => Ok(Self { sm }),
            Some(sm) if sm < 80 => Err(format!("target `{text}` is too old; sm_80 is the least")),
            _ => Err(format!("no target `{text}`; there are sm_80, sm_86, sm_89, sm_90a, sm_100a and sm_120a")),
        }
    }
}
