//! The lanes of blocks walked through an order, as a table: shared by all who execute IR. Not the order itself.

/// For one order and one block size: which elements the lanes of each block are.
///
/// Block `b`'s lanes are `elem[b·size ..][..len[b]]`: positions without an element are squeezed out, so valid lanes are
/// always a prefix. `pos` holds their positions in the walk. Slots past `len[b]` are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTable {
    /// Lanes of a full block.
    pub size: usize,
    /// Element in memory, `blocks · size` long.
    pub elem: Vec<i32>,
    /// Position in the walk, `blocks · size` long.
    pub pos: Vec<i32>,
    /// Valid lanes of each block.
    pub len: Vec<i32>,
}

impl BlockTable {
    /// From the order's table: element by position, -1 where there is none.
    pub fn new(order: &[i32], size: usize) -> Self {
        let blocks = order.len().div_ceil(size).max(1);
        let mut table = Self { size, elem: vec![0; blocks * size], pos: vec![0; blocks * size], len: vec![0; blocks] };
        for (p, &element) in order.iter().enumerate().filter(|(_, e)| **e >= 0) {
            let block = p / size;
            let slot = block * size + table.len[block] as usize;
            table.elem[slot] = element;
            table.pos[slot] = p as i32;
            table.len[block] += 1;
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::BlockTable;

    #[test]
    fn holes_are_squeezed_out() {
        let table = BlockTable::new(&[4, -1, 2, -1, -1, 0, 1], 3);
        assert_eq!(table.len, [2, 1, 1]);
        assert_eq!(table.elem, [4, 2, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(table.pos, [0, 2, 0, 5, 0, 0, 6, 0, 0]);
    }

    #[test]
    fn an_empty_walk_has_an_empty_block() {
        assert_eq!(BlockTable::new(&[], 2), BlockTable { size: 2, elem: vec![0; 2], pos: vec![0; 2], len: vec![0] });
    }
}
