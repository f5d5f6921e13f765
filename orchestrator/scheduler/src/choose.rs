//! The best of the nodes that fit. Some scores are measured against all of these: upstream normalises them, so do we.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::buckets::{HEAD, Offer};
use crate::need::Need;
use crate::outlook::{Evenish, NONE, Outlook};
use crate::scores::{NODE_AFFINITY, POD_AFFINITY, SCORE_MAX, SPREAD, TAINTS, images};
use crate::snapshot::Snapshot;

/// The slot of the best node; `None` when the pods around forbid all that is offered.
pub fn choose<'a>(
    need: &Need,
    outlook: &Outlook,
    snapshot: &Snapshot,
    offers: impl Iterator<Item = Offer<'a>>,
) -> Option<u32> {
    let counts = &snapshot.counts;
    let fit: Vec<Offer> = offers.filter(|offer| outlook.refusal(&offer.key[HEAD..], counts).is_none()).collect();
    if let [only] = fit.as_slice() {
        return Some(only.slot);
    }
    let totals = totals(need, outlook, snapshot, &fit);
    let best = fit.iter().zip(totals).max_by_key(|(offer, total)| (*total, Reverse(offer.slot)));
    best.map(|(offer, _)| offer.slot)
}

/// The whole score of each.
pub fn totals(need: &Need, outlook: &Outlook, snapshot: &Snapshot, fit: &[Offer]) -> Vec<i64> {
    let most = |part: usize| fit.iter().map(|offer| offer.key[part]).max().unwrap_or_default();
    let (taints, affinity) = (most(0), most(1));
    let spread = spread(outlook, snapshot, fit);
    let pulls = pulls(outlook, snapshot, fit);
    let total = |(at, offer): (usize, &Offer)| {
        let tolerated = if taints == 0 { SCORE_MAX } else { SCORE_MAX - SCORE_MAX * offer.key[0] / taints };
        let preferred = if affinity == 0 { 0 } else { SCORE_MAX * offer.key[1] / affinity };
        let images = images::score(need, offer.key[2], &snapshot.images, snapshot.len());
        let of = |scores: &Vec<i64>| scores.get(at).copied().unwrap_or_default();
        offer.score
            + images
            + TAINTS * tolerated
            + NODE_AFFINITY * preferred
            + SPREAD * of(&spread)
            + POD_AFFINITY * of(&pulls)
    };
    fit.iter().enumerate().map(total).collect()
}

/// Fewer pods of the same kind are better, more so in domains of which there are many. Empty when nothing is asked.
fn spread(outlook: &Outlook, snapshot: &Snapshot, fit: &[Offer]) -> Vec<i64> {
    if outlook.evenish.is_empty() {
        return Vec::new();
    }
    let counts = &snapshot.counts;
    let ignored = |offer: &Offer| {
        let lacks = |even: &Evenish| outlook.count(even.at, &offer.key[HEAD..], counts).is_none();
        outlook.all_keys && outlook.evenish.iter().any(lacks)
    };
    let scored: Vec<bool> = fit.iter().map(|offer| !ignored(offer)).collect();
    let among: Vec<&Offer> = fit.iter().zip(&scored).filter(|(_, scored)| **scored).map(|(offer, _)| offer).collect();
    let weights: Vec<f64> = outlook.evenish.iter().map(|even| weight(outlook, even, &among)).collect();
    let raw = |offer: &Offer| {
        let each = outlook.evenish.iter().zip(&weights).filter_map(|(even, weight)| {
            let count = outlook.count(even.at, &offer.key[HEAD..], counts)?;
            Some(count as f64 * weight + (even.max_skew - 1) as f64)
        });
        each.sum::<f64>().round() as i64
    };
    let raws: Vec<i64> = fit.iter().map(raw).collect();
    let ranked = || raws.iter().zip(&scored).filter(|(_, scored)| **scored).map(|(raw, _)| *raw);
    let (least, most) = (ranked().min().unwrap_or_default(), ranked().max().unwrap_or_default());
    let normal = |(raw, scored): (&i64, &bool)| match (scored, most) {
        (false, _) => 0,
        (true, 0) => SCORE_MAX,
        (true, most) => SCORE_MAX * (most + least - raw) / most,
    };
    raws.iter().zip(&scored).map(normal).collect()
}

/// By the number of domains that these nodes make.
fn weight(outlook: &Outlook, even: &Evenish, among: &[&Offer]) -> f64 {
    let nodes = |offers: &mut dyn Iterator<Item = &&Offer>| offers.map(|offer| offer.nodes).sum::<usize>();
    let domains: Option<HashSet<i64>> = among.iter().map(|offer| outlook.domain(even.at, &offer.key[HEAD..])).collect();
    let size = match domains {
        _ if even.by_node => nodes(&mut among.iter()),
        Some(domains) => domains.iter().filter(|domain| **domain != NONE).count(),
        None => nodes(&mut among.iter().filter(|offer| !outlook.is_nowhere(even.at, &offer.key[HEAD..]))),
    };
    ((size + 2) as f64).ln()
}

/// Where weights draw the pod. Empty when none do.
fn pulls(outlook: &Outlook, snapshot: &Snapshot, fit: &[Offer]) -> Vec<i64> {
    if outlook.pulls.is_empty() {
        return Vec::new();
    }
    let raw = |offer: &Offer| -> i64 {
        let each = outlook.pulls.iter().filter_map(|(source, weight)| {
            Some(weight * outlook.count(*source, &offer.key[HEAD..], &snapshot.counts)?)
        });
        each.sum()
    };
    let raws: Vec<i64> = fit.iter().map(raw).collect();
    let (least, most) = (raws.iter().min().copied().unwrap_or(0), raws.iter().max().copied().unwrap_or(0));
    let normal = |raw: &i64| if most == least { 0 } else { SCORE_MAX * (raw - least) / (most - least) };
    raws.iter().map(normal).collect()
}
