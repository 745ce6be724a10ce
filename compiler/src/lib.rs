//! The compiler: names, constants and types of Pantile source, its elaboration to Tile IR, passes over that, and plans of
//! pipelines. Nothing here executes code or reads files.

#![allow(dead_code)]

mod bindings;
mod check;

pub use bindings::Bindings;
