//! The conversation between prover and verifier, written once for both.
//!
//! The protocol's functions take a [`Channel`] and run the same on either side: the prover's channel masks and records what it
//! is given, the verifier's replays what was recorded. So both sides absorb the same, draw the same challenges and collect
//! the same [`System`] of equations, and no check can be made on one side only. A third kind counts messages.

use ff::Field;

use super::flow::{Claim, Opened};
use super::form::{Form, ProductSum, System};
use crate::field::Scalar;
use crate::transcript::Transcript;

/// One side of the conversation.
pub(crate) struct Channel {
    side: Side,
    transcript: Transcript,
    messages: Vec<Scalar>,
    sent: usize,
    revealed: Vec<Scalar>,
    shown: usize,
    system: System,
    /// Challenges, when counting.
    drawn: u64,
    noted: Noted,
    /// Where a dishonest prover sends another number, for tests: the message's index, and by how much it is larger.
    #[cfg(test)]
    pub(crate) lie: Option<(usize, Scalar)>,
}

/// The size of a sumcheck's instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) variables: usize,
    pub(crate) tables: usize,
    pub(crate) degree: usize,
}

/// What a prover would have to do, noted when counting.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    /// The instances of each sumcheck, in order. The last one is the opening's.
    pub(crate) sumchecks: Vec<Vec<Extent>>,
    /// What each claim that is opened is about.
    pub(crate) opened: Vec<Opened>,
}

enum Side {
    Proving { pads: Vec<Scalar> },
    Verifying,
    Counting,
}

impl Channel {
    /// The prover's side, with a pad for each message to come.
    pub(crate) fn proving(transcript: Transcript, pads: Vec<Scalar>) -> Self {
        Self::new(Side::Proving { pads }, transcript, Vec::new())
    }

    /// The verifier's side, replaying masked messages and revealed numbers.
    pub(crate) fn verifying(
        transcript: Transcript,
        messages: Vec<Scalar>,
        revealed: Vec<Scalar>,
    ) -> Self {
        let mut channel = Self::new(Side::Verifying, transcript, messages);
        channel.revealed = revealed;
        channel
    }

    /// Neither: finds out how many messages and products there are.
    pub(crate) fn counting() -> Self {
        Self::new(Side::Counting, Transcript::new("count"), Vec::new())
    }

    fn new(side: Side, transcript: Transcript, messages: Vec<Scalar>) -> Self {
        Self {
            side,
            transcript,
            messages,
            sent: 0,
            revealed: Vec::new(),
            shown: 0,
            system: System::default(),
            drawn: 1,
            noted: Noted::default(),
            #[cfg(test)]
            lie: None,
        }
    }

    /// Whether this is the prover, who must supply values.
    pub(crate) fn is_proving(&self) -> bool {
        matches!(self.side, Side::Proving { .. })
    }

    /// Whether this is the verifier, who must compute what is public.
    pub(crate) fn is_verifying(&self) -> bool {
        matches!(self.side, Side::Verifying)
    }

    /// Messages so far.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// When counting, notes a sumcheck.
    pub(crate) fn note_sumcheck(&mut self, extents: impl Iterator<Item = Extent>) {
        if let Side::Counting = self.side {
            self.noted.sumchecks.push(extents.collect());
        }
    }

    /// When counting, notes what is opened.
    pub(crate) fn note_opened(&mut self, claims: &[Claim]) {
        if let Side::Counting = self.side {
            let claims = claims.iter().map(|claim| claim.opened);
            self.noted.opened.extend(claims);
        }
    }

    /// What was noted.
    pub(crate) fn noted(self) -> Noted {
        self.noted
    }

    /// Products so far.
    #[cfg(test)]
    pub(crate) fn products(&self) -> usize {
        self.system.products.len()
    }

