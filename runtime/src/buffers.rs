//! The memory of one run of a plan: the caller's tensors, outputs, and places that temporaries use one after another, each
//! allocated at its first use and freed after its last. Nothing outlives the run but the outputs.

use pantile_compiler::{BufferKind, Call, Plan, PlanArg, Role};
use pantile_ir::{DType, Func};

use crate::launch::{Operand, Output, sizes};
use crate::storage::{Home, Storage};
use crate::{Arg, Error, Mask, Result, Tensor};

/// What a run allocated for outputs and temporaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many blocks of memory: one a tensor and three a mask; temporaries that share memory count once.
    pub allocations: usize,
    /// The most bytes held at once.
    pub peak: u64,
    /// The bytes held.
    held: u64,
}

impl Usage {
    fn allocated(&mut self, bytes: u64) {
        self.allocations += 1;
        self.held += bytes;
        self.peak = self.peak.max(self.held);
    }

    fn freed(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }
}

/// What ends with each step.
#[derive(Default)]
pub(crate) struct Ends {
    /// Temporaries that no later step touches.
    buffers: Vec<Vec<usize>>,
    /// Places that no later step uses.
    places: Vec<Vec<usize>>,
}

impl Ends {
    /// Those of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let none = || vec![Vec::new(); plan.steps.len()];
        let mut ends = Self { buffers: none(), places: none() };
        for (n, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.role == Role::Temp) {
            if let Some((_, last)) = buffer.life {
                ends.buffers[last].push(n);
            }
        }
        for (n, life) in plan.place_lives().into_iter().enumerate() {
            if let Some((_, last)) = life {
                ends.places[last].push(n);
            }
        }
        ends
    }
}

/// Memory for temporaries.
#[derive(Default)]
enum Place {
    /// Nothing has used it.
    #[default]
    Untouched,
    /// Something used it and is dead.
    Idle(Storage),
    /// A buffer lies in it, or it has been freed.
    Away,
}

/// The buffers of one run.
pub(crate) struct Buffers<'a> {
    plan: &'a Plan,
    ends: &'a Ends,
    args: &'a [Arg<'a>],
    home: Home<'a>,
    /// What the run allocated, one a buffer; inputs stay with the caller.
    own: Vec<Option<Output>>,
    places: Vec<Place>,
    usage: Usage,
}

