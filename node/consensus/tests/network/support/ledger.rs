//! A ledger that counts: a block is its height, its parent, its maker and a payload. Whole chain in one file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_consensus::{Application, ApplicationError, CertifiedBlock, Check, Evidence, Validator};
use agon_protocol::codec::{Decode, Encode, Reader};
use agon_protocol::digest::BlockId;
use agon_protocol::units::Height;
use tokio::sync::watch;

/// What a test may turn while a validator runs, and what it sees of it.
#[derive(Debug)]
pub(crate) struct Controls {
    /// There is work: no rest between blocks.
    pub(crate) busy: AtomicBool,
    /// No verdict on blocks of others.
    pub(crate) undecided: AtomicBool,
    /// The clock agrees with no block of others.
    pub(crate) untimely: AtomicBool,
    /// Makes wrong blocks, and finds nothing wrong with them.
    pub(crate) corrupt: AtomicBool,
    /// Commits fail.
    pub(crate) full_disk: AtomicBool,
    /// How often a block of somebody else was judged.
    pub(crate) checks: AtomicU64,
    /// How many blocks were made, by height.
    pub(crate) proposed: Mutex<BTreeMap<u64, u64>>,
    /// How often a certificate of an already committed block came with more signatures.
    pub(crate) fuller: AtomicU64,
    /// The validators by the first height that they decide; the first entry is for height 1.
    pub(crate) sets: Mutex<BTreeMap<u64, Vec<Validator>>>,
    /// The evidence of double-signing that was handed over.
    pub(crate) evidence: Mutex<Vec<Evidence>>,
    pub(crate) chain: watch::Sender<Vec<BlockId>>,
    pub(crate) payloads: Mutex<Vec<Vec<u8>>>,
}

impl Controls {
    pub(crate) fn new(validators: Vec<Validator>) -> Self {
        Self {
            sets: Mutex::new([(1, validators)].into()),
            evidence: Mutex::default(),
            busy: AtomicBool::new(true),
            undecided: AtomicBool::default(),
            untimely: AtomicBool::default(),
            corrupt: AtomicBool::default(),
            full_disk: AtomicBool::default(),
            checks: AtomicU64::default(),
            proposed: Mutex::default(),
            fuller: AtomicU64::default(),
            chain: watch::channel(Vec::new()).0,
            payloads: Mutex::default(),
        }
    }

    /// Who decides a height.
    pub(crate) fn set_at(&self, height: u64) -> Vec<Validator> {
        let sets = self.sets.lock().unwrap();
        sets.range(..=height).next_back().unwrap().1.clone()
    }
}

const BAD: &[u8] = b"bad";

struct Block {
    height: u64,
    parent: BlockId,
    maker: u64,
    payload: Vec<u8>,
}

impl Block {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let block = Self {
            height: u64::decode(&mut reader).ok()?,
            parent: BlockId::decode(&mut reader).ok()?,
            maker: u64::decode(&mut reader).ok()?,
            payload: reader.bytes(1 << 20, "payload").ok()?,
        };
        reader.finish().ok()?;
        Some(block)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.height.encode(&mut out);
        self.parent.encode(&mut out);
        self.maker.encode(&mut out);
        agon_protocol::codec::encode_bytes(&self.payload, &mut out);
        out
    }
}

pub(crate) struct Ledger {
    number: u64,
    file: File,
    blocks: Vec<CertifiedBlock>,
    controls: Arc<Controls>,
}

/// Reads the chain of a ledger file; a record cut short by a crash at the end does not count.
pub(crate) fn read_chain(path: &Path) -> (Vec<CertifiedBlock>, u64) {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        file.read_to_end(&mut bytes).unwrap();
    }
    let mut blocks = Vec::new();
    let mut whole = 0;
    let mut reader = Reader::new(&bytes);
    while let Ok(record) = reader.bytes(8 << 20, "record") {
        blocks.push(CertifiedBlock::from_bytes(&record).unwrap());
        whole = (bytes.len() - reader.remaining()) as u64;
    }
    (blocks, whole)
}

