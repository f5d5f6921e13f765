//! Decides what one pass over a StatefulSet does: pods are made in order and given up in reverse order; with
//! `OrderedReady` one at a time, each after all before it are available. Upstream's arithmetic.

use std::collections::BTreeMap;
use std::ops::Range;

/// What the set asks for.
#[derive(Debug, Clone)]
pub struct Shape {
    pub ordinals: Range<i32>,
    /// `OrderedReady`; otherwise `Parallel`.
    pub ordered: bool,
    /// `None`: pods are replaced only when somebody deletes them.
    pub rolling: Option<Rolling>,
}

#[derive(Debug, Clone)]
pub struct Rolling {
    /// How many of the first pods keep the revision they have.
    pub partition: i32,
    pub max_unavailable: usize,
}

/// One of the set's pods.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Failed or succeeded: it never runs again.
    pub ended: bool,
    pub pending: bool,
    pub terminating: bool,
    /// Running and ready for at least `minReadySeconds`.
    pub available: bool,
    /// Has the newest template.
    pub updated: bool,
    /// Its labels, volumes and claims are as they should be.
    pub settled: bool,
}

/// In the order in which they are done. An ordered set stops at the first that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create(i32),
    Delete(i32),
    /// Its claims, should one have vanished before it runs.
    Claim(i32),
    /// Labels, volumes and the owners of claims.
    Mend(i32),
}

impl Member {
    fn is_unavailable(&self) -> bool {
        !self.available || self.terminating
    }
}

pub fn plan(shape: &Shape, members: &BTreeMap<i32, Member>) -> Vec<Step> {
    let mut steps = Vec::new();
    let more = keep(shape, members, &mut steps) && give_up(shape, members, &mut steps);
    if more && let Some(rolling) = &shape.rolling {
        roll(shape, rolling, members, &mut steps);
    }
    steps
}

/// The pods that the set should have. False when nothing else may be done before they are there.
fn keep(shape: &Shape, members: &BTreeMap<i32, Member>, steps: &mut Vec<Step>) -> bool {
    for ordinal in shape.ordinals.clone() {
        let Some(member) = members.get(&ordinal) else {
            steps.push(Step::Create(ordinal));
            if shape.ordered {
                return false;
            }
            continue;
        };
        if member.ended {
            if !member.terminating {
                steps.push(Step::Delete(ordinal));
            }
            if shape.ordered {
                return false;
            }
            continue;
        }
        if member.pending {
            steps.push(Step::Claim(ordinal));
        }
        if shape.ordered && member.is_unavailable() {
            return false;
        }
        if !member.settled {
            steps.push(Step::Mend(ordinal));
        }
    }
    true
}

/// The pods that it has too many, the last first.
fn give_up(shape: &Shape, members: &BTreeMap<i32, Member>, steps: &mut Vec<Step>) -> bool {
    let surplus = || members.iter().rev().filter(|(ordinal, _)| !shape.ordinals.contains(ordinal));
    steps.extend(surplus().filter(|(_, member)| !member.settled).map(|(ordinal, _)| Step::Mend(*ordinal)));
    let first_unavailable = surplus().rfind(|(_, member)| member.is_unavailable()).map(|(ordinal, _)| ordinal);
    for (ordinal, member) in surplus() {
        if shape.ordered && (member.terminating || (!member.available && Some(ordinal) != first_unavailable)) {
            return false;
        }
        if !member.terminating {
            steps.push(Step::Delete(*ordinal));
            if shape.ordered {
                return false;
            }
        }
    }
    true
}

