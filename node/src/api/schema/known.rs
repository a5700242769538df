//! Schemas of what is not ours to define: numbers, texts, lists, and the protocol's own values.

use agon_protocol::digest::{
    BlobId, BlockId, CompetitionId, DataDigest, KeyCommitment, ModelDigest, NetworkId,
    RegistrationId, StateRoot, TransactionId,
};
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::{Measure, Upgrade};
use agon_protocol::identity::{AccountId, Signature};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::statement::{InputEncoding, Task};
use agon_protocol::units::Height;
use serde_json::{Value, json};

use super::{Described, Object, Schemas, tagged};

macro_rules! integers {
    ($($Type:ty: $least:expr, $format:literal;)*) => {$(
        impl Described for $Type {
            fn schema(_: &mut Schemas) -> Value {
                json!({ "type": "integer", "format": $format, "minimum": $least, "maximum": <$Type>::MAX })
            }
        }
    )*};
}

integers! {
    u8: 0, "int32";
    u16: 0, "int32";
    u32: 0, "int64";
    i64: i64::MIN, "int64";
}

macro_rules! large_integers {
    ($($Type:ty)*) => {$(
        impl Described for $Type {
            fn schema(_: &mut Schemas) -> Value {
                json!({ "type": "integer", "format": "uint64", "minimum": 0 })
            }
        }
    )*};
}

large_integers! { u64 usize Height }

impl Described for f64 {
    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "number", "format": "double" })
    }
}

impl Described for bool {
    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "boolean" })
    }
}

impl Described for String {
    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "string" })
    }
}

impl<T: Described> Described for Option<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        let mut schema = T::schema(schemas);
        match schema["type"].as_str() {
            Some(simple) => {
                schema["type"] = json!([simple, "null"]);
                schema
            }
            None => json!({ "anyOf": [schema, { "type": "null" }] }),
        }
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(schemas) })
    }
}

impl<T: Described> Described for [T; 2] {
    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(schemas), "minItems": 2, "maxItems": 2 })
    }
}

macro_rules! identifiers {
    ($($Type:ident: $about:literal, $digits:literal;)*) => {$(
        impl Described for $Type {
            fn schema(schemas: &mut Schemas) -> Value {
                schemas.named(stringify!($Type), |_| json!({
                    "type": "string",
                    "description": $about,
                    "pattern": concat!("^[0-9a-f]{", $digits, "}$"),
                }))
            }
        }
    )*};
}

identifiers! {
    AccountId: "An account: its Ed25519 public key.", 64;
    BlobId: "A blob: the BLAKE3 hash of its bytes.", 64;
    BlockId: "A block.", 64;
    CompetitionId: "A competition.", 64;
    DataDigest: "Digest of an opened test set.", 64;
    KeyCommitment: "Commitment to the key of a sealed test set.", 64;
    ModelDigest: "Commitment to a hidden model.", 64;
    NetworkId: "A network: the digest of its genesis.", 64;
    RegistrationId: "A registration.", 64;
    StateRoot: "Root of the ledger's state.", 64;
    TransactionId: "A transaction.", 64;
    Signature: "An Ed25519 signature.", 128;
}

impl Described for Metric {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Metric", |_| {
            json!({
                "type": "string",
                "description": "What decides, by its name.",
                "pattern": "^(accuracy|top-[0-9]+|balanced-accuracy|macro-f1|mse|rmse|mae|r2)$",
            })
        })
    }
}

impl Described for Tally {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Tally", |_| {
            json!({
                "type": "array",
                "description": "What a proof shows, as decimal numbers in text: hits, counts of classes, or sums of errors.",
                "items": { "type": "string", "pattern": "^[0-9]+$" },
                "minItems": 1,
                "maxItems": 3072,
            })
        })
    }
}

impl Described for Task {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Task", |schemas| {
            let mut classes = Object::new(&["A class of so many."]);
            classes.field::<u32>(schemas, "classes", &["Their number."], &[], &[]);
            let mut values = Object::new(&["A value on a grid."]);
            values.field::<i64>(
                schemas,
                "exponent",
                &["Binary logarithm of the target step."],
                &[],
                &[],
            );
            tagged(
                "What a model is asked.",
                "kind",
                vec![("classification", classes), ("regression", values)],
            )
        })
    }
}

impl Described for Threshold {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Threshold", |schemas| {
            let mut share = Object::new(&["A share of all."]);
            share.field::<u32>(schemas, "millionths", &["In millionths."], &[], &[]);
            let mut sum = Object::new(&["A largest sum of errors."]);
            sum.field::<String>(schemas, "sum", &["A decimal number."], &[], &[]);
            let none = Object::new(&["Every proven score earns a rank."]);
            tagged(
                "The least score that earns a rank.",
                "kind",
                vec![("none", none), ("at_least", share), ("at_most", sum)],
            )
        })
    }
}

impl Described for Measure {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Measure", |schemas| {
            let mut power = Object::new(&["Gives a validator this power; 0 takes it out."]);
            power.field::<AccountId>(schemas, "account", &["The validator."], &[], &[]);
            power.field::<u64>(schemas, "power", &["Its power."], &[], &[]);
            let mut upgrade = Object::new(&["Puts the next version of the rules in force."]);
            upgrade.field::<u16>(schemas, "version", &["The version."], &[], &[]);
            upgrade.field::<u64>(schemas, "height", &["The first height."], &[], &[]);
            tagged(
                "A change that validators approve.",
                "measure",
                vec![("set_power", power), ("upgrade", upgrade)],
            )
        })
    }
}

impl Described for Upgrade {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Upgrade", |schemas| {
            let mut object = Object::new(&["A version of the rules that will come into force."]);
            object.field::<u16>(schemas, "version", &["The version."], &[], &[]);
            object.field::<Height>(
                schemas,
                "height",
                &["The first height that it rules."],
                &[],
                &[],
            );
            object.finish()
        })
    }
}

impl Described for InputEncoding {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("InputEncoding", |schemas| {
            let mut feature = Object::new(&["How a feature becomes a whole number."]);
            feature.field::<i64>(
                schemas,
                "exponent",
                &["Binary logarithm of the step."],
                &[],
                &[],
            );
            feature.field::<i64>(
                schemas,
                "offset",
                &["Steps subtracted after rounding."],
                &[],
                &[],
            );
            feature.field::<u16>(schemas, "max", &["Largest encoded value."], &[], &[]);
            json!({
                "type": "array",
                "description": "The public encoding of the inputs, one entry a feature.",
                "items": feature.finish(),
            })
        })
    }
}

impl Described for Genesis {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("Genesis", |schemas| {
            let mut object = Object::new(&["The genesis file of the network, whole."]);
            object.field::<String>(schemas, "name", &["Name of the network."], &[], &[]);
            object.field::<u16>(
                schemas,
                "protocol_version",
                &["Version of the rules at the start."],
                &[],
                &[],
            );
            object.field::<u64>(
                schemas,
                "time",
                &["Start, milliseconds since 1970."],
                &[],
                &[],
            );
            let mut schema = object.finish();
            for (list, about) in [
                ("validators", "Accounts and powers."),
                ("balances", "Accounts and amounts."),
            ] {
                schema["properties"][list] =
                    json!({ "type": "array", "description": about, "items": { "type": "object" } });
            }
            schema["properties"]["parameters"] = json!({ "type": "object" });
            schema
        })
    }
}
