//! Who stays away, until when and why. The list survives a restart: it is a small text file, one ban a line.
//!
//! ```text
//! 12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X 1795612345000 invalid_transaction
//! 192.0.2.7 1795612345000 invalid_transaction
//! ```
//!
//! The time is in milliseconds since 1970. What the operator bans or exempts in the settings is not in the file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use thiserror::Error;

use super::gate::subnet;

/// Bans that are remembered; keys are free, so memory for them is not.
pub(super) const MAX_BANS: usize = 10_000;
/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Longest reason that is read.
const MAX_REASON_BYTES: usize = 64;

/// Who is banned, or never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A transport identity.
    Peer(PeerId),
    /// An IP address; of IPv6 its /64.
    Address(IpAddr),
}

/// Text that names neither a peer nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write a peer id such as 12D3KooW… or an IP address such as 192.0.2.7")]
pub struct NotASubject;

impl Subject {
    /// An address, as it is compared.
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(subnet(ip))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Address(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::address(ip));
        }
        text.parse().map(Self::Peer).map_err(|_| NotASubject)
    }
}

/// A ban, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub subject: Subject,
    /// Until when, in milliseconds since 1970; `None` when the operator said so.
    pub until_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

#[derive(Debug, Clone)]
struct Entry {
    until_ms: u64,
    reason: String,
    /// Whether it is worth a line in the file.
    lasting: bool,
}

/// The bans of a node.
#[derive(Debug, Default)]
pub(super) struct Bans {
    entries: HashMap<Subject, Entry>,
    by_operator: HashSet<Subject>,
    exempt: HashSet<Subject>,
    changed: bool,
}

/// Milliseconds since 1970: bans outlive the process, so they end by the clock of the machine.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Bans {
    /// The bans of the operator; an exemption is stronger.
    pub(super) fn new(by_operator: &[Subject], exempt: &[Subject]) -> Self {
        let exempt: HashSet<Subject> = exempt.iter().copied().collect();
        let by_operator = by_operator.iter().copied();
        Self {
            by_operator: by_operator.filter(|who| !exempt.contains(who)).collect(),
            exempt,
            ..Self::default()
        }
    }

    /// Adds what a former run left in `text`. Lines that say nothing are left out.
    pub(super) fn read(&mut self, text: &str, now_ms: u64) {
        for line in text.lines().take(MAX_BANS) {
            let mut words = line.split_ascii_whitespace();
            let subject = words.next().and_then(|word| word.parse().ok());
            let until_ms = words.next().and_then(|word| word.parse().ok());
            let reason = words.next().filter(|word| word.len() <= MAX_REASON_BYTES);
            let (Some(subject), Some(until_ms), Some(reason)) = (subject, until_ms, reason) else {
                tracing::warn!("a line of the ban list cannot be read and is left out");
                continue;
            };
            if until_ms > now_ms && !self.exempt.contains(&subject) {
                let entry = Entry {
                    until_ms,
                    reason: reason.to_owned(),
                    lasting: true,
                };
                self.entries.insert(subject, entry);
            }
        }
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.lasting)
            .map(|(subject, entry)| format!("{subject} {} {}\n", entry.until_ms, entry.reason))
            .collect();
        lines.sort();
        lines.concat()
    }

    /// Whether the file should be written again; says so once for each change.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Bans, unless the operator exempts the subject. Says whether it is banned now. When too many are remembered, the one that ends
    /// first is forgotten, and added to `lifted`.
    pub(super) fn ban(
        &mut self,
        subject: Subject,
        length: Duration,
        reason: &str,
        lasting: bool,
        now_ms: u64,
        lifted: &mut Vec<Subject>,
    ) -> bool {
        if self.exempt.contains(&subject) {
            return false;
        }
        if self.entries.len() >= MAX_BANS && !self.entries.contains_key(&subject) {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.until_ms);
            if let Some(first) = first.map(|(subject, _)| *subject) {
                self.entries.remove(&first);
                if !self.by_operator.contains(&first) {
                    lifted.push(first);
                }
            }
        }
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let entry = Entry {
            until_ms: now_ms.saturating_add(length_ms),
            reason: reason.to_owned(),
            lasting,
        };
        self.entries.insert(subject, entry);
        self.changed |= lasting;
        true
    }

    pub(super) fn holds(&self, subject: &Subject) -> bool {
        self.by_operator.contains(subject) || self.entries.contains_key(subject)
    }

    /// Ends the bans whose time is over, and returns who may come back.
    pub(super) fn tidy(&mut self, now_ms: u64) -> Vec<Subject> {
        let over: Vec<Subject> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.until_ms <= now_ms)
            .map(|(subject, _)| *subject)
            .collect();
        for subject in &over {
            self.entries.remove(subject);
            self.changed = true;
        }
        over.into_iter()
            .filter(|subject| !self.by_operator.contains(subject))
            .collect()
    }

    /// All bans, by subject.
    pub(super) fn list(&self) -> Vec<Ban> {
        let timed = self.entries.iter().map(|(subject, entry)| Ban {
            subject: *subject,
            until_ms: Some(entry.until_ms),
            reason: entry.reason.clone(),
        });
        let lasting = self.by_operator.iter().map(|subject| Ban {
            subject: *subject,
            until_ms: None,
            reason: "operator".into(),
        });
        let mut list: Vec<Ban> = timed.chain(lasting).collect();
        list.sort_by_key(|ban| (ban.subject, ban.until_ms));
        list
    }
}

