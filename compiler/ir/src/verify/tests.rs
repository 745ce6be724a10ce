//! Broken functions.
