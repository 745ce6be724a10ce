//! The text form: it round-trips, reads as documented, and refuses everything else without a panic.

use pantile_gpu::Swizzle;
use pantile_gpu::layout::{Distributed, Memory, instructions};
use proptest::prelude::*;

use crate::drawn::{Dim, any_layout};

fn name(word: &str) -> Option<Dim> {
    ["m", "n", "k", "0"].into_iter().find(|d| *d == word)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_round_trips(layout in any_layout()) {
        let text = layout.to_string();
        prop_assert_eq!(Distributed::parse(&text, name), Ok(layout), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([mn0-9:+<\\-\\[\\], ]|lane|<-|register|é){0,40}") {
        if let Ok(layout) = Distributed::<Dim>::parse(&text, name) {
            prop_assert_eq!(Distributed::parse(&layout.to_string(), name), Ok(layout));
        }
    }

    #[test]
    fn damaged_text_is_read_or_refused(layout in any_layout(), at in 0..200usize, to in "[mn0:+<,\\]x]") {
        let mut text = layout.to_string();
        let at = at % text.len();
        text.replace_range(at..=at, &to);
        let _ = Distributed::<Dim>::parse(&text, name);
    }
}

#[test]
fn it_reads_as_documented() {
    let c = instructions::mma_c("m", "n").unwrap();
    assert_eq!(c.to_string(), "m:16 n:8 <- register: [n:1, m:8] lane: [n:2, n:4, m:1, m:2, m:4]");
    let slice = c.drop("n");
    assert_eq!(slice.to_string(), "m:16 <- register: [0, m:8] lane: [0, 0, m:1, m:2, m:4]");
    let memory = Memory::boxes(Swizzle::Bytes32, ("k", 16), ("m", 8), 2).unwrap();
    assert_eq!(memory.to_string(), "k:16 m:8 <- offset: [k:1, k:2, k:4, k:8, m:1, m:2, k:8+m:4]");
    assert_eq!(Memory::parse(&memory.to_string(), name), Ok(memory));
    let digits = Memory::<Dim>::parse("0:4 <- offset: [0:1, 0, 0:2]", name).unwrap();
    assert_eq!(digits.to_string(), "0:4 <- offset: [0:1, 0, 0:2]");
}

#[test]
fn errors_name_the_place() {
    let error = |text: &str| Distributed::<Dim>::parse(text, name).unwrap_err().to_string();
    assert_eq!(error("m:16 lane"), "layout text, byte 9: expected the name of a dim, or `<-`");
    assert_eq!(error("m:16 <- lane: [m:1 m:2]"), "layout text, byte 19: expected ,");
    assert_eq!(error("m:16 <- lane: [] lane: [m:1]"), "`Lane` is listed twice; name each axis once");
    assert_eq!(error("m:6 <-"), "`\"m\"` has size 6, which is no power of two; pad the tile first");
}
