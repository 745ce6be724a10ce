//! LLVM as a shared library opened at run time: IR text in, PTX out. It is opened once; each call has a context of its
//! own, so calls from many threads do not meet. What the text says is the printer's business.
#![allow(unsafe_code, reason = "LLVM's C API is called here and nowhere else")]

use std::ffi::{CStr, CString, c_int};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::api::{Api, Ref, Text};
use super::find;
use crate::Target;

/// The version whose API and text this speaks.
const MAJOR: u32 = 22;
const TRIPLE: &CStr = c"nvptx64-nvidia-cuda";

/// Why there is no PTX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The program is not well formed, or is not for the target; a bug of who built it.
    Program(String),
    /// No library serves: what was tried, and why it does not.
    Missing(Vec<(PathBuf, String)>),
    /// The library that the user names does not serve; no other is taken in its place.
    Named(PathBuf, String),
    /// LLVM does not take the text: a bug here. The step, and LLVM's words.
    Refused(&'static str, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Program(what) => write!(f, "the GPU program is malformed, which is a bug: {what}"),
            Error::Refused(step, what) => write!(f, "LLVM refuses the GPU program at `{step}`, which is a bug: {what}"),
            Error::Named(path, why) => write!(
                f,
                "{} names {}, which does not serve: {why}; name the shared library of an LLVM {MAJOR}, or unset it to \
                 have one looked for",
                find::VARIABLE,
                path.display()
            ),
            Error::Missing(tried) => {
                let variable = find::VARIABLE;
                write!(f, "code for GPUs needs LLVM {MAJOR} as a shared library, and none serves; ")?;
                write!(
                    f,
                    "install libllvm{MAJOR}, or Rust 1.95 (which brings it), or set {variable} to its path. Tried:"
                )?;
                tried.iter().try_for_each(|(path, why)| write!(f, "\n  {}: {why}", path.display()))
            }
        }
    }
}

impl std::error::Error for Error {}

/// How code is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which passes run before instructions are selected, as `opt -passes=` takes them; empty for none.
    pub passes: String,
}

/// Simplifies line by line, shares what is computed twice, takes what is constant out of loops. `-O2` does the same and moves
/// more: tiles fill the registers, so what it moves is spilled.
const PASSES: &str = "function(instcombine<no-verify-fixpoint>,early-cse,simplifycfg,loop-mssa(licm),\
                      instcombine<no-verify-fixpoint>,early-cse)";

impl Default for Options {
    fn default() -> Self {
        Self { passes: PASSES.into() }
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Ptx {
    /// PTX.
    pub text: String,
    /// What it took.
    pub times: Times,
}

/// The time of each part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Reading and checking the text.
    pub parse: Duration,
    /// The passes.
    pub passes: Duration,
    /// Selecting instructions and writing PTX.
    pub emit: Duration,
}

/// An open LLVM.
pub struct Library {
    api: Api,
    path: PathBuf,
    version: (u32, u32, u32),
}

/// LLVM, opened at the first call.
///
/// # Errors
/// [`Error::Missing`] if no library serves, [`Error::Named`] if the one that `PANTILE_LLVM` names does not.
pub fn library() -> Result<&'static Library, Error> {
    static LIBRARY: OnceLock<Result<Library, Error>> = OnceLock::new();
    let open = || match find::named() {
        Some(path) => named(path),
        None => first(find::candidates()),
    };
    LIBRARY.get_or_init(open).as_ref().map_err(Clone::clone)
}

/// The library that the user names.
pub(super) fn named(path: PathBuf) -> Result<Library, Error> {
    Library::open(&path).map_err(|why| Error::Named(path, why))
}

/// The first of some libraries that serves.
pub(super) fn first(candidates: Vec<PathBuf>) -> Result<Library, Error> {
    let mut tried = Vec::new();
    for path in candidates {
        match Library::open(&path) {
            Ok(library) => return Ok(library),
            Err(why) => tried.push((path, why)),
        }
    }
    Err(Error::Missing(tried))
}