/// Writes the ledger file of a chain.
pub(crate) fn write_chain(path: &Path, blocks: &[CertifiedBlock]) {
    let mut bytes = Vec::new();
    for block in blocks {
        agon_protocol::codec::encode_bytes(&block.to_bytes(), &mut bytes);
    }
    std::fs::write(path, bytes).unwrap();
}

impl Ledger {
    pub(crate) fn open(path: &Path, number: u64, controls: Arc<Controls>) -> Self {
        let (blocks, whole) = read_chain(path);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.set_len(whole).unwrap();
        let ids = blocks.iter().map(|block| block.certificate.block).collect();
        controls.chain.send_replace(ids);
        Self {
            number,
            file,
            blocks,
            controls,
        }
    }

    fn tip(&self) -> BlockId {
        match self.blocks.last() {
            Some(block) => block.certificate.block,
            None => BlockId::of(b"genesis"),
        }
    }
}

impl Application for Ledger {
    fn height(&self) -> Height {
        Height::new(self.blocks.len() as u64)
    }

    fn validators(&self) -> Vec<Validator> {
        self.controls.set_at(self.height().get() + 1)
    }

    fn evidence(&mut self, evidence: &Evidence) -> Result<(), ApplicationError> {
        self.controls
            .evidence
            .lock()
            .unwrap()
            .push(evidence.clone());
        Ok(())
    }

    fn propose(&mut self, height: Height) -> Result<Vec<u8>, ApplicationError> {
        let mut proposed = self.controls.proposed.lock().unwrap();
        let count = proposed.entry(height.get()).or_default();
        *count += 1;
        let payload = match self.controls.corrupt.load(Ordering::SeqCst) {
            true => BAD.to_vec(),
            false => count.to_string().into_bytes(),
        };
        let block = Block {
            height: height.get(),
            parent: self.tip(),
            maker: self.number,
            payload,
        };
        Ok(block.encode())
    }

    fn timely(&self, _: &[u8]) -> bool {
        !self.controls.untimely.load(Ordering::SeqCst)
    }

    fn check(&mut self, bytes: &[u8]) -> Check {
        let Some(block) = Block::decode(bytes) else {
            return Check::Invalid("not a block".into());
        };
        if self.controls.corrupt.load(Ordering::SeqCst) {
            return Check::Valid;
        }
        if block.height != self.height().get() + 1 || block.parent != self.tip() {
            return Check::Invalid("not on the tip".into());
        }
        if block.payload == BAD {
            return Check::Invalid("a bad payload".into());
        }
        if block.maker != self.number {
            self.controls.checks.fetch_add(1, Ordering::SeqCst);
            if self.controls.undecided.load(Ordering::SeqCst) {
                return Check::Undecided;
            }
        }
        Check::Valid
    }

    fn commit(&mut self, block: &CertifiedBlock) -> Result<(), ApplicationError> {
        if block.certificate.height <= self.height() {
            self.controls.fuller.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        if self.controls.full_disk.load(Ordering::SeqCst) {
            return Err("the disk is full".into());
        }
        let mut record = Vec::new();
        agon_protocol::codec::encode_bytes(&block.to_bytes(), &mut record);
        self.file.write_all(&record)?;
        self.file.sync_data()?;
        let payload = Block::decode(&block.block).ok_or("not a block")?.payload;
        self.controls.payloads.lock().unwrap().push(payload);
        self.blocks.push(block.clone());
        let id = block.certificate.block;
        self.controls.chain.send_modify(|chain| chain.push(id));
        Ok(())
    }

    fn certified(&self, height: Height) -> Result<Option<CertifiedBlock>, ApplicationError> {
        let index = height.get().checked_sub(1).ok_or("no block at height 0")?;
        Ok(self.blocks.get(index as usize).cloned())
    }

    fn rest(&self) -> Duration {
        match self.controls.busy.load(Ordering::SeqCst) {
            true => Duration::ZERO,
            false => Duration::MAX,
        }
    }
}
