//! Appliers and updaters at once against a simple model: the object after each write is what the model says when it takes
//! the same writes in the order of their resourceVersions, and so are the owners of each key.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OBJECT: &str = "/api/v1/namespaces/d/configmaps/shared";
const KEYS: [&str; 3] = ["a", "b", "c"];

/// A key that stays as its maker made it: a map that was emptied is gone, and who owned it still does.
const KEPT: &str = "kept";

type Data = BTreeMap<&'static str, u8>;
/// Manager and operation.
type Owner = (String, &'static str);

#[derive(Clone, Debug)]
enum Write {
    Apply {
        data: Data,
        force: bool,
    },
    /// A merge patch; `None` removes.
    Patch(BTreeMap<&'static str, Option<u8>>),
    /// A PUT that names no resourceVersion.
    Replace(Data),
}

impl Write {
    fn operation(&self) -> &'static str {
        if matches!(self, Self::Apply { .. }) { "Apply" } else { "Update" }
    }

    /// Content type, query and body.
    fn request(&self, manager: &str) -> Request<Body> {
        let object = |data: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shared" }, "data": data });
        let texts =
            |data: &Data| data.iter().map(|(key, value)| ((*key).to_owned(), json!(value.to_string()))).collect();
        let (method, content_type, force, body) = match self {
            Self::Apply { data, force } => {
                ("PATCH", "application/apply-patch+yaml", *force, object(Value::Object(texts(data))))
            }
            Self::Patch(changes) => {
                let text = |value: &Option<u8>| value.map_or(Value::Null, |value| json!(value.to_string()));
                let data: serde_json::Map<_, _> =
                    changes.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
                ("PATCH", "application/merge-patch+json", false, json!({ "data": data }))
            }
            Self::Replace(data) => {
                let mut data: serde_json::Map<_, _> = texts(data);
                data.insert(KEPT.to_owned(), "yes".into());
                ("PUT", "application/json", false, object(Value::Object(data)))
            }
        };
        let force = if force { "&force=true" } else { "" };
        let line = format!("{method} {OBJECT}?fieldManager={manager}{force}");
        let mut request = request(&line, body.to_string().into_bytes());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        request
    }
}

/// What a ConfigMap holds and who owns which of its keys.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    data: Data,
    owners: BTreeMap<Owner, BTreeSet<&'static str>>,
}

impl Model {
    fn read(object: &Value) -> Self {
        let known = |key: &String| KEYS.into_iter().find(|known| known == key);
        let data = object["data"].as_object().into_iter().flatten();
        let data =
            data.filter_map(|(key, value)| Some((known(key)?, value.as_str().unwrap().parse().unwrap()))).collect();
        let mut owners = BTreeMap::new();
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
            let fields = entry["fieldsV1"]["f:data"].as_object().into_iter().flatten();
            let keys = fields.filter_map(|(field, _)| known(&field.trim_start_matches("f:").to_owned()));
            owners.insert((entry["manager"].as_str().unwrap().to_owned(), operation), keys.collect());
        }
        Self { data, owners }.tidy()
    }

    /// Without owners of nothing.
    fn tidy(mut self) -> Self {
        self.owners.retain(|_, keys| !keys.is_empty());
        self
    }

    fn is_owned(&self, key: &str) -> bool {
        self.owners.values().any(|keys| keys.contains(key))
    }

    /// Where an applier says another value than the live one of a key that others own.
    fn conflicts(&self, manager: &str, data: &Data) -> bool {
        let me = (manager.to_owned(), "Apply");
        let differs = |key: &str, value: u8| self.data.get(key).is_some_and(|live| *live != value);
        let of_others = |key: &str| self.owners.iter().any(|(owner, keys)| *owner != me && keys.contains(key));
        data.iter().any(|(key, value)| differs(key, *value) && of_others(key))
    }

    /// The value is this now; whoever else had said another one owns it no more.
    fn set(&mut self, key: &'static str, value: u8, owner: &Owner) {
        if self.data.insert(key, value) != Some(value) {
            self.disown(key);
            self.owners.entry(owner.clone()).or_default().insert(key);
        }
    }

    fn disown(&mut self, key: &str) {
        for keys in self.owners.values_mut() {
            keys.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        self.data.remove(key);
        self.disown(key);
    }

    fn after(&self, manager: &str, write: &Write) -> Self {
        let mut next = self.clone();
        let me = (manager.to_owned(), write.operation());
        match write {
            Write::Apply { data, .. } => {
                for (key, value) in data {
                    next.set(key, *value, &me);
                }
                let dropped = next.owners.insert(me, data.keys().copied().collect()).unwrap_or_default();
                for key in dropped {
                    if !next.is_owned(key) {
                        next.remove(key);
                    }
                }
            }
            Write::Patch(changes) => changes.iter().for_each(|(key, value)| match value {
                Some(value) => next.set(key, *value, &me),
                None => next.remove(key),
            }),
            Write::Replace(data) => {
                KEYS.iter().filter(|key| !data.contains_key(*key)).for_each(|key| next.remove(key));
                data.iter().for_each(|(key, value)| next.set(key, *value, &me));
            }
        }
        next.tidy()
    }
}

