//! Code that is wrong.
