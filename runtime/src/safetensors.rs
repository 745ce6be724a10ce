//! Tensor files in the safetensors format: read by name, written whole or not at all. The only file that names the crate.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use pantile_ir::DType;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Result, Tensor, io_words};

/// A tensor file, read into memory.
#[derive(Clone, Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a whole safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {}", io_words(&e))))?;
        Self::from_bytes(path, bytes)
    }

    /// From bytes in memory; `name` is what errors call them.
    ///
    /// # Errors
    /// If they are not a whole safetensors file.
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self> {
        let path = name.as_ref();
        let broken = |e| Error::file(path, format!("is not a whole safetensors file: {e}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { path: path.to_path_buf(), bytes, metadata })
    }

    /// The file's name, as errors call it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's metadata.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The names of its tensors, sorted.
    ///
    /// # Errors
    /// If the header is broken, which opening has ruled out.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.parsed()?.names().into_iter().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// A copy of one tensor.
    ///
    /// # Errors
    /// If there is none of that name, or its dtype has no counterpart here.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let parsed = self.parsed()?;
        let Ok(view) = parsed.tensor(name) else {
            let known = match self.names()?.join(", ") {
                none if none.is_empty() => "no tensors at all".into(),
                known => known,
            };
            return Err(Error::file(&self.path, format!("has no tensor `{name}`; it has {known}")));
        };
        let dtype = dtype_of(view.dtype()).ok_or_else(|| {
            Error::file(&self.path, format!("tensor `{name}` holds {:?}, which is not supported", view.dtype()))
        })?;
        Tensor::from_bytes(dtype, view.shape(), view.data())
            .map_err(|e| Error::file(&self.path, format!("tensor `{name}`: {e}")))
    }

    fn parsed(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| Error::file(&self.path, format!("is not a whole safetensors file: {e}")))
    }
}

/// Writes tensors and metadata to a file: under another name first, then renamed, so that no half-written file is ever
/// seen under `path` and nothing is left where writing fails.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: impl AsRef<Path>, tensors: &[(&str, &Tensor)], metadata: &[(&str, String)]) -> Result<()> {
    let path = path.as_ref();
    let failed = |what: &str, e: &dyn std::fmt::Display| Error::file(path, format!("{what}: {e}"));
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, t)| t.to_bytes()).collect::<Result<_>>()?;
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(format_dtype(tensor.dtype()), tensor.shape().to_vec(), bytes);
        views.push((*name, view.map_err(|e| failed("cannot be written", &e))?));
    }
    let metadata: HashMap<String, String> = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let file = safetensors::serialize(views, Some(metadata)).map_err(|e| failed("cannot be written", &e))?;
    write_whole(path, &file)
}

/// Writes bytes to a file so that it is either whole or untouched. A link is followed; a device or a pipe takes the bytes as
/// they come and stays what it is.
///
/// # Errors
/// If the file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::file(path, format!("cannot be written: {}", io_words(&e)));
    match Target::of(path)? {
        Target::Stream => fs::write(path, bytes).map_err(failed),
        Target::File { file, temporary } => {
            fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, &file)).map_err(|e| {
                // What is left of the attempt goes; that it is not there is no second error.
                drop(fs::remove_file(&temporary));
                failed(e)
            })
        }
    }
}

/// Whether [`write_whole`] could write there: for saying so before long work. Nothing that is there is changed.
///
/// # Errors
/// If it is a folder, its folder is not there, or nothing can be made in it.
pub fn can_write(path: &Path) -> Result<()> {
    match Target::of(path)? {
        Target::Stream => Ok(()),
        Target::File { temporary, .. } => fs::write(&temporary, [])
            .and_then(|()| fs::remove_file(&temporary))
            .map_err(|e| Error::file(path, format!("cannot be written: {}", io_words(&e)))),
    }
}

