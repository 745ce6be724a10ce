//! A map of bounded size: past that, what was not asked for longest goes. It is searched whole to find that, so it is for
//! few and costly values.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, the least recently used forgotten first.
pub(crate) struct Recent<K, V> {
    rows: HashMap<K, (V, u64)>,
    capacity: usize,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// Room for so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rows: HashMap::new(), capacity, clock: 0 }
    }

    /// The value of a key, which counts as used.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let (value, used) = self.rows.get_mut(key)?;
        *used = self.clock;
        Some(value.clone())
    }

    /// Remembers a value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.clock += 1;
        if self.rows.len() >= self.capacity && !self.rows.contains_key(&key) {
            let oldest = self.rows.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.rows.remove(&key));
        }
        self.rows.insert(key, (value, self.clock));
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_was_not_asked_for_longest_goes() {
        let mut recent = Recent::new(2);
        recent.insert(1, 'a');
        recent.insert(2, 'b');
        assert_eq!(recent.get(&1), Some('a'));
        recent.insert(3, 'c');
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (Some('a'), None, Some('c')));
        recent.insert(3, 'd');
        assert_eq!((recent.len(), recent.get(&1), recent.get(&3)), (2, Some('a'), Some('d')));
    }
}
