//! Values of options that several subcommands take. What they mean is each subcommand's business.

use std::num::IntErrorKind;
use std::str::FromStr;

use pantile::DType;

/// `name=value`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self { name: name.trim().into(), value: value.trim().into() })
            }
            Some(_) | None => Err(format!("`{text}` is not of the form name=value")),
        }
    }
}

/// `F,Y,X`, or several with `+` between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grids(pub(crate) Vec<[usize; 3]>);

impl FromStr for Grids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let numbers: Option<Vec<usize>> = part.split(',').map(|n| n.trim().parse().ok()).collect();
            let grid = numbers.and_then(|n| <[usize; 3]>::try_from(n).ok());
            grid.ok_or_else(|| format!("`{part}` is not of the form F,Y,X: three whole numbers"))
        };
        text.split('+').map(one).collect::<Result<_, _>>().map(Self)
    }
}

/// `0.8`, or several with commas between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers(pub(crate) Vec<f64>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(number).collect::<Result<_, _>>().map(Self)
    }
}

/// `N=4096,D=128`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extents(pub(crate) Vec<(String, i64)>);

impl FromStr for Extents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let named: Named = part.parse()?;
            match named.value.parse::<i64>() {
                Ok(size) if size >= 0 => Ok((named.name, size)),
                Ok(_) | Err(_) => Err(format!("`{}` is not a size", named.value)),
            }
        };
        text.split(',').map(one).collect::<Result<_, String>>().map(Self)
    }
}

/// A whole number of something.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|e: std::num::ParseIntError| {
        let large = *e.kind() == IntErrorKind::PosOverflow;
        format!("`{text}` is {}", if large { "too large" } else { "not a whole number, 0 or more" })
    })
}

/// A number, also a NaN or an infinite one: what takes it says whether that will do.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is not a number such as 0.8"))
}

/// A dtype by its name.
pub(crate) fn dtype(text: &str) -> Result<DType, String> {
    let known = || DType::ALL.iter().map(|d| d.name()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|()| format!("no dtype `{text}`; there are {}", known()))
}

/// The dtype that an operand of attention is computed in.
pub(crate) fn operand_dtype(text: &str) -> Result<DType, String> {
    match text.parse() {
        Ok(dtype @ (DType::F32 | DType::F16 | DType::BF16)) => Ok(dtype),
        Ok(_) | Err(()) => Err(format!("`{text}` is not one of f32, f16, bf16")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Extents, Grids, Named, Numbers, count, number, operand_dtype};

    #[test]
    fn extents_are_names_and_sizes() {
        assert_eq!("N=3,D=64".parse(), Ok(Extents(vec![("N".into(), 3), ("D".into(), 64)])));
        assert!("N=3,D".parse::<Extents>().is_err() && "N=-3".parse::<Extents>().is_err());
    }

    #[test]
    fn numbers_are_told_from_words() {
        assert_eq!((count("12"), number(" -0.5")), (Ok(12), Ok(-0.5)));
        assert!(count("99999999999999999999999").is_err_and(|e| e.contains("too large")));
        for wrong in ["", "-1", "1.5", "x"] {
            assert!(count(wrong).is_err_and(|e| e.contains("whole number")), "{wrong}");
        }
        assert!(number::<f32>("x").is_err_and(|e| e.contains("not a number")));
    }

    #[test]
    fn operands_are_floats_that_are_listed() {
        assert!(operand_dtype("bf16").is_ok());
        for wrong in ["f64", "int", ""] {
            assert!(operand_dtype(wrong).is_err_and(|e| e.ends_with("is not one of f32, f16, bf16")), "{wrong}");
        }
    }

    #[test]
    fn grids_are_three_numbers_each() {
        assert_eq!("13,15, 26".parse(), Ok(Grids(vec![[13, 15, 26]])));
        assert_eq!("13,15,26 + 1,2,3".parse(), Ok(Grids(vec![[13, 15, 26], [1, 2, 3]])));
        for wrong in ["", "1,2", "1,2,3,4", "a,b,c", "1,-2,3", "1,2,99999999999999999999999", "1,2,3+", "1,2,3+4"] {
            assert!(wrong.parse::<Grids>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_stand_between_commas() {
        assert_eq!("0.8".parse(), Ok(Numbers(vec![0.8])));
        assert_eq!("0.5, .9".parse(), Ok(Numbers(vec![0.5, 0.9])));
        for wrong in ["", "0.5,", "most"] {
            assert!(wrong.parse::<Numbers>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_have_values() {
        assert_eq!("q=x.st:q".parse(), Ok(Named { name: "q".into(), value: "x.st:q".into() }));
        assert!("q".parse::<Named>().is_err() && "=3".parse::<Named>().is_err() && "q=".parse::<Named>().is_err());
    }
}
