//! Bundles: kernels compiled for one kind of GPU on a machine that may have none, kept in one file. A launch finds its code
//! by what its threads do, so a bundle never gives code that does something else. It launches nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use pantile_compiler::{Bindings, BufferKind, Plan, Step};
use pantile_diag::SourceMap;
use pantile_gpu::simt::Program;
use pantile_gpu::{Options, Target, llvm};
use pantile_ir::{Func, Order, OrderBody};
use serde_json::{Value, json};
use sha3::{Digest, Sha3_256};

use crate::cuda::copies::{Form, NAME};
use crate::{Error, Module, Result, cuda, io_words, write_whole};

/// What a bundle starts with.
const MAGIC: &[u8; 8] = b"PANTILEB";

/// The form of what follows; a reader takes its own alone.
const FORM: u64 = 2;

/// A kernel's code in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundled {
    /// The kernel.
    pub kernel: String,
    /// Its parameters, with the dtypes and numbers that it was compiled for.
    pub signature: String,
    /// Which launches it is for: `dense`.
    pub variant: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Its PTX.
    pub ptx: String,
}

/// Kernels compiled for one kind of GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    target: Target,
    /// Whether products of f32 that are added may take tensor cores.
    tf32: bool,
    codes: BTreeMap<String, Bundled>,
}

