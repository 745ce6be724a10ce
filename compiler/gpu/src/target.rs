//! GPU architectures, and what each can do. Which instructions a kernel uses is decided elsewhere.

use std::fmt;
use std::str::FromStr;

/// A GPU architecture, by its compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Major and minor version: 90 for 9.0.
    sm: u32,
}

/// The architectures that there are, oldest first; [`Target::NAMES`] lists them too.
const KNOWN: [u32; 10] = [80, 86, 87, 89, 90, 100, 103, 110, 120, 121];

/// Of these, those whose code runs on whatever is later.
const PORTABLE: [u32; 3] = [89, 86, 80];

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

    /// The names of all targets.
    pub const NAMES: &str = "sm_80|sm_86|sm_87|sm_89|sm_90a|sm_100a|sm_103a|sm_110a|sm_120a|sm_121a";

    /// All targets, oldest first.
    pub fn all() -> impl Iterator<Item = Target> {
        KNOWN.iter().map(|sm| Target { sm: *sm })
    }

    /// The target of a device with this compute capability; of one that is not known the nearest whose code runs there.
    ///
    /// # Errors
    /// If it is older than 8.0.
    pub fn of_capability(major: u32, minor: u32) -> Result<Self, String> {
        let sm = major * 10 + minor;
        let portable = || PORTABLE.iter().find(|known| **known <= sm);
        match KNOWN.iter().find(|known| **known == sm).or_else(portable) {
            Some(sm) => Ok(Self { sm: *sm }),
            None => Err(format!("compute capability {major}.{minor} is too old; 8.0 is the least")),
        }
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
            90..120 => 227 << 10,
            _ => 99 << 10,
        }
    }

    /// The name LLVM and `ptxas` know it by: `sm_90a`.
    pub fn name(self) -> String {
        let suffix = if self.sm >= 90 { "a" } else { "" };
        format!("sm_{}{suffix}", self.sm)
    }

    /// The version of PTX that its code is written in, as LLVM's feature names it, and the CUDA version whose drivers are
    /// the first to take it, as they count: 12040 is 12.4.
    fn versions(self) -> (&'static str, i32) {
        match self.sm {
            // The least that has products of 8-bit floats.
            ..100 => ("ptx84", 12_040),
            100 => ("ptx86", 12_070),
            120 => ("ptx87", 12_080),
            110 => ("ptx90", 13_000),
            _ => ("ptx88", 12_090),
        }
    }

    /// The version of PTX that its code is written in, as LLVM's feature names it.
    pub fn ptx(self) -> &'static str {
        self.versions().0
    }

    /// The oldest CUDA version whose drivers take its code: 12040 is 12.4.
    pub fn least_cuda(self) -> i32 {
        self.versions().1
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
        if let Some(target) = Self::all().find(|target| target.name() == text) {
            return Ok(target);
        }
        let number: Option<u32> = text.strip_prefix("sm_").and_then(|t| t.trim_end_matches('a').parse().ok());
        let meant = Self::all().find(|target| Some(target.sm) == number);
        Err(match (meant, number) {
            (Some(meant), _) if meant.name().ends_with('a') => {
                format!("no target `{text}`: code is made with what that generation alone has, which is `{meant}`")
            }
            (Some(meant), _) => format!("no target `{text}`; `{meant}` is meant"),
            (None, Some(sm)) if sm < Self::SM_80.sm => {
                format!("target `{text}` is too old; `{}` is the least", Self::SM_80)
            }
            (None, _) => format!("no target `{text}`; there are {}", Self::NAMES.replace('|', ", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn the_names_are_those_of_all_targets() {
        let names: Vec<String> = Target::all().map(Target::name).collect();
        assert_eq!(names.join("|"), Target::NAMES);
        assert!(Target::all().all(|target| target.name().parse() == Ok(target)));
        assert!(Target::TESTED.iter().all(|tested| Target::all().any(|target| target == *tested)));
    }

    #[test]
    fn what_is_no_target_is_told_what_is_meant() {
        for (text, words) in [
            ("sm_70", "too old; `sm_80` is the least"),
            ("sm_90", "which is `sm_90a`"),
            ("sm_120", "which is `sm_120a`"),
            ("sm_86a", "`sm_86` is meant"),
            ("sm_95", "there are sm_80, sm_86"),
            ("sm_95a", "there are sm_80, sm_86"),
            ("gfx90a", "there are sm_80, sm_86"),
            ("", "there are sm_80, sm_86"),
        ] {
            let why = text.parse::<Target>().unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn devices_that_are_not_known_run_the_code_of_older_ones() {
        let of = |major, minor| Target::of_capability(major, minor).map(Target::name);
        assert_eq!(of(9, 0).as_deref(), Ok("sm_90a"));
        assert_eq!((of(8, 8).as_deref(), of(13, 0).as_deref()), (Ok("sm_86"), Ok("sm_89")));
        assert!(of(7, 5).unwrap_err().contains("7.5 is too old"));
    }
}
