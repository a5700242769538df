//! The keys, one of each kind for a number of rows. They are pinned: a build that makes others would neither accept
//! nor make the proofs of the rest of the world.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use blake2b_simd::Params;
use halo2_proofs::plonk::{Error as Halo2Error, ProvingKey, VerifyingKey, keygen_pk, keygen_vk};
use thiserror::Error;

use crate::field::Point;
use crate::generators::Generators;
use crate::relations::circuit::{RelationsCircuit, on_own_thread};
use crate::relations::{MAX_K, MIN_K};

/// Fingerprints of the verifying keys, by `k`. Regenerate with
/// `cargo test --release -p agon-circuits -- --ignored relations_pins --nocapture`.
const PINNED: &[(u32, &str)] = &[
    (
        7,
        "2b646ad7d5ceba01223a2a01ef427a9e0e4647d8f496f37e0fa067ad9dd0b66e96ff7468d8fec2f2de0bb69d278dd7a99fc68804f5940bd581059dd824ad5b15",
    ),
    (
        8,
        "c8cccbb371d0f0098c1ac0cfb04d9415a60c8b8f0881f25f543b9687ac193dad10f38f9d6faa5a74b0d45e570b77274d1dfb52da9317a8d3e2606bad830eceec",
    ),
    (
        9,
        "85718fa10e604cc34985e48601c6633f38827198752a78f9d47446fa5f149d19ab3a9fdac14168bf4beca44086bd39ffd5fb05892bf2547ca24f14284badc549",
    ),
    (
        10,
        "d3f9cab7875efbd9978f584477597da8ac23f446bf6e57d341b0e620d4ce72ee67e82a361ce182172af1f37eeb8f8a17f91043649f329678ab550c4878066287",
    ),
    (
        11,
        "9536a7be2c740c5f06caf788b34ee857dab287f640658f1e75ae78b5029e8997a592211628e12fff815d52fe8a4c16441fba02f5351b97ca34bf2ad386e0f5da",
    ),
    (
        12,
        "b052a9d570ccb2ce330a0f93f5221d0f42320ae53c54c5ad8876d266faad89be7e6827989e1a856c72fd38f505350481f9669b59513bb488d5b50c3f5f0be20a",
    ),
    (
        13,
        "27abd494e7b89d6dfe4b46ca3f9de5ee307f958b956ec0f9c6113057e07454c844f0b8d20e7eebb8c77d7effe5c53a5795847223da2dc20a452633bf001add64",
    ),
    (
        14,
        "749fa986c411573675ff206ee552a2e55f3a51e125e3ca9039d7d04638ded0d6f9b751ac04ebc1cab83b6c3e9a802e09a85e89d9885488af269fee1c7cdce2e8",
    ),
];

