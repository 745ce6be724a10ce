//! From one register layout to another: what has to move, by the cheapest means that can do it. Each plan says the same for
//! all threads; the threads' own part is linear in the thread. Instructions are emitted elsewhere.

pub use super::exchange::Exchange;
pub use super::shuffle::{Round, Shuffles};
use super::{Distributed, Layout, LayoutError, Name, Place, sizes};

/// How a tile gets from one distributed layout to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversion<D> {
    /// Every register holds what it has to already.
    Nothing,
    /// Register `r` becomes what register `self[r]` is: other names, no instruction.
    Registers(Vec<u64>),
    /// Each element comes from the same warp.
    Shuffles(Shuffles),
    /// Stored to shared memory and loaded.
    Exchange(Exchange<D>),
}

/// What it costs that warps wait for each other before and after an exchange, in instructions.
const MEETINGS: u32 = 16;

impl<D: Name> Conversion<D> {
    /// The cheapest conversion of elements of `bytes` bytes. Where both can do it, shuffles are taken if they cost no more than
    /// an exchange.
    ///
    /// # Errors
    /// Layouts of different tiles or over different threads; a layout that does not hold every element.
    pub fn plan(from: &Distributed<D>, to: &Distributed<D>, bytes: u32) -> Result<Conversion<D>, LayoutError> {
        check(from, to)?;
        if let Some(registers) = own_registers(from, to) {
            let same = registers.len() as u64 == from.size(Place::Register)
                && registers.iter().zip(0..).all(|(from, to)| *from == to);
            return Ok(if same { Conversion::Nothing } else { Conversion::Registers(registers) });
        }
        let exchange = Exchange::plan(from, to, bytes)?;
        match Shuffles::plan(from, to, bytes) {
            Some(shuffles) if shuffles.instructions() <= exchange.wavefronts() + MEETINGS => {
                Ok(Conversion::Shuffles(shuffles))
            }
            Some(_) | None => Ok(Conversion::Exchange(exchange)),
        }
    }

    /// Instructions of a warp, wavefronts of shared memory counted as such, and what waiting costs. Only a measure to
    /// compare conversions by.
    pub fn cost(&self) -> u32 {
        match self {
            Conversion::Nothing | Conversion::Registers(_) => 0,
            Conversion::Shuffles(shuffles) => shuffles.instructions(),
            Conversion::Exchange(exchange) => exchange.wavefronts() + MEETINGS,
        }
    }
}

/// Fails unless one can be made of the other.
pub(super) fn check<D: Name>(from: &Distributed<D>, to: &Distributed<D>) -> Result<(), LayoutError> {
    if from.outs() != to.outs() {
        return Err(LayoutError::Mismatch { left: sizes(from.outs()), right: sizes(to.outs()) });
    }
    if !from.same_threads(to) {
        return Err(LayoutError::Mismatch { left: sizes(from.ins()), right: sizes(to.ins()) });
    }
    from.require_surjective()?;
    to.require_surjective()
}

/// For each register of `to` the one of `from` in the same thread that holds the same, if that is so in all threads.
fn own_registers<D: Name>(from: &Distributed<D>, to: &Distributed<D>) -> Option<Vec<u64>> {
    let threads = Place::THREAD.into_iter().all(|p| from.columns(p) == to.columns(p));
    let registers = from.only(&[Place::Register]);
    let source = |c: &u64| registers.matrix().solve(*c);
    let columns: Vec<u64> = to.columns(Place::Register).iter().map(source).collect::<Option<_>>()?;
    threads.then(|| (0..to.size(Place::Register)).map(|r| super::bits::combine(&columns, r)).collect())
}

/// Where in `from` each place of `to` finds its element: in its own thread if it can, else in its own warp. `None` if some
/// have to look in other warps.
pub(super) fn sources<D: Name>(from: &Distributed<D>, to: &Distributed<D>) -> Option<Layout<Place, Place>> {
    let own = from.only(&[Place::Register]);
    let warp = from.only(&[Place::Register, Place::Lane]);
    let near = |c: u64| own.matrix().solve(c).or_else(|| warp.matrix().solve(c));
    let find = |p: Place, b: usize, c: u64| {
        let same_place = 1u64 << (from.ins().shift(p) as usize + b);
        let moved = |x: u64| x ^ same_place;
        match p {
            Place::Register => near(c),
            Place::Lane => own.matrix().solve(c ^ from.columns(p)[b]).map(moved).or_else(|| near(c)),
            Place::Warp | Place::Warpgroup => near(c ^ from.columns(p)[b]).map(moved),
        }
    };
    let columns = |p: Place| {
        let found = to.columns(p).iter().enumerate().map(move |(b, c)| find(p, b, *c));
        Some((p, found.collect::<Option<Vec<u64>>>()?))
    };
    let columns = to.ins().names().map(columns).collect::<Option<_>>()?;
    Layout::of_columns(from.ins().clone(), columns).ok()
}
