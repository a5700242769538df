//! See [`agon_fuzz::proven_chunk`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::proven_chunk(bytes));