    /// A hidden number, masked. The prover gives it, the others give anything.
    ///
    /// A verifier that runs out of messages goes on with zeros: the caller compares counts first, so this never
    /// decides anything.
    pub(crate) fn send(&mut self, value: impl FnOnce() -> Scalar) -> Form {
        let index = self.sent;
        self.sent += 1;
        let masked = match &self.side {
            Side::Proving { pads } => {
                let masked = value() - pads[index];
                #[cfg(test)]
                let masked = match self.lie {
                    Some((at, by)) if at == index => masked + by,
                    _ => masked,
                };
                self.messages.push(masked);
                masked
            }
            Side::Verifying => self.messages.get(index).copied().unwrap_or(Scalar::ZERO),
            Side::Counting => return Form::zero(),
        };
        self.transcript.absorb_scalars("message", &[masked]);
        Form {
            constant: masked,
            terms: vec![(index, Scalar::ONE)],
        }
    }

    /// A number that hides nothing by itself, shown as it is. Missing ones are zero, as in [`Channel::send`].
    pub(crate) fn reveal(&mut self, form: Form) -> Scalar {
        let index = self.shown;
        self.shown += 1;
        let value = match &self.side {
            Side::Proving { pads } => {
                let value = form.value(pads);
                self.revealed.push(value);
                value
            }
            Side::Verifying => self.revealed.get(index).copied().unwrap_or(Scalar::ZERO),
            Side::Counting => return Scalar::ZERO,
        };
        self.transcript.absorb_scalars("revealed", &[value]);
        self.require_zero(form.shifted(-value));
        value
    }

    /// A challenge.
    pub(crate) fn challenge(&mut self, name: &'static str) -> Scalar {
        if let Side::Counting = self.side {
            // claims at different points must not seem to be at one, and nothing else matters
            self.drawn += 1;
            return Scalar::from(self.drawn);
        }
        self.transcript.challenge(name)
    }

    /// Several challenges.
    pub(crate) fn challenges(&mut self, name: &'static str, count: usize) -> Vec<Scalar> {
        (0..count).map(|_| self.challenge(name)).collect()
    }

    /// The number that a form stands for; the prover's only, zero to the others.
    pub(crate) fn value(&self, form: &Form) -> Scalar {
        match &self.side {
            Side::Proving { pads } => form.value(pads),
            _ => Scalar::ZERO,
        }
    }

    /// Demands that a form is zero.
    pub(crate) fn require_zero(&mut self, form: Form) {
        if !matches!(self.side, Side::Counting) {
            self.system.zero.push(form);
        }
    }

    /// Demands that a form is a public number, which only the verifier needs to compute.
    pub(crate) fn require_public(&mut self, form: Form, expected: impl FnOnce() -> Scalar) {
        let expected = match &self.side {
            Side::Proving { pads } => form.value(pads),
            Side::Verifying => expected(),
            Side::Counting => return,
        };
        self.require_zero(form.shifted(-expected));
    }

    /// Demands that products of two forms add up to a form.
    pub(crate) fn require_products(&mut self, products: Vec<[Form; 2]>, total: Form) {
        self.system.products.push(ProductSum { products, total });
    }

    /// The product of two forms, as a hidden number of its own.
    pub(crate) fn product(&mut self, a: &Form, b: &Form) -> Form {
        let value = self.value(a) * self.value(b);
        let product = self.send(|| value);
        self.require_products(vec![[a.clone(), b.clone()]], product.clone());
        product
    }

    /// What the conversation has left.
    pub(crate) fn finish(self) -> Conversation {
        Conversation {
            transcript: self.transcript,
            messages: self.messages,
            revealed: self.revealed,
            system: self.system,
        }
    }
}

/// A finished conversation.
pub(crate) struct Conversation {
    /// The history, to go on with.
    pub(crate) transcript: Transcript,
    /// Masked numbers, in order.
    pub(crate) messages: Vec<Scalar>,
    /// Numbers shown as they are, in order.
    pub(crate) revealed: Vec<Scalar>,
    /// What the hidden numbers must satisfy.
    pub(crate) system: System,
}
