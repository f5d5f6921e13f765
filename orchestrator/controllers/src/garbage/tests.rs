//! Tables of graphs. An object is written `kind/name[@namespace][:owner,owner!][~][+finalizer]`:
//! `!` blocks its owner, `~` is being deleted.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::graph::{Graph, Node};
use super::plan::{Owner, plan};
use crate::resources::{ALL, Served};

/// `cm` `rs` `node`
fn kind(word: &str) -> &'static Served {
    let kind = match word {
        "cm" => "ConfigMap",
        "rs" => "ReplicaSet",
        "node" => "Node",
        other => panic!("no kind {other}"),
    };
    ALL.iter().find(|served| served.kind == kind).expect("a served kind")
}

fn reference(word: &str) -> OwnerReference {
    let (word, blocks) = word.strip_suffix('!').map_or((word, None), |word| (word, Some(true)));
    let (short, name) = word.split_once('/').expect("kind/name");
    let kind = kind(short);
    OwnerReference {
        api_version: kind.api_version(),
        kind: kind.kind.into(),
        name: name.into(),
        uid: name.into(),
        block_owner_deletion: blocks,
        controller: None,
    }
}

fn object(word: &str) -> Node {
    let part = |mark: char| {
        let (_, rest) = word.split_once(mark)?;
        rest.split([':', '@', '~', '+']).next()
    };
    let (short, rest) = word.split_once('/').expect("kind/name");
    let name = rest.split([':', '@', '~', '+']).next().expect("a name");
    let kind = kind(short);
    let namespace = if kind.kind == "Node" { "" } else { part('@').unwrap_or("d") };
    Node {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        uid: name.into(),
        revision: None,
        owners: part(':').into_iter().flat_map(|owners| owners.split(',')).map(reference).collect(),
        finalizers: part('+').into_iter().map(str::to_owned).collect(),
        is_terminating: word.contains('~'),
    }
}

/// What is planned for each object when the API knows what the graph knows.
fn check(objects: &str, expected: Expect) {
    let mut graph = Graph::default();
    let nodes: Vec<Node> = objects.split_whitespace().map(object).collect();
    for node in &nodes {
        graph.put(node.clone());
    }
    let mut lines = Vec::new();
    for node in &nodes {
        let owner = |reference: &OwnerReference| match graph.get(&reference.uid) {
            Some(owner) if !owner.is_meant_by(reference, node) => Owner::Absent,
            Some(owner) if owner.waits_for_dependents() => Owner::Waits,
            Some(_) => Owner::Lives,
            None => Owner::Absent,
        };
        let owners: Vec<Owner> = node.owners.iter().map(owner).collect();
        lines.push(format!("{}: {:?}", node.name, plan(node, &owners, &graph.dependents_of(node))));
    }
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn only_what_has_lost_all_its_owners_is_deleted() {
    check(
        "rs/a cm/b:rs/a",
        expect![[r#"
        a: Rest
        b: Rest"#]],
    );
    check("cm/b:rs/a", expect!["b: Delete { policy: Background, unblock: false }"]);
    check(
        "rs/a cm/b:rs/a,rs/gone",
        expect![[r#"
        a: Rest
        b: Disown(["gone"])"#]],
    );
    check("cm/b:rs/a~+x/y", expect!["b: Rest"]);
    check("cm/b:rs/a+orphan", expect!["b: Delete { policy: Orphan, unblock: false }"]);
}

#[test]
fn a_reference_must_name_the_very_object() {
    check(
        "rs/a@other cm/b:rs/a",
        expect![[r#"
        a: Rest
        b: Delete { policy: Background, unblock: false }"#]],
    );
    check(
        "node/a cm/b:node/a",
        expect![[r#"
        a: Rest
        b: Rest"#]],
    );
    check(
        "cm/a cm/b:rs/a",
        expect![[r#"
        a: Rest
        b: Delete { policy: Background, unblock: false }"#]],
    );
}

#[test]
fn in_the_foreground_dependents_go_first() {
    check(
        "rs/a~+foregroundDeletion cm/b:rs/a! cm/c:rs/a",
        expect![[r#"
        a: Rest
        b: Delete { policy: Background, unblock: false }
        c: Delete { policy: Background, unblock: false }"#]],
    );
    check(
        "rs/a~+foregroundDeletion cm/b:rs/a!~+x/y",
        expect![[r#"
        a: Rest
        b: Rest"#]],
    );
    check(
        "rs/a~+foregroundDeletion cm/c:rs/a",
        expect![[r#"
        a: Release("foregroundDeletion")
        c: Delete { policy: Background, unblock: false }"#]],
    );
    check(
        "rs/a~+foregroundDeletion rs/b:rs/a! cm/c:rs/b!",
        expect![[r#"
        a: Rest
        b: Delete { policy: Foreground, unblock: false }
        c: Rest"#]],
    );
    check(
        "rs/a~+foregroundDeletion rs/b:rs/a! rs/c:rs/b!~+foregroundDeletion",
        expect![[r#"
        a: Rest
        b: Delete { policy: Foreground, unblock: true }
        c: Release("foregroundDeletion")"#]],
    );
    check(
        "rs/a~+foregroundDeletion rs/o cm/b:rs/a!,rs/o",
        expect![[r#"
        a: Rest
        o: Rest
        b: Disown(["a"])"#]],
    );
}

#[test]
fn orphans_forget_their_owner_before_it_goes() {
    check(
        "rs/a~+orphan cm/b:rs/a!",
        expect![[r#"
        a: Orphan
        b: Rest"#]],
    );
    check(
        "rs/a~+orphan cm/b",
        expect![[r#"
        a: Release("orphan")
        b: Rest"#]],
    );
}

/// Steps are objects as they become, or `-uid`; each line tells who is looked at then.
fn looks(steps: &str, expected: Expect) {
    let mut graph = Graph::default();
    let lines = steps.split_whitespace().map(|step| {
        let look = match step.strip_prefix('-') {
            Some(uid) => graph.remove(uid),
            None => graph.put(object(step)),
        };
        // Sorted and told once: the queue does not care.
        let look: BTreeMap<String, ()> = look.into_iter().map(|uid| (uid, ())).collect();
        format!("{step} → {}", look.into_keys().collect::<Vec<_>>().join(" "))
    });
    expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn changes_wake_those_they_matter_to() {
    looks(
        "cm/b:rs/a rs/a rs/a -a",
        expect![[r#"
        cm/b:rs/a → b
        rs/a → 
        rs/a → 
        -a → b"#]],
    );
    looks(
        "rs/a cm/b:rs/a! cm/c:rs/a! rs/a~+foregroundDeletion -b cm/c",
        expect![[r#"
        rs/a → 
        cm/b:rs/a! → b
        cm/c:rs/a! → c
        rs/a~+foregroundDeletion → a b c
        -b → a
        cm/c → a"#]],
    );
    looks(
        "rs/a~+orphan cm/b:rs/a cm/b",
        expect![[r#"
        rs/a~+orphan → a
        cm/b:rs/a → a b
        cm/b → a"#]],
    );
}

#[test]
fn a_new_list_wakes_the_dependents_of_what_it_no_longer_names() {
    let mut graph = Graph::default();
    for word in ["rs/a", "rs/k", "cm/b:rs/a", "cm/c:rs/never", "cm/d:rs/k"] {
        graph.put(object(word));
    }
    let mut look = graph.keep(kind("rs"), &["k".to_owned()].into());
    look.sort();
    look.dedup();
    assert_eq!(look, ["b", "c"]);
    assert!(graph.get("a").is_none() && graph.get("k").is_some());
}
