//! The part of LLVM's C API that is used: the types of its functions, and their addresses in an open library. What they
//! are called with is [`library`](super::library)'s business.
#![allow(unsafe_code, reason = "the C API of a library opened at run time is described and looked up here")]

use std::ffi::{c_char, c_int, c_uint, c_void};

/// A pointer to something of LLVM's.
pub(super) type Ref = *mut c_void;
/// A string of LLVM's.
pub(super) type Text = *mut c_char;
type Name = *const c_char;

macro_rules! api {
    ($($field:ident = $symbol:literal : fn($($arg:ty),*) $(-> $out:ty)?;)*) => {
        /// The functions, under short names.
        pub(super) struct Api {
            $(pub $field: unsafe extern "C" fn($($arg),*) $(-> $out)?,)*
            /// Keeps the functions where they are.
            _library: libloading::Library,
        }

        impl Api {
            /// Looks all functions up; the error names the first that is missing.
            pub(super) fn of(library: libloading::Library) -> Result<Self, &'static str> {
                // SAFETY: the types are those of LLVM's C API (llvm-c/*.h, version 22) for the functions of these names,
                // and the library stays open as long as they can be called.
                unsafe {
                    Ok(Self {
                        $($field: *library.get(concat!($symbol, "\0").as_bytes()).map_err(|_| $symbol)?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}

api! {
    version = "LLVMGetVersion": fn(*mut c_uint, *mut c_uint, *mut c_uint);
    parse_options = "LLVMParseCommandLineOptions": fn(c_int, *const Name, Name);
    init_target_info = "LLVMInitializeNVPTXTargetInfo": fn();
    init_target = "LLVMInitializeNVPTXTarget": fn();
    init_target_mc = "LLVMInitializeNVPTXTargetMC": fn();
    init_printer = "LLVMInitializeNVPTXAsmPrinter": fn();
    context = "LLVMContextCreate": fn() -> Ref;
    dispose_context = "LLVMContextDispose": fn(Ref);
    set_handler = "LLVMContextSetDiagnosticHandler": fn(Ref, Option<unsafe extern "C" fn(Ref, Ref)>, Ref);
    diagnostic_severity = "LLVMGetDiagInfoSeverity": fn(Ref) -> c_int;
    diagnostic_text = "LLVMGetDiagInfoDescription": fn(Ref) -> Text;
    dispose_message = "LLVMDisposeMessage": fn(Text);
    buffer_of = "LLVMCreateMemoryBufferWithMemoryRangeCopy": fn(Name, usize, Name) -> Ref;
    buffer_start = "LLVMGetBufferStart": fn(Ref) -> Name;
    buffer_size = "LLVMGetBufferSize": fn(Ref) -> usize;
    dispose_buffer = "LLVMDisposeMemoryBuffer": fn(Ref);
    parse = "LLVMParseIRInContext": fn(Ref, Ref, *mut Ref, *mut Text) -> c_int;
    verify = "LLVMVerifyModule": fn(Ref, c_int, *mut Text) -> c_int;
    dispose_module = "LLVMDisposeModule": fn(Ref);
    target = "LLVMGetTargetFromTriple": fn(Name, *mut Ref, *mut Text) -> c_int;
    machine = "LLVMCreateTargetMachine": fn(Ref, Name, Name, Name, c_int, c_int, c_int) -> Ref;
    dispose_machine = "LLVMDisposeTargetMachine": fn(Ref);
    layout_of = "LLVMCreateTargetDataLayout": fn(Ref) -> Ref;
    set_layout = "LLVMSetModuleDataLayout": fn(Ref, Ref);
    dispose_layout = "LLVMDisposeTargetData": fn(Ref);
    pass_options = "LLVMCreatePassBuilderOptions": fn() -> Ref;
    set_unroll = "LLVMPassBuilderOptionsSetLoopUnrolling": fn(Ref, c_int);
    set_vectorise_loops = "LLVMPassBuilderOptionsSetLoopVectorization": fn(Ref, c_int);
    set_vectorise_lines = "LLVMPassBuilderOptionsSetSLPVectorization": fn(Ref, c_int);
    dispose_pass_options = "LLVMDisposePassBuilderOptions": fn(Ref);
    run_passes = "LLVMRunPasses": fn(Ref, Name, Ref, Ref) -> Ref;
    error_text = "LLVMGetErrorMessage": fn(Ref) -> Text;
    dispose_error_text = "LLVMDisposeErrorMessage": fn(Text);
    emit = "LLVMTargetMachineEmitToMemoryBuffer": fn(Ref, Ref, c_int, *mut Text, *mut Ref) -> c_int;
}
