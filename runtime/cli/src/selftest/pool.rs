//! Work on several threads whose results are wanted in order, each as soon as it and all before it are there. What the work
//! is, is not known here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Works on all items with so many threads; `done` is told about each on the calling thread, in the order of the items.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(&T, R),
) {
    let next = AtomicUsize::new(0);
    let (to, from) = mpsc::channel();
    let worker = |to: mpsc::Sender<(usize, R)>| {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(n) else { return };
            if to.send((n, work(item))).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let to = to.clone();
            scope.spawn(|| worker(to));
        }
        drop(to);
        let (mut early, mut shown) = (BTreeMap::new(), 0);
        for (n, result) in from {
            early.insert(n, result);
            while let Some(result) = early.remove(&shown) {
                done(&items[shown], result);
                shown += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::in_order;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whoever_is_first() {
        let items: Vec<u64> = (0..50).rev().collect();
        for threads in [1, 3, 100] {
            let mut seen = Vec::new();
            let slow_first = |n: &u64| {
                std::thread::sleep(Duration::from_micros(20 * n));
                n * n
            };
            in_order(&items, threads, slow_first, |item, result| seen.push((*item, result)));
            assert_eq!(seen, items.iter().map(|n| (*n, n * n)).collect::<Vec<_>>());
        }
        in_order(&[], 4, |n: &u64| *n, |_, _| panic!("there is nothing"));
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        // Each waits for the other: one thread alone would stay here.
        let (met, bell) = (Mutex::new(0), Condvar::new());
        let meet = |_: &u64| {
            let mut count = met.lock().expect("nobody panics");
            *count += 1;
            bell.notify_all();
            let waited = bell.wait_timeout_while(count, Duration::from_secs(60), |count| *count < 2);
            !waited.expect("nobody panics").1.timed_out()
        };
        in_order(&[1, 2], 2, meet, |_, met| assert!(met));
    }
}
