//! See [`agon_fuzz::onnx`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agon_fuzz::onnx(bytes));
