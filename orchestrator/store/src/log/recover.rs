//! Reading a log back. Only the end of the last segment may be torn, and only if nothing valid follows it:
//! anything else is damage to what was once durable, and then nothing is started.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::disk::Disk;
use crate::log::frame::{self, Chain};
use crate::log::{Facts, PREAMBLE_BYTES, SPARE, Segment, Tail};
use crate::record::{Content, Position, Record};

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the log segment {segment} is damaged at byte {offset}: {what}")]
    Corrupt { segment: u64, offset: usize, what: &'static str },
    #[error("the log segment {0} is missing")]
    Missing(u64),
}

pub(crate) struct Recovered {
    pub facts: Facts,
    /// Entries after the purge floor, without gap.
    pub entries: VecDeque<(Position, Content)>,
    pub tail: Tail,
}

/// `None` when there is no log at all.
pub(crate) fn recover(disk: &Arc<dyn Disk>, segment_bytes: u64) -> Result<Option<Recovered>, Damage> {
    let names = disk.list()?;
    if names.iter().any(|name| name == SPARE) {
        disk.remove(SPARE)?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| frame::number(name)).collect();
    numbers.sort_unstable();
    let Some((&last, &first)) = numbers.last().zip(numbers.first()) else { return Ok(None) };
    let mut reading = Reading { chain: None, facts: Facts::default(), entries: VecDeque::new() };
    let mut segments = Vec::new();
    for (expected, number) in (first..).zip(&numbers) {
        if expected != *number {
            return Err(Damage::Missing(expected));
        }
        segments.push(reading.segment(&**disk, *number, *number == last)?);
    }
    let chain = reading.chain.expect("a segment was read");
    let segment = segments.pop().expect("a segment was read");
    let facts = reading.facts;
    let entries = reading.entries;
    if let (Some((position, _)), Some(floor)) = (entries.front(), facts.purged)
        && position.index > floor.index + 1
    {
        return Err(Damage::Missing(first - 1));
    }
    let tail = Tail {
        disk: disk.clone(),
        segment_bytes,
        chain,
        segment,
        sealed: segments,
        facts: facts.clone(),
        spare: None,
        starved: Arc::default(),
    };
    Ok(Some(Recovered { facts, entries, tail }))
}

struct Reading {
    chain: Option<Chain>,
    facts: Facts,
    entries: VecDeque<(Position, Content)>,
}

impl Reading {
    fn segment(&mut self, disk: &dyn Disk, number: u64, is_last: bool) -> Result<Segment, Damage> {
        let damage = |offset, what| Damage::Corrupt { segment: number, offset, what };
        let file = disk.open(&frame::name(number))?;
        let length = file.len()?;
        let mut bytes = vec![0; length as usize];
        file.read_at(0, &mut bytes)?;
        let begins = frame::preamble(&bytes, number).ok_or(damage(0, "its preamble does not read back"))?;
        let chain = self.chain.get_or_insert_with(|| begins.clone());
        if (chain.salt, chain.sequence, chain.previous) != (begins.salt, begins.sequence, begins.previous) {
            return Err(damage(0, "it does not continue the segment before it"));
        }
        let mut offset = PREAMBLE_BYTES;
        let mut last_index = None;
        while let Some(frame) = frame::parse(&bytes[offset..], chain.salt) {
            if (frame.sequence, frame.previous) != (chain.sequence, chain.previous) {
                return Err(damage(offset, "a frame is out of place"));
            }
            chain.sequence += 1;
            chain.previous = frame.crc;
            let read = read_records(frame.records, &mut self.facts, &mut self.entries);
            last_index = read.ok_or(damage(offset, "a record does not read back"))?.or(last_index);
            offset += frame.length;
        }
        let rest = &bytes[offset..];
        if rest.iter().any(|byte| *byte != 0) {
            let expected = chain.sequence;
            if !is_last && rest.len() >= frame::HEADER_BYTES {
                return Err(damage(offset, "a frame does not match its checksum"));
            }
            if follows(rest, chain.salt, expected) {
                return Err(damage(offset, "a frame does not match its checksum, but valid ones follow it"));
            }
            // Never acknowledged: one write that the end of the machine cut short.
            tracing::warn!(segment = number, offset, "the log's torn end is cut");
            file.write_at(offset as u64, &vec![0; rest.len()])?;
            file.sync()?;
        }
        Ok(Segment { number, file, length, end: offset as u64, last_index })
    }
}

/// Whether a frame that belongs later lies anywhere in these bytes.
fn follows(bytes: &[u8], salt: u64, expected: u64) -> bool {
    let places = (8..bytes.len()).step_by(8);
    places.filter_map(|at| frame::parse(&bytes[at..], salt)).any(|frame| frame.sequence > expected)
}

/// Applies the records of a frame; the index of the last entry among them. `None` when they cannot be read.
fn read_records(
    mut bytes: &[u8],
    facts: &mut Facts,
    entries: &mut VecDeque<(Position, Content)>,
) -> Option<Option<u64>> {
    let mut last_index = None;
    while !bytes.is_empty() {
        let (record, rest) = postcard::take_from_bytes::<Record>(bytes).ok()?;
        bytes = rest;
        match record {
            Record::Entry(position, content) => {
                let follows = entries.back().is_none_or(|(last, _)| last.index + 1 == position.index);
                if !follows {
                    return None;
                }
                last_index = Some(position.index);
                entries.push_back((position, content));
            }
            Record::Vote(vote) => facts.vote = Some(vote),
            Record::Committed(position) => facts.committed = position,
            Record::TruncatedAfter(position) => {
                let kept = position.map_or(0, |position| position.index + 1);
                while entries.back().is_some_and(|(last, _)| last.index >= kept) {
                    entries.pop_back();
                }
            }
            Record::Purged(floor) => {
                facts.purged = Some(floor);
                while entries.front().is_some_and(|(first, _)| first.index <= floor.index) {
                    entries.pop_front();
                }
            }
        }
    }
    Some(last_index)
}
