//! Tests of elaboration.
