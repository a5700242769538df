//! See [`agon_fuzz::submission`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::submission(bytes));
