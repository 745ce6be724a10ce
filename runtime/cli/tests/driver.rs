//! What the command says where a CUDA driver is missing, too old, or fails: by a driver that is made for it, which has no
//! GPU. That kernels run on GPUs is not seen here.

#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use pantile::{Tensor, write_tensors};
use support::{Inputs, text};

/// What the driver is to do.
type Fakes<'a> = &'a [(&'a str, &'a str)];

/// A folder with a driver and a tensor.
struct Fake {
    inputs: Inputs,
}

impl Fake {
    fn new() -> Self {
        let inputs = Inputs::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/driver.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(inputs.path("libcuda.so")).arg(source);
        assert!(compiler.status().expect("the compiler that Rust links with").success());
        let x = Tensor::from_slice(&[16, 64], &[1.0f32; 1024]).expect("a tensor");
        write_tensors(inputs.path("x.safetensors"), &[("x", &x)], &[]).expect("a file");
        Self { inputs }
    }

    /// Runs the command with a driver that does what these say.
    fn run(&self, fakes: Fakes, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pantile"));
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        command.env("LD_LIBRARY_PATH", self.inputs.path("")).env("PANTILE_CACHE", "off");
        command.envs(fakes.iter().copied()).args(args).output().expect("the command starts")
    }

    fn softmax(&self, fakes: Fakes, more: &[&str]) -> Output {
        let arg = format!("x={}:x", self.inputs.path("x.safetensors"));
        let args = ["run", "kernels/norm.tile", "softmax_rows", "--device", "cuda:0", "--arg", &arg];
        self.run(fakes, &[&args[..], more].concat())
    }
}

fn says(output: &Output, code: i32, words: &[&str]) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    words.iter().for_each(|w| assert!(said.contains(w), "does not say `{w}`: {said}"));
}

/// A call that the driver lacks would be a panic in the tests below.
#[test]
fn the_driver_has_all_that_is_called() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let driver = std::fs::read_to_string(root.join("tests/support/driver.c")).expect("the driver");
    let folder = root.join("../src/cuda/driver");
    let files = std::fs::read_dir(&folder).expect("the calls").map(|file| file.expect("a file").path());
    let (mut calls, mut missing) = (0, Vec::new());
    for file in files.chain([folder.with_extension("rs")]) {
        let text = std::fs::read_to_string(file).expect("text");
        for call in text.split("call!(").skip(1).filter(|call| call.starts_with("cu")) {
            let name = call.split('(').next().unwrap_or_default();
            calls += 1;
            if !driver.contains(&format!("int {name}(")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(calls > 20 && missing.is_empty(), "of {calls} these are missing: {missing:?}");
}

#[test]
fn drivers_and_gpus_that_will_not_do_are_told_with_a_way_out() {
    let fake = Fake::new();
    let cases: &[(Fakes, &[&str])] = &[
        (&[("FAKE_INIT", "803")], &["the CUDA driver does not start", "(803) from cuInit", "use `cpu`"]),
        (&[("FAKE_VERSION", "12030")], &["supports CUDA 12.3 only", "12.4 is the least", "update", "use `cpu`"]),
        (
            &[("FAKE_VERSION", "12040"), ("FAKE_CAPABILITY", "120")],
            &["`cuda:0`, Fake GPU", "CUDA 12.4 only", "12.8 is the least for sm_120a", "update"],
        ),
        (&[("FAKE_COUNT", "0")], &["the driver shows no GPU", "CUDA_VISIBLE_DEVICES"]),
        (&[("FAKE_CAPABILITY", "75")], &["`cuda:0`, Fake GPU", "7.5 is too old; 8.0 is the least", "use `cpu`"]),
    ];
    for (fakes, words) in cases {
        says(&fake.softmax(fakes, &[]), 2, words);
        // The list of devices goes on, and says the same.
        says(&fake.run(fakes, &["devices"]), 0, &["interp", words[words.len() - 1]]);
    }
    let far = fake.run(&[("FAKE_COUNT", "2")], &["selftest", "--device", "cuda:7"]);
    says(&far, 2, &["`cuda:7` is not there", "`cuda:0` to `cuda:1`"]);
    says(&fake.run(&[("FAKE_CAPABILITY", "130")], &["devices"]), 0, &["cuda:0", "sm_89"]);
}

#[test]
fn launches_that_fail_are_told_with_a_way_out() {
    let fake = Fake::new();
    let fine = fake.softmax(&[], &[]);
    if text(&fine.stderr).contains("needs LLVM") {
        return says(&fine, 2, &["install"]);
    }
    says(&fine, 0, &["y: f32[16, 64]"]);
    let cases: &[(Fakes, i32, &[&str])] = &[
        (&[("FAKE_MEMORY", "1000")], 2, &["needs 4096 bytes", "1000 of its 1000 bytes free", "use smaller ones"]),
        (&[("FAKE_ASSEMBLY", "218")], 2, &["the assembly of `softmax_rows` failed", "(218) from cuLinkAddData_v2"]),
        (&[("FAKE_LOADING", "209")], 2, &["the loading of `softmax_rows` failed", "(209) from cuModuleLoadDataEx"]),
        (&[("FAKE_LAUNCH", "701")], 2, &["the launch of `softmax_rows` failed", "(701) from cuLaunchKernel"]),
        (
            &[("FAKE_RUN", "700")],
            2,
            &["`cuda:0` is lost to this process", "`softmax_rows` failed", "start the process"],
        ),
        (&[("FAKE_THREADS", "16")], 3, &["a block has 32 threads", "runs 16 at most", "smaller blocks"]),
    ];
    for (fakes, code, words) in cases {
        says(&fake.softmax(fakes, &[]), *code, words);
    }
}

#[test]
fn bundles_for_other_gpus_are_refused() {
    let fake = Fake::new();
    let file = fake.inputs.path("norm.bundle");
    let build = ["build", "kernels/norm.tile", "softmax_rows", "--shape", "D=64", "--target", "sm_80", "-o", &file];
    let built = fake.run(&[], &build);
    if text(&built.stderr).contains("needs LLVM") {
        return says(&built, 2, &["install"]);
    }
    let bundle = ["--bundle", &file];
    let words = ["holds code for sm_80", "`cuda:0` is sm_90a", "build one with `--target sm_90a`"];
    says(&fake.softmax(&[], &bundle), 2, &words);
    // Its own GPU needs no LLVM for what is in it, and says what is missing for all else.
    let own = [("FAKE_CAPABILITY", "80"), ("PANTILE_LLVM", "/nowhere/libLLVM.so")];
    says(&fake.softmax(&own, &bundle), 0, &["y: f32[16, 64]"]);
    let other = ["--const", "R=2"];
    let words = ["`softmax_rows` is in no bundle that was loaded", "PANTILE_LLVM names /nowhere/libLLVM.so"];
    says(&fake.softmax(&own, &[&bundle[..], &other].concat()), 2, &words);
}
