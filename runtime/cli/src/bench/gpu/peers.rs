//! The peers that run, each a process of its own, and what is handed to all of them. What they are asked for is written in
//! `plan.rs`; that a peer is not there is no error.

use std::cell::RefCell;
use std::path::PathBuf;

use pantile::{Tensor, io_words};
use serde_json::Value;

use super::super::cases::Side;
use super::super::peer::{Python, Script};
use super::plan::Offer;
use crate::failure::{Failure, input};

/// A library to measure beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Torch,
    Triton,
    Fa3,
    Fa4,
}

impl Peer {
    const ALL: [Peer; 4] = [Peer::Torch, Peer::Triton, Peer::Fa3, Peer::Fa4];

    /// As the command line and the script call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Peer::Torch => "torch",
            Peer::Triton => "triton",
            Peer::Fa3 => "fa3",
            Peer::Fa4 => "fa4",
        }
    }
}

/// A peer, and the Python that has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub peer: Peer,
    pub python: String,
}

/// What is asked for: `--torch PYTHON` all peers, each `--peer NAME[=PYTHON]` that one.
pub(super) fn asked(torch: Option<&str>, peers: &[String]) -> Result<Vec<Asked>, Failure> {
    if peers.is_empty() {
        let all = torch.map(|python| Peer::ALL.map(|peer| Asked { peer, python: python.to_owned() }));
        return Ok(all.into_iter().flatten().collect());
    }
    let one = |text: &String| {
        let (name, python) = text.split_once('=').map_or((text.as_str(), None), |(name, python)| (name, Some(python)));
        let Some(peer) = Peer::ALL.into_iter().find(|p| p.name() == name) else {
            return input(format!("`--peer {text}`: there are {}", Peer::ALL.map(Peer::name).join(", ")));
        };
        match python.or(torch) {
            Some(python) => Ok(Asked { peer, python: python.to_owned() }),
            None => {
                input(format!("`--peer {text}` names no Python; write `{name}=PYTHON`, or `--torch PYTHON` for all"))
            }
        }
    };
    peers.iter().map(one).collect()
}

/// Those that run.
pub(super) struct Peers {
    asked: Vec<Asked>,
    running: Vec<(Peer, RefCell<Python>)>,
    device: String,
    /// Where tensors lie while they are handed over.
    folder: PathBuf,
}

impl Peers {
    /// Starts those that there are; `absent` is told of the others.
    pub(super) fn start(asked: Vec<Asked>, device: &str, mut absent: impl FnMut(&str)) -> Self {
        let folder = std::env::temp_dir().join(format!("pantile-bench-{}", std::process::id()));
        let mut running = Vec::new();
        for Asked { peer, python } in &asked {
            match process(*peer, python, device) {
                Ok(process) => running.push((*peer, RefCell::new(process))),
                Err(why) => absent(&format!("{}: not in `{python}` ({why})", peer.name())),
            }
        }
        Self { asked, running, device: device.to_owned(), folder }
    }

    /// What they say of themselves.
    pub(super) fn versions(&self) -> Vec<String> {
        self.running.iter().map(|(_, python)| python.borrow().version.clone()).collect()
    }

    /// A process that has run nothing yet.
    pub(super) fn fresh(&self, peer: Peer) -> Result<Python, String> {
        let asked = self.asked.iter().find(|a| a.peer == peer).ok_or_else(|| missing(peer))?;
        process(peer, &asked.python, &self.device)
    }

    pub(super) fn of(&self, peer: Peer) -> Result<&RefCell<Python>, String> {
        self.running.iter().find(|(p, _)| *p == peer).map(|(_, python)| python).ok_or_else(|| missing(peer))
    }

    /// Makes all forget what they had, and gives them tensors.
    pub(super) fn hand_over(&self, tensors: &[(&str, &Tensor)]) -> Result<(), Failure> {
        let told = |why: String| Failure::Input(format!("a peer does not take its tensors: {why}"));
        for (_, python) in &self.running {
            python.borrow_mut().ask(&serde_json::json!({ "do": "forget" })).map_err(told)?;
        }
        if self.running.is_empty() {
            return Ok(());
        }
        let written = |e: std::io::Error| Failure::Input(format!("{}: {}", self.folder.display(), io_words(&e)));
        std::fs::create_dir_all(&self.folder).map_err(written)?;
        for (name, tensor) in tensors {
            let path = self.folder.join(name);
            std::fs::write(&path, tensor.to_bytes()?).map_err(written)?;
            for (_, python) in &self.running {
                python.borrow_mut().load_file(name, &path, tensor.shape(), tensor.dtype()).map_err(told)?;
            }
            std::fs::remove_file(&path).map_err(written)?;
        }
        Ok(())
    }

    /// A peer's side of a comparison, made ready.
    pub(super) fn side<'a>(&'a self, offer: &Offer, tensors: &[&str], more: &Value) -> Side<'a> {
        let op = offer.op;
        let ready = self.of(offer.peer).and_then(|python| {
            python.borrow_mut().prepare(op, op, tensors, more)?;
            Ok(python)
        });
        Box::new(move || ready.clone()?.borrow_mut().time(op))
    }

    /// Some rows of a peer's result, if it has one.
    pub(super) fn rows(&self, offer: &Offer, rows: &[usize]) -> Option<Vec<f32>> {
        self.of(offer.peer).ok().and_then(|python| python.borrow_mut().rows(offer.op, rows).ok())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It may never have been there.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn missing(peer: Peer) -> String {
    format!("no {}", peer.name())
}

fn process(peer: Peer, python: &str, device: &str) -> Result<Python, String> {
    let files = [("peers.py", include_str!("peers.py")), ("triton_kernels.py", include_str!("triton_kernels.py"))];
    Python::start(python, &Script { files: &files, args: &[peer.name(), device] })
}

#[cfg(test)]
mod tests {
    use super::{Asked, Peer, asked, process};

    #[test]
    fn peers_are_asked_for_by_name_each_with_its_python() {
        let one = |peer, python: &str| Asked { peer, python: python.into() };
        assert_eq!(asked(None, &[]).expect("nothing"), []);
        assert_eq!(asked(Some("py"), &[]).expect("all").len(), 4);
        let some = asked(Some("py"), &["triton".into(), "fa3=/x/py".into()]).expect("two");
        assert_eq!(some, [one(Peer::Triton, "py"), one(Peer::Fa3, "/x/py")]);
        assert!(asked(None, &["fa3".into()]).is_err() && asked(Some("py"), &["fa9".into()]).is_err());
    }

    #[test]
    fn a_python_without_a_peer_says_so_and_one_that_is_not_there_too() {
        // Whatever is installed, this has no GPU named `nowhere`.
        let why = process(Peer::Fa4, "python3", "nowhere").err().unwrap_or_default();
        assert!(why.contains("Error") || why.contains("does not start"), "{why}");
        let why = process(Peer::Torch, "/nowhere/python", "cpu").err().unwrap_or_default();
        assert!(why.contains("does not start"), "{why}");
    }
}
