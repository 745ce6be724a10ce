//! Work that is handed to a GPU in one call: a chain of launches and fills, made once and given other parameters each time.
//! Which work that is, is the caller's business.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys;

use super::code::Function;
use super::maps::MAP_WORDS;
use super::{Context, Driven, Stream, call, check};

/// One piece of work.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A kernel, with its words and tensor maps.
    Launch { function: Arc<Function>, blocks: u32, words: Vec<u64>, maps: Vec<[u64; MAP_WORDS]> },
    /// Bytes of memory, all the same.
    Fill { address: u64, byte: u8, bytes: usize },
}

impl Work {
    /// Whether a graph that has one can do the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Work::Launch { function: a, .. }, Work::Launch { function: b, .. }) => Arc::ptr_eq(a, b),
            (Work::Fill { .. }, Work::Fill { .. }) => true,
            (Work::Launch { .. }, Work::Fill { .. }) | (Work::Fill { .. }, Work::Launch { .. }) => false,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Work::Launch { function, blocks, words, maps },
                Work::Launch { function: f, blocks: b, words: w, maps: m },
            ) => Arc::ptr_eq(function, f) && blocks == b && words == w && maps == m,
            (Work::Fill { address, byte, bytes }, Work::Fill { address: a, byte: b, bytes: n }) => {
                (address, byte, bytes) == (a, b, n)
            }
            (Work::Launch { .. }, Work::Fill { .. }) | (Work::Fill { .. }, Work::Launch { .. }) => false,
        }
    }
}

/// The addresses of parameters, one after another.
pub(super) fn parameters(words: &[u64], maps: &[[u64; MAP_WORDS]]) -> Vec<*mut c_void> {
    let words = words.iter().map(|word| std::ptr::from_ref(word).cast_mut().cast::<c_void>());
    words.chain(maps.iter().map(|map| map.as_ptr().cast_mut().cast::<c_void>())).collect()
}

/// A launch as a node of a graph.
fn kernel_node(function: &Function, blocks: u32, parameters: &mut [*mut c_void]) -> sys::CUDA_KERNEL_NODE_PARAMS {
    sys::CUDA_KERNEL_NODE_PARAMS {
        func: function.raw,
        gridDimX: blocks,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: function.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: function.shared,
        kernelParams: parameters.as_mut_ptr(),
        extra: null_mut(),
        kern: null_mut(),
        ctx: null_mut(),
    }
}

fn fill_node(address: u64, byte: u8, bytes: usize) -> sys::CUDA_MEMSET_NODE_PARAMS {
    sys::CUDA_MEMSET_NODE_PARAMS { dst: address, pitch: 0, value: byte.into(), elementSize: 1, width: bytes, height: 1 }
}

/// A chain of work, ready to be done.
#[derive(Debug)]
pub(crate) struct Graph {
    context: Arc<Context>,
    raw: sys::CUgraph,
    exec: sys::CUgraphExec,
    /// In order, with what each does.
    nodes: Vec<(sys::CUgraphNode, Work)>,
}

// SAFETY: as for `Context`; its methods that change it take it by exclusive reference.
unsafe impl Send for Graph {}

impl Graph {
    /// A graph that does this work in order.
    pub(crate) fn new(context: &Arc<Context>, works: Vec<Work>) -> Driven<Self> {
        context.bind()?;
        let mut raw = null_mut();
        // SAFETY: `raw` is valid for writing.
        unsafe { call!(cuGraphCreate(&raw mut raw, 0)) }?;
        // Owned from here on, so that it is freed if the rest fails.
        let mut graph = Self { context: context.clone(), raw, exec: null_mut(), nodes: Vec::new() };
        for work in works {
            let node = graph.add(&work)?;
            graph.nodes.push((node, work));
        }
        // SAFETY: `exec` is valid for writing, the graph is held by `graph`.
        unsafe { call!(cuGraphInstantiateWithFlags(&raw mut graph.exec, raw, 0)) }?;
        Ok(graph)
    }

    /// Adds work behind the last.
    fn add(&self, work: &Work) -> Driven<sys::CUgraphNode> {
        let before: Vec<sys::CUgraphNode> = self.nodes.last().map(|(node, _)| *node).into_iter().collect();
        let mut node = null_mut();
        // SAFETY: `node` is valid for writing, `before` has nodes of this graph; parameters are copied during the call.
        unsafe {
            match work {
                Work::Launch { function, blocks, words, maps } => {
                    let mut parameters = parameters(words, maps);
                    let params = kernel_node(function, *blocks, &mut parameters);
                    call!(cuGraphAddKernelNode_v2(
                        &raw mut node,
                        self.raw,
                        before.as_ptr(),
                        before.len(),
                        &raw const params
                    ))
                }
                Work::Fill { address, byte, bytes } => {
                    let (params, context) = (fill_node(*address, *byte, *bytes), self.context.raw);
                    let params = &raw const params;
                    call!(cuGraphAddMemsetNode(&raw mut node, self.raw, before.as_ptr(), before.len(), params, context))
                }
            }
        }?;
        Ok(node)
    }

    /// Whether it can do this work.
    pub(crate) fn fits(&self, works: &[Work]) -> bool {
        self.nodes.len() == works.len() && self.nodes.iter().zip(works).all(|((_, own), work)| own.is_like(work))
    }

    /// Lets it do other work, which fits, from the next time on.
    pub(crate) fn update(&mut self, works: Vec<Work>) -> Driven<()> {
        self.context.bind()?;
        for ((node, own), work) in self.nodes.iter_mut().zip(works) {
            if own.is(&work) {
                continue;
            }
            // SAFETY: the node belongs to the graph that `exec` was made of; parameters are copied during the call.
            unsafe {
                match &work {
                    Work::Launch { function, blocks, words, maps } => {
                        let mut parameters = parameters(words, maps);
                        let params = kernel_node(function, *blocks, &mut parameters);
                        call!(cuGraphExecKernelNodeSetParams_v2(self.exec, *node, &raw const params))
                    }
                    Work::Fill { address, byte, bytes } => {
                        let params = fill_node(*address, *byte, *bytes);
                        call!(cuGraphExecMemsetNodeSetParams(self.exec, *node, &raw const params, self.context.raw))
                    }
                }
            }?;
            *own = work;
        }
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.bind().is_err() {
            return;
        }
        // SAFETY: both were made by `new`; work that is under way goes on.
        unsafe {
            if !self.exec.is_null() {
                let _ = call!(cuGraphExecDestroy(self.exec));
            }
            let _ = call!(cuGraphDestroy(self.raw));
        }
    }
}

impl Stream {
    /// Does a graph's work.
    ///
    /// # Safety
    /// As [`Stream::launch`] and [`Stream::fill`] for each piece.
    pub(crate) unsafe fn graph(&self, graph: &Graph) -> Driven<()> {
        self.context.bind()?;
        // SAFETY: the caller's promise.
        unsafe { call!(cuGraphLaunch(graph.exec, self.raw)) }
    }

    /// Does one piece of work.
    ///
    /// # Safety
    /// As [`Stream::graph`].
    pub(crate) unsafe fn work(&self, work: &Work) -> Driven<()> {
        // SAFETY: the caller's promise.
        unsafe {
            match work {
                Work::Launch { function, blocks, words, maps } => self.launch(function, *blocks, words, maps),
                Work::Fill { address, byte, bytes } => self.fill(*address, *byte, *bytes),
            }
        }
    }
}
