//! The audit policy: the first rule that fits a request says how much of it is kept.

use serde::Deserialize;

use super::event::Stage;
use crate::seams::{Attributes, Identity};

const API_VERSION: &str = "audit.k8s.io/v1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[allow(dead_code, reason = "a policy may have a name, nobody reads it")]
    metadata: serde_json::Value,
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is kept of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

/// Why a policy file cannot be used; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("it does not parse: {0}")]
    Parse(#[from] serde_yaml_ng::Error),
    #[error("it is {0}, not {API_VERSION} Policy")]
    Kind(String),
    #[error("it has no rules")]
    Empty,
    #[error("rules[{0}] speaks of resources and of nonResourceURLs; it must be one of them")]
    Both(usize),
    #[error("rules[{0}].nonResourceURLs: {1:?} must begin with / and may have * only at its end")]
    Path(usize, String),
}

impl Policy {
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_yaml_ng::from_str(text)?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != (API_VERSION, "Policy") {
            return Err(PolicyError::Kind(format!("{} {}", policy.api_version, policy.kind)));
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            rule.check(index)?;
        }
        Ok(policy)
    }

    pub fn decide(&self, identity: &Identity, attributes: &Attributes) -> Kept {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(identity, attributes)) else {
            return Kept { level: Level::None, omit_stages: Vec::new(), omit_managed_fields: false };
        };
        Kept {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn check(&self, index: usize) -> Result<(), PolicyError> {
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if of_resources && !self.non_resource_urls.is_empty() {
            return Err(PolicyError::Both(index));
        }
        let bad = |path: &&String| {
            let bare = path.strip_suffix('*').unwrap_or(path);
            path.as_str() != "*" && (!path.starts_with('/') || bare.contains('*'))
        };
        match self.non_resource_urls.iter().find(bad) {
            Some(path) => Err(PolicyError::Path(index, path.clone())),
            None => Ok(()),
        }
    }

    fn fits(&self, identity: &Identity, attributes: &Attributes) -> bool {
        let has = |list: &[String], value: &str| list.is_empty() || list.iter().any(|known| known == value);
        if !has(&self.users, &identity.user) || !has(&self.verbs, &attributes.verb) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|group| identity.groups.contains(group)) {
            return false;
        }
        match &attributes.path {
            Some(path) => self.fits_path(path),
            None => self.fits_resource(attributes),
        }
    }

    fn fits_path(&self, path: &str) -> bool {
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => pattern == path,
        };
        if self.non_resource_urls.is_empty() { !of_resources } else { self.non_resource_urls.iter().any(fits) }
    }

    fn fits_resource(&self, attributes: &Attributes) -> bool {
        if !self.non_resource_urls.is_empty() {
            return false;
        }
        if !self.namespaces.is_empty() && !self.namespaces.contains(&attributes.namespace) {
            return false;
        }
        self.resources.is_empty() || self.resources.iter().any(|resources| resources.fit(attributes))
    }
}

impl Resources {
    fn fit(&self, attributes: &Attributes) -> bool {
        let Attributes { group, resource, subresource, name, .. } = attributes;
        if self.group != *group || (!self.resource_names.is_empty() && !self.resource_names.contains(name)) {
            return false;
        }
        let whole = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        let fits = |pattern: &String| match pattern.split_once('/') {
            _ if pattern == "*" || *pattern == whole => true,
            Some(("*", wanted)) => !subresource.is_empty() && wanted == subresource,
            Some((wanted, "*")) => wanted == resource,
            _ => false,
        };
        self.resources.is_empty() || self.resources.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch]}
- {level: None, nonResourceURLs: ["/healthz*", "/version"]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "serviceaccounts/token"]}]}
- {level: RequestResponse, namespaces: [prod], omitManagedFields: true, resources: [{group: apps}]}
- {level: Request, userGroups: [dev], resources: [{group: "", resources: ["pods/*", "*/scale"]}]}
- {level: Metadata, omitStages: [ResponseStarted], resources: [{group: "", resources: [configmaps], resourceNames: [a]}]}
"#;

    fn check(identity: &Identity, request: &str, expected: Expect) {
        let (method, uri) = request.split_once(' ').unwrap();
        let route = crate::route::Route::parse(&method.parse().unwrap(), &uri.parse().unwrap());
        let kept = Policy::parse(POLICY).unwrap().decide(identity, &route.attributes);
        expected.assert_eq(&format!("{:?} {:?} {}", kept.level, kept.omit_stages, kept.omit_managed_fields));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let dev = Identity::new("x", &["dev"]);
        let proxy = Identity::new("system:kube-proxy", &[]);
        check(&proxy, "GET /api/v1/services?watch=1", expect!["None [RequestReceived] false"]);
        check(&dev, "GET /healthz/ping", expect!["None [RequestReceived] false"]);
        check(&dev, "GET /api/v1/namespaces/d/secrets/s", expect!["Metadata [RequestReceived] false"]);
        check(&dev, "POST /api/v1/namespaces/d/serviceaccounts/s/token", expect!["Metadata [RequestReceived] false"]);
        check(&dev, "GET /apis/apps/v1/namespaces/prod/deployments", expect!["RequestResponse [RequestReceived] true"]);
        check(&dev, "GET /api/v1/namespaces/d/pods/p/log", expect!["Request [RequestReceived] false"]);
        check(
            &dev,
            "GET /api/v1/namespaces/d/replicationcontrollers/p/scale",
            expect!["Request [RequestReceived] false"],
        );
        check(
            &dev,
            "GET /api/v1/namespaces/d/configmaps/a",
            expect!["Metadata [RequestReceived, ResponseStarted] false"],
        );
        check(&dev, "GET /api/v1/namespaces/d/configmaps/b", expect!["None [] false"]);
    }

    #[test]
    fn a_wrong_policy_says_what_is_wrong() {
        let check = |text: &str, expected: Expect| expected.assert_eq(&Policy::parse(text).unwrap_err().to_string());
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:";
        check("apiVersion: v1\nkind: Policy\nrules: []", expect!["it is v1 Policy, not audit.k8s.io/v1 Policy"]);
        check(&format!("{head} []"), expect!["it has no rules"]);
        check(
            &format!("{head} [{{level: None, namespaces: [a], nonResourceURLs: [\"/x\"]}}]"),
            expect!["rules[0] speaks of resources and of nonResourceURLs; it must be one of them"],
        );
        check(
            &format!("{head} [{{level: None, nonResourceURLs: [\"x\"]}}]"),
            expect![[r#"rules[0].nonResourceURLs: "x" must begin with / and may have * only at its end"#]],
        );
    }
}
