//! See [`agon_fuzz::committed_model`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::committed_model(bytes));
