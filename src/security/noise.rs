//! The Noise XX handshake as pure functions of keys and messages.
//!
//! Neither side keeps a half-done handshake state: it keeps its ephemeral secret and the messages,
//! and works the state out again for each message that arrives. So a forged message can spoil
//! nothing (snow's own state does not survive a bad third message), and what a handshake costs in
//! memory is known to the byte.

use ed25519_dalek::VerifyingKey;
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState, StatelessTransportState};

use super::Identity;
use crate::topology::NodeId;
use crate::wire::{NOISE_FINISH_LEN, NOISE_INIT_LEN, NOISE_RESPONSE_LEN, NetworkId, VERSION};

const PARAMS: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8; 8] = b"parisync";

/// Room for any handshake message and for what snow wants beyond its end.
type Scratch = [u8; 192];

/// The secret half of a handshake's one-time key.
#[derive(Clone, Copy)]
pub(super) struct Ephemeral(pub(super) [u8; 32]);

/// A handshake message that does not fit: forged, damaged, or from another handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoiseError {
    /// It does not authenticate.
    Forged,
    /// It authenticates a key that is not the one of the identity it names.
    Identity,
}

impl From<snow::Error> for NoiseError {
    fn from(_: snow::Error) -> Self {
        Self::Forged
    }
}

/// What the initiator has after the second message.
pub(super) struct Opened {
    pub(super) transport: StatelessTransportState,
    pub(super) peer: NodeId,
    pub(super) remote_index: u32,
    pub(super) finish: [u8; NOISE_FINISH_LEN],
}

/// What the responder has after the third message.
pub(super) struct Accepted {
    pub(super) transport: StatelessTransportState,
    pub(super) peer: NodeId,
    pub(super) remote_index: u32,
}

/// Our side of every handshake.
pub(super) struct Keys {
    secret: [u8; 32],
    id: NodeId,
    prologue: [u8; 13],
    params: NoiseParams,
}

impl Keys {
    pub(super) fn new(identity: &Identity, network: NetworkId) -> Result<Self, NoiseError> {
        let mut prologue = [0; 13];
        prologue[..8].copy_from_slice(PROLOGUE);
        prologue[8] = VERSION;
        prologue[9..].copy_from_slice(&network.as_u32().to_le_bytes());
        Ok(Self {
            secret: identity.noise_static(),
            id: identity.node_id(),
            prologue,
            params: PARAMS.parse()?,
        })
    }

    pub(super) const fn id(&self) -> NodeId {
        self.id
    }

    /// First message: `e`, and the index under which the initiator wants to be addressed.
    pub(super) fn init(
        &self,
        ephemeral: Ephemeral,
        index: u32,
    ) -> Result<[u8; NOISE_INIT_LEN], NoiseError> {
        let (_, message) = self.begin(ephemeral, index)?;
        Ok(message)
    }

    /// Second message, in answer to `init`: `e, ee, s, es`, the responder's index and identity.
    pub(super) fn respond(
        &self,
        ephemeral: Ephemeral,
        init: &[u8; NOISE_INIT_LEN],
        index: u32,
    ) -> Result<[u8; NOISE_RESPONSE_LEN], NoiseError> {
        let (_, message, _) = self.answer(ephemeral, init, index)?;
        Ok(message)
    }

    /// The initiator reads the second message and writes the third: `s, se` and its identity.
    pub(super) fn open(
        &self,
        ephemeral: Ephemeral,
        index: u32,
        response: &[u8; NOISE_RESPONSE_LEN],
    ) -> Result<Opened, NoiseError> {
        let (mut state, _) = self.begin(ephemeral, index)?;
        let mut scratch: Scratch = [0; 192];
        let len = state.read_message(response, &mut scratch)?;
        let Some((remote_index, claimed)) = scratch[..len].split_first_chunk::<4>() else {
            return Err(NoiseError::Forged);
        };
        let remote_index = u32::from_le_bytes(*remote_index);
        let peer = proven(claimed, &state)?;
        let mut scratch: Scratch = [0; 192];
        let len = state.write_message(self.id.as_bytes(), &mut scratch)?;
        Ok(Opened {
            transport: state.into_stateless_transport_mode()?,
            peer,
            remote_index,
            finish: exactly(&scratch[..len])?,
        })
    }

