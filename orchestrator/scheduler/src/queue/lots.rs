//! Parked pods that ask the same and were refused alike.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::PodKey;
use crate::hints::{Event, may_help};
use crate::need::{Kin, Need};
use crate::plugins::{Plugin, Plugins};

type LotKey = (Arc<str>, Arc<Kin>, Plugins);

#[derive(Debug)]
struct Lot {
    need: Arc<Need>,
    pods: HashSet<PodKey>,
}

#[derive(Debug, Default)]
pub struct Lots {
    lots: HashMap<LotKey, Lot>,
    of: HashMap<PodKey, LotKey>,
}

impl Lots {
    pub fn put(&mut self, key: &PodKey, need: &Arc<Need>, refused_by: Plugins) {
        self.remove(key);
        let lot = (need.class.clone(), need.kin.clone(), refused_by);
        let fresh = || Lot { need: need.clone(), pods: HashSet::new() };
        self.lots.entry(lot.clone()).or_insert_with(fresh).pods.insert(key.clone());
        self.of.insert(key.clone(), lot);
    }

    pub fn remove(&mut self, key: &PodKey) {
        let Some(at) = self.of.remove(key) else { return };
        let Some(lot) = self.lots.get_mut(&at) else { return };
        lot.pods.remove(key);
        if lot.pods.is_empty() {
            self.lots.remove(&at);
        }
    }

    pub fn helped_by(&self, event: &Event) -> Vec<PodKey> {
        let helped = self.lots.iter().filter(|((_, _, refused_by), lot)| may_help(*refused_by, &lot.need, event));
        helped.flat_map(|(_, lot)| lot.pods.iter().cloned()).collect()
    }

    pub fn refusals(&self) -> HashMap<Plugin, usize> {
        let mut refusals = HashMap::new();
        for ((_, _, refused_by), lot) in &self.lots {
            refused_by.iter().for_each(|plugin| *refusals.entry(plugin).or_default() += lot.pods.len());
        }
        refusals
    }
}
