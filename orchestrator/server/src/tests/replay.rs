//! Watch streams, replayed, give what a list shows: whatever is written meanwhile, wherever the watch begins.

use futures::StreamExt;
use proptest::prelude::*;

use super::*;

const CMS: &str = "/api/v1/namespaces/d/configmaps";
/// What ends every watch: written last, seen by all.
const LAST: &str = "z-last";

#[derive(Clone, Debug)]
enum Change {
    Create(u8, u8),
    Label(u8, u8),
    Data(u8, u8),
    Delete(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let (name, label) = (0u8..4, 0u8..3);
    prop_oneof![
        (name.clone(), label.clone()).prop_map(|(name, label)| Change::Create(name, label)),
        (name.clone(), label.clone()).prop_map(|(name, label)| Change::Label(name, label)),
        (name.clone(), label).prop_map(|(name, data)| Change::Data(name, data)),
        name.prop_map(Change::Delete),
    ]
}

/// Makes the change; that the object is or is not there already is no matter.
async fn make(server: &Server, change: &Change) {
    let label = |label: &u8| json!({ "metadata": { "labels": { "l": label.to_string() } } });
    let (line, body) = match change {
        Change::Create(name, value) => {
            let mut body = label(value);
            body["metadata"]["name"] = format!("c{name}").into();
            (format!("POST {CMS}"), body)
        }
        Change::Label(name, value) => (format!("PATCH {CMS}/c{name}"), label(value)),
        Change::Data(name, value) => (format!("PATCH {CMS}/c{name}"), json!({ "data": { "k": value.to_string() } })),
        Change::Delete(name) => (format!("DELETE {CMS}/c{name}"), Value::Null),
    };
    let (status, reply) = send(server, &line, body).await;
    assert!(matches!(status.as_u16(), 200 | 201 | 404 | 409), "{reply}");
}

/// Objects by name, without what only the wire adds.
type State = std::collections::BTreeMap<String, Value>;

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

async fn list(server: &Server, selector: &str) -> (State, String) {
    let (_, list) = send(server, &format!("GET {CMS}?labelSelector={selector}"), Value::Null).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let with_type = |item: &Value| {
        let mut item = item.clone();
        item["kind"] = "ConfigMap".into();
        item["apiVersion"] = "v1".into();
        item
    };
    let items = list["items"].as_array().unwrap().iter();
    (items.map(|item| (name(item), with_type(item))).collect(), version)
}

/// How a client begins: from a list, or with everything there is in the stream.
#[derive(Clone, Copy, Debug)]
enum Begin {
    List,
    InitialEvents,
}

/// Follows until the last object is there; an event that does not fit what was told before is a fault.
async fn follow(server: Server, selector: &'static str, begin: Begin) -> State {
    let (mut state, query) = match begin {
        Begin::List => {
            let (state, version) = list(&server, selector).await;
            (state, format!("resourceVersion={version}"))
        }
        Begin::InitialEvents => (
            State::new(),
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true".to_owned(),
        ),
    };
    let line = format!("GET {CMS}?watch=true&labelSelector={selector}&{query}");
    let mut body = raw(&server, request(&line, Vec::new())).await.into_body().into_data_stream();
    let mut rest = Vec::new();
    while !state.contains_key(LAST) {
        rest.extend_from_slice(&body.next().await.expect("the watch goes on").unwrap());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap();
            let object = event["object"].clone();
            let was_there = match event["type"].as_str().unwrap() {
                "DELETED" => state.remove(&name(&object)).is_some(),
                "ADDED" => state.insert(name(&object), object).is_none(),
                "MODIFIED" => state.insert(name(&object), object).is_some(),
                "BOOKMARK" => true,
                other => panic!("{other}: {object}"),
            };
            assert!(was_there, "{event} after {state:?}");
        }
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_watched_is_what_is_listed(
        writers in prop::collection::vec(prop::collection::vec(change(), 1..16), 1..4),
        pauses in prop::collection::vec(0u32..40, 6),
    ) {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        threads.block_on(async {
            let server = server().await;
            let mut followers = tokio::task::JoinSet::new();
            let begins = [Begin::List, Begin::InitialEvents].into_iter();
            let wishes = begins.flat_map(|begin| ["l", "l%20in%20(0,last)", "l!%3D1"].map(|selector| (begin, selector)));
            for ((begin, selector), pause) in wishes.zip(pauses) {
                let server = server.clone();
                followers.spawn(async move {
                    for _ in 0..pause {
                        tokio::task::yield_now().await;
                    }
                    (selector, follow(server, selector, begin).await)
                });
            }
            let mut writing = tokio::task::JoinSet::new();
            for changes in writers {
                let server = server.clone();
                writing.spawn(async move {
                    for change in changes {
                        make(&server, &change).await;
                    }
                });
            }
            writing.join_all().await;
            let last = json!({ "metadata": { "name": LAST, "labels": { "l": "last" } } });
            send(&server, &format!("POST {CMS}"), last).await;
            for (selector, seen) in followers.join_all().await {
                prop_assert_eq!(seen, list(&server, selector).await.0);
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