    /// The responder reads the third message of the handshake that `init` began and its own
    /// `ephemeral` and `index` went on.
    pub(super) fn accept(
        &self,
        ephemeral: Ephemeral,
        init: &[u8; NOISE_INIT_LEN],
        index: u32,
        finish: &[u8; NOISE_FINISH_LEN],
    ) -> Result<Accepted, NoiseError> {
        let (mut state, _, remote_index) = self.answer(ephemeral, init, index)?;
        let mut scratch: Scratch = [0; 192];
        let len = state.read_message(finish, &mut scratch)?;
        let peer = proven(&scratch[..len], &state)?;
        Ok(Accepted {
            transport: state.into_stateless_transport_mode()?,
            peer,
            remote_index,
        })
    }

    fn begin(
        &self,
        ephemeral: Ephemeral,
        index: u32,
    ) -> Result<(HandshakeState, [u8; NOISE_INIT_LEN]), NoiseError> {
        let mut state = self.builder(ephemeral)?.build_initiator()?;
        let mut scratch: Scratch = [0; 192];
        let len = state.write_message(&index.to_le_bytes(), &mut scratch)?;
        Ok((state, exactly(&scratch[..len])?))
    }

    fn answer(
        &self,
        ephemeral: Ephemeral,
        init: &[u8; NOISE_INIT_LEN],
        index: u32,
    ) -> Result<(HandshakeState, [u8; NOISE_RESPONSE_LEN], u32), NoiseError> {
        let mut state = self.builder(ephemeral)?.build_responder()?;
        let mut scratch: Scratch = [0; 192];
        let len = state.read_message(init, &mut scratch)?;
        let remote_index = u32::from_le_bytes(exactly(&scratch[..len])?);
        let mut payload = [0; 36];
        payload[..4].copy_from_slice(&index.to_le_bytes());
        payload[4..].copy_from_slice(self.id.as_bytes());
        let mut scratch: Scratch = [0; 192];
        let len = state.write_message(&payload, &mut scratch)?;
        Ok((state, exactly(&scratch[..len])?, remote_index))
    }

    fn builder(&self, ephemeral: Ephemeral) -> Result<Builder<'_>, NoiseError> {
        Ok(
            Builder::with_resolver(self.params.clone(), Box::new(Resolver(ephemeral)))
                .prologue(&self.prologue)?
                .local_private_key(&self.secret)?,
        )
    }
}

