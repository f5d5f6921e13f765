//! Nodes that accept a class of pods, sorted into buckets: whatever depends on other nodes or on the pods around is the
//! same for all nodes of a bucket, so only its best node needs a look.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::filters::refusal;
use crate::need::Need;
use crate::outlook::Outlook;
use crate::scores::{by_itself, images, node_affinity, taints};
use crate::snapshot::Snapshot;

/// Parts of a key before those of the outlook: untolerated soft taints, preferred node affinity, images present.
pub const HEAD: usize = 3;

#[derive(Debug, Default)]
pub struct Buckets {
    index: HashMap<Box<[i64]>, u32>,
    all: Vec<Bucket>,
    free: Vec<u32>,
    /// Bucket and score of each slot.
    at: Vec<Option<(u32, i64)>>,
    scratch: Vec<i64>,
}

#[derive(Debug, Default)]
struct Bucket {
    key: Box<[i64]>,
    /// Best first; the first seen among equals.
    members: BTreeSet<(Reverse<i64>, u32)>,
}

/// What a bucket has to offer.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    pub key: &'a [i64],
    /// Of its best node, by itself.
    pub score: i64,
    pub slot: u32,
    /// How many nodes there are like it.
    pub nodes: usize,
}

impl Buckets {
    /// Looks at one node again.
    pub fn judge(&mut self, slot: u32, need: &Need, outlook: &Outlook, snapshot: &Snapshot) {
        self.remove(slot);
        let node = snapshot.at(slot);
        if node.known && !snapshot.is_awaited(slot) && refusal(need, node).is_none() {
            self.put(slot, need, outlook, snapshot);
        }
    }

    /// Takes a node that is known to fit.
    pub fn put(&mut self, slot: u32, need: &Need, outlook: &Outlook, snapshot: &Snapshot) {
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        let node = snapshot.at(slot);
        key.extend([taints::count(need, node), node_affinity::sum(need, node), images::mask(need, node)]);
        outlook.key(slot, &snapshot.counts, &mut key);
        let score = by_itself(need, node);
        let bucket = self.bucket(&key);
        self.all[bucket as usize].members.insert((Reverse(score), slot));
        if self.at.len() <= slot as usize {
            self.at.resize(slot as usize + 1, None);
        }
        self.at[slot as usize] = Some((bucket, score));
        self.scratch = key;
    }

    fn remove(&mut self, slot: u32) {
        let Some((at, score)) = self.at.get_mut(slot as usize).and_then(Option::take) else { return };
        let bucket = &mut self.all[at as usize];
        bucket.members.remove(&(Reverse(score), slot));
        if bucket.members.is_empty() {
            self.index.remove(&bucket.key);
            self.free.push(at);
        }
    }

    fn bucket(&mut self, key: &[i64]) -> u32 {
        if let Some(bucket) = self.index.get(key) {
            return *bucket;
        }
        let bucket = self.free.pop().unwrap_or_else(|| {
            self.all.push(Bucket::default());
            self.all.len() as u32 - 1
        });
        self.all[bucket as usize].key = key.into();
        self.index.insert(key.into(), bucket);
        bucket
    }

    pub fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.all.iter().filter_map(|bucket| {
            let (Reverse(score), slot) = bucket.members.first()?;
            Some(Offer { key: &bucket.key, score: *score, slot: *slot, nodes: bucket.members.len() })
        })
    }
}