/// The text of a ban list that a former run left; empty when there is none.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE_BYTES => {
            Err(io::Error::other("it is too long for a ban list"))
        }
        Ok(_) => fs::read_to_string(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Writes the list whole or not at all.
pub(super) fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut new: PathBuf = path.to_owned();
    new.as_mut_os_string().push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn bans() -> Bans {
        Bans::default()
    }

    fn ban(bans: &mut Bans, subject: Subject, length: Duration, now_ms: u64) -> Vec<Subject> {
        let mut lifted = Vec::new();
        bans.ban(subject, length, "invalid_block", true, now_ms, &mut lifted);
        lifted
    }

    fn peer() -> Subject {
        Subject::Peer(PeerId::random())
    }

    #[test]
    fn the_list_survives_a_restart_without_what_is_over() {
        let mut first = bans();
        let (long, short) = (peer(), Subject::address("192.0.2.7".parse().unwrap()));
        ban(&mut first, long, HOUR, 0);
        ban(&mut first, short, HOUR / 2, 0);
        first.ban(peer(), HOUR, "other_network", false, 0, &mut Vec::new());
        assert!(first.take_changed() && !first.take_changed());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans.txt");
        assert_eq!(read_file(&path).unwrap(), "");
        write_file(&path, &first.text()).unwrap();
        let mut second = bans();
        let half = HOUR.as_millis() as u64 / 2;
        second.read(&read_file(&path).unwrap(), half);
        let expected = Ban {
            subject: long,
            until_ms: Some(2 * half),
            reason: "invalid_block".into(),
        };
        assert_eq!(second.list(), [expected]);
        assert_eq!(second.tidy(2 * half), [long]);
        assert!(second.list().is_empty());
    }

    #[test]
    fn lines_that_say_nothing_are_left_out() {
        let mut bans = bans();
        let good = format!("{} 9 x", peer());
        bans.read(&format!("\n?\n192.0.2.7\n192.0.2.7 soon x\n{good}\n"), 0);
        assert_eq!(bans.list().len(), 1);
        let long = format!("192.0.2.7 9 {}", "x".repeat(65));
        bans.read(&long, 0);
        assert_eq!(bans.list().len(), 1);
    }

    #[test]
    fn the_operator_bans_for_ever_and_exempts() {
        let (banned, friend) = (peer(), peer());
        let mut bans = Bans::new(&[banned, friend], &[friend]);
        assert!(bans.holds(&banned) && !bans.holds(&friend));
        assert!(!bans.ban(friend, HOUR, "x", true, 0, &mut Vec::new()));
        ban(&mut bans, banned, HOUR, 0);
        assert!(bans.tidy(u64::MAX).is_empty(), "it stays away");
        assert!(bans.holds(&banned));
        bans.read(&format!("{friend} {} x", u64::MAX), 0);
        assert!(!bans.holds(&friend));
    }

    #[test]
    fn remembers_a_bounded_number_of_bans() {
        let mut bans = bans();
        let first = peer();
        ban(&mut bans, first, Duration::from_secs(1), 0);
        for _ in 1..MAX_BANS {
            assert!(ban(&mut bans, peer(), HOUR, 0).is_empty());
        }
        assert_eq!(ban(&mut bans, peer(), HOUR, 0), [first]);
        assert_eq!(bans.list().len(), MAX_BANS);
    }

    #[test]
    fn subjects_are_peers_or_addresses() {
        for subject in [peer(), Subject::address("192.0.2.7".parse().unwrap())] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        let subnet: Subject = "2001:db8::1".parse().unwrap();
        assert_eq!(subnet, "2001:db8::2".parse().unwrap());
        assert_eq!("somebody".parse::<Subject>(), Err(NotASubject));
    }
}