/// A write that went through: its resourceVersion, who wrote what, and what came of it.
struct Done {
    version: u64,
    manager: String,
    write: Write,
    result: Model,
}

fn version_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// One writer's turns, one after the other, under its own name; conflicts of appliers stay without effect.
async fn take_turns(server: Server, manager: String, writes: Vec<Write>) -> Vec<Done> {
    let mut done = Vec::new();
    for write in writes {
        let (status, reply) = read(raw(&server, write.request(&manager)).await).await;
        let may_conflict = matches!(write, Write::Apply { force: false, .. });
        match status.as_u16() {
            200 => {
                done.push(Done {
                    version: version_of(&reply),
                    manager: manager.clone(),
                    write,
                    result: Model::read(&reply),
                });
            }
            409 if may_conflict => assert!(reply["message"].as_str().unwrap().contains("conflict"), "{reply}"),
            _ => panic!("{write:?} gave {reply}"),
        }
    }
    done
}

/// The server, what the object is at first, and its resourceVersion.
async fn with_shared_object() -> (Server, Model, u64) {
    let server = server().await;
    let body = json!({ "metadata": { "name": "shared" }, "data": { "a": "0", KEPT: "yes" } });
    let (_, made) = send(&server, "POST /api/v1/namespaces/d/configmaps?fieldManager=maker", body).await;
    (server, Model::read(&made), version_of(&made))
}

fn data() -> impl Strategy<Value = Data> {
    prop::collection::btree_map(prop::sample::select(&KEYS), 0u8..3, 0..=3)
}

fn write() -> impl Strategy<Value = Write> {
    let changes = prop::collection::btree_map(prop::sample::select(&KEYS), prop::option::of(0u8..3), 1..=2);
    prop_oneof![
        3 => (data(), any::<bool>()).prop_map(|(data, force)| Write::Apply { data, force }),
        1 => changes.prop_map(Write::Patch),
        1 => data().prop_map(Write::Replace),
    ]
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_after_the_other_every_answer_is_the_models(turns in prop::collection::vec((0usize..3, write()), 1..24)) {
        runtime(1).block_on(async {
            let (server, mut model, _) = with_shared_object().await;
            for (writer, write) in turns {
                let manager = format!("m{writer}");
                let refused = match &write {
                    Write::Apply { data, force: false } => model.conflicts(&manager, data),
                    _ => false,
                };
                let done = take_turns(server.clone(), manager.clone(), vec![write.clone()]).await;
                prop_assert_eq!(done.is_empty(), refused, "{} {:?} on {:?}", manager, write, model);
                if let Some(done) = done.into_iter().next() {
                    model = model.after(&manager, &write);
                    prop_assert_eq!(&done.result, &model, "{} {:?}", manager, write);
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn all_at_once_the_versions_tell_an_order_that_the_model_follows(
        writers in prop::collection::vec(prop::collection::vec(write(), 1..8), 2..6),
    ) {
        runtime(4).block_on(async {
            let (server, mut model, first) = with_shared_object().await;
            let mut running = tokio::task::JoinSet::new();
            for (writer, writes) in writers.into_iter().enumerate() {
                running.spawn(take_turns(server.clone(), format!("m{writer}"), writes));
            }
            let mut versions: BTreeMap<u64, Vec<Done>> = BTreeMap::new();
            for done in running.join_all().await.into_iter().flatten() {
                versions.entry(done.version).or_default().push(done);
            }
            for (version, all) in versions {
                // One of them wrote this version; the others changed nothing and were answered with it.
                let result = all[0].result.clone();
                prop_assert!(all.iter().all(|done| done.result == result), "two objects of version {}", version);
                let is_first = version == first && result == model;
                let was_written = all.iter().any(|done| model.after(&done.manager, &done.write) == result);
                let writes: Vec<_> = all.iter().map(|done| (&done.manager, &done.write)).collect();
                prop_assert!(is_first || was_written, "{:?} on {:?} gave {:?}", writes, model, result);
                model = result;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
