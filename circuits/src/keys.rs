//! The keys of a layout's circuit. They depend on the layout alone, so a verifier makes each once and keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use blake2b_simd::Params;
use halo2_proofs::plonk::{Error, ProvingKey, VerifyingKey, keygen_pk, keygen_vk};

use crate::circuit::{ScoreCircuit, with_layout};
use crate::field::Point;
use crate::generators::Generators;
use crate::layout::Layout;

/// Layouts whose keys are kept: a competition has few, and the widest circuit's key takes some MiB.
const KEPT: usize = 64;

/// A verifying key with its fingerprint.
#[derive(Debug)]
pub(crate) struct CircuitKey {
    pub(crate) key: VerifyingKey<Point>,
    /// Hash of the key's pinned form: gates, fixed columns, domain.
    pub(crate) fingerprint: [u8; 64],
}

impl CircuitKey {
    /// Makes the key. To be called within [`with_layout`].
    fn generate(generators: &Generators, layout: &Layout) -> Result<Self, Error> {
        let key = keygen_vk(generators.params(), &ScoreCircuit::empty(layout))?;
        let mut params = Params::new();
        params.hash_length(64).personal(b"agon-circuit-key");
        let fingerprint = *params
            .hash(format!("{:?}", key.pinned()).as_bytes())
            .as_array();
        Ok(Self { key, fingerprint })
    }

    /// Makes the key of `layout`.
    pub(crate) fn of(generators: &Generators, layout: &Layout) -> Result<Self, Error> {
        with_layout(layout, || Self::generate(generators, layout))?
    }

    /// The proving key that belongs to it.
    pub(crate) fn proving_key(
        self,
        generators: &Generators,
        layout: &Layout,
    ) -> Result<ProvingKey<Point>, Error> {
        with_layout(layout, || {
            keygen_pk(generators.params(), self.key, &ScoreCircuit::empty(layout))
        })?
    }
}

/// Keys by layout, made when first needed. When full it starts afresh: keys cost little to make again.
#[derive(Debug, Default)]
pub(crate) struct KeyCache(Mutex<HashMap<Layout, Arc<CircuitKey>>>);

impl KeyCache {
    pub(crate) fn get(
        &self,
        generators: &Generators,
        layout: &Layout,
    ) -> Result<Arc<CircuitKey>, Error> {
        let lock = || {
            self.0
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        };
        if let Some(key) = lock().get(layout) {
            return Ok(key.clone());
        }
        let key = Arc::new(CircuitKey::of(generators, layout)?);
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(layout.clone(), key.clone());
        Ok(key)
    }
}
