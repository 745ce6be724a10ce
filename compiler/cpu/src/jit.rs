//! Machine code in memory: sets Cranelift up, defines functions and pieces that several calls share, and calls what was
//! built. It knows nothing of Tile IR.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, FuncRef, Function, Signature, Type, UserFuncName};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetFrontendConfig};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError};

use crate::{Emit, Features, Limit};

/// A module that is being filled with functions.
pub struct Jit {
    module: JITModule,
    features: Features,
    pieces: HashMap<String, FuncId>,
    clif: Option<String>,
    bytes: usize,
    #[cfg(test)]
    functions: Vec<(String, Vec<u8>)>,
    spent: Duration,
}

impl Jit {
    /// An empty module for the machine that runs this. `keep_clif` keeps the text of each function.
    ///
    /// # Errors
    /// If Cranelift does not know the machine, or it lacks the features.
    pub fn new(keep_clif: bool, features: Features) -> Result<Self, Limit> {
        if features > Features::host() {
            return Err(Limit::new(format!("this machine has no {features}; it has {}", Features::host())));
        }
        let isa = host_isa().map_err(|why| Limit::new(format!("this machine cannot run compiled code: {why}")))?;
        let builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
        Ok(Self {
            module: JITModule::new(builder),
            features,
            pieces: HashMap::new(),
            clif: keep_clif.then(String::new),
            bytes: 0,
            #[cfg(test)]
            functions: Vec::new(),
            spent: Duration::ZERO,
        })
    }

    /// The instructions that pieces may use beyond Cranelift's.
    pub fn features(&self) -> Features {
        self.features
    }

    /// A signature in the calling convention of the machine.
    pub fn signature(&self, params: &[Type], returns: &[Type]) -> Signature {
        signature(self.module.isa().default_call_conv(), params, returns)
    }

    /// What [`Emit::finish`] asks for.
    pub fn frontend_config(&self) -> TargetFrontendConfig {
        self.module.isa().frontend_config()
    }

