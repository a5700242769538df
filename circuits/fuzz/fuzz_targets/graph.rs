//! See [`agon_fuzz::graph`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::graph(bytes));
