//! What this program is: its version, the commit it was built from, the rules that it knows, and its target.

use std::sync::LazyLock;

use agon_protocol::governance::KNOWN_PROTOCOL_VERSION;

static LONG: LazyLock<String> = LazyLock::new(|| {
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    let mut line = |name: &str, value: &str| text.push_str(&format!("\n{name:<8}{value}"));
    // not known outside a clone
    let commit = env!("AGON_BUILD_COMMIT");
    if !commit.is_empty() {
        line("commit", commit);
    }
    line("rules", &format!("version {KNOWN_PROTOCOL_VERSION}"));
    line("target", env!("AGON_BUILD_TARGET"));
    text
});

/// What `agon --version` says; `-V` says the first line.
pub(super) fn long_version() -> &'static str {
    &LONG
}