impl Library {
    /// Opens a library and prepares it for GPUs.
    fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: opening runs the library's initialisers; LLVM's register its options and passes, and nothing else.
        let library = unsafe { libloading::Library::new(path) }.map_err(|error| innermost(&error))?;
        let api = Api::of(library).map_err(|name| match name.contains("NVPTX") {
            true => format!("is an LLVM without NVPTX (no `{name}`)"),
            false => format!("is no LLVM {MAJOR} with the C API (no `{name}`)"),
        })?;
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        // SAFETY: it writes three numbers.
        unsafe { (api.version)(&mut major, &mut minor, &mut patch) };
        if major != MAJOR {
            return Err(format!("is LLVM {major}.{minor}.{patch}; {MAJOR} is needed"));
        }
        // Pointers to shared memory have 32 bits, as its addresses have.
        let arguments = [c"pantile".as_ptr(), c"-nvptx-short-ptr".as_ptr()];
        // SAFETY: the library is used from here only, and by nobody yet; the strings end with 0 and outlive the call.
        unsafe {
            (api.init_target_info)();
            (api.init_target)();
            (api.init_target_mc)();
            (api.init_printer)();
            (api.parse_options)(arguments.len() as c_int, arguments.as_ptr(), ptr::null());
        }
        Ok(Self { api, path: path.to_path_buf(), version: (major, minor, patch) })
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version: major, minor, patch.
    pub fn version(&self) -> (u32, u32, u32) {
        self.version
    }

    /// IR text as PTX for a target.
    ///
    /// # Errors
    /// [`Error::Refused`] with LLVM's words.
    pub fn ptx(&self, text: &str, target: Target, options: &Options) -> Result<Ptx, Error> {
        let mut times = Times::default();
        let mut clock = Instant::now();
        let mut lap = |part: &mut Duration| {
            *part = clock.elapsed();
            clock = Instant::now();
        };
        let context = Context::new(&self.api);
        let machine = Machine::new(&self.api, target)?;
        let module = context.parse(text)?;
        machine.lay_out(&module);
        module.verify()?;
        lap(&mut times.parse);
        machine.run(&module, options)?;
        context.check("passes")?;
        lap(&mut times.passes);
        let text = machine.emit(&module)?;
        context.check("emission")?;
        lap(&mut times.emit);
        Ok(Ptx { text, times })
    }
}

/// What the loader says, which stands below what was tried.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| said(&error.to_string()), innermost)
}

/// A message on one line.
fn said(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Api {
    /// A message that is the caller's to free.
    ///
    /// # Safety
    /// It is null or a string from LLVM that nobody else frees.
    unsafe fn take(&self, text: Text) -> String {
        if text.is_null() {
            return String::new();
        }
        // SAFETY: by the caller's promise it is a string that ends with 0, and ours to free.
        unsafe {
            let out = said(&CStr::from_ptr(text).to_string_lossy());
            (self.dispose_message)(text);
            out
        }
    }
}

/// A context: what one call makes lives in it.
struct Context<'a> {
    api: &'a Api,
    raw: Ref,
    /// Errors that LLVM reports on the way.
    heard: Box<Heard<'a>>,
}

struct Heard<'a> {
    api: &'a Api,
    errors: std::cell::RefCell<Vec<String>>,
}

/// LLVM calls it with what it has to say; severity 0 is an error.
unsafe extern "C" fn hear(diagnostic: Ref, heard: Ref) {
    // SAFETY: LLVM gives back the pointer that was given with this function, to a `Heard` that lives as long as the
    // context, on the thread that uses the context; the diagnostic is alive during the call.
    unsafe {
        let heard = &*heard.cast::<Heard>();
        if (heard.api.diagnostic_severity)(diagnostic) == 0 {
            let text = heard.api.take((heard.api.diagnostic_text)(diagnostic));
            heard.errors.borrow_mut().push(text);
        }
    }
}

impl<'a> Context<'a> {
    fn new(api: &'a Api) -> Self {
        let heard = Box::new(Heard { api, errors: std::cell::RefCell::default() });
        let place: *const Heard = &raw const *heard;
        // SAFETY: a fresh context, and a handler with a place that is freed after it.
        let raw = unsafe {
            let raw = (api.context)();
            (api.set_handler)(raw, Some(hear), place.cast_mut().cast());
            raw
        };
        Self { api, raw, heard }
    }

    fn parse(&self, text: &str) -> Result<Module<'_>, Error> {
        let (api, mut raw, mut why) = (self.api, ptr::null_mut(), ptr::null_mut());
        // SAFETY: the text is copied, the copy is the parser's to free; on failure there is a message and no module.
        unsafe {
            let buffer = (api.buffer_of)(text.as_ptr().cast(), text.len(), c"kernel".as_ptr());
            match (api.parse)(self.raw, buffer, &mut raw, &mut why) {
                0 => Ok(Module { api, raw, _context: self }),
                _ => Err(Error::Refused("parse", api.take(why))),
            }
        }
    }

    /// Whether LLVM has reported errors.
    fn check(&self, step: &'static str) -> Result<(), Error> {
        let errors = self.heard.errors.borrow();
        if errors.is_empty() { Ok(()) } else { Err(Error::Refused(step, errors.join("; "))) }
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and modules of it are gone: they borrow it.
        unsafe { (self.api.dispose_context)(self.raw) }
    }
}

