//! Decides what one pass over a DaemonSet does: `manage` sees to it that each node has its daemon and no other, `roll`
//! replaces daemons of an older template. Upstream's arithmetic.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::daemon::Fit;

/// One of the set's pods.
#[derive(Debug, Clone, Default)]
pub struct Daemon {
    pub name: String,
    pub end: Option<End>,
    pub terminating: bool,
    pub ready: bool,
    /// Ready for at least `minReadySeconds`.
    pub available: bool,
    /// Has the newest template.
    pub updated: bool,
    /// Bound to its node.
    pub scheduled: bool,
    /// Seconds of the epoch.
    pub created: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Failed,
    Succeeded,
}

/// One node and its daemons. A node that does not exist fits none.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub fit: Fit,
    pub exists: bool,
    pub daemons: Vec<Daemon>,
}

pub type Places = BTreeMap<String, Place>;

/// How many may be missing, or be there twice, while a template is rolled out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub unavailable: usize,
    pub surge: usize,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Nodes that get a daemon.
    pub create: Vec<String>,
    /// Names of pods.
    pub delete: Vec<String>,
    /// Pods that have run to their end, with their nodes: they are replaced, but not ever faster.
    pub ended: Vec<(End, String, String)>,
}

pub fn manage(places: &Places, surges: bool) -> Steps {
    let mut steps = Steps::default();
    for (node, place) in places {
        if !place.exists {
            // Nobody else would end a pod that waits for a node that is gone.
            steps.delete.extend(place.live().filter(|daemon| !daemon.scheduled).map(|daemon| daemon.name.clone()));
        } else if place.fit.should_run && place.daemons.is_empty() {
            steps.create.push(node.clone());
        } else if place.fit.may_stay {
            keep_one(node, place, surges, &mut steps);
        } else {
            steps.delete.extend(place.live().map(|daemon| daemon.name.clone()));
        }
    }
    steps
}

fn keep_one(node: &str, place: &Place, surges: bool, steps: &mut Steps) {
    let mut running: Vec<&Daemon> = Vec::new();
    for daemon in place.live() {
        match daemon.end {
            Some(end) => steps.ended.push((end, node.to_owned(), daemon.name.clone())),
            None => running.push(daemon),
        }
    }
    running.sort_by_key(|daemon| daemon.seniority());
    if !surges {
        steps.delete.extend(running.iter().skip(1).map(|daemon| daemon.name.clone()));
        return;
    }
    if running.is_empty() && place.fit.should_run {
        steps.create.push(node.to_owned());
    }
    let (new, old): (Vec<&Daemon>, Vec<&Daemon>) = running.into_iter().partition(|daemon| daemon.updated);
    steps.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).map(|daemon| daemon.name.clone()));
    // Old and new stand side by side only until the new one can take over.
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!old.ready || new.available)
    {
        steps.delete.push(old.name.clone());
    }
}

pub fn roll(places: &Places, limits: Limits) -> Steps {
    if limits.surge == 0 { roll_by_gaps(places, limits.unavailable) } else { roll_by_surge(places, limits.surge) }
}

/// Old daemons go first; `manage` then fills the gaps.
fn roll_by_gaps(places: &Places, unavailable_max: usize) -> Steps {
    let (mut unavailable, mut replaced, mut candidates) = (0, Vec::new(), Vec::new());
    for place in places.values().filter(|place| place.matters()) {
        match place.pair() {
            Some((Some(new), None)) if new.available => {}
            Some((None, Some(old))) if old.available => candidates.push(old.name.clone()),
            Some((None, Some(old))) => {
                replaced.push(old.name.clone());
                unavailable += 1;
            }
            _ => unavailable += 1,
        }
    }
    candidates.truncate(unavailable_max.saturating_sub(unavailable));
    replaced.extend(candidates);
    Steps { delete: replaced, ..Steps::default() }
}

/// New daemons come first, beside old ones that go when the new are available.
fn roll_by_surge(places: &Places, surge_max: usize) -> Steps {
    let (mut surging, mut available) = (0, 0);
    let (mut create, mut candidates, mut delete, mut leaving) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (node, place) in places.iter().filter(|(_, place)| place.matters()) {
        let Some((new, old)) = place.pair() else {
            surging += 1;
            continue;
        };
        available += usize::from(old.or(new).is_some_and(|daemon| daemon.available));
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) if !place.fit.should_run && !old.available => delete.push(old.name.clone()),
            (None, Some(old)) if !place.fit.should_run => leaving.push(old.name.clone()),
            (None, Some(old)) if !old.available => create.push(node.clone()),
            (None, Some(_)) => candidates.push(node.clone()),
            (Some(new), Some(old)) if new.available => delete.push(old.name.clone()),
            (Some(_), Some(_)) => surging += 1,
        }
    }
    // Where a daemon must leave, it does so when others make up for it.
    let desired = places.values().filter(|place| place.fit.should_run).count();
    leaving.truncate(usize::saturating_sub(available, desired));
    delete.extend(leaving);
    candidates.truncate(surge_max.saturating_sub(surging));
    create.extend(candidates);
    Steps { create, delete, ..Steps::default() }
}

