//! See [`agon_fuzz::onnx`].

#![no_main]

// the importer turns panics of tract into errors: only one that leaves it is a finding, not one that libFuzzer's hook sees
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes| agon_fuzz::onnx(bytes)
);
