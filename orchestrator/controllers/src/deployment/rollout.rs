//! How large each ReplicaSet of a Deployment should be next: upstream's rolling-update arithmetic.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::amount::{Round, scaled};

#[derive(Debug, Clone)]
pub struct Rollout {
    pub wanted: i32,
    pub surge: i32,
    pub unavailable: i32,
    pub paused: bool,
    pub recreate: bool,
}

/// One ReplicaSet, oldest first in a slice of them.
#[derive(Debug, Clone, Default)]
pub struct Set {
    pub size: i32,
    pub available: i32,
    /// The deployment's size, and with surge, when this set was last scaled.
    pub desired_before: Option<i32>,
    pub max_before: Option<i32>,
}

impl Rollout {
    pub fn of(deployment: &Deployment, recreate: bool) -> Self {
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let rolling = deployment.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
        let mut unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false);
        // Otherwise nothing could ever move.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let (surge, unavailable) = if recreate { (0, 0) } else { (surge, unavailable.min(wanted)) };
        Self { wanted, surge, unavailable, paused: deployment.spec.paused == Some(true), recreate }
    }
}

/// A percentage of the wanted size (25% unless given), or a number.
fn share(value: Option<&IntOrString>, wanted: i32, up: bool) -> i32 {
    let quarter = IntOrString::String("25%".into());
    let round = if up { Round::Up } else { Round::Down };
    scaled(value.unwrap_or(&quarter), wanted, round)
}

/// The size that a set not yet made begins with.
pub fn first_size(rollout: &Rollout, others: &[Set]) -> i32 {
    if rollout.recreate { rollout.wanted } else { grown(rollout, 0, others.iter().map(|set| set.size).sum()) }
}

fn grown(rollout: &Rollout, size: i32, total: i32) -> i32 {
    let room = (rollout.wanted + rollout.surge - total).max(0);
    size + room.min(rollout.wanted - size)
}

/// The next size of each set. `newest` is the place of the one with the current template.
pub fn sizes(rollout: &Rollout, sets: &[Set], newest: Option<usize>) -> Vec<i32> {
    let mut next: Vec<i32> = sets.iter().map(|set| set.size).collect();
    let rescaled =
        sets.iter().any(|set| set.size > 0 && set.desired_before.is_some_and(|before| before != rollout.wanted));
    if rollout.paused || rescaled {
        rescale(rollout, sets, newest, &mut next);
        return next;
    }
    if rollout.recreate {
        for (place, size) in next.iter_mut().enumerate() {
            *size = if Some(place) == newest { *size } else { 0 };
        }
        let old_gone = sets.iter().enumerate().all(|(place, set)| Some(place) == newest || set.size == 0);
        if let Some(new) = newest.filter(|_| old_gone) {
            next[new] = rollout.wanted;
        }
        return next;
    }
    let Some(new) = newest else { return next };
    if sets[new].size != rollout.wanted {
        let total = next.iter().sum();
        next[new] =
            if sets[new].size > rollout.wanted { rollout.wanted } else { grown(rollout, sets[new].size, total) };
        if next[new] != sets[new].size {
            return next;
        }
    }
    shrink_old(rollout, sets, new, &mut next);
    next
}

/// Unavailable old pods first, they serve nobody; then as many available ones as the minimum allows.
fn shrink_old(rollout: &Rollout, sets: &[Set], new: usize, next: &mut [i32]) {
    let minimum = rollout.wanted - rollout.unavailable;
    let new_unavailable = sets[new].size - sets[new].available;
    let mut may_go = sets.iter().map(|set| set.size).sum::<i32>() - minimum - new_unavailable;
    let old = || (0..sets.len()).filter(|place| *place != new);
    for place in old() {
        let gone = (next[place] - sets[place].available).clamp(0, may_go.max(0));
        next[place] -= gone;
        may_go -= gone;
    }
    let mut spare = sets.iter().map(|set| set.available).sum::<i32>() - minimum;
    for place in old() {
        let gone = next[place].min(spare.max(0));
        next[place] -= gone;
        spare -= gone;
    }
}

/// The deployment's size changed: one active set takes it all, several share it by their sizes.
fn rescale(rollout: &Rollout, sets: &[Set], newest: Option<usize>, next: &mut [i32]) {
    let mut active: Vec<usize> = (0..sets.len()).filter(|place| sets[*place].size > 0).collect();
    if active.len() <= 1 {
        let latest = active.first().copied().or(newest).or(sets.len().checked_sub(1));
        if let Some(place) = latest {
            next[place] = rollout.wanted;
        }
        return;
    }
    let saturated = |new: usize| {
        sets[new].desired_before == Some(rollout.wanted)
            && sets[new].size == rollout.wanted
            && sets[new].available == rollout.wanted
    };
    if let Some(new) = newest.filter(|new| saturated(*new)) {
        active.iter().filter(|place| **place != new).for_each(|place| next[*place] = 0);
        return;
    }
    if rollout.recreate {
        return;
    }
    let allowed = if rollout.wanted > 0 { rollout.wanted + rollout.surge } else { 0 };
    let to_add = allowed - active.iter().map(|place| sets[*place].size).sum::<i32>();
    active.sort_by_key(|place| (-sets[*place].size, if to_add > 0 { -(*place as i64) } else { *place as i64 }));
    let mut added = 0;
    for place in &active {
        let left = to_add - added;
        let part = fraction(rollout, &sets[*place]);
        let part = if to_add > 0 { part.min(left).max(0) } else { part.max(left).min(0) };
        next[*place] += part;
        added += part;
    }
    next[active[0]] = (next[active[0]] + to_add - added).max(0);
}

fn fraction(rollout: &Rollout, set: &Set) -> i32 {
    if rollout.wanted == 0 {
        return -set.size;
    }
    let before = f64::from(set.max_before.filter(|max| *max > 0).unwrap_or(rollout.wanted + rollout.surge));
    (f64::from(set.size) * f64::from(rollout.wanted + rollout.surge) / before).round() as i32 - set.size
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Sets are `size/available`, oldest first; the last is the newest. Steps until nothing moves, all pods becoming available.
    fn check(wanted: i32, surge: i32, unavailable: i32, sets: &str, expected: Expect) {
        let rollout = Rollout { wanted, surge, unavailable, paused: false, recreate: false };
        let mut sets: Vec<Set> = sets
            .split(' ')
            .map(|set| {
                let (size, available) = set.split_once('/').unwrap();
                Set { size: size.parse().unwrap(), available: available.parse().unwrap(), ..Set::default() }
            })
            .collect();
        let mut steps = Vec::new();
        for _ in 0..20 {
            let next = sizes(&rollout, &sets, Some(sets.len() - 1));
            if next.iter().zip(&sets).all(|(next, set)| *next == set.size) {
                break;
            }
            steps.push(format!("{next:?}"));
            sets.iter_mut().zip(next).for_each(|(set, size)| (set.size, set.available) = (size, size));
        }
        expected.assert_eq(&steps.join(" "));
    }

    #[test]
    fn a_rollout_surges_then_shrinks() {
        check(3, 1, 0, "3/3 0/0", expect!["[3, 1] [2, 1] [2, 2] [1, 2] [1, 3] [0, 3]"]);
        check(4, 0, 2, "4/4 0/0", expect!["[2, 0] [2, 2] [0, 2] [0, 4]"]);
    }

    #[test]
    fn broken_old_pods_go_first() {
        check(3, 1, 0, "2/0 2/2 0/0", expect!["[1, 2, 0] [1, 2, 1] [0, 2, 1] [0, 2, 2] [0, 1, 2] [0, 1, 3] [0, 0, 3]"]);
    }
}
