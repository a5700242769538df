//! See [`agon_fuzz::csv`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::csv(bytes));
