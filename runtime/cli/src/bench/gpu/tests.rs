//! Every kind of measurement on the CPU at small sizes: that it runs, and that its results are found right. No time is
//! looked at, and peers are run only where PANTILE_TORCH names a Python that has torch.

use pantile::Device;

use super::peers::{Peers, asked};
use super::plan::{Attention, Keep, Kind, Spec, Work};
use super::{Bench, Row};

fn bench() -> Bench {
    let torch = std::env::var("PANTILE_TORCH").ok();
    let device = Device::cpu();
    let peers = asked(torch.as_deref(), &torch.iter().map(|_| "torch".to_owned()).collect::<Vec<_>>()).expect("peers");
    Bench { peers: Peers::start(peers, "cpu", |why| panic!("{why}")), device, rounds: 1 }
}

fn works() -> Vec<Work> {
    let attention = |keep| Work::Attention(Attention { heads: 2, tokens: 300, channels: 64, keep });
    let rows = |kind| Work::Rows { kind, rows: 300, columns: 128 };
    vec![
        attention(Keep::All),
        attention(Keep::Causal),
        attention(Keep::Part(0.4)),
        attention(Keep::Protected(0.3, 1)),
        Work::Operator { grid: [3, 10, 12], heads: 2, channels: 64, sparsity: 0.5 },
        Work::Product(160),
        rows(Kind::Softmax),
        rows(Kind::RmsNorm),
        rows(Kind::Means),
        rows(Kind::Permute),
        rows(Kind::Copy),
        Work::Launch(64),
    ]
}

fn measured(bench: &Bench, work: Work) -> Row {
    let spec = Spec { case: "small", what: format!("{work:?}"), work };
    bench.measure(&spec).unwrap_or_else(|e| panic!("{work:?}: {e:?}"))
}

#[test]
fn measurements_run_and_their_results_are_right() {
    let bench = bench();
    for work in works() {
        let row = measured(&bench, work);
        let (error, allowed) = row.error.expect("it is compared");
        assert!(error <= allowed, "{work:?} is off by {error}");
        assert_eq!(row.times.len(), 1);
        for beside in &row.beside {
            match &beside.times {
                Ok(times) => assert!(times.len() == 1 && beside.error.is_none_or(|e| e < 1e-2), "{}", beside.label),
                Err(why) => {
                    assert!(why.starts_with("no ") || why.contains("out="), "{work:?}, {}: {why}", beside.label)
                }
            }
        }
        assert_eq!(row.lines().len(), 1 + row.beside.len() + row.notes.len());
        assert_eq!(row.json()["beside"].as_array().map(Vec::len), Some(row.beside.len()));
    }
}
