//! Machine code kept on disk from one process to the next: found by a hash of the PTX, the target and the driver. What is
//! damaged counts as not there, and a disk that cannot be written is no error. It knows no GPU.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use pantile_gpu::Target;
use sha3::{Digest, Sha3_256};

/// What the files start with; another number says another form.
const MAGIC: &[u8; 8] = b"PANTILE1";

/// The most bytes that are kept; past that, what was not used longest goes.
const CAPACITY: u64 = 256 << 20;

/// What machine code is found by.
pub(crate) struct Key<'a> {
    folder: Option<&'a Path>,
    name: String,
}

impl Key<'static> {
    /// Of a PTX text, for a target and a driver, in the user's cache.
    pub(crate) fn of(ptx: &str, target: &Target, driver: i32) -> Self {
        static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| folder(|name| std::env::var_os(name))).as_deref();
        Self::within(folder, ptx, target, driver)
    }
}

/// Where the cache lies: `PANTILE_CACHE`, which may also say `off`, or `pantile` in the user's cache folder.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match set("PANTILE_CACHE") {
        Some(off) if off.as_os_str() == "off" => None,
        Some(folder) => Some(folder),
        None => {
            // The standard wants absolute paths and has others ignored.
            let cache = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
            Some(cache.or_else(|| set("HOME").map(|home| home.join(".cache")))?.join("pantile"))
        }
    }
}

impl<'a> Key<'a> {
    fn within(folder: Option<&'a Path>, ptx: &str, target: &Target, driver: i32) -> Self {
        let mut hash = Sha3_256::new();
        for part in [ptx, &target.name(), &driver.to_string()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self { folder, name: hex(&hash.finalize()) }
    }

    fn path(&self) -> Option<PathBuf> {
        Some(self.folder?.join(format!("{}.cubin", self.name)))
    }

    /// The machine code, if it is there and whole. It counts as used.
    pub(crate) fn find(&self) -> Option<Vec<u8>> {
        let path = self.path()?;
        let bytes = fs::read(&path).ok()?;
        let (hash, cubin) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        if Sha3_256::digest(cubin)[..] != hash[..] {
            return None;
        }
        if let Ok(file) = fs::File::options().append(true).open(&path) {
            // Only the order in which entries go depends on it.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(cubin.to_vec())
    }

    /// Keeps machine code, if the disk lets it. A file is whole or not there.
    pub(crate) fn keep(&self, cubin: &[u8]) {
        self.keep_within(cubin, CAPACITY);
    }

    fn keep_within(&self, cubin: &[u8], capacity: u64) {
        let (Some(folder), Some(path)) = (self.folder, self.path()) else { return };
        let temporary = folder.join(format!("{}.{}.new", self.name, std::process::id()));
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = fs::File::create(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&Sha3_256::digest(cubin))?;
            file.write_all(cubin)?;
            fs::rename(&temporary, path)
        };
        if write().is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&temporary);
        }
        shrink(folder, capacity);
    }
}

/// Removes what was not used longest, until the rest is no larger than `capacity`.
fn shrink(folder: &Path, capacity: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let ours = |path: &Path| path.extension().is_some_and(|e| e == "cubin" || e == "new");
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|entry| ours(&entry.path()))
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= capacity {
            return;
        }
        if fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::{Key, folder};
    use pantile_gpu::Target;

    fn key<'a>(dir: &'a tempfile::TempDir, ptx: &str) -> Key<'a> {
        Key::within(Some(dir.path()), ptx, &Target::SM_90A, 12_080)
    }

    #[test]
    fn what_was_kept_is_found_by_all_that_it_depends_on() {
        let dir = tempfile::tempdir().unwrap();
        key(&dir, "a").keep(b"code");
        assert_eq!(key(&dir, "a").find().unwrap(), b"code");
        assert!(key(&dir, "b").find().is_none());
        assert!(Key::within(Some(dir.path()), "a", &Target::SM_80, 12_080).find().is_none());
        assert!(Key::within(Some(dir.path()), "a", &Target::SM_90A, 13_000).find().is_none());
        key(&dir, "a").keep(b"other");
        assert_eq!(key(&dir, "a").find().unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_anywhere_is_seen_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let key = key(&dir, "a");
        key.keep(b"some code");
        let (path, whole) = (key.path().unwrap(), fs::read(key.path().unwrap()).unwrap());
        for n in 0..whole.len() {
            let mut broken = whole.clone();
            broken[n] ^= 1;
            fs::write(&path, broken).unwrap();
            assert!(key.find().is_none(), "byte {n}");
            fs::write(&path, &whole[..n]).unwrap();
            assert!(key.find().is_none(), "cut at {n}");
        }
        key.keep(b"some code");
        assert_eq!(key.find().unwrap(), b"some code");
    }

    #[test]
    fn past_its_capacity_the_least_recently_used_goes() {
        let dir = tempfile::tempdir().unwrap();
        for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
            key(&dir, name).keep(&[0; 1000]);
            let file = fs::File::options().append(true).open(key(&dir, name).path().unwrap()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(100 - n as u64)).unwrap();
        }
        assert!(key(&dir, "a").find().is_some());
        key(&dir, "d").keep_within(&[0; 1000], 3500);
        let there = ["a", "b", "c", "d"].map(|name| key(&dir, name).find().is_some());
        assert_eq!(there, [true, false, true, true]);
    }

    #[test]
    fn the_environment_says_where_it_lies() {
        let at = |list: &'static [(&str, &str)]| {
            let find = move |name: &str| list.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
            folder(find).map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(at(&[("HOME", "/h")]).unwrap(), "/h/.cache/pantile");
        assert_eq!(at(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).unwrap(), "/x/pantile");
        assert_eq!(at(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]).unwrap(), "/h/.cache/pantile");
        assert_eq!(at(&[("HOME", "/h"), ("PANTILE_CACHE", "/c")]).unwrap(), "/c");
        assert!(at(&[("HOME", "/h"), ("PANTILE_CACHE", "off")]).is_none() && at(&[]).is_none());
        let nowhere = Key::within(None, "a", &Target::SM_80, 12_000);
        nowhere.keep(b"code");
        assert!(nowhere.find().is_none());
    }
}
