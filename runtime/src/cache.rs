//! What devices have compiled, kept in memory: kernels by their structure, tables by their order. Nothing is kept on disk.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{Debug, Write};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use pantile_ir::{Func, Order};

use crate::Result;
use crate::device::Backend;
use crate::executable::Executable;

/// Entries of a store; past that it starts afresh. What is in use lives on.
const CAPACITY: usize = 1024;

/// Values found by a structural key; a key is compared whole, its hash only finds it.
struct Store<K, V> {
    by_hash: HashMap<u64, Vec<(K, V)>>,
    count: usize,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { by_hash: HashMap::new(), count: 0 }
    }
}

impl<K: PartialEq, V: Clone> Store<K, V> {
    fn get(&self, hash: u64, key: &K) -> Option<V> {
        self.by_hash.get(&hash)?.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    }

    fn insert(&mut self, hash: u64, key: K, value: V) {
        if self.count >= CAPACITY {
            *self = Self::default();
        }
        self.by_hash.entry(hash).or_default().push((key, value));
        self.count += 1;
    }
}

type ExecutableKey = (Backend, bool, bool, crate::CpuFeatures, Arc<Func>);
type TableKey = (Backend, bool, Arc<Order>);

/// What a device and its clones have compiled.
#[derive(Default)]
pub(crate) struct Cache {
    executables: Mutex<Store<ExecutableKey, Arc<Executable>>>,
    tables: Mutex<Store<TableKey, Arc<Vec<i32>>>>,
}

impl Cache {
    /// The executable of a function, made if it is not there. Two threads may make it at once; one of the two is kept.
    pub(crate) fn executable(
        &self,
        key: ExecutableKey,
        make: impl FnOnce() -> Result<Executable>,
    ) -> Result<Arc<Executable>> {
        through(&self.executables, key, || make().map(Arc::new))
    }

    /// The table of an order, made if it is not there.
    pub(crate) fn table(&self, key: TableKey, make: impl FnOnce() -> Result<Vec<i32>>) -> Result<Arc<Vec<i32>>> {
        through(&self.tables, key, || make().map(Arc::new))
    }
}

fn through<K: PartialEq + Debug, V: Clone>(
    store: &Mutex<Store<K, V>>,
    key: K,
    make: impl FnOnce() -> Result<V>,
) -> Result<V> {
    let hash = structural_hash(&key);
    if let Some(found) = store.lock().unwrap_or_else(PoisonError::into_inner).get(hash, &key) {
        return Ok(found);
    }
    let made = make()?;
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    match store.get(hash, &key) {
        Some(other) => Ok(other),
        None => {
            store.insert(hash, key, made.clone());
            Ok(made)
        }
    }
}

/// A hash of all that `Debug` shows: IR holds floats and so has no `Hash` of its own.
fn structural_hash(key: &impl Debug) -> u64 {
    struct Sink(DefaultHasher);
    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            text.hash(&mut self.0);
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    // Writing into a hasher cannot fail; if it did, the hash would merely be worse.
    write!(sink, "{key:?}").map_or(0, |()| sink.0.finish())
}
