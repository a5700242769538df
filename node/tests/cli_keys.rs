//! `agon key` and the manners of the command line.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;

use support::World;

#[test]
fn a_new_key_is_shown_again_and_is_private() {
    let world = World::new();
    let made = world.run(&["key", "new", "--json"]).json(0);
    let shown = world.run(&["key", "show", "--json"]).json(0);
    assert_eq!(made["account"], shown["account"]);
    assert_eq!(made["account"].as_str().unwrap().len(), 64);
    let file = world.path("home/key");
    assert_eq!(made["file"].as_str().unwrap(), file.to_str().unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn stdout_is_the_account_alone() {
    let world = World::new();
    let ran = world.run(&["key", "new", "--out", &world.text("k")]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout.trim_end().len(), 64, "{ran:?}");
    let secret = fs::read_to_string(world.path("k")).unwrap();
    assert!(!ran.stderr.contains(secret.trim()) && !ran.stdout.contains(secret.trim()));
}

#[test]
fn refuses_to_overwrite_a_key() {
    let world = World::new();
    assert_eq!(world.run(&["key", "new"]).code, 0);
    let before = fs::read(world.path("home/key")).unwrap();
    world.run(&["key", "new"]).is_bad_input("exists already");
    assert_eq!(fs::read(world.path("home/key")).unwrap(), before);
}

#[test]
fn rejects_a_missing_and_a_malformed_key() {
    let world = World::new();
    world
        .run(&["key", "show"])
        .is_bad_input("cannot read the key");
    let file = world.write("bad", "not a key");
    world
        .run(&["key", "show", &file])
        .is_bad_input("is not a key");
    world
        .run(&["key", "show", &world.text("")])
        .is_bad_input("cannot read the key");
}

#[test]
fn rejects_usage_errors_with_exit_code_2() {
    let world = World::new();
    for line in [
        &["frobnicate"][..],
        &["prove"],
        &["leaderboard", "xyz"],
        &["key", "show", "a", "b"],
        &[],
    ] {
        let ran = world.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line:?} {ran:?}");
        assert!(
            ran.stderr.contains("--help") || ran.stderr.contains("Usage"),
            "{ran:?}"
        );
    }
}

#[test]
fn help_and_version_are_data() {
    let world = World::new();
    let help = world.run(&["--help"]);
    assert_eq!(help.code, 0);
    for command in [
        "demo",
        "key",
        "node",
        "competition",
        "register",
        "submit",
        "leaderboard",
        "model",
        "prove",
        "verify",
    ] {
        assert!(help.stdout.contains(command), "{command}");
    }
    let version = world.run(&["-V"]);
    let name = concat!("agon ", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.stdout.trim_end(), name);
    // with the commit as well, where it is known
    let long = world.run(&["--version"]).stdout;
    assert!(long.starts_with(name), "{long}");
    for line in ["\nrules   version ", "\ntarget  "] {
        assert!(long.contains(line), "{long}");
    }
}

#[test]
fn says_what_to_do_when_no_node_answers() {
    let world = World::new();
    // port 9 (discard) on the loopback interface: nobody listens
    let url = ["--node", "http://127.0.0.1:9"];
    let id = "ab".repeat(32);
    for command in [
        &["competition", "list"][..],
        &["competition", "show", &id],
        &["leaderboard", &id],
    ] {
        let ran = world.run(&[command, &url].concat());
        ran.is_bad_input("no node answers");
        assert!(ran.stderr.contains("agon node run"), "{ran:?}");
    }
    world
        .run(&["competition", "list", "--node", "localhost"])
        .is_bad_input("is not the address");
}
