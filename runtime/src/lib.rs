//! Tensors, masks, devices, and the launch of kernels and pipelines. Nothing here knows how code is compiled.

mod argument;
mod balance;
mod buffers;
mod cache;
mod cpu;
mod cuda;
mod device;
mod element;
mod error;
mod executable;
mod gather;
mod interp;
mod kernel;
mod launch;
mod mask;
mod module;
mod pipeline;
mod recent;
mod safetensors;
mod storage;
mod tensor;

pub use argument::{Arg, Args, ToArg};
pub use buffers::Usage;
pub use device::{Backend, Device, Progress, ProgressHook};
pub use element::Element;
pub use error::{Error, Result, SourceError};
pub use kernel::{Constant, Kernel, KernelOn, Outputs};
pub use launch::{Out, Output};
pub use mask::Mask;
pub use module::{Checked, Module};
pub use pantile_compiler::OrderArg;
pub use pantile_cpu::Features as CpuFeatures;
pub use pantile_ir::{DType, Scalar};
pub use pipeline::{Pipeline, PipelineOn, Trace};
pub use safetensors::{TensorFile, can_write, write_tensors, write_whole};
pub use tensor::Tensor;
