//! How long requests stay.

use serde_json::{Value, json};

use super::*;

fn check(status: Value, age_seconds: i64, expected: Option<u64>) {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let created = Timestamp::from_second(1_000_000 - age_seconds).unwrap().to_string();
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "r", "creationTimestamp": created}, "status": status,
        "spec": {"request": "", "signerName": "x/y"},
    }))
    .unwrap();
    assert_eq!(left(&request, now).map(|left| left.as_secs()), expected, "{status} {age_seconds}");
}

#[test]
fn old_requests_go() {
    let decided = |kind: &str, age: i64| {
        let time = Timestamp::from_second(1_000_000 - age).unwrap().to_string();
        json!([{"type": kind, "status": "True", "lastUpdateTime": time}])
    };
    check(json!({}), 0, Some(86_400));
    check(json!({}), 86_400, None);
    check(json!({"conditions": decided("Denied", 10)}), 90_000, Some(3_590));
    check(json!({"conditions": decided("Denied", 3_600)}), 3_600, None);
    check(json!({"conditions": decided("Approved", 4_000)}), 4_000, Some(86_400));
    check(json!({"conditions": decided("Approved", 4_000), "certificate": "eA=="}), 4_000, None);
}
