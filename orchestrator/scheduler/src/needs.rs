//! What pods ask, kept once for all pods that ask the same.

use std::collections::HashMap;
use std::sync::Arc;

use crate::need::{Kin, Need};

/// Kept without looking for what is not used any more.
const KEPT_MIN: usize = 4_096;

#[derive(Default)]
pub struct Needs {
    known: HashMap<(Arc<str>, Arc<Kin>, i32), Arc<Need>>,
    most: usize,
}

impl Needs {
    pub fn share(&mut self, need: Need) -> Arc<Need> {
        let key = (need.class.clone(), need.kin.clone(), need.priority);
        if let Some(known) = self.known.get(&key).filter(|known| known.preempts == need.preempts) {
            return known.clone();
        }
        if self.known.len() > self.most.max(KEPT_MIN) {
            self.known.retain(|_, need| Arc::strong_count(need) > 1);
            self.most = self.known.len() * 2;
        }
        let need = Arc::new(need);
        self.known.insert(key, need.clone());
        need
    }
}
