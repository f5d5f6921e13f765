//! The machine against a model of a few lines, and against itself.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Snapshot;

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    revision: Revision,
    objects: BTreeMap<Key, (Revision, Revision, String)>,
    charges: BTreeMap<Key, i64>,
    pool: BTreeMap<u64, Key>,
}

impl Model {
    /// Tries on a copy: a transaction is all or nothing.
    fn apply(&mut self, txn: &Txn) -> bool {
        let mut next = self.clone();
        let held = txn.guards.iter().all(|guard| next.holds(guard)) && txn.ops.iter().all(|op| next.reserve(op));
        if held {
            txn.ops.iter().for_each(|op| next.change(op, txn.share_revision.then_some(self.revision + 1)));
            *self = next;
        }
        held
    }

    fn holds(&self, guard: &Guard) -> bool {
        let revision = |key| self.objects.get(key).map(|object| object.1);
        match guard {
            Guard::Absent(key) => revision(key).is_none(),
            Guard::Present(key) | Guard::NamespaceActive(key) => revision(key).is_some(),
            Guard::Revision(key, wanted) => revision(key) == Some(*wanted),
            Guard::Uid(key, uid) => revision(key).is_some() && uid.is_empty(),
        }
    }

    fn reserve(&mut self, op: &Op) -> bool {
        match op {
            Op::Charge { quota, .. } if !self.objects.contains_key(quota) => true,
            Op::Charge { quota, delta, hard, .. } => {
                let sum = self.charges.get(quota).copied().unwrap_or(0) + delta;
                self.charges.insert(quota.clone(), sum);
                *delta <= 0 || sum <= *hard
            }
            Op::Allocate { value, owner, .. } => self.pool.entry(*value).or_insert(owner.clone()) == owner,
            Op::Release { value, .. } => {
                self.pool.remove(value);
                true
            }
            Op::Put { .. } | Op::Delete { .. } => true,
        }
    }

    fn change(&mut self, op: &Op, shared: Option<Revision>) {
        let next = shared.unwrap_or(self.revision + 1);
        match op {
            Op::Put { key, payload, .. } => {
                let text = String::from_utf8(payload.body.to_vec()).unwrap();
                let created = self.objects.get(key).map_or(next, |object| object.0);
                if self.objects.get(key).is_none_or(|object| object.2 != text) {
                    self.objects.insert(key.clone(), (created, next, text));
                    self.revision = next;
                }
            }
            Op::Delete { key } => {
                if self.objects.remove(key).is_some() {
                    self.revision = next;
                    self.charges.remove(key);
                }
            }
            Op::Charge { .. } | Op::Allocate { .. } | Op::Release { .. } => {}
        }
    }
}

fn key() -> impl Strategy<Value = Key> {
    (1_u16..3, 0..2, 0..4)
        .prop_map(|(resource, space, name)| Key::new(ResourceId(resource), &format!("n{space}"), &format!("x{name}")))
}

fn guard() -> impl Strategy<Value = Guard> {
    prop_oneof![
        key().prop_map(Guard::Absent),
        key().prop_map(Guard::Present),
        key().prop_map(Guard::NamespaceActive),
        (key(), 0_u64..20).prop_map(|(key, revision)| Guard::Revision(key, revision)),
        (key(), "a?").prop_map(|(key, uid)| Guard::Uid(key, uid)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let payload = |text: String| Payload {
        codec: 0,
        body: text.into(),
        managed_fields_at: 0,
        revision_at: 0,
        managed_fields: "".into(),
    };
    prop_oneof![
        4 => (key(), "[ab]").prop_map(move |(key, text)| Op::Put { key, meta: Meta::default(), payload: payload(text) }),
        2 => key().prop_map(|key| Op::Delete { key }),
        1 => (key(), -2_i64..3).prop_map(|(quota, delta)| Op::Charge { quota, name: "c".into(), delta, hard: 3 }),
        1 => (0_u64..3, key()).prop_map(|(value, owner)| Op::Allocate { pool: "p".into(), value, owner }),
        1 => (0_u64..3).prop_map(|value| Op::Release { pool: "p".into(), value }),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let guards = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(guard(), 1..3)];
    let parts = (guards, prop::collection::vec(op(), 0..5), any::<bool>());
    parts.prop_map(|(guards, ops, share_revision)| Txn { guards, ops, share_revision })
}

proptest! {
    #[test]
    fn the_machine_does_what_the_model_does(txns in prop::collection::vec(txn(), 1..60)) {
        let (mut model, mut machine) = (Model::default(), Machine::default());
        for txn in txns {
            let before = machine.root().revision;
            let applied = machine.apply([&Command::Txn(txn.clone())]);
            let Outcome::Txn(outcome) = &applied.outcomes[0] else { panic!("a transaction has the outcome of one") };
            prop_assert_eq!(model.apply(&txn), outcome.is_ok(), "{:?}", txn);
            compare(&model, &machine);
            // A put and the deletion of one object in one shared revision are two events of it.
            let revisions: Vec<_> = applied.events.iter().map(|event| event.revision).collect();
            prop_assert!(revisions.is_sorted() && revisions.iter().all(|revision| *revision > before));
            prop_assert_eq!(revisions.last().copied().unwrap_or(before), machine.root().revision);
        }
    }

    #[test]
    fn how_commands_are_batched_changes_nothing(txns in prop::collection::vec(txn(), 1..60), cut in 0_usize..60) {
        let commands: Vec<Command> = txns.into_iter().map(Command::Txn).collect();
        let (mut one, mut other) = (Machine::default(), Machine::default());
        let whole = one.apply(&commands);
        let (first, second) = commands.split_at(cut.min(commands.len()));
        let mut events = other.apply(first).events;
        // A held snapshot must not change what follows.
        let held = other.root().clone();
        events.extend(other.apply(second).events);
        prop_assert_eq!(format!("{:?}", one.root()), format!("{:?}", other.root()));
        prop_assert_eq!(format!("{:?}", whole.events), format!("{:?}", events));
        drop(held);
    }
}

fn compare(model: &Model, machine: &Machine) {
    let root = machine.root();
    let seen = root.objects.iter().map(|(key, object)| {
        let text = String::from_utf8(object.payload().body.to_vec()).unwrap();
        (key.clone(), (object.create_revision, object.revision, text))
    });
    assert_eq!((root.revision, seen.collect()), (model.revision, model.objects.clone()));
    let charges = root.charges.iter().map(|((key, _), sum)| (key.clone(), *sum)).collect();
    assert_eq!(
        (&model.charges, &model.pool),
        (&charges, &root.pools.iter().map(|((_, v), k)| (*v, k.clone())).collect())
    );
    for resource in [ResourceId(1), ResourceId(2)] {
        for namespace in [None, Some("n0"), Some("n1")] {
            let listed = root.list(resource, namespace, None, 0).len();
            assert_eq!(root.count(resource, namespace), listed, "counts follow the objects");
        }
    }
    assert_eq!(root.weight, root.objects.values().map(|object| object.weight()).sum::<usize>());
}