/// Pods of an older template make way, the last first, as many as may be missing at a time.
fn roll(shape: &Shape, rolling: &Rolling, members: &BTreeMap<i32, Member>, steps: &mut Vec<Step>) {
    let member = |ordinal: i32| members.get(&ordinal);
    let missing = |ordinal: &i32| member(*ordinal).is_none_or(Member::is_unavailable);
    let is_old = |ordinal: &i32| member(*ordinal).is_some_and(|member| !member.updated && !member.terminating);
    let unavailable = shape.ordinals.clone().filter(missing).count();
    let on_the_way = shape.ordinals.clone().filter(|ordinal| missing(ordinal) && !is_old(ordinal)).count();
    let mut room = rolling.max_unavailable.saturating_sub(unavailable);
    // An old pod that serves nobody is no loss, unless the new template is what does not come up.
    let mut room_for_broken = rolling.max_unavailable.saturating_sub(on_the_way);
    let from = shape.ordinals.start.saturating_add(rolling.partition);
    for ordinal in (from..shape.ordinals.end).rev().filter(is_old) {
        let is_ended = member(ordinal).is_some_and(|member| member.ended);
        let budget = if missing(&ordinal) { &mut room_for_broken } else { &mut room };
        if *budget > 0 && !is_ended {
            *budget -= 1;
            steps.push(Step::Delete(ordinal));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Pods are words `ordinal` and marks: `+` available, `^` updated, `~` ended, `x` terminating, `?` pending, `!` unsettled.
    fn check(shape: &Shape, pods: &str, expected: Expect) {
        let member = |word: &str| {
            let digits = word.trim_end_matches(|mark: char| !mark.is_ascii_digit());
            let has = |mark: char| word.contains(mark);
            let member = Member {
                ended: has('~'),
                pending: has('?'),
                terminating: has('x'),
                available: has('+'),
                updated: has('^'),
                settled: !has('!'),
            };
            (digits.parse().expect("an ordinal"), member)
        };
        let members = pods.split_whitespace().map(member).collect();
        let steps: Vec<_> = plan(shape, &members).iter().map(|step| format!("{step:?}")).collect();
        expected.assert_eq(&steps.join(" "));
    }

    fn ordered(ordinals: Range<i32>) -> Shape {
        Shape { ordinals, ordered: true, rolling: Some(Rolling { partition: 0, max_unavailable: 1 }) }
    }

    fn parallel(ordinals: Range<i32>, max_unavailable: usize) -> Shape {
        Shape { ordinals, ordered: false, rolling: Some(Rolling { partition: 0, max_unavailable }) }
    }

    #[test]
    fn an_ordered_set_grows_one_by_one() {
        let shape = ordered(0..3);
        check(&shape, "", expect!["Create(0)"]);
        check(&shape, "0^", expect![""]);
        check(&shape, "0^?", expect!["Claim(0)"]);
        check(&shape, "0+^", expect!["Create(1)"]);
        check(&shape, "0+^ 2+^", expect!["Create(1)"]);
        check(&shape, "0+^ 1+^x 2+^", expect![""]);
        check(&shape, "0~^ 1+^", expect!["Delete(0)"]);
        check(&shape, "0~^x 1+^", expect![""]);
        check(&shape, "0+^! 1+^ 2+^", expect!["Mend(0)"]);
        check(&ordered(5..7), "5+^", expect!["Create(6)"]);
    }

    #[test]
    fn an_ordered_set_shrinks_from_the_end_and_only_when_it_is_well() {
        let shape = ordered(0..1);
        check(&shape, "0+^ 1+^ 2+^", expect!["Delete(2)"]);
        check(&shape, "0+^ 1+^ 2+^x", expect![""]);
        check(&shape, "0+^ 1^ 2+^", expect!["Delete(2)"]);
        check(&shape, "0+^ 1^ 2^", expect![""]);
        check(&shape, "0+^ 1+^ 2^", expect!["Delete(2)"]);
        check(&shape, "0^ 1+^ 2+^", expect![""]);
        check(&shape, "0+^ 1+^ 2+^!", expect!["Mend(2) Delete(2)"]);
        check(&ordered(2..4), "0+^ 1+^ 2+^ 3+^", expect!["Delete(1)"]);
    }

    #[test]
    fn an_ordered_rollout_replaces_the_last_old_pod() {
        let mut shape = ordered(0..3);
        check(&shape, "0+ 1+ 2+", expect!["Delete(2)"]);
        check(&shape, "0+ 1+ 2+x", expect![""]);
        check(&shape, "0+ 1+", expect!["Create(2)"]);
        check(&shape, "0+ 1+ 2+^", expect!["Delete(1)"]);
        check(&shape, "0+^ 1+^ 2+^", expect![""]);
        shape.rolling = Some(Rolling { partition: 2, max_unavailable: 1 });
        check(&shape, "0+ 1+ 2+^", expect![""]);
        check(&shape, "0+ 1+ 2+", expect!["Delete(2)"]);
        shape.rolling = Some(Rolling { partition: 0, max_unavailable: 2 });
        check(&shape, "0+ 1+ 2+", expect!["Delete(2) Delete(1)"]);
        shape.rolling = None;
        check(&shape, "0+ 1+ 2+", expect![""]);
    }

    #[test]
    fn a_parallel_set_does_all_at_once_but_rolls_out_within_its_limit() {
        let shape = parallel(0..3, 1);
        check(&shape, "", expect!["Create(0) Create(1) Create(2)"]);
        check(&shape, "0~^ 2?^", expect!["Delete(0) Create(1) Claim(2)"]);
        check(&parallel(0..1, 1), "0^ 1^ 2+^ 3+^x", expect!["Delete(2) Delete(1)"]);
        check(&shape, "0+ 1+ 2+", expect!["Delete(2)"]);
        check(&shape, "0+ 1+ 2^", expect![""]);
        check(&parallel(0..3, 2), "0+ 1+ 2^", expect!["Delete(1)"]);
        check(&parallel(0..3, 2), "0+ 1+ 2x", expect!["Delete(1)"]);
        check(&shape, "0+ 1 2+", expect!["Delete(1)"]);
        check(&shape, "0+ 1 2^", expect![""]);
        check(&parallel(0..3, 3), "0+ 1+ 2+", expect!["Delete(2) Delete(1) Delete(0)"]);
    }
}
