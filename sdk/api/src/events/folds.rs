//! What the recorder remembers between batches: which event an occurrence repeats, and how much each object
//! has said lately. Upstream's correlator: equal occurrences raise a count, more than ten similar ones within
//! ten minutes become one combined event, and an object may say 25 things at once, then one every five minutes.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Occurrence;

/// Events and objects remembered; beyond it everything is forgotten at once, which only costs some counts.
const REMEMBERED_MAX: usize = 4_096;
/// Similar occurrences (all but the message equal) before they are combined.
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW_SECONDS: i64 = 600;
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;

/// One write that a batch needs.
#[derive(Debug)]
pub(super) struct Fold {
    pub name: String,
    pub namespace: String,
    pub first: Timestamp,
    pub last: Occurrence,
    pub count: i32,
    /// It is in the API already, unless it has expired there.
    pub written_before: bool,
}

#[derive(Default)]
pub(super) struct Folds {
    events: HashMap<String, Known>,
    similar: HashMap<String, Similar>,
    objects: HashMap<String, Bucket>,
    last_name: i128,
}

struct Known {
    name: String,
    first: Timestamp,
    count: i32,
}

struct Similar {
    since: Timestamp,
    messages: Vec<String>,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Folds {
    /// The writes that these occurrences need, in the order of their first appearance.
    pub fn absorb(&mut self, occurrences: impl Iterator<Item = Occurrence>) -> Vec<Fold> {
        let mut folds: Vec<Fold> = Vec::new();
        for occurrence in occurrences {
            self.forget_when_full();
            let Some(fold) = self.fold(occurrence) else { continue };
            match folds.iter_mut().find(|known| known.name == fold.name) {
                Some(known) => (known.last, known.count) = (fold.last, fold.count),
                None => folds.push(fold),
            }
        }
        folds
    }

    fn fold(&mut self, mut occurrence: Occurrence) -> Option<Fold> {
        let object = object_key(&occurrence);
        if !self.may_speak(&object, occurrence.at) {
            return None;
        }
        let kind_of_thing = format!("{object}\0{:?}\0{}", occurrence.severity, occurrence.reason);
        let key = match self.combine(&kind_of_thing, &occurrence) {
            true => {
                occurrence.message = format!("(combined from similar events): {}", occurrence.message);
                kind_of_thing
            }
            false => format!("{kind_of_thing}\0{}", occurrence.message),
        };
        let namespace = occurrence.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        if let Some(known) = self.events.get_mut(&key) {
            known.count += 1;
            let (name, first, count) = (known.name.clone(), known.first, known.count);
            return Some(Fold { name, namespace, first, last: occurrence, count, written_before: true });
        }
        let name = self.name(&occurrence);
        let first = occurrence.at;
        self.events.insert(key, Known { name: name.clone(), first, count: 1 });
        Some(Fold { name, namespace, first, last: occurrence, count: 1, written_before: false })
    }

    /// Unique even when many are named within one tick of the clock.
    fn name(&mut self, occurrence: &Occurrence) -> String {
        self.last_name = occurrence.at.as_nanosecond().max(self.last_name + 1);
        format!("{}.{:x}", occurrence.about.name.as_deref().unwrap_or_default(), self.last_name)
    }

    fn may_speak(&mut self, object: &str, now: Timestamp) -> bool {
        let bucket = self.objects.entry(object.to_owned()).or_insert(Bucket { tokens: BURST, at: now });
        let elapsed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed * REFILL_PER_SECOND).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn combine(&mut self, kind_of_thing: &str, occurrence: &Occurrence) -> bool {
        let fresh = || Similar { since: occurrence.at, messages: Vec::new() };
        let similar = self.similar.entry(kind_of_thing.to_owned()).or_insert_with(fresh);
        if occurrence.at.duration_since(similar.since).as_secs() > SIMILAR_WINDOW_SECONDS {
            *similar = fresh();
        }
        if similar.messages.contains(&occurrence.message) {
            return false;
        }
        if similar.messages.len() >= SIMILAR_MAX {
            return true;
        }
        similar.messages.push(occurrence.message.clone());
        false
    }

    fn forget_when_full(&mut self) {
        if self.events.len() >= REMEMBERED_MAX || self.objects.len() >= REMEMBERED_MAX {
            self.events.clear();
            self.similar.clear();
            self.objects.clear();
        }
    }
}

fn object_key(occurrence: &Occurrence) -> String {
    let about = &occurrence.about;
    let parts = [&about.kind, &about.namespace, &about.name, &about.uid, &about.field_path];
    let mut key = occurrence.reporter.component.clone();
    for part in parts {
        key.push('\0');
        key.push_str(part.as_deref().unwrap_or_default());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::{Reporter, Severity};
    use super::*;

    /// Each word is `second:message`; prints the writes of one batch per line.
    fn check(batches: &[&str], expected: Expect) {
        let mut folds = Folds::default();
        let mut out = String::new();
        for batch in batches {
            let occurrences = batch.split_whitespace().map(|word| {
                let (second, message) = word.split_once(':').expect("second:message");
                occurrence(second.parse().expect("a number"), message)
            });
            for fold in folds.absorb(occurrences) {
                let verb = if fold.written_before { "patch" } else { "create" };
                out += &format!("{verb} x{} {}; ", fold.count, fold.last.message);
            }
            out += "\n";
        }
        expected.assert_eq(&out);
    }

    fn occurrence(second: i64, message: &str) -> Occurrence {
        Occurrence {
            about: ObjectReference { name: Some("a".into()), ..ObjectReference::default() },
            severity: Severity::Normal,
            reason: "R".into(),
            message: message.into(),
            reporter: Arc::new(Reporter { component: "c".into(), instance: String::new() }),
            at: Timestamp::from_second(second).expect("in range"),
        }
    }

    #[test]
    fn repetitions_raise_a_count_and_a_batch_writes_each_once() {
        check(
            &["0:m 1:m 2:n", "3:m"],
            expect![[r#"
            create x2 m; create x1 n; 
            patch x3 m; 
        "#]],
        );
    }

    #[test]
    fn many_similar_occurrences_become_one() {
        check(
            &["0:a 0:b 0:c 0:d 0:e 0:f 0:g 0:h 0:i 0:j", "1:k 1:l", "2:a"],
            expect![[r#"
            create x1 a; create x1 b; create x1 c; create x1 d; create x1 e; create x1 f; create x1 g; create x1 h; create x1 i; create x1 j; 
            create x2 (combined from similar events): l; 
            patch x2 a; 
        "#]],
        );
    }

    #[test]
    fn a_chatty_object_is_silenced_until_its_bucket_refills() {
        let burst = vec!["0:m"; 30].join(" ");
        check(
            &[&burst, "299:m", "301:m"],
            expect![[r#"
            create x25 m; 

            patch x26 m; 
        "#]],
        );
    }
}
