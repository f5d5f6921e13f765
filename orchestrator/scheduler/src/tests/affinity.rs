//! InterPodAffinity: near to whom, apart from whom.

use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, labelled, merge, node, plain};

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn four() -> Cluster {
    Cluster::of(["a1", "a2", "b1", "b2"].map(plain))
}

fn term(app: &str, key: &str, extra: Value) -> Value {
    let mut term = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    merge(&mut term, extra);
    term
}

fn near(terms: Value) -> Value {
    json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn apart(terms: Value) -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn app(name: &str) -> Value {
    labelled(json!({ "app": name }), json!({}))
}

#[test]
fn near_is_the_same_domain() {
    let near_db = |key: &str| labelled(json!({}), near(json!([term("db", key, json!({}))])));
    four().holds("b1", app("db")).check(near_db(HOST), expect!["b1"]);
    let mut in_zone = four().holds("b1", app("db"));
    assert_eq!(in_zone.spread(near_db(ZONE), 4), [0, 0, 2, 2], "any node of the zone, the emptiest first");
    four().check(near_db(ZONE), expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."]);
    four()
        .holds("b1", app("db"))
        .check(near_db("rack"), expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."]);
}

#[test]
fn the_first_of_a_group_that_must_be_together_may_go_anywhere() {
    let together = || labelled(json!({"app": "web"}), near(json!([term("web", ZONE, json!({}))])));
    let mut cluster = four();
    let counts = cluster.spread(together(), 4);
    assert_eq!(counts, [2, 2, 0, 0], "the others follow the first");
    let stranger = labelled(json!({"app": "other"}), near(json!([term("web2", ZONE, json!({}))])));
    cluster.check(stranger, expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."]);
}

#[test]
fn all_terms_must_be_met_by_the_same_pods() {
    let both = json!([
        {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": ZONE},
        {"labelSelector": {"matchLabels": {"tier": "gold"}}, "topologyKey": HOST},
    ]);
    let wanting = || labelled(json!({}), near(both.clone()));
    let refused = || expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."];
    let mut apart = four().holds("a1", app("db")).holds("a1", labelled(json!({"tier": "gold"}), json!({})));
    apart.check(wanting(), refused());
    let one = labelled(json!({"app": "db", "tier": "gold"}), json!({}));
    four().holds("a2", one).check(wanting(), expect!["a2"]);
}

#[test]
fn apart_is_another_domain() {
    let alone = || labelled(json!({"app": "web"}), apart(json!([term("web", HOST, json!({}))])));
    let mut cluster = four();
    assert_eq!(cluster.spread(alone(), 9), [1, 1, 1, 1], "one on each node");
    cluster.check(alone(), expect!["0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."]);
    let by_zone = || labelled(json!({"app": "web"}), apart(json!([term("web", ZONE, json!({}))])));
    assert_eq!(four().spread(by_zone(), 9), [1, 0, 1, 0]);
}

#[test]
fn who_is_there_may_shun_who_comes() {
    let shunning = labelled(json!({"app": "db"}), apart(json!([term("noisy", ZONE, json!({}))])));
    let mut cluster = four().holds("a1", shunning.clone());
    cluster.check(app("noisy"), expect!["b1"]);
    cluster.check(app("quiet"), expect!["a2"]);
    let uid = cluster.place("b2", shunning);
    cluster.check(
        app("noisy"),
        expect!["0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules."],
    );
    cluster.snapshot.remove_pod(&uid);
    cluster.check(app("noisy"), expect!["b1"]);
}

#[test]
fn namespaces_are_the_pods_own_unless_it_names_others() {
    let in_namespace = |namespace: &str| json!({"metadata": {"namespace": namespace, "labels": {"app": "db"}}});
    let wanting = |extra: Value| labelled(json!({}), near(json!([term("db", HOST, extra)])));
    let refused = || expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."];
    let mut cluster = four().holds("b2", in_namespace("prod"));
    cluster.check(wanting(json!({})), refused());
    cluster.check(wanting(json!({"namespaces": ["prod"]})), expect!["b2"]);
    cluster.check(wanting(json!({"namespaceSelector": {}})), expect!["b2"]);
    let labelled = || wanting(json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}));
    cluster.check(labelled(), refused());
    let team = |name: &str| Some([("team".to_owned(), name.to_owned())].into());
    cluster.snapshot.counts.put_namespace("prod", team("x"));
    cluster.check(labelled(), expect!["b2"]);
    cluster.snapshot.counts.put_namespace("prod", team("y"));
    cluster.check(labelled(), refused());
}

#[test]
fn label_keys_take_the_pods_own_values() {
    let version = |hash: &str, spec: Value| labelled(json!({"app": "web", "hash": hash}), spec);
    let mut cluster = four().holds("a1", version("old", json!({})));
    let same = || apart(json!([term("web", HOST, json!({"matchLabelKeys": ["hash"]}))]));
    let other = || near(json!([term("web", HOST, json!({"mismatchLabelKeys": ["hash"]}))]));
    cluster.check(version("new", other()), expect!["a1"]);
    let refused = expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."];
    cluster.check(version("old", other()), refused);
    assert_eq!(cluster.spread(version("new", same()), 9), [1, 1, 1, 1], "the old one does not count");
}

#[test]
fn preferences_pull_and_push_both_ways() {
    let liked = |kind: &str, weight: i32| {
        let term = json!({"weight": weight, "podAffinityTerm": term("db", HOST, json!({}))});
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    let db = || app("db");
    four().holds("b2", db()).check(labelled(json!({}), liked("podAffinity", 10)), expect!["b2"]);
    let pushed = labelled(json!({}), liked("podAntiAffinity", 10));
    let mut busy = four();
    for node in ["a1", "a2", "b1"] {
        busy.place(node, db());
    }
    busy.check(pushed, expect!["b2"]);
    // Who is there and likes the newcomer pulls it, too.
    let fond = labelled(json!({"app": "web"}), liked("podAffinity", 10));
    four().holds("b1", fond).check(db(), expect!["b1"]);
    let needy = labelled(json!({"app": "web"}), near(json!([term("db", HOST, json!({}))])));
    four().holds("a2", needy).check(db(), expect!["a2"]);
}

#[test]
fn a_node_that_changes_its_zone_takes_its_pods_along() {
    let near_db = || labelled(json!({}), near(json!([term("db", ZONE, json!({}))])));
    let mut cluster = four().holds("a1", app("db"));
    cluster.check(near_db(), expect!["a2"]);
    cluster.snapshot.put_node(&node("a1", json!({"metadata": {"labels": {ZONE: "b"}}})));
    cluster.check(near_db(), expect!["b1"]);
    cluster.snapshot.remove_node("a1");
    cluster.check(near_db(), expect!["0/3 nodes are available: 3 node(s) didn't match pod affinity rules."]);
    cluster.snapshot.put_node(&plain("a1"));
    cluster.check(near_db(), expect!["a2"]);
}
