//! Pods with the same namespace and labels: what is counted of one is counted of all of them, so matching is done once.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_api::selector::Labels;

use super::{CounterId, Counts, IDLE_KIN_MAX, Query};
use crate::need::{Group, Kin};

/// What is known of the pods of one kin.
#[derive(Debug, Default)]
pub struct Known {
    /// Slot → how many, and how many of them are not being deleted.
    slots: HashMap<u32, (i64, i64)>,
    /// Counters that count them.
    counted_by: Vec<CounterId>,
    /// Counters of terms that mean them.
    meant_by: Vec<CounterId>,
    /// How far the lists of counters were read: of the namespace, of all.
    seen: (usize, usize),
}

impl Known {
    pub fn forget_counters(&mut self) {
        self.counted_by.clear();
        self.meant_by.clear();
        self.seen = (0, 0);
    }
}

impl Counts {
    /// Counters of the terms by which placed pods shun or pull such a pod.
    pub fn meaning(&mut self, kin: &Arc<Kin>) -> &[CounterId] {
        self.catch_up(kin);
        &self.kin[kin].meant_by
    }

    pub(super) fn count_kin(&mut self, kin: &Arc<Kin>, slot: u32, living: bool, sign: i64) {
        self.catch_up(kin);
        let Some(known) = self.kin.get_mut(kin) else { return };
        let here = known.slots.entry(slot).or_default();
        here.0 += sign;
        here.1 += if living { sign } else { 0 };
        if *here == (0, 0) {
            known.slots.remove(&slot);
        }
        let counters = std::mem::take(&mut known.counted_by);
        for id in &counters {
            let only_living = matches!(self.counters[*id as usize].query, Query::Pods { living: true, .. });
            if living || !only_living {
                self.add(*id, slot, sign);
            }
        }
        if let Some(known) = self.kin.get_mut(kin) {
            known.counted_by = counters;
        }
        if self.kin.len() > self.kin_max.max(IDLE_KIN_MAX) {
            self.drop_idle_kin();
            self.kin_max = self.kin.len() * 2;
        }
    }

    /// A new counter: pods that it concerns are counted at once, terms when somebody asks.
    pub(super) fn announce(&mut self, id: CounterId) {
        let counter = &self.counters[id as usize];
        let first = counter.query.groups().first();
        let Some(first) = first else { return };
        let counts_pods = matches!(counter.query, Query::Pods { .. });
        let concerned: Vec<Arc<Kin>> = if first.by_labels.is_some() {
            self.anywhere.push(id);
            if counts_pods { self.kin.keys().cloned().collect() } else { Vec::new() }
        } else {
            let namespaces: Vec<String> = first.namespaces.iter().cloned().collect();
            for namespace in &namespaces {
                self.by_namespace.entry(namespace.clone()).or_default().push(id);
            }
            let kin = namespaces.iter().filter_map(|namespace| self.kin_in.get(namespace)).flatten();
            if counts_pods { kin.cloned().collect() } else { Vec::new() }
        };
        concerned.iter().for_each(|kin| self.catch_up(kin));
    }

    /// Matches the kin with counters that came since it was looked at; what of it is placed is counted.
    fn catch_up(&mut self, kin: &Arc<Kin>) {
        if !self.kin.contains_key(kin) {
            self.kin_in.entry(kin.namespace.clone()).or_default().insert(kin.clone());
            self.kin.insert(kin.clone(), Known::default());
        }
        let Some(known) = self.kin.get_mut(kin) else { return };
        let local = self.by_namespace.get(&kin.namespace).map(Vec::as_slice).unwrap_or_default();
        if known.seen == (local.len(), self.anywhere.len()) {
            return;
        }
        let new: Vec<CounterId> = local[known.seen.0..].iter().chain(&self.anywhere[known.seen.1..]).copied().collect();
        known.seen = (local.len(), self.anywhere.len());
        for id in new {
            if self.concerns(id, kin) {
                self.join(id, kin, 1);
            }
        }
    }

    /// Whether the group means such pods.
    pub fn holds(&self, group: &Group, kin: &Kin) -> bool {
        group.holds(kin, self.namespaces.get(&kin.namespace))
    }

    fn concerns(&self, id: CounterId, kin: &Kin) -> bool {
        self.counters[id as usize].query.groups().iter().all(|group| self.holds(group, kin))
    }

    /// The counter begins, or (`-1`) ceases, to concern the kin.
    fn join(&mut self, id: CounterId, kin: &Arc<Kin>, sign: i64) {
        let Some(known) = self.kin.get_mut(kin) else { return };
        let Query::Pods { living, .. } = self.counters[id as usize].query else {
            return list(&mut known.meant_by, id, sign);
        };
        list(&mut known.counted_by, id, sign);
        let placed: Vec<(u32, i64)> =
            known.slots.iter().map(|(slot, (all, alive))| (*slot, if living { *alive } else { *all })).collect();
        placed.into_iter().for_each(|(slot, amount)| self.add(id, slot, sign * amount));
    }

    /// Namespaces may be chosen by labels; `None`: it is gone.
    pub fn put_namespace(&mut self, name: &str, labels: Option<Labels>) {
        let kin: Vec<Arc<Kin>> = self.kin_in.get(name).into_iter().flatten().cloned().collect();
        kin.iter().for_each(|kin| self.catch_up(kin));
        let concerns = |counts: &Self| -> Vec<(Arc<Kin>, CounterId, bool)> {
            let pairs = kin.iter().flat_map(|kin| counts.anywhere.iter().map(move |id| (kin.clone(), *id)));
            pairs.map(|(kin, id)| (kin.clone(), id, counts.concerns(id, &kin))).collect()
        };
        let before = concerns(self);
        match labels {
            Some(labels) => _ = self.namespaces.insert(name.to_owned(), labels),
            None => _ = self.namespaces.remove(name),
        }
        for ((kin, id, did), (_, _, does)) in before.into_iter().zip(concerns(self)) {
            if did != does {
                self.join(id, &kin, if does { 1 } else { -1 });
                self.shape += 1;
            }
        }
    }

    fn drop_idle_kin(&mut self) {
        let idle: Vec<Arc<Kin>> =
            self.kin.iter().filter(|(_, known)| known.slots.is_empty()).map(|(kin, _)| kin.clone()).collect();
        for kin in idle {
            self.kin.remove(&kin);
            if let Some(all) = self.kin_in.get_mut(&kin.namespace) {
                all.remove(&kin);
                if all.is_empty() {
                    self.kin_in.remove(&kin.namespace);
                }
            }
        }
    }
}

fn list(ids: &mut Vec<CounterId>, id: CounterId, sign: i64) {
    if sign > 0 {
        ids.push(id);
    } else {
        ids.retain(|known| *known != id);
    }
}