impl<'a> Buffers<'a> {
    /// Nothing is allocated yet. What will be lies in `home`.
    pub(crate) fn new(plan: &'a Plan, ends: &'a Ends, args: &'a [Arg<'a>], home: Home<'a>) -> Self {
        let own = plan.buffers.iter().map(|_| None).collect();
        let places = plan.places.iter().map(|_| Place::Untouched).collect();
        Self { plan, ends, args, home, own, places, usage: Usage::default() }
    }

    fn allocate(&mut self, buffer: usize) -> Result<()> {
        let b = &self.plan.buffers[buffer];
        let made = match (b.role, &self.own[buffer]) {
            (Role::Input(_), _) | (_, Some(_)) => return Ok(()),
            (Role::Output(_), None) => self.output(&b.what, b.whole)?,
            (Role::Temp, None) => self.temporary(buffer)?,
        };
        self.own[buffer] = Some(made);
        Ok(())
    }

    /// An output, which is zero unless all of it will be written.
    fn output(&mut self, what: &BufferKind, whole: bool) -> Result<Output> {
        let made = match what {
            BufferKind::Tensor { dtype, shape } if whole => {
                Output::Tensor(Tensor::to_be_written(self.home, *dtype, &sizes(shape)?)?)
            }
            BufferKind::Tensor { dtype, shape } => Output::Tensor(Tensor::zeros_in(self.home, *dtype, &sizes(shape)?)?),
            BufferKind::Mask { shape } => Output::Mask(Mask::empty_in(self.home, &sizes(shape)?)?),
        };
        what.parts().into_iter().for_each(|bytes| self.usage.allocated(bytes));
        Ok(made)
    }

    /// A temporary in its places. Memory is clear, unless all of it will be written.
    fn temporary(&mut self, buffer: usize) -> Result<Output> {
        let b = &self.plan.buffers[buffer];
        let mut parts = b.places.iter().zip(b.what.parts());
        let mut next = || match parts.next() {
            Some((place, bytes)) => self.occupy(*place, bytes, b.whole, &b.what),
            None => Err(self.missing(buffer)),
        };
        match &b.what {
            BufferKind::Tensor { dtype, shape } => Ok(Output::Tensor(Tensor::over(next()?, *dtype, &sizes(shape)?)?)),
            BufferKind::Mask { shape } => Ok(Output::Mask(Mask::over(&sizes(shape)?, [next()?, next()?, next()?])?)),
        }
    }

    fn occupy(&mut self, place: usize, bytes: u64, whole: bool, what: &BufferKind) -> Result<Storage> {
        let size = self.plan.places[place];
        let bools = matches!(what, BufferKind::Tensor { dtype: DType::Bool, .. });
        match std::mem::replace(&mut self.places[place], Place::Away) {
            Place::Idle(mut storage) => {
                let small = || Error::launch(&self.plan.name, "a place is too small");
                let used = usize::try_from(bytes).ok().filter(|n| *n <= storage.len()).ok_or_else(small)?;
                if !whole || bools {
                    storage.fill(0, used)?;
                } else if cfg!(debug_assertions) {
                    // Whoever reads what was not written shall see it.
                    storage.fill(0xA5, used)?;
                }
                Ok(storage)
            }
            Place::Untouched | Place::Away => {
                let what = || format!("a buffer of `{}`", self.plan.name);
                let bytes = usize::try_from(size).map_err(|_| Error::Memory { what: what(), bytes: usize::MAX })?;
                let storage = match whole && !bools {
                    true => Storage::to_be_written(self.home, bytes, what)?,
                    false => Storage::zeroed(self.home, bytes, what)?,
                };
                self.usage.allocated(size);
                Ok(storage)
            }
        }
    }

    /// That a buffer is not there.
    pub(crate) fn missing(&self, buffer: usize) -> Error {
        let name = &self.plan.buffers[buffer].name;
        Error::launch(&self.plan.name, format!("buffer `{name}` is used before it is written"))
    }

    /// A buffer to be read.
    pub(crate) fn read(&self, buffer: usize) -> Result<Operand<'_>> {
        match (self.plan.buffers[buffer].role, &self.own[buffer]) {
            (_, Some(Output::Tensor(tensor))) => Ok(Operand::In(tensor)),
            (_, Some(Output::Mask(mask))) => Ok(Operand::Mask(mask)),
            (Role::Input(n), None) => match self.args.get(n) {
                Some(Arg::Tensor(tensor)) => Ok(Operand::In(tensor)),
                Some(Arg::Mask(mask)) => Ok(Operand::Mask(mask)),
                Some(Arg::Scalar(_) | Arg::Order(_)) | None => Err(self.missing(buffer)),
            },
            (Role::Output(_) | Role::Temp, None) => Err(self.missing(buffer)),
        }
    }

    /// What calls write, call by call, taken out so that the rest can be borrowed for reading.
    pub(crate) fn take_written(&mut self, func: &Func, calls: &[Call]) -> Result<Vec<(usize, Output)>> {
        let mut written = Vec::new();
        for call in calls {
            for (param, arg) in func.params.iter().zip(&call.args) {
                if let (true, PlanArg::Buffer(buffer)) = (param.out, arg) {
                    self.allocate(*buffer)?;
                    written.push((*buffer, self.own[*buffer].take().ok_or_else(|| self.missing(*buffer))?));
                }
            }
        }
        Ok(written)
    }

    /// The end of [`Buffers::take_written`].
    pub(crate) fn put_written(&mut self, written: Vec<(usize, Output)>) {
        written.into_iter().for_each(|(buffer, output)| self.own[buffer] = Some(output));
    }

    /// Copies a buffer as it is.
    pub(crate) fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        self.allocate(to)?;
        let mut target = self.own[to].take();
        let result = match (self.read(from)?, &mut target) {
            (Operand::In(source), Some(Output::Tensor(target))) => target.copy_from(source),
            (Operand::Mask(source), Some(Output::Mask(target))) => target.copy_from(source),
            _ => Err(self.missing(from)),
        };
        self.own[to] = target;
        result
    }

    /// Copies a tensor in another order along an axis: from which source to each position, -1 for zero.
    pub(crate) fn permute(&mut self, from: usize, to: usize, axis: usize, sources: &Tensor) -> Result<()> {
        self.allocate(to)?;
        let mut target = self.own[to].take();
        let result = match (self.read(from)?, &mut target) {
            (Operand::In(source), Some(Output::Tensor(target))) => target.gather(source, axis, sources),
            _ => Err(self.missing(from)),
        };
        self.own[to] = target;
        result
    }

    /// Empties the places of what no later step touches, and frees those that no later step uses.
    pub(crate) fn end(&mut self, step: usize) {
        for buffer in &self.ends.buffers[step] {
            let storage: Vec<Option<Storage>> = match self.own[*buffer].take() {
                Some(Output::Tensor(tensor)) => vec![tensor.into_storage()],
                Some(Output::Mask(mask)) => mask.into_storage().into(),
                None => Vec::new(),
            };
            for (place, storage) in self.plan.buffers[*buffer].places.iter().zip(storage) {
                self.places[*place] = storage.map_or(Place::Away, Place::Idle);
            }
        }
        for place in &self.ends.places[step] {
            if let Place::Idle(_) = std::mem::replace(&mut self.places[*place], Place::Away) {
                self.usage.freed(self.plan.places[*place]);
            }
        }
    }

    /// The outputs, by number; those that no step wrote are zero.
    pub(crate) fn outputs(mut self, names: &[String]) -> Result<(Vec<Output>, Usage)> {
        let mut list = Vec::with_capacity(names.len());
        for (n, name) in names.iter().enumerate() {
            let buffer = self.plan.buffers.iter().position(|b| b.role == Role::Output(n));
            let missing = || Error::launch(&self.plan.name, format!("output `{name}` is never written"));
            let buffer = buffer.ok_or_else(missing)?;
            self.allocate(buffer)?;
            list.push(self.own[buffer].take().ok_or_else(|| self.missing(buffer))?);
        }
        Ok((list, self.usage))
    }
}
