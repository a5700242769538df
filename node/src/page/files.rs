//! The files of the page, embedded in the binary.

/// A file as it is served.
#[derive(Debug)]
pub(super) struct File {
    /// Its name below `/assets/`.
    pub(super) name: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) bytes: &'static [u8],
}

impl File {
    /// What changes with the bytes, quoted as an entity tag.
    pub(super) fn tag(&self) -> String {
        let hash = blake3::hash(self.bytes).to_hex();
        format!("\"{}\"", &hash[..32])
    }
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the folder `assets`.
macro_rules! file {
    ($name:literal, $kind:expr) => {
        File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("assets/", $name)),
        }
    };
}

/// What every view begins with.
pub(super) const INDEX: File = file!("index.html", HTML);

/// What it asks for.
pub(super) const FILES: &[File] = &[
    file!("style.css", STYLE),
    file!("parts.css", STYLE),
    file!("icon.svg", IMAGE),
    file!("theme.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("live.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("parts.js", SCRIPT),
    file!("phases.js", SCRIPT),
    file!("rules.js", SCRIPT),
    file!("submissions.js", SCRIPT),
    file!("charts.js", SCRIPT),
    file!("view-competitions.js", SCRIPT),
    file!("view-competition.js", SCRIPT),
    file!("view-submission.js", SCRIPT),
    file!("view-network.js", SCRIPT),
    file!("view-account.js", SCRIPT),
];
