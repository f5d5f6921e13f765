//! What a namespace asks of its pods, read from its labels. Labels that cannot be read enforce the strictest and warn
//! of nothing.

use std::fmt;

use crate::kinds::Problem;

const PREFIX: &str = "pod-security.kubernetes.io/";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

/// A level as a minor version of Kubernetes 1 has it; `None` is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standard {
    pub level: Level,
    pub version: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl fmt::Display for Standard {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            None => write!(to, "{level}:latest"),
            Some(minor) => write!(to, "{level}:v1.{minor}"),
        }
    }
}

impl Policy {
    pub fn of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> (Self, Vec<Problem>) {
        let mut policy = Self::default();
        let mut found: Vec<(&str, &str)> =
            labels.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value))).collect();
        let order = ["enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"];
        found.retain(|(name, _)| order.contains(name));
        found.sort_by_key(|(name, _)| order.iter().position(|one| one == name));
        let mut problems = Vec::new();
        for (name, value) in found {
            let (mode, is_version) = name.split_once('-').map_or((name, false), |(mode, _)| (mode, true));
            let standard = match mode {
                "enforce" => &mut policy.enforce,
                "audit" => &mut policy.audit,
                _ => &mut policy.warn,
            };
            let read = match is_version {
                true => read_version(value).map(|version| standard.version = version),
                false => read_level(value).map(|level| standard.level = level),
            };
            if let Err(why) = read {
                match (is_version, mode) {
                    (true, _) => standard.version = None,
                    (false, "enforce") => standard.level = Level::Restricted,
                    (false, _) => standard.level = Level::Privileged,
                }
                problems.push(Problem::invalid(format!("metadata.labels[{PREFIX}{name}]"), value, why));
            }
        }
        (policy, problems)
    }
}

fn read_level(text: &str) -> Result<Level, &'static str> {
    match text {
        "privileged" => Ok(Level::Privileged),
        "baseline" => Ok(Level::Baseline),
        "restricted" => Ok(Level::Restricted),
        _ => Err("must be one of privileged, baseline, restricted"),
    }
}

fn read_version(text: &str) -> Result<Option<u32>, &'static str> {
    if text == "latest" {
        return Ok(None);
    }
    let digits = text.strip_prefix("v1.").filter(|digits| *digits == "0" || !digits.starts_with(['0', '+']));
    let minor = digits.and_then(|digits| digits.parse().ok());
    minor.map(Some).ok_or("must be \"latest\" or \"v1.x\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[(&str, &str)], enforce: &str, warn: &str, wrong: &[&str]) {
        let labels: Vec<(String, &str)> =
            labels.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value)).collect();
        let (policy, problems) = Policy::of(labels.iter().map(|(name, value)| (name.as_str(), *value)));
        assert_eq!((policy.enforce.to_string(), policy.warn.to_string()), (enforce.to_owned(), warn.to_owned()));
        let shown: Vec<String> = problems.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
        assert_eq!(shown, wrong);
    }

    #[test]
    fn labels_say_levels_and_versions() {
        check(&[], "privileged:latest", "privileged:latest", &[]);
        check(
            &[("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.24")],
            "baseline:latest",
            "restricted:v1.24",
            &[],
        );
        check(
            &[("enforce", "strict"), ("warn", "loud"), ("enforce-version", "1.2")],
            "restricted:latest",
            "privileged:latest",
            &[
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"loud\": must be one of privileged, baseline, restricted",
            ],
        );
        check(
            &[("enforce-version", "v1.00")],
            "privileged:latest",
            "privileged:latest",
            &[
                "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"v1.00\": must be \"latest\" or \"v1.x\"",
            ],
        );
    }
}
