//! Arguments and results of `pantile run` as text: numbers, tensors in files, masks. Whether they fit a kernel is the
//! runtime's business.

use std::path::Path;

use pantile::{Arg, DType, Mask, OrderArg, Output, Scalar, Tensor, TensorFile};

use crate::failure::{Failure, input};

/// An argument that owns what it holds.
pub(crate) enum Owned {
    Tensor(Tensor),
    Mask(Mask),
    Scalar(Scalar),
    Order(OrderArg),
}

impl Owned {
    pub(crate) fn as_arg(&self) -> Arg<'_> {
        match self {
            Owned::Tensor(tensor) => Arg::Tensor(tensor),
            Owned::Mask(mask) => Arg::Mask(mask),
            Owned::Scalar(value) => Arg::Scalar(*value),
            Owned::Order(order) => Arg::Order(order),
        }
    }
}

/// `3`, `0.5`, `true`, or `file.safetensors:name`. A tensor of bools or bytes becomes a mask where one `is_mask`.
pub(crate) fn parse(name: &str, text: &str, is_mask: bool) -> Result<Owned, Failure> {
    if let Some(value) = scalar(text) {
        return Ok(Owned::Scalar(value));
    }
    let Some((file, tensor)) = text.rsplit_once(':') else {
        return input(format!(
            "argument `{name}`: `{text}` is neither a number nor a bool; a tensor of a file is `FILE.safetensors:TENSOR`"
        ));
    };
    let wrong = |e: pantile::Error| Failure::Input(format!("argument `{name}`: {e}"));
    let tensor = TensorFile::open(Path::new(file)).and_then(|f| f.tensor(tensor)).map_err(wrong)?;
    if !is_mask {
        return Ok(Owned::Tensor(tensor));
    }
    let keep: Vec<bool> = match tensor.dtype() {
        DType::U8 => tensor.to_vec::<u8>().map_err(wrong)?.into_iter().map(|b| b != 0).collect(),
        DType::Bool => tensor.to_vec().map_err(wrong)?,
        DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::F16
        | DType::BF16
        | DType::F32
        | DType::F64
        | DType::F8E4M3
        | DType::F8E5M2 => {
            return input(format!("argument `{name}`: a mask is given as u8 or bool, not {}", tensor.dtype()));
        }
    };
    Mask::from_bools(tensor.shape(), &keep).map(Owned::Mask).map_err(wrong)
}

/// A number or bool.
pub(crate) fn scalar(text: &str) -> Option<Scalar> {
    match text {
        "true" => Some(Scalar::Bool(true)),
        "false" => Some(Scalar::Bool(false)),
        _ => {
            let int = || text.parse::<i64>().ok().map(Scalar::Int);
            int().or_else(|| text.parse::<f64>().ok().map(Scalar::Float))
        }
    }
}

/// A result as a tensor: a mask's bits.
pub(crate) fn as_tensor(output: &Output) -> &Tensor {
    match output {
        Output::Tensor(tensor) => tensor,
        Output::Mask(mask) => mask.bits(),
    }
}

/// One line about a result.
pub(crate) fn describe(name: &str, output: &Output) -> Result<String, Failure> {
    match output {
        Output::Mask(mask) => {
            let percent = 100.0 * mask.density();
            Ok(format!(
                "{name}: mask{:?}, {} of {} blocks kept ({percent:.1} %)",
                mask.shape(),
                mask.kept(),
                mask.bits().len()
            ))
        }
        Output::Tensor(tensor) => {
            let values = tensor.to_f32()?;
            let shown: Vec<String> = values.iter().take(6).map(f32::to_string).collect();
            let more = if values.len() > shown.len() { ", …" } else { "" };
            let shown = if shown.is_empty() { "nothing".into() } else { shown.join(", ") };
            Ok(format!("{name}: {}{:?} = {shown}{more}", tensor.dtype(), tensor.shape()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scalar;
    use pantile::Scalar;

    #[test]
    fn numbers_are_told_from_files() {
        assert_eq!(scalar("3"), Some(Scalar::Int(3)));
        assert_eq!(scalar("-2.5e-1"), Some(Scalar::Float(-0.25)));
        assert_eq!(scalar("true"), Some(Scalar::Bool(true)));
        assert_eq!(scalar("x.safetensors:q"), None);
    }
}
