//! How bytes lie in a segment: a preamble, then frames of records up to zeros. A frame knows its place (`sequence`)
//! and its predecessor (`previous`), and its checksum is salted, so that nothing a client stored can pose as one.
//!
//! ```text
//!  preamble  magic 8 │ salt 8 │ number 8 │ first sequence 8 │ previous 4 │ crc 4 │ zeros 24
//!  frame     length 4 │ crc 4 │ previous 4 │ bytes of records 4 │ sequence 8 │ records │ zeros up to a multiple of 8
//! ```

use crate::log::Facts;
use crate::record::{Record, encode};

const MAGIC: &[u8; 8] = b"AMPHLOG1";
pub(super) const PREAMBLE_BYTES: usize = 64;
pub(super) const HEADER_BYTES: usize = 24;
/// No preamble with facts is longer.
pub(super) const HEAD_BYTES_MAX: u64 = 512;
const ALIGN_BYTES: usize = 8;

/// What ties a frame to the one before it.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub salt: u64,
    /// Of the next frame.
    pub sequence: u64,
    pub previous: u32,
}

impl Chain {
    pub fn new(salt: u64) -> Self {
        Self { salt, sequence: 1, previous: 0 }
    }

    /// Fills in the header of a frame, pads it, and moves on.
    pub fn seal(&mut self, frame: &mut Vec<u8>) {
        let used = u32::try_from(frame.len() - HEADER_BYTES).expect("a frame is a few MiB");
        frame.resize(padded(frame.len()), 0);
        let length = u32::try_from(frame.len()).expect("a frame is a few MiB");
        frame[0..4].copy_from_slice(&length.to_le_bytes());
        frame[8..12].copy_from_slice(&self.previous.to_le_bytes());
        frame[12..16].copy_from_slice(&used.to_le_bytes());
        frame[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = checksum(self.salt, frame);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
        self.previous = crc;
    }
}

pub(super) fn name(number: u64) -> String {
    format!("log-{number:016}")
}

pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("log-")?.parse().ok()
}

pub(super) fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGN_BYTES)
}

/// The preamble of a segment and a frame with the facts.
pub(super) fn head(facts: &Facts, number: u64, chain: &mut Chain) -> Vec<u8> {
    let mut head = vec![0; PREAMBLE_BYTES];
    head[0..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&chain.salt.to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    head[24..32].copy_from_slice(&chain.sequence.to_le_bytes());
    head[32..36].copy_from_slice(&chain.previous.to_le_bytes());
    let crc = crc32c::crc32c(&head[..36]);
    head[36..40].copy_from_slice(&crc.to_le_bytes());
    let mut frame = vec![0; HEADER_BYTES];
    facts.vote.iter().for_each(|vote| encode(&Record::Vote(*vote), &mut frame));
    encode(&Record::Committed(facts.committed), &mut frame);
    facts.purged.iter().for_each(|purged| encode(&Record::Purged(*purged), &mut frame));
    chain.seal(&mut frame);
    head.extend(frame);
    head
}

/// The chain as the preamble says it begins, if it is the preamble of this segment.
pub(super) fn preamble(bytes: &[u8], wanted: u64) -> Option<Chain> {
    let head = bytes.get(..PREAMBLE_BYTES)?;
    let whole = &head[0..8] == MAGIC && read_u32(head, 36) == crc32c::crc32c(&head[..36]);
    let chain = Chain { salt: read_u64(head, 8), sequence: read_u64(head, 24), previous: read_u32(head, 32) };
    (whole && read_u64(head, 16) == wanted).then_some(chain)
}

/// A frame that is whole in itself, wherever it belongs.
pub(super) struct Frame<'a> {
    pub sequence: u64,
    pub previous: u32,
    pub crc: u32,
    pub records: &'a [u8],
    pub length: usize,
}

pub(super) fn parse(bytes: &[u8], salt: u64) -> Option<Frame<'_>> {
    let header = bytes.get(..HEADER_BYTES)?;
    let length = read_u32(header, 0) as usize;
    if length < HEADER_BYTES || !length.is_multiple_of(ALIGN_BYTES) {
        return None;
    }
    let frame = bytes.get(..length)?;
    let crc = read_u32(header, 4);
    let (sequence, previous) = (read_u64(header, 16), read_u32(header, 8));
    let used = read_u32(header, 12) as usize;
    let records = frame[HEADER_BYTES..].get(..used)?;
    (crc == checksum(salt, frame)).then_some(Frame { sequence, previous, crc, records, length })
}

fn checksum(salt: u64, frame: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &frame[0..4]);
    crc32c::crc32c_append(seed, &frame[8..])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