/// What code is found by: a hash of all that each thread does, and of the target.
pub(crate) fn key(program: &Program, target: Target) -> String {
    let hash = Sha3_256::digest(format!("{}\n{target}\n{program:?}", env!("CARGO_PKG_VERSION")));
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

impl Bundle {
    /// Nothing yet, for a target such as `sm_90a`.
    ///
    /// # Errors
    /// If there is no such target.
    pub fn new(target: &str) -> Result<Self> {
        let target = Target::from_str(target).map_err(Error::Device)?;
        Ok(Self { target, tf32: false, codes: BTreeMap::new() })
    }

    /// Whether what is added from here on is for devices that are [`Device::with_tf32`](crate::Device::with_tf32).
    #[must_use]
    pub fn with_tf32(mut self, tf32: bool) -> Self {
        self.tf32 = tf32;
        self
    }

    /// What it is for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The code in it.
    pub fn codes(&self) -> impl Iterator<Item = &Bundled> {
        self.codes.values()
    }

    /// Compiles a kernel for all launches with these dtypes, constants and constant extents.
    ///
    /// # Errors
    /// If there is no such kernel, it cannot be compiled, or there is no LLVM here.
    pub fn add_kernel(&mut self, module: &Module, kernel: &str, bindings: &Bindings) -> Result<()> {
        let sources = module.sources();
        let func = module.compiled().specialise(kernel, bindings).map_err(|d| Error::source(d, sources))?;
        self.add(&func, sources)
    }

    /// Compiles all kernels that a plan launches, and those of its orders.
    ///
    /// # Errors
    /// As [`Bundle::add_kernel`].
    pub fn add_plan(&mut self, module: &Module, plan: &Plan) -> Result<()> {
        for step in &plan.steps {
            match step {
                Step::Launch { func, .. } => self.add(func, module.sources())?,
                Step::Permute { order, to, axis, .. } => {
                    self.add_order(order, module.sources())?;
                    self.add_gather(&plan.buffers[*to].what, *axis)?;
                }
                Step::Copy { .. } => {}
            }
        }
        Ok(())
    }

    /// The kernel that copies a tensor in another order along an axis.
    fn add_gather(&mut self, what: &BufferKind, axis: usize) -> Result<()> {
        let BufferKind::Tensor { dtype, shape } = what else { return Ok(()) };
        let form = Form::gather(shape.len(), axis);
        let shape = crate::launch::sizes(shape)?;
        let mut bindings = Bindings::default();
        bindings.dtypes.insert("T".into(), crate::tensor::bits(*dtype));
        bindings.ints.extend(form.constants(form.blocks(&shape)).into_iter().map(|(name, n)| (name.to_owned(), n)));
        self.add_kernel(&form.module()?, NAME, &bindings)
    }

    fn add_order(&mut self, order: &Order, sources: &SourceMap) -> Result<()> {
        match &order.fill {
            OrderBody::Kernel(fill) => self.add(fill, sources),
            OrderBody::Table(_) => Ok(()),
        }
    }

    fn add(&mut self, func: &Func, sources: &SourceMap) -> Result<()> {
        func.orders.iter().try_for_each(|order| self.add_order(order, sources))?;
        let kernel = cuda::compile(func, &Options { tf32: self.tf32, ..Options::new(self.target) }, sources)?;
        let limit = |message: String| Error::Limit { kernel: func.name.clone(), message, line: None };
        for variant in kernel.ahead().map_err(|l| limit(l.message))? {
            let program = &variant.program;
            let key = key(program, self.target);
            if self.codes.contains_key(&key) {
                continue;
            }
            let ptx = llvm::ptx(program, self.target, &llvm::Options::default()).map_err(|e| match e {
                llvm::Error::Missing(_) | llvm::Error::Named(..) => Error::Device(e.to_string()),
                llvm::Error::Program(_) | llvm::Error::Refused(..) => limit(e.to_string()),
            })?;
            let (signature, variant) = (signature(func), variant.about.to_owned());
            let (kernel, threads, shared) = (func.name.clone(), program.threads, program.shared);
            self.codes.insert(key, Bundled { kernel, signature, variant, threads, shared, ptx: ptx.text });
        }
        Ok(())
    }

    /// The PTX of a key.
    pub(crate) fn ptx(&self, key: &str) -> Option<&str> {
        self.codes.get(key).map(|code| code.ptx.as_str())
    }

    /// The bytes of its file: what it is, the length of a description in JSON, the description, the texts, and a hash of
    /// all that.
    fn to_bytes(&self) -> Vec<u8> {
        let code = |(key, code): (&String, &Bundled)| {
            let Bundled { kernel, signature, variant, threads, shared, ptx } = code;
            json!({ "key": key, "kernel": kernel, "signature": signature, "variant": variant, "threads": threads, "shared": shared,
                    "bytes": ptx.len() })
        };
        let codes: Vec<Value> = self.codes.iter().map(code).collect();
        let about = json!({ "pantile": env!("CARGO_PKG_VERSION"), "target": self.target.name(), "codes": codes });
        let about = about.to_string();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORM.to_le_bytes());
        bytes.extend((about.len() as u64).to_le_bytes());
        bytes.extend(about.as_bytes());
        self.codes.values().for_each(|code| bytes.extend(code.ptx.as_bytes()));
        let hash = Sha3_256::digest(&bytes);
        bytes.extend(hash);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("is no bundle of Pantile kernels")?;
        let (form, rest) = number(rest).ok_or("ends too early")?;
        if form != FORM {
            return Err(format!(
                "is a bundle of form {form}, and this version of Pantile reads form {FORM}; build it again"
            ));
        }
        let (whole, hash) = bytes.split_last_chunk::<32>().ok_or("ends too early")?;
        if Sha3_256::digest(whole)[..] != hash[..] {
            return Err("is damaged; build it again".into());
        }
        // What has the right hash was written by `to_bytes`; another program may have done so with other ideas.
        let wrong = || "is not described as a bundle is";
        let (length, rest) = number(rest).ok_or_else(wrong)?;
        let length = usize::try_from(length).ok().filter(|n| *n <= rest.len()).ok_or_else(wrong)?;
        let (about, mut texts) = rest.split_at(length);
        let about: Value = serde_json::from_slice(about).map_err(|_| wrong())?;
        let (here, made) = (env!("CARGO_PKG_VERSION"), about["pantile"].as_str().unwrap_or("?"));
        if here != made {
            return Err(format!("was built by Pantile {made}, and this is {here}; build it again"));
        }
        let target = about["target"].as_str().and_then(|t| t.parse().ok()).ok_or_else(wrong)?;
        let mut codes = BTreeMap::new();
        for code in about["codes"].as_array().ok_or_else(wrong)? {
            let bytes = code["bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= texts.len());
            let (text, later) = texts.split_at(bytes.ok_or_else(wrong)?);
            let text_of = |name: &str| code[name].as_str().map(str::to_owned).ok_or_else(wrong);
            let small = |name: &str| code[name].as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong);
            let bundled = Bundled {
                kernel: text_of("kernel")?,
                signature: text_of("signature")?,
                variant: text_of("variant")?,
                threads: small("threads")?,
                shared: small("shared")?,
                ptx: String::from_utf8(text.to_vec()).map_err(|_| wrong())?,
            };
            codes.insert(text_of("key")?, bundled);
            texts = later;
        }
        Ok(Self { target, tf32: false, codes })
    }

    /// Writes it to a file, which is then whole or untouched.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes())
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or was built by another version.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {}", io_words(&e))))?;
        Self::from_bytes(&bytes).map_err(|why| Error::file(path, why))
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// The first line of a function's text.
fn signature(func: &Func) -> String {
    pantile_ir::print(func).lines().next().unwrap_or_default().trim_end_matches('{').trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Bundle, Bundled, FORM, key};
    use pantile_gpu::Target;
    use pantile_gpu::simt::{Builder, Program};

    fn program(threads: u32) -> Program {
        let mut builder = Builder::new("k", threads);
        builder.barrier();
        builder.finish()
    }

    fn bundle() -> Bundle {
        let mut bundle = Bundle::new("sm_90a").unwrap();
        for threads in [32, 64] {
            let [kernel, signature, variant] = ["k", "k(x)", "dense"].map(str::to_owned);
            let ptx = format!("// {threads} äß");
            let key = key(&program(threads), bundle.target);
            bundle.codes.insert(key, Bundled { kernel, signature, variant, threads, shared: 7, ptx });
        }
        bundle
    }

    #[test]
    fn what_is_written_is_read_again_and_found_by_what_threads_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        bundle().write(&path).unwrap();
        let again = Bundle::read(&path).unwrap();
        assert_eq!(again, bundle());
        assert_eq!(again.ptx(&key(&program(64), Target::SM_90A)), Some("// 64 äß"));
        assert_eq!(again.ptx(&key(&program(96), Target::SM_90A)), None);
        assert_eq!(again.ptx(&key(&program(64), Target::SM_80)), None);
    }

    #[test]
    fn damage_anywhere_is_told() {
        let whole = bundle().to_bytes();
        for n in 0..whole.len() {
            let mut broken = whole.clone();
            broken[n] ^= 1;
            assert!(Bundle::from_bytes(&broken).is_err(), "byte {n}");
            assert!(Bundle::from_bytes(&whole[..n]).is_err(), "cut at {n}");
        }
        let mut later = whole;
        later[8] = FORM as u8 + 1;
        assert!(Bundle::from_bytes(&later).unwrap_err().contains("form 3"));
        assert!(Bundle::from_bytes(b"{}").unwrap_err().contains("no bundle"));
    }

    #[test]
    fn targets_have_names() {
        assert!(Bundle::new("sm_70").unwrap_err().to_string().contains("too old"));
        assert!(Bundle::new("gfx90a").unwrap_err().to_string().contains("sm_90a"));
    }
}