impl Place {
    pub fn live(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons.iter().filter(|daemon| !daemon.terminating)
    }

    fn matters(&self) -> bool {
        self.fit.should_run || !self.daemons.is_empty()
    }

    /// The new and the old daemon; `None` when there are several of one.
    fn pair(&self) -> Option<(Option<&Daemon>, Option<&Daemon>)> {
        let (new, old): (Vec<&Daemon>, Vec<&Daemon>) = self.live().partition(|daemon| daemon.updated);
        (new.len() < 2 && old.len() < 2).then(|| (new.first().copied(), old.first().copied()))
    }
}

impl Daemon {
    /// Smallest first: bound before waiting, then the oldest.
    pub fn seniority(&self) -> (Reverse<bool>, i64, String) {
        (Reverse(self.scheduled), self.created, self.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Places are words `node` with marks (`-` must leave, `=` may only stay, `0` does not exist) and pods after colons:
    /// `name` and marks, `+` available, `r` only ready, `^` updated, `~` failed, `.` succeeded, `x` terminating, `?` unbound.
    fn places(words: &str) -> Places {
        let daemon = |(at, word): (usize, &str)| {
            let has = |mark: char| word.contains(mark);
            Daemon {
                name: word.chars().take_while(char::is_ascii_digit).collect(),
                end: if has('~') { Some(End::Failed) } else { has('.').then_some(End::Succeeded) },
                terminating: has('x'),
                ready: has('+') || has('r'),
                available: has('+'),
                updated: has('^'),
                scheduled: !has('?'),
                created: at as i64,
            }
        };
        let place = |word: &str| {
            let mut parts = word.split(':');
            let node = parts.next().unwrap();
            let fit = match node.chars().last() {
                Some('-' | '0') => Fit::default(),
                Some('=') => Fit { should_run: false, may_stay: true },
                _ => Fit { should_run: true, may_stay: true },
            };
            let place = Place { fit, exists: !node.ends_with('0'), daemons: parts.enumerate().map(daemon).collect() };
            (node.trim_end_matches(['-', '=', '0']).to_owned(), place)
        };
        words.split_whitespace().map(place).collect()
    }

    fn show(steps: &Steps) -> String {
        let ended = steps.ended.iter().map(|(end, node, pod)| format!("{end:?} {node}/{pod}"));
        let create = steps.create.iter().map(|node| format!("create on {node}"));
        let all = create.chain(steps.delete.iter().map(|pod| format!("delete {pod}"))).chain(ended);
        all.collect::<Vec<_>>().join(", ")
    }

    fn managed(words: &str, surges: bool, expected: Expect) {
        expected.assert_eq(&show(&manage(&places(words), surges)));
    }

    fn rolled(words: &str, unavailable: usize, surge: usize, expected: Expect) {
        expected.assert_eq(&show(&roll(&places(words), Limits { unavailable, surge })));
    }

    #[test]
    fn every_node_has_one_daemon() {
        managed("a b:1+ c-:2+ d=:3+ e= f-", false, expect!["create on a, delete 2"]);
        managed("a:1+:2+ b:3?:4", false, expect!["delete 2, delete 3"]);
        managed("a:1x b-:2x", false, expect![""]);
        managed("a:1~ b:2.", false, expect!["Failed a/1, Succeeded b/2"]);
        managed("a0:1?:2", false, expect!["delete 1"]);
    }

    #[test]
    fn a_surge_keeps_two_only_until_the_new_one_takes_over() {
        managed("a:1+:2^", true, expect![""]);
        managed("a:1+:2^+", true, expect!["delete 1"]);
        managed("a:1:2^", true, expect!["delete 1"]);
        managed("a:1+:2^:3^:4+", true, expect!["delete 3, delete 4"]);
        managed("a:1x", true, expect!["create on a"]);
    }

    #[test]
    fn old_daemons_make_way_within_the_limit() {
        rolled("a:1+ b:2+ c:3+", 1, 0, expect!["delete 1"]);
        rolled("a:1+ b:2+ c:3+^", 2, 0, expect!["delete 1, delete 2"]);
        rolled("a:1+x b:2+ c:3+", 1, 0, expect![""]);
        rolled("a b:2+ c:3+", 1, 0, expect![""]);
        rolled("a:1^ b:2+ c:3+", 1, 0, expect![""]);
        rolled("a:1 b:2 c:3+", 1, 0, expect!["delete 1, delete 2"]);
        rolled("a:1+^ b:2+^", 1, 0, expect![""]);
    }

    #[test]
    fn new_daemons_come_before_old_ones_go() {
        rolled("a:1+ b:2+ c:3+", 0, 1, expect!["create on a"]);
        rolled("a:1+:4^ b:2+ c:3+", 0, 1, expect![""]);
        rolled("a:1+:4^+ b:2+ c:3+", 0, 1, expect!["create on b, delete 1"]);
        rolled("a:1 b:2+ c:3+", 0, 1, expect!["create on a, create on b"]);
        rolled("a=:1+ b:2+^", 0, 1, expect!["delete 1"]);
        rolled("a=:1+ b:2^", 0, 1, expect![""]);
        rolled("a=:1 b:2^", 0, 1, expect!["delete 1"]);
    }
}
