//! RainFusion2.0 against the numbers of its authors' implementations, on every device: the walk exactly, the mask exactly
//! but for ties, the output closely. Files are in `tests/golden`; those without q, k, v are for the sample's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pantile::{DType, Device, Tensor, TensorFile};
use pantile_kernels::{Budget, Order, RainFusion, RainFusionOn, RainFusionOutput, compare};

/// How near a score may be to its row's threshold, relative to it, for the mask to differ there.
const TIE: f32 = 1e-6;
/// How far the output may be, relative to the reference: root mean square, and largest.
const FAR: f64 = 2e-3;

/// The project's folder: where it was when this was built, or the current one where the test was carried to another machine.
fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if built.exists() { built } else { PathBuf::from(".") }
}

/// The files of a folder, or of the one that `PANTILE_GOLDEN` names.
fn files() -> Vec<PathBuf> {
    let dir = std::env::var_os("PANTILE_GOLDEN").map_or_else(|| root().join("tests/golden"), PathBuf::from);
    let entries = std::fs::read_dir(&dir).expect("the folder of goldens").map(|e| e.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "safetensors")).collect();
    files.sort();
    assert!(!files.is_empty(), "no goldens in {}", dir.display());
    files
}

fn options(metadata: &BTreeMap<String, String>) -> RainFusion {
    let text = |key: &str| metadata.get(key).unwrap_or_else(|| panic!("metadata `{key}`")).as_str();
    let number = |key: &str| text(key).parse::<f64>().unwrap_or_else(|e| panic!("metadata `{key}`: {e}"));
    let grid: Vec<usize> = text("grid").split(',').map(|n| n.parse().expect("a number")).collect();
    RainFusion {
        text: number("text") as usize,
        text_last: false,
        order: match metadata.get("dialect").map(String::as_str) {
            Some("paper") => Order::Paper,
            Some("mindie") | None => Order::Mindie,
            Some(other) => panic!("dialect {other}"),
        },
        compat: true,
        budget: Budget::sparsity(number("sparsity")),
        block: number("block") as usize,
        sink: Some(number("first_frame_sink") == 1.0),
        scale: Some(number("scale") as f32),
        lone_last: false,
        ..RainFusion::new(grid.try_into().expect("three numbers"))
    }
}

struct Golden {
    name: String,
    file: TensorFile,
    options: RainFusion,
    inputs: [Tensor; 3],
}

fn load(path: &Path) -> Golden {
    let file = TensorFile::open(path).expect("a golden");
    let own = file.names().expect("a header").iter().any(|n| n == "q");
    let sample = root().join("examples/data/bunny_240p.safetensors");
    let source = if own { file.clone() } else { TensorFile::open(sample).expect("the sample") };
    let inputs = ["q", "k", "v"].map(|n| source.tensor(n).and_then(|t| t.to_dtype(DType::F32)).expect("an input"));
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    Golden { name, options: options(file.metadata()), file, inputs }
}

/// How many entries of the mask differ, all of them ties; or the first that is none.
fn mask_ties(golden: &Golden, output: &RainFusionOutput) -> Result<usize, String> {
    let want = golden.file.tensor("mask").expect("a mask");
    if want.shape() != output.mask.shape() {
        return Err(format!("mask has shape {:?}, not {:?}", output.mask.shape(), want.shape()));
    }
    let columns = output.mask.columns();
    let want = want.to_vec::<u8>().expect("bytes");
    let got = output.mask.to_bools();
    let scores = golden.file.tensor("score").and_then(|t| t.to_vec::<f32>()).expect("scores");
    let budget = (columns as f64 * (1.0 - golden.options.budget.values()[0])).ceil() as usize;
    let mut ties = 0;
    for (row, scores) in scores.chunks(columns).enumerate() {
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let threshold = sorted[budget.clamp(1, columns) - 1];
        for (column, score) in scores.iter().enumerate() {
            let at = row * columns + column;
            if (want[at] != 0) == got[at] {
                continue;
            }
            if (score - threshold).abs() > TIE * threshold {
                return Err(format!(
                    "mask row {row} column {column}: {}, score {score}, threshold {threshold}",
                    got[at]
                ));
            }
            ties += 1;
        }
    }
    Ok(ties)
}

/// Everything that is wrong with one golden on one device.
fn verdict(path: &Path, device: &Device) -> Result<(), String> {
    let golden = load(path);
    let [q, k, v] = &golden.inputs;
    let output = RainFusionOn::new(&golden.options, device)
        .and_then(|operator| operator.call(q, k, v))
        .map_err(|e| format!("{}: {e}", golden.name))?;
    let order = golden.file.tensor("order").and_then(|t| t.to_vec::<i32>()).expect("an order");
    let walked: Vec<i32> = output.order.to_vec::<i32>().expect("i32").into_iter().filter(|e| *e >= 0).collect();
    if let Some(p) = (0..order.len().max(walked.len())).find(|p| order.get(*p) != walked.get(*p)) {
        return Err(format!("{}: order differs at {p}: {:?}, not {:?}", golden.name, walked.get(p), order.get(p)));
    }
    let ties = mask_ties(&golden, &output).map_err(|e| format!("{}: {e}", golden.name))?;
    let far = compare(&output.out, &golden.file.tensor("out").expect("an output")).expect("one shape");
    eprintln!("{:6} {:32} ties {ties}, rms {:.1e}, max {:.1e}", device.name(), golden.name, far.rms, far.max);
    let near = far.rms < FAR && far.max < FAR;
    if near { Ok(()) } else { Err(format!("{}: output is off by {far:?}", golden.name)) }
}

fn all(device: &Device) {
    let wrong: Vec<String> = files().iter().filter_map(|path| verdict(path, device).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn goldens_on_the_cpu() {
    all(&Device::cpu());
}

#[test]
fn goldens_on_the_interpreter() {
    all(&Device::interp());
}

#[test]
fn goldens_on_a_gpu_where_there_is_one() {
    match Device::cuda(0) {
        Ok(device) => all(&device),
        Err(why) => eprintln!("not run on a GPU: {why}"),
    }
}
