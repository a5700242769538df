//! See [`agon_fuzz::commitment`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::commitment(bytes));
