//! Flags of `up` that have a form of their own, checked before anything listens.

use crate::failure::refuse;

/// As in upstream: the longest value of a label.
const LABEL_LENGTH_MAX: usize = 63;
const NAME_LENGTH_MAX: usize = 253;

/// A node's name is the value of its label `kubernetes.io/hostname`, too.
pub fn node_name(text: &str) -> anyhow::Result<String> {
    if text.len() > LABEL_LENGTH_MAX || !is_subdomain(text) {
        let rule = "use lower case letters, digits, - and ., at most 63";
        return Err(refuse(format!("--node-name {text:?}: {rule}")));
    }
    Ok(text.to_owned())
}

pub fn label(text: &str) -> anyhow::Result<(String, String)> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let pair = pair.filter(|(key, value)| is_key(key) && is_value(value));
    let (key, value) =
        pair.ok_or_else(|| refuse(format!("--node-label {text:?}: write KEY=VALUE as labels may be")))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `(key, value, effect)` of `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
pub fn taint(text: &str) -> anyhow::Result<(String, String, String)> {
    let wrong = || {
        refuse(format!(
            "--node-taint {text:?}: write KEY=VALUE:EFFECT, EFFECT one of NoSchedule, PreferNoSchedule, NoExecute"
        ))
    };
    let (pair, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !is_key(key) || !is_value(value) || !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(wrong());
    }
    Ok((key.to_owned(), value.to_owned(), effect.to_owned()))
}

pub fn port_range(text: &str) -> anyhow::Result<(u16, u16)> {
    let ports = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    ports
        .filter(|(low, high)| *low > 0 && low <= high)
        .ok_or_else(|| refuse(format!("--service-node-port-range {text:?}: write LOW-HIGH, as 30000-32767")))
}

/// `name` or `example.com/name`, as keys of labels are.
fn is_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_subdomain)
}

fn is_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    let outer = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_LENGTH_MAX
        && text.chars().all(inner)
        && outer(text.chars().next())
        && outer(text.chars().last())
}

fn is_subdomain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let part =
        |part: &str| !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= NAME_LENGTH_MAX && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_checked_before_anything_starts() {
        assert_eq!(label("example.com/a=b").unwrap(), ("example.com/a".into(), "b".into()));
        assert_eq!(label("a=").unwrap(), ("a".into(), "".into()));
        for wrong in ["a", "=b", "a b=c", "a=b=c", "a=c d", "A.com/x=1", "/a=b", "-a=b"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
        assert_eq!(taint("k=v:NoSchedule").unwrap(), ("k".into(), "v".into(), "NoSchedule".into()));
        assert_eq!(taint("k:NoExecute").unwrap(), ("k".into(), "".into(), "NoExecute".into()));
        assert!(taint("k=v:Never").is_err());
        assert!(taint("a b:NoSchedule").is_err());
        assert_eq!(port_range("30000-32767").unwrap(), (30000, 32767));
        assert!(port_range("9-1").is_err());
        assert_eq!(node_name("edge-1.lab").unwrap(), "edge-1.lab");
        for wrong in ["A", "a b", "", "-a", "a..b", &"x".repeat(64)] {
            assert!(node_name(wrong).is_err(), "{wrong}");
        }
    }
}
