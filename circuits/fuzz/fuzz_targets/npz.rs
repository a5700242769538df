//! See [`agon_fuzz::npz`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::npz(bytes));