/// The identity the peer names in `claimed`, if the key it proved to hold is that identity's.
fn proven(claimed: &[u8], state: &HandshakeState) -> Result<NodeId, NoiseError> {
    let claimed: [u8; 32] = exactly(claimed)?;
    let key = VerifyingKey::from_bytes(&claimed).map_err(|_| NoiseError::Identity)?;
    let canonical = key.to_edwards().compress().to_bytes() == claimed;
    let proven = state.get_remote_static() == Some(key.to_montgomery().as_bytes());
    // A weak key has no secret: anybody could speak for it.
    if canonical && proven && !key.is_weak() {
        Ok(NodeId::from_bytes(claimed))
    } else {
        Err(NoiseError::Identity)
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NoiseError> {
    bytes.try_into().map_err(|_| NoiseError::Forged)
}

/// snow's own cryptography, with the ephemeral secret where it asks for randomness and with ring's
/// ChaCha20-Poly1305, which takes a ninth of the time on packets as short as ours.
struct Resolver(Ephemeral);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// Gives one secret once, and an error to whoever asks for more.
struct Once(Option<Ephemeral>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        match self.0.take() {
            Some(Ephemeral(secret)) if secret.len() == dest.len() => {
                dest.copy_from_slice(&secret);
                Ok(())
            }
            _ => Err(snow::Error::Rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seed: u8, network: &str) -> Keys {
        Keys::new(
            &Identity::from_secret(&[seed; 32]),
            NetworkId::from_name(network),
        )
        .unwrap()
    }

    #[test]
    fn both_sides_learn_each_other_and_share_keys() {
        let (a, b) = (keys(1, "n"), keys(2, "n"));
        let (ea, eb) = (Ephemeral([3; 32]), Ephemeral([4; 32]));
        let init = a.init(ea, 10).unwrap();
        let response = b.respond(eb, &init, 20).unwrap();
        let opened = a.open(ea, 10, &response).unwrap();
        let accepted = b.accept(eb, &init, 20, &opened.finish).unwrap();
        assert_eq!((opened.peer, opened.remote_index), (b.id(), 20));
        assert_eq!((accepted.peer, accepted.remote_index), (a.id(), 10));

        let (mut sealed, mut plain) = ([0; 64], [0; 64]);
        let n = opened
            .transport
            .write_message(7, b"tick", &mut sealed)
            .unwrap();
        let n = accepted
            .transport
            .read_message(7, &sealed[..n], &mut plain)
            .unwrap();
        assert_eq!(&plain[..n], b"tick");
    }

    #[test]
    fn no_bit_of_a_handshake_can_be_changed_and_a_bad_try_spoils_nothing() {
        let (a, b) = (keys(1, "n"), keys(2, "n"));
        let (ea, eb) = (Ephemeral([3; 32]), Ephemeral([4; 32]));
        let init = a.init(ea, 10).unwrap();
        let response = b.respond(eb, &init, 20).unwrap();
        let finish = a.open(ea, 10, &response).unwrap().finish;
        for bit in (0..init.len() * 8).step_by(5) {
            let mut forged = init;
            forged[bit / 8] ^= 1 << (bit % 8);
            let answered = b.respond(eb, &forged, 20).unwrap();
            // The top bit of an X25519 key is ignored by the arithmetic, not by the transcript.
            assert!(a.open(ea, 10, &answered).is_err(), "init bit {bit}");
        }
        for bit in (0..response.len() * 8).step_by(11) {
            let mut forged = response;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(a.open(ea, 10, &forged).is_err(), "response bit {bit}");
        }
        for bit in (0..finish.len() * 8).step_by(11) {
            let mut forged = finish;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                b.accept(eb, &init, 20, &forged).is_err(),
                "finish bit {bit}"
            );
        }
        assert!(b.accept(eb, &init, 20, &finish).is_ok());
    }

    #[test]
    fn networks_do_not_mix() {
        let (a, b) = (keys(1, "n"), keys(2, "m"));
        let (ea, eb) = (Ephemeral([3; 32]), Ephemeral([4; 32]));
        let response = b.respond(eb, &a.init(ea, 10).unwrap(), 20).unwrap();
        assert_eq!(a.open(ea, 10, &response).err(), Some(NoiseError::Forged));
    }

    #[test]
    fn nobody_can_claim_an_identity_that_is_not_its_own() {
        let (a, c) = (keys(1, "n"), keys(9, "n"));
        let mut liar = keys(2, "n");
        let (ea, eb) = (Ephemeral([3; 32]), Ephemeral([4; 32]));
        let init = a.init(ea, 10).unwrap();
        // Another's identity; a point of small order; something that is no point at all.
        for claimed in [*c.id().as_bytes(), [0; 32], [0xFF; 32], [2; 32]] {
            liar.id = NodeId::from_bytes(claimed);
            let response = liar.respond(eb, &init, 20).unwrap();
            assert_eq!(a.open(ea, 10, &response).err(), Some(NoiseError::Identity));
        }
    }
}