struct Module<'a> {
    api: &'a Api,
    raw: Ref,
    _context: &'a Context<'a>,
}

impl Module<'_> {
    fn verify(&self) -> Result<(), Error> {
        /// Give the message and go on.
        const RETURN_STATUS: c_int = 2;
        let mut why = ptr::null_mut();
        // SAFETY: the module is alive; the message is ours.
        let (bad, why) = unsafe {
            let bad = (self.api.verify)(self.raw, RETURN_STATUS, &mut why);
            (bad, self.api.take(why))
        };
        if bad == 0 { Ok(()) } else { Err(Error::Refused("verify", why)) }
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and its context is alive.
        unsafe { (self.api.dispose_module)(self.raw) }
    }
}

/// What makes code for one target.
struct Machine<'a> {
    api: &'a Api,
    raw: Ref,
}

impl<'a> Machine<'a> {
    fn new(api: &'a Api, target: Target) -> Result<Self, Error> {
        /// As `-O3` of `llc`.
        const AGGRESSIVE: c_int = 3;
        let name = |text: String| CString::new(text).unwrap_or_default();
        let (cpu, features) = (name(target.name()), name(format!("+{}", target.ptx())));
        let (mut nvptx, mut why) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: strings end with 0 and outlive the calls; the target is LLVM's own and stays.
        unsafe {
            if (api.target)(TRIPLE.as_ptr(), &mut nvptx, &mut why) != 0 {
                return Err(Error::Refused("target", api.take(why)));
            }
            let raw = (api.machine)(nvptx, TRIPLE.as_ptr(), cpu.as_ptr(), features.as_ptr(), AGGRESSIVE, 0, 0);
            if raw.is_null() {
                return Err(Error::Refused("target", format!("it has no machine for {target}")));
            }
            Ok(Self { api, raw })
        }
    }

    /// Gives a module the target's sizes and alignments.
    fn lay_out(&self, module: &Module<'_>) {
        // SAFETY: both are alive; the module copies the layout.
        unsafe {
            let layout = (self.api.layout_of)(self.raw);
            (self.api.set_layout)(module.raw, layout);
            (self.api.dispose_layout)(layout);
        }
    }

    fn run(&self, module: &Module<'_>, options: &Options) -> Result<(), Error> {
        if options.passes.is_empty() {
            return Ok(());
        }
        let passes = CString::new(options.passes.as_str()).unwrap_or_default();
        let api = self.api;
        // SAFETY: module and machine are alive; the options are freed after the run; an error's message is ours, and
        // taking it frees the error.
        unsafe {
            let how = (api.pass_options)();
            // Widths and repetition are the program's choice, whatever the passes.
            (api.set_unroll)(how, 0);
            (api.set_vectorise_loops)(how, 0);
            (api.set_vectorise_lines)(how, 0);
            let error = (api.run_passes)(module.raw, passes.as_ptr(), self.raw, how);
            (api.dispose_pass_options)(how);
            if error.is_null() {
                return Ok(());
            }
            let text = (api.error_text)(error);
            let why = said(&CStr::from_ptr(text).to_string_lossy());
            (api.dispose_error_text)(text);
            Err(Error::Refused("passes", why))
        }
    }

    fn emit(&self, module: &Module<'_>) -> Result<String, Error> {
        /// Text and no object.
        const ASSEMBLY: c_int = 0;
        let (api, mut why, mut buffer) = (self.api, ptr::null_mut(), ptr::null_mut());
        // SAFETY: module and machine are alive; the buffer is ours once the call succeeds, and holds so many bytes.
        unsafe {
            if (api.emit)(self.raw, module.raw, ASSEMBLY, &mut why, &mut buffer) != 0 {
                return Err(Error::Refused("emission", api.take(why)));
            }
            let (start, size) = ((api.buffer_start)(buffer), (api.buffer_size)(buffer));
            let bytes = std::slice::from_raw_parts(start.cast::<u8>(), size);
            let text = String::from_utf8_lossy(bytes).into_owned();
            (api.dispose_buffer)(buffer);
            Ok(text)
        }
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { (self.api.dispose_machine)(self.raw) }
    }
}