/// Why there is no key.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// A size outside what pads are proven in.
    #[error("relations are proven over 2^{MIN_K} to 2^{MAX_K} rows, not 2^{k}")]
    Size {
        /// Binary logarithm of the rows.
        k: u32,
    },
    /// Another key than the pinned one.
    #[error(
        "the key of relations over 2^{k} rows has fingerprint {found}, not the pinned one; this build or machine computes wrongly, rebuild it"
    )]
    Mismatch {
        /// Binary logarithm of the rows.
        k: u32,
        /// The fingerprint found.
        found: String,
    },
    /// The system gives no thread.
    #[error("no thread to make a key on: {0}")]
    Thread(#[from] io::Error),
    /// A bug.
    #[error("the key of relations cannot be made: {0}; please report this")]
    Halo2(#[from] Halo2Error),
}

/// What verifies the proofs of one size.
#[derive(Debug)]
pub(crate) struct RelationKey {
    generators: Generators,
    key: VerifyingKey<Point>,
    fingerprint: [u8; 64],
}

impl RelationKey {
    fn generate(generators: &Generators) -> Result<Self, KeyError> {
        let key = Self::unchecked(generators)?;
        let (k, found) = (generators.k(), key.fingerprint_hex());
        match PINNED.contains(&(k, &found)) {
            true => Ok(key),
            false => Err(KeyError::Mismatch { k, found }),
        }
    }

    /// The key, whatever its fingerprint.
    pub(super) fn unchecked(generators: &Generators) -> Result<Self, KeyError> {
        let k = generators.k();
        if !(MIN_K..=MAX_K).contains(&k) {
            return Err(KeyError::Size { k });
        }
        let circuit = RelationsCircuit::empty(k);
        let key = on_own_thread(|| keygen_vk(generators.params(), &circuit))??;
        let mut params = Params::new();
        params.hash_length(64).personal(b"agon-relationkey");
        let pinned = format!("{:?}", key.pinned());
        Ok(Self {
            generators: generators.clone(),
            key,
            fingerprint: *params.hash(pinned.as_bytes()).as_array(),
        })
    }

    /// Binary logarithm of the rows.
    pub(crate) fn k(&self) -> u32 {
        self.generators.k()
    }

    /// The generators of the columns' commitments.
    pub(super) fn generators(&self) -> &Generators {
        &self.generators
    }

    /// halo2's key.
    pub(super) fn key(&self) -> &VerifyingKey<Point> {
        &self.key
    }

    /// Hash of the key's pinned form: gates, fixed columns, domain.
    pub(crate) fn fingerprint(&self) -> &[u8; 64] {
        &self.fingerprint
    }

    /// The fingerprint as text.
    pub(super) fn fingerprint_hex(&self) -> String {
        let bytes = self.fingerprint.iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What makes the proofs of one size.
#[derive(Debug)]
pub(crate) struct ProvingRelationKey {
    verifying: Arc<RelationKey>,
    key: ProvingKey<Point>,
}

impl ProvingRelationKey {
    fn generate(verifying: Arc<RelationKey>) -> Result<Self, KeyError> {
        let circuit = RelationsCircuit::empty(verifying.k());
        let key = on_own_thread(|| {
            let params = verifying.generators.params();
            keygen_pk(params, verifying.key.clone(), &circuit)
        })??;
        Ok(Self { verifying, key })
    }

    /// The key that verifies these proofs.
    pub(crate) fn verifying(&self) -> &RelationKey {
        &self.verifying
    }

    /// halo2's key.
    pub(super) fn key(&self) -> &ProvingKey<Point> {
        &self.key
    }
}

/// Keys by size, made when first needed and shared.
#[derive(Debug, Default)]
pub(crate) struct RelationKeys {
    verifying: Mutex<BTreeMap<u32, Arc<RelationKey>>>,
    proving: Mutex<BTreeMap<u32, Arc<ProvingRelationKey>>>,
}

impl RelationKeys {
    /// The key to verify with, for the generators' size.
    pub(crate) fn verifying(&self, generators: &Generators) -> Result<Arc<RelationKey>, KeyError> {
        once(&self.verifying, generators.k(), || {
            RelationKey::generate(generators)
        })
    }

    /// The key to prove with, for the generators' size.
    pub(crate) fn proving(
        &self,
        generators: &Generators,
    ) -> Result<Arc<ProvingRelationKey>, KeyError> {
        let verifying = self.verifying(generators)?;
        once(&self.proving, generators.k(), || {
            ProvingRelationKey::generate(verifying)
        })
    }
}

/// What is kept for `k`, made now if there is nothing. The lock is held meanwhile, so that two callers do not both make it.
fn once<T>(
    kept: &Mutex<BTreeMap<u32, Arc<T>>>,
    k: u32,
    make: impl FnOnce() -> Result<T, KeyError>,
) -> Result<Arc<T>, KeyError> {
    let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(key) = kept.get(&k) {
        return Ok(key.clone());
    }
    let key = Arc::new(make()?);
    kept.insert(k, key.clone());
    Ok(key)
}
