//! What is said where LLVM is missing, is another one, or refuses; and that calls from many threads do not meet.

use super::library::{first, named};
use super::{Error, Options, library};
use crate::Target;

const SOUND: &str = "target triple = \"nvptx64-nvidia-cuda\"
define ptx_kernel void @k(i64 %p) {
entry:
  %to = inttoptr i64 %p to ptr addrspace(1)
  store i32 7, ptr addrspace(1) %to, align 4
  ret void
}
";

fn ptx(text: &str, options: &Options) -> Result<String, Error> {
    library()?.ptx(text, Target::SM_80, options).map(|ptx| ptx.text)
}

#[test]
fn what_was_tried_is_told() {
    let tried = vec!["/nowhere/libLLVM.so".into(), "libm.so.6".into()];
    let error = first(tried).err().expect("neither is an LLVM");
    let said = error.to_string();
    assert!(said.contains("\n  /nowhere/libLLVM.so: ") && said.contains("No such file"), "{said}");
    assert!(said.contains("\n  libm.so.6: is no LLVM 22 with the C API (no `LLVMGetVersion`)"), "{said}");
    assert!(said.contains("set PANTILE_LLVM to its path"), "{said}");
}

#[test]
fn a_library_that_is_named_is_the_only_one() {
    for (path, words) in [("/nowhere/libLLVM.so", "No such file"), ("libm.so.6", "is no LLVM 22 with the C API")] {
        let said = named(path.into()).err().expect("it is no LLVM").to_string();
        for words in [&format!("PANTILE_LLVM names {path}"), words, "unset it"] {
            assert!(said.contains(words), "no `{words}` in: {said}");
        }
    }
}

#[test]
fn a_refusal_names_the_step_and_repeats_the_words() {
    let undefined = SOUND.replace("store i32 7", "store i32 %x");
    let late = SOUND.replace("entry:\n", "entry:\n  %a = add i32 %b, 1\n  %b = add i32 %a, 1\n");
    let strange = Options { passes: "no-such-pass".into() };
    let cases = [
        (ptx(&undefined, &Options::default()), "parse", "undefined value '%x'"),
        (ptx(&late, &Options::default()), "verify", "does not dominate"),
        (ptx(SOUND, &strange), "passes", "unknown pass name 'no-such-pass'"),
    ];
    for (got, step, words) in cases {
        match got {
            Err(Error::Refused(at, said)) => {
                assert_eq!(at, step, "{said}");
                assert!(said.contains(words), "wanted `{words}`, got `{said}`");
            }
            other => panic!("{step}: {other:?}"),
        }
    }
    // It goes on after them.
    assert!(ptx(SOUND, &Options::default()).is_ok_and(|text| text.contains("st.global.b32")));
}

#[test]
fn many_threads_compile_at_once() {
    let text = |n: usize| SOUND.replace("i32 7", &format!("i32 {}", 7000 + n));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|n| scope.spawn(move || ptx(&text(n), &Options::default()))).collect();
        for (n, thread) in all.into_iter().enumerate() {
            let got = thread.join().expect("no panic").expect("PTX");
            assert!(got.contains(&format!("{}", 7000 + n)), "{got}");
        }
    });
}
