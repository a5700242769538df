//! Every target under libFuzzer; `AGON_FUZZ_TARGET` names the one to run.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8]) -> bool> = LazyLock::new(|| {
    let name = std::env::var("AGON_FUZZ_TARGET").expect("set AGON_FUZZ_TARGET to a target's name");
    let target = agon_fuzz::targets().find(|target| target.name == name);
    target
        .expect("no such target: `agon-fuzz list` names them")
        .run
});

// the importer turns panics of tract into errors: only one that leaves a target is a finding, not one that libFuzzer's hook sees
libfuzzer_sys::fuzz_target!(
    init: if std::env::var("AGON_FUZZ_TARGET").as_deref() == Ok("onnx") {
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        TARGET(bytes);
    }
);
