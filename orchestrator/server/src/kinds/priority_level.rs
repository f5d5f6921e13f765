//! PriorityLevelConfiguration: how many requests of a level run, how many wait.

use serde_json::{Value, json};

use super::flow_schema::validate_conditions;
use super::json::{fill, is_set, present, text};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, drop_status, flow_defaults, keep_status, metadata, names};

const QUEUES_MAX: i64 = 10_000_000;
/// A hand is dealt from one hash of this many bits.
const HASH_BITS_MAX: u32 = 60;

pub static PRIORITY_LEVEL: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    storage: "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
    update: WITH_SPEC,
    defaults,
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    columns: &[
        NAME,
        string("Type", "`type` indicates whether this priority level is subject to limitation on request execution."),
        string(
            "NominalConcurrencyShares",
            "`nominalConcurrencyShares` contributes to the computation of the NominalConcurrencyLimit of this level.",
        ),
        string("Queues", "`queues` is the number of queues for this priority level."),
        string("HandSize", "`handSize` configures the shuffle sharding of requests into queues."),
        string(
            "QueueLengthLimit",
            "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue.",
        ),
        AGE,
    ],
    row: |level, now| {
        let limited = &level["spec"]["limited"];
        let queuing = &limited["limitResponse"]["queuing"];
        let shown = |holder: &Value, field: &str| -> Value {
            if is_set(&holder[field]) { holder[field].clone() } else { "<none>".into() }
        };
        vec![
            name(level),
            text(&level["spec"]["type"]).into(),
            shown(limited, "nominalConcurrencyShares"),
            shown(queuing, "queues"),
            shown(queuing, "handSize"),
            shown(queuing, "queueLengthLimit"),
            age(level, now),
        ]
    },
    ..PLAIN
};

fn defaults(level: &mut Value) {
    let Some(spec) = present(level, "spec") else { return };
    if spec["type"] == "Exempt" {
        fill(spec, "exempt", json!({}));
    }
    if let Some(exempt) = present(spec, "exempt") {
        fill(exempt, "nominalConcurrencyShares", 0);
        fill(exempt, "lendablePercent", 0);
    }
    let Some(limited) = present(spec, "limited") else { return };
    fill(limited, "nominalConcurrencyShares", 30);
    fill(limited, "lendablePercent", 0);
    let Some(queuing) = present(limited, "limitResponse").and_then(|response| present(response, "queuing")) else {
        return;
    };
    for (field, default) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
        if queuing[field] == 0 {
            super::json::remove(queuing, field);
        }
        fill(queuing, field, default);
    }
}

fn validate(level: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(level, Scope::Cluster, names::subdomain);
    let (spec, own) = (&level["spec"], text(&level["metadata"]["name"]));
    let kind = text(&spec["type"]);
    if (own == "exempt") != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        problems.push(Problem::invalid("spec.type", kind, detail));
    }
    problems.extend(validate_type(spec, kind));
    problems.extend(validate_fixed(spec, own));
    problems.extend(validate_conditions(&level["status"]["conditions"]));
    problems
}

fn validate_type(spec: &Value, kind: &str) -> Vec<Problem> {
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    let mut problems = Vec::new();
    match kind {
        "Exempt" => {
            if is_set(limited) {
                let detail = "must be nil if the type is not Limited";
                problems.push(Problem::forbidden("spec.limited", detail));
            }
            if is_set(exempt) {
                problems.extend(validate_shares(exempt, "spec.exempt"));
            }
        }
        "Limited" => {
            if is_set(exempt) {
                problems.push(Problem::forbidden("spec.exempt", "must be nil if the type is Limited"));
            }
            match is_set(limited) {
                true => problems.extend(validate_limited(limited)),
                false => {
                    let detail = "must not be empty when type is Limited";
                    problems.push(Problem::required("spec.limited", detail));
                }
            }
        }
        other => problems.push(Problem::not_supported("spec.type", other, &["Exempt", "Limited"])),
    }
    problems
}

/// Mandatory levels are as they are, but for the shares of the exempt one.
fn validate_fixed(spec: &Value, own: &str) -> Option<Problem> {
    let mut fixed = flow_defaults::mandatory_level(own)?;
    let mut words = "";
    if own == "exempt" {
        super::json::keep(&mut fixed, "exempt", spec);
        words = " except the 'spec.exempt' field";
    }
    let detail = format!("spec of '{own}'{words} must equal the fixed value");
    (fixed != *spec).then(|| Problem::invalid("spec", spec.clone(), &detail))
}

fn validate_shares(holder: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(shares) = holder["nominalConcurrencyShares"].as_i64().filter(|shares| *shares < 0) {
        let field = format!("{path}.nominalConcurrencyShares");
        problems.push(Problem::invalid(field, shares, "must be a non-negative integer"));
    }
    if let Some(percent) = holder["lendablePercent"].as_i64().filter(|percent| !(0..=100).contains(percent)) {
        let detail = "must be between 0 and 100, inclusive";
        problems.push(Problem::invalid(format!("{path}.lendablePercent"), percent, detail));
    }
    problems
}

fn validate_limited(limited: &Value) -> Vec<Problem> {
    let mut problems = validate_shares(limited, "spec.limited");
    if let Some(percent) = limited["borrowingLimitPercent"].as_i64().filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        problems.push(Problem::invalid("spec.limited.borrowingLimitPercent", percent, detail));
    }
    let (response, path) = (&limited["limitResponse"], "spec.limited.limitResponse");
    let queuing = &response["queuing"];
    let field = format!("{path}.queuing");
    match (text(&response["type"]), is_set(queuing)) {
        ("Reject", true) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            problems.push(Problem::forbidden(field, detail));
        }
        ("Reject", false) => {}
        ("Queue", true) => problems.extend(validate_queuing(queuing, &field)),
        ("Queue", false) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            problems.push(Problem::required(field, detail));
        }
        (other, _) => problems.push(Problem::not_supported(format!("{path}.type"), other, &["Queue", "Reject"])),
    }
    problems
}

fn validate_queuing(queuing: &Value, path: &str) -> Vec<Problem> {
    let number = |field: &str| queuing[field].as_i64().unwrap_or(0);
    let (queues, hand) = (number("queues"), number("handSize"));
    let mut problems = Vec::new();
    let mut refuse = |field: &str, value: i64, detail: &str| {
        problems.push(Problem::invalid(format!("{path}.{field}"), value, detail))
    };
    if number("queueLengthLimit") <= 0 {
        refuse("queueLengthLimit", number("queueLengthLimit"), "must be positive");
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive");
    } else if queues > QUEUES_MAX {
        refuse("queues", queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, "must be positive");
    } else if hand > queues {
        refuse("handSize", hand, &format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > HASH_BITS_MAX {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        refuse("handSize", hand, &detail);
    }
    problems
}

/// Bits that tell every ordered hand of `hand` cards out of a deck of `queues` apart.
fn entropy_bits(queues: i64, hand: i64) -> u32 {
    let bits: f64 = (0..hand.min(64)).map(|drawn| ((queues - drawn) as f64).log2()).sum();
    bits.ceil() as u32
}
