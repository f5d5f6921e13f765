//! One webhook of a configuration, read once.

use std::time::Duration;

use serde_json::Value;

use super::super::matching::{Conditions, Matcher, condition_variables};
use crate::kinds::json::{items, text};

pub struct Hook {
    pub name: String,
    pub client: Value,
    pub matcher: Matcher,
    pub conditions: Conditions,
    pub within: Duration,
    /// An unreachable webhook is passed by.
    pub ignores_failure: bool,
    /// It may be asked although nothing will be stored.
    pub without_side_effects: bool,
    /// It wants to see what others changed behind it.
    pub reinvoked: bool,
    pub review_version: &'static str,
    /// Its place in its configuration.
    pub index: usize,
    pub mutates: bool,
}

/// The webhooks of a configuration, in its order.
pub fn hooks(configuration: Value) -> Vec<Hook> {
    let mutates = configuration["kind"] == "MutatingWebhookConfiguration";
    items(&configuration["webhooks"]).iter().enumerate().map(|(index, one)| hook(one, index, mutates)).collect()
}

fn hook(hook: &Value, index: usize, mutates: bool) -> Hook {
    let v1 = items(&hook["admissionReviewVersions"]).iter().any(|version| version == "v1");
    Hook {
        name: text(&hook["name"]).to_owned(),
        client: hook["clientConfig"].clone(),
        matcher: Matcher::of_webhook(hook),
        conditions: Conditions::of(&hook["matchConditions"], &condition_variables()),
        within: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
        ignores_failure: hook["failurePolicy"] == "Ignore",
        without_side_effects: matches!(text(&hook["sideEffects"]), "None" | "NoneOnDryRun"),
        reinvoked: hook["reinvocationPolicy"] == "IfNeeded",
        review_version: if v1 { "admission.k8s.io/v1" } else { "admission.k8s.io/v1beta1" },
        index,
        mutates,
    }
}
