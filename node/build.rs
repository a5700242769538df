//! Says which commit is built, and for which target: `agon --version` shows both.
//!
//! `AGON_COMMIT`, e.g. of a release script that builds outside a clone, comes before what git says; empty, it means none. Git is
//! asked when sources changed, not at every commit: that would build everything again for a line of text.

use std::env;
use std::process::Command;

/// What the program is made of.
const SOURCES: [&str; 6] = [
    "src",
    "consensus/src",
    "network/src",
    "../circuits/src",
    "../protocol-spec/src",
    "../Cargo.lock",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AGON_COMMIT");
    let commit = env::var("AGON_COMMIT").ok().or_else(of_clone);
    println!(
        "cargo::rustc-env=AGON_BUILD_COMMIT={}",
        commit.unwrap_or_default()
    );
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=AGON_BUILD_TARGET={target}");
}

/// `d244dfe47a12 of 2026-11-25`, with what is not committed said, if this is a clone and git is there.
fn of_clone() -> Option<String> {
    for sources in SOURCES {
        println!("cargo::rerun-if-changed={sources}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let date = git(&["show", "--no-patch", "--format=%cs", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let changes = if changed { ", with changes" } else { "" };
    Some(format!("{commit} of {date}{changes}"))
}

/// What git answers; nothing when it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
