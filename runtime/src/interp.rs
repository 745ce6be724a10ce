//! Execution by the reference interpreter: tensors become its arrays and outputs are copied back. It is slow and exact.

use std::io::Write;

use pantile_diag::SourceMap;
use pantile_interp::{Arg, Array, Hooks, MaskArray, Options, run_with};

use crate::device::Progress;
use crate::executable::{Executable, line};
use crate::launch::{Call, Operand, grid_sizes};
use crate::{Device, Error, Mask, Result, Tensor};

/// Runs all instances of the calls of a launch, one call after another.
pub(crate) fn run(executable: &Executable, device: &Device, calls: &mut [Call<'_>], sources: &SourceMap) -> Result<()> {
    let func = &executable.func;
    let cells = |call: &Call<'_>| Ok(grid_sizes(func, call.extents)?.iter().product::<u64>());
    let cells = calls.iter().map(cells).collect::<Result<Vec<u64>>>()?;
    let orders: Vec<Vec<i32>> = executable.orders.iter().map(|o| o.to_vec()).collect();
    let options = Options { checks: device.checks, races: false };
    let print = |text: &str| drop(writeln!(std::io::stdout(), "{text}"));
    let all: u64 = cells.iter().sum();
    let mut before = 0;
    for (call, cells) in calls.iter_mut().zip(cells) {
        let mut args: Vec<Arg> = call.operands.iter().map(argument).collect::<Result<_>>()?;
        let progress = |done, _| {
            if let Some(hook) = &device.progress {
                hook(Progress { kernel: &func.name, done: before + done, total: all });
            }
        };
        let hooks = Hooks { print: Some(&print), progress: Some(&progress), ..Hooks::default() };
        run_with(func, call.extents, &orders, &mut args, options, hooks).map_err(|fault| Error::Fault {
            kernel: func.name.clone(),
            instance: fault.instance,
            message: fault.message,
            line: line(sources, fault.span),
        })?;
        call.operands.iter_mut().zip(&args).try_for_each(|(operand, arg)| store(operand, arg))?;
        before += cells;
    }
    Ok(())
}

fn argument(operand: &Operand<'_>) -> Result<Arg> {
    match operand {
        Operand::Scalar(_, value) => Ok(Arg::Scalar(*value)),
        Operand::In(tensor) => array(tensor),
        Operand::Out(tensor) => array(tensor),
        Operand::Mask(mask) => Ok(mask_array(mask)),
        Operand::MaskOut(mask) => Ok(mask_array(mask)),
    }
}

fn array(tensor: &Tensor) -> Result<Arg> {
    let array = Array::from_bytes(tensor.dtype(), tensor.shape(), &tensor.to_bytes()?);
    array.map(Arg::Tensor).ok_or_else(|| Error::Tensor("a tensor's bytes do not fit its shape".into()))
}

fn mask_array(mask: &Mask) -> Arg {
    Arg::Mask(MaskArray { shape: mask.shape().to_vec(), bits: mask.to_bools() })
}

fn store(operand: &mut Operand<'_>, arg: &Arg) -> Result<()> {
    match (operand, arg) {
        (Operand::Out(tensor), Arg::Tensor(array)) => tensor.fill_from(&array.to_bytes()),
        (Operand::MaskOut(mask), Arg::Mask(array)) => mask.fill(&array.bits),
        (
            Operand::Scalar(..) | Operand::In(_) | Operand::Out(_) | Operand::Mask(_) | Operand::MaskOut(_),
            Arg::Scalar(_) | Arg::Tensor(_) | Arg::Mask(_),
        ) => Ok(()),
    }
}
