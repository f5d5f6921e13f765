//! Selectors and expressions, fed with damaged ones.

#[path = "../../../schema/src/fuzz/damage.rs"]
mod damage;

use serde_json::json;

use crate::expressions::{Expression, Known, Scope, Variables, from_json};
use crate::kinds::pod::POD;
use crate::route::Query;
use crate::selectors::Selector;
use damage::run;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn damaged_selectors_never_panic() {
    let seeds = seeds(&[
        "app=web,tier!=cache,env in (a, b),zone notin (x),!old,has,size>3,size<9",
        "metadata.name=x,status.phase!=Running,spec.nodeName==n\\,1",
        "a.example.com/b-c_d in (),x in (a,,b)",
    ]);
    let words: [&[u8]; 8] = [b"in", b"notin", b"(", b")", b",,", b"!=", "\u{e4}".as_bytes(), b"\\"];
    run(&seeds, &words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(selector) = Selector::labels(&text) {
            selector.matches_labels(&[("app".to_owned(), "web".to_owned())]);
        }
        let encoded: String = form_urlencoded::byte_serialize(bytes).collect();
        let uri = format!("/?fieldSelector={encoded}&labelSelector={encoded}").parse().unwrap();
        let _ = Selector::of(&Query::parse(&uri), &POD);
    });
}

#[test]
fn damaged_expressions_never_panic() {
    let seeds = seeds(&[
        "self.replicas <= self.max && self.names.all(n, n.startsWith('a') || n.matches('^[a-z]+$'))",
        "has(self.spec) ? self.spec.size() > 3 : 'x' in self.labels && self.labels['x'] == \"y\"",
        "self.names.map(n, n + '-' + string(self.replicas)).filter(n, n != '').exists_one(n, size(n) == 3)",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && duration('1h') > duration('5m') && [1, 2].sum() == 3",
        "Object{spec: Object.spec{replicas: self.replicas + 1}}.spec.?replicas.orValue(2u) - 1 == -9223372036854775808",
    ]);
    let words: [&[u8]; 9] =
        [b"self.", b"[", b"(", b"{", b".all(x, ", b"9223372036854775807", b"'", b"\\u0000", b" ? 1 : "];
    let object = json!({
        "replicas": 3, "max": 5, "names": ["ab", "a1"], "labels": {"x": "y"}, "spec": {"a": 1, "b": [1.5, null]},
    });
    run(&seeds, &words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let variables = Variables::new([("self", Known::Anything)]);
        if let Ok(expression) = Expression::compile(&text, &variables) {
            expression.cost(&variables);
            let _ = expression.evaluate_json(&Scope::default().with("self", from_json(&object, None)));
        }
    });
}