/// What a path to be written leads to.
enum Target {
    /// A file, there or not, and the name that its bytes go under first.
    File { file: PathBuf, temporary: PathBuf },
    /// A device or a pipe, which a rename would replace.
    Stream,
}

impl Target {
    fn of(path: &Path) -> Result<Self> {
        let file = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(Error::file(path, "is a folder; name a file")),
            Ok(found) if !found.is_file() => return Ok(Target::Stream),
            Ok(_) => {
                fs::canonicalize(path).map_err(|e| Error::file(path, format!("cannot be written: {}", io_words(&e))))?
            }
            Err(_) => path.to_path_buf(),
        };
        let name = file.file_name().ok_or_else(|| Error::file(path, "is not the name of a file"))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        let temporary = file.with_file_name(part);
        Ok(Target::File { file, temporary })
    }
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the format's enum is open: what has no counterpart is refused")]
    match dtype {
        Dtype::BOOL => Some(DType::Bool),
        Dtype::I8 => Some(DType::I8),
        Dtype::I16 => Some(DType::I16),
        Dtype::I32 => Some(DType::I32),
        Dtype::I64 => Some(DType::I64),
        Dtype::U8 => Some(DType::U8),
        Dtype::U16 => Some(DType::U16),
        Dtype::U32 => Some(DType::U32),
        Dtype::U64 => Some(DType::U64),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::F8_E4M3 => Some(DType::F8E4M3),
        Dtype::F8_E5M2 => Some(DType::F8E5M2),
        _ => None,
    }
}

fn format_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F8E4M3 => Dtype::F8_E4M3,
        DType::F8E5M2 => Dtype::F8_E5M2,
    }
}

#[cfg(test)]
mod tests {
    use super::{TensorFile, can_write, write_tensors, write_whole};
    use crate::Tensor;
    use pantile_ir::DType;
    use std::fs;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let (a, b) =
            (Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]).unwrap(), Tensor::zeros(DType::F8E4M3, &[0, 3]).unwrap());
        write_tensors(&path, &[("a", &a.permute(&[1, 0]).unwrap()), ("b", &b)], &[("grid", "1,2,3".into())]).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.names().unwrap(), ["a", "b"]);
        assert_eq!(file.metadata()["grid"], "1,2,3");
        assert_eq!(file.tensor("a").unwrap().to_vec::<i32>().unwrap(), [1, 3, 2, 4]);
        assert_eq!(
            (file.tensor("b").unwrap().dtype(), file.tensor("b").unwrap().shape()),
            (DType::F8E4M3, &[0, 3][..])
        );
        assert!(file.tensor("c").unwrap_err().to_string().contains("it has a, b"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        write_tensors(&path, &[("a", &Tensor::from_slice(&[3], &[1.0f32; 3]).unwrap())], &[]).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            assert!(TensorFile::from_bytes("x", whole[..end].to_vec()).is_err(), "{end} bytes");
        }
        let mut long = whole;
        long.push(0);
        assert!(TensorFile::from_bytes("x", long).is_err());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("taken");
        fs::create_dir_all(target.join("inside")).unwrap();
        let t = Tensor::zeros(DType::U8, &[1]).unwrap();
        assert!(write_tensors(&target, &[("t", &t)], &[]).is_err());
        assert!(write_tensors(dir.path().join("missing/x"), &[("t", &t)], &[]).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_can_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("there");
        fs::write(&file, b"as it was").unwrap();
        can_write(&file).unwrap();
        can_write(&dir.path().join("new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"as it was");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for wrong in [dir.path().to_path_buf(), dir.path().join("no/x"), file.join("x")] {
            assert!(can_write(&wrong).is_err(), "{}", wrong.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_pipes_stay_pipes() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, b"old").unwrap();
        symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");

        // A pipe stands for every device: no test may risk one of the machine's.
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_whole(&pipe, b"bytes").unwrap();
        assert_eq!(reader.join().unwrap(), b"bytes");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}