    /// Time spent in Cranelift itself.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// The function called `name`, built by `build` at its first request: calls share it.
    ///
    /// # Errors
    /// What Cranelift refuses.
    pub fn piece(
        &mut self,
        name: &str,
        signature: Signature,
        build: impl FnOnce(&mut Emit<'_>),
    ) -> Result<FuncId, Limit> {
        if let Some(id) = self.pieces.get(name) {
            return Ok(*id);
        }
        let mut context = FunctionBuilderContext::new();
        let mut func = Function::with_name_signature(UserFuncName::default(), signature);
        let mut emit = Emit::new(&mut func, &mut context);
        build(&mut emit);
        emit.finish(self.frontend_config());
        let id = self.define(name, func)?;
        self.pieces.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The function called `name`, written by `code` as bytes at its first request: position-independent, calling nothing.
    ///
    /// # Errors
    /// What `code` or Cranelift refuses.
    pub fn assembled(
        &mut self,
        name: &str,
        signature: Signature,
        code: impl FnOnce() -> Result<Vec<u8>, Limit>,
    ) -> Result<FuncId, Limit> {
        if let Some(id) = self.pieces.get(name) {
            return Ok(*id);
        }
        let started = Instant::now();
        let id = self.declare(name, &signature)?;
        let bytes = code()?;
        self.module.define_function_bytes(id, 64, &bytes, &[]).map_err(|why| refused(name, &why))?;
        if let Some(text) = &mut self.clif {
            text.push_str(&format!("; {name}: {} bytes of {} code, not Cranelift's\n\n", bytes.len(), self.features));
        }
        self.bytes += bytes.len();
        #[cfg(test)]
        self.functions.push((name.to_owned(), bytes));
        self.pieces.insert(name.to_owned(), id);
        self.spent += started.elapsed();
        Ok(id)
    }

    fn declare(&mut self, name: &str, signature: &Signature) -> Result<FuncId, Limit> {
        self.module.declare_function(name, Linkage::Export, signature).map_err(|why| refused(name, &why))
    }

    /// A piece as something that `emit`'s function can call.
    pub fn reference(&mut self, id: FuncId, emit: &mut Emit<'_>) -> FuncRef {
        self.module.declare_func_in_func(id, emit.b.func)
    }

    /// Compiles a finished function.
    ///
    /// # Errors
    /// What Cranelift refuses: a function too large, or a bug of the back end.
    pub fn define(&mut self, name: &str, func: Function) -> Result<FuncId, Limit> {
        let started = Instant::now();
        if let Some(text) = &mut self.clif {
            text.push_str(&format!("; {name}\n{}\n", func.display()));
        }
        let id = self.declare(name, &func.signature)?;
        let mut context = Context::for_function(func);
        self.module
            .define_function_with_control_plane(id, &mut context, &mut ControlPlane::default())
            .map_err(|why| refused(name, &why))?;
        if let Some(code) = context.compiled_code() {
            self.bytes += code.code_buffer().len();
            #[cfg(test)]
            self.functions.push((name.to_owned(), code.code_buffer().to_vec()));
        }
        self.spent += started.elapsed();
        Ok(id)
    }

    /// Makes everything callable.
    ///
    /// # Errors
    /// If the system grants no executable memory.
    pub fn finish(mut self) -> Result<Code, Limit> {
        self.module
            .finalize_definitions()
            .map_err(|why| Limit::new(format!("no executable memory for the kernel: {why:?}")))?;
        Ok(Code {
            bytes: self.bytes,
            clif: self.clif,
            #[cfg(test)]
            functions: self.functions,
            module: Some(Mutex::new(self.module)),
        })
    }
}

/// Finished machine code; freed when dropped.
pub struct Code {
    /// Size of all functions.
    pub bytes: usize,
    /// The text of all functions, if it was kept.
    pub clif: Option<String>,
    /// Name and machine code of each function, before calls in it know where they lead.
    #[cfg(test)]
    pub(crate) functions: Vec<(String, Vec<u8>)>,
    module: Option<Mutex<JITModule>>,
}

impl Code {
    /// Where a function starts. Valid as long as `self` lives.
    pub fn address(&self, id: FuncId) -> usize {
        let module = self.module.as_ref().map(|m| m.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        module.map_or(0, |m| m.get_finalized_function(id) as usize)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            let module = module.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            // SAFETY: addresses leave a `Code` only through `Entry`, which holds it alive.
            #[allow(unsafe_code, reason = "the memory of the code is freed by hand in Cranelift")]
            unsafe {
                module.free_memory();
            }
        }
    }
}

/// A compiled kernel's entry: `(words, arena, first cell, cells) -> 0 or fault site + 1`.
pub struct Entry {
    address: usize,
    code: Code,
}

impl Entry {
    /// The function `id` of `code`, which has the signature that an entry has.
    pub fn new(code: Code, id: FuncId) -> Self {
        Self { address: code.address(id), code }
    }

    /// The code it is part of.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Runs it.
    ///
    /// # Safety
    /// `words` and `arena` are what the function was compiled for, and all memory they point to is live and not used
    /// by others in conflict with what the function does.
    #[allow(unsafe_code, reason = "machine code is called through its address")]
    pub unsafe fn call(&self, words: *const u64, arena: *mut u8, first: u64, cells: u64) -> u64 {
        // SAFETY: the address is a finished function of `self.code`, compiled with this very signature.
        unsafe {
            let f: extern "C" fn(*const u64, *mut u8, u64, u64) -> u64 = std::mem::transmute(self.address);
            f(words, arena, first, cells)
        }
    }
}

fn refused(name: &str, why: &ModuleError) -> Limit {
    Limit::new(format!("Cranelift refuses `{name}`: {why:?}"))
}

/// A signature from its types.
pub fn signature(convention: CallConv, params: &[Type], returns: &[Type]) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    signature.returns.extend(returns.iter().map(|t| AbiParam::new(*t)));
    signature
}

/// Flags as measured: the mid-end moves code and makes it spill, so code is emitted in its final order.
fn host_isa() -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let checked = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", "none"),
        ("enable_verifier", checked),
        ("enable_probestack", "false"),
        ("is_pic", "false"),
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(|why| why.to_string())?;
    }
    let isa = cranelift_native::builder().map_err(str::to_owned)?;
    isa.finish(settings::Flags::new(flags)).map_err(|why| why.to_string())
}
