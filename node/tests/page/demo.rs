//! A demo's network that stays up, and what is done to it beside the demo.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_node::keys::AccountKey;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId, TransactionId};
use agon_protocol::metric::Tally;
use agon_protocol::transactions::{Action, Transaction};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, World};

/// `agon demo --keep`, ended when dropped.
pub(crate) struct Demo<'a> {
    world: &'a World,
    child: Child,
    /// Address of the page, with a slash at its end.
    pub(crate) page: String,
}

impl<'a> Demo<'a> {
    /// Starts the demo and waits until it says where its page is.
    pub(crate) fn start(world: &'a World) -> Self {
        let arguments = ["demo", "--keep", "--data-dir", &world.text("demo")];
        let child = world
            .command("home", &arguments)
            .stdout(fs::File::create(world.path("result")).unwrap())
            .stderr(fs::File::create(world.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut demo = Self {
            world,
            child,
            page: String::new(),
        };
        demo.page = demo.wait_for_line("Watch it live: ");
        demo
    }

    /// Waits until the demo has said a line with this beginning: its rest.
    pub(crate) fn wait_for_line(&mut self, beginning: &str) -> String {
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(self.world.path("log")).unwrap();
            // a line counts when it has ended
            let mut lines = log
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            if let Some(rest) = lines.find_map(|line| line.strip_prefix(beginning)) {
                return rest.trim_end().to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the demo ended: {log}");
            assert!(start.elapsed() < PATIENCE, "no {beginning:?}: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.page)
    }

    /// Ctrl-C: the demo's exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }

    /// The demo's host opens another competition, as anybody does by the command line.
    pub(crate) fn open_competition(&self, title: &str, description: &str) -> CompetitionId {
        let data = self.world.text("demo/host/digits.npz");
        let line = [
            "competition",
            "open",
            "--json",
            "--node",
            &self.page,
            "--data",
            &data,
            "--title",
            title,
            "--description",
            description,
            "--prize",
            "70",
            "--bond",
            "10",
            "--deposit",
            "5",
            "--register-for",
            "15s",
            "--key-for",
            "120s",
            "--prove-for",
            "120s",
        ];
        let opened = self.world.run_as("demo/host", &line).json(0);
        opened["competition"].as_str().unwrap().parse().unwrap()
    }

    /// The demo's host releases the key, as soon as it may.
    pub(crate) fn release_key(&self, competition: CompetitionId) {
        let id = competition.to_string();
        let line = [
            "competition",
            "release-key",
            &id,
            "--wait",
            "--node",
            &self.page,
        ];
        self.world.run_as("demo/host", &line).succeeds();
    }

    /// A competitor registers a commitment that nothing opens.
    pub(crate) fn register_nothing(&self, competition: CompetitionId) -> RegistrationId {
        let model = ModelDigest::from_raw([7; 32]);
        let client = self.client();
        let start = Instant::now();
        while client.competition(&competition).unwrap().summary.phase != "open" {
            assert!(start.elapsed() < PATIENCE, "registration never opens");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.send(Action::Register { competition, model });
        loop {
            let ids = client.competition(&competition).unwrap().registration_ids;
            if let Some(id) = ids.first() {
                return *id;
            }
            assert!(start.elapsed() < PATIENCE, "no registration");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The competitor claims a perfect score with a proof that is none.
    pub(crate) fn submit_nonsense(&self, registration: RegistrationId) -> TransactionId {
        let stored = self.client().put_blob(b"trust me").unwrap();
        self.send(Action::SubmitProof {
            registration,
            tally: Tally::of_hits(540),
            proof: BlobRef {
                id: stored.id,
                length: stored.length,
            },
        })
    }

    fn send(&self, action: Action) -> TransactionId {
        let client = self.client();
        let key = AccountKey::load(&self.world.path("demo/competitor-0/key")).unwrap();
        let transaction = Transaction {
            network: client.status().unwrap().network,
            sender: key.account(),
            nonce: client.account(&key.account()).unwrap().nonce,
            action,
        };
        client.send(&key.sign(transaction)).unwrap().id
    }
}

impl Drop for Demo<'_> {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its children in order; it may have ended already
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
