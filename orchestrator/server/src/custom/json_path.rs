//! The paths of printer columns, scale and selectable fields: kubectl's JSONPath as far as a single value needs it.

use serde_json::Value;

/// `.status.conditions[?(@.type=="Ready")].status`, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Deep,
    /// `@.path OP value`; without an operator the path must be there.
    Filter(JsonPath, Option<(String, Value)>),
}

impl JsonPath {
    /// The error is a text for the client.
    pub fn parse(source: &str) -> Result<Self, String> {
        let inner = source.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(source);
        if !inner.starts_with(['.', '[', '$', '@']) {
            return Err(format!("is an invalid JSONPath: unrecognized character in action: {:?}", first(inner)));
        }
        let mut rest = inner.trim_start_matches(['$', '@']);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            rest = step(rest, &mut steps).ok_or_else(|| format!("is an invalid JSONPath: {source}"))?;
        }
        Ok(Self(steps))
    }

    /// Every value at the path; none where something is missing.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }

    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value).into_iter().next()
    }

    /// Puts a value at a path of plain fields, making the objects on its way.
    pub fn set(&self, object: &mut Value, value: Value) {
        let mut at = object;
        for step in &self.0 {
            let Step::Field(name) = step else { return };
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            at = &mut at[name.as_str()];
        }
        *at = value;
    }
}

fn first(text: &str) -> char {
    text.chars().next().unwrap_or(' ')
}

/// Takes one step off the front.
fn step<'t>(text: &'t str, steps: &mut Vec<Step>) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("..") {
        steps.push(Step::Deep);
        return if rest.starts_with('[') { Some(rest) } else { named(rest, steps) };
    }
    if let Some(rest) = text.strip_prefix('.') {
        return if rest.is_empty() || rest.starts_with('[') { Some(rest) } else { named(rest, steps) };
    }
    let rest = text.strip_prefix('[')?;
    let end = closing(rest)?;
    let (inner, rest) = (rest[..end].trim(), &rest[end + 1..]);
    steps.push(bracket(inner)?);
    Some(rest)
}

fn named<'t>(text: &'t str, steps: &mut Vec<Step>) -> Option<&'t str> {
    let (mut name, mut end, mut escaped) = (String::new(), text.len(), false);
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' | '[' if !escaped => {
                end = at;
                break;
            }
            c => name.push(c),
        }
        escaped = false;
    }
    if name.is_empty() {
        return None;
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    Some(&text[end..])
}

/// Where the bracket ends, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition.trim());
    }
    if let Some(name) = unquoted(inner) {
        return Some(Step::Field(name));
    }
    if let Some((from, to)) = inner.split_once(':') {
        let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        return Some(Step::Slice(number(from)?, number(to)?));
    }
    inner.parse().ok().map(Step::Index)
}

fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.strip_prefix(quote)?.strip_suffix(quote).map(str::to_owned)
}

fn filter(condition: &str) -> Option<Step> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        let Some((left, right)) = condition.split_once(operator) else { continue };
        let right = right.trim();
        let value = unquoted(right).map(Value::from).or_else(|| serde_json::from_str(right).ok())?;
        return Some(Step::Filter(JsonPath::parse(left.trim()).ok()?, Some((operator.to_owned(), value))));
    }
    Some(Step::Filter(JsonPath::parse(condition).ok()?, None))
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(members)) => {
                members.get(name).filter(|member| !member.is_null()).into_iter().collect()
            }
            (Self::Index(index), Value::Array(list)) => {
                let at = if *index < 0 { *index + list.len() as i64 } else { *index };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(list)) => {
                let length = list.len() as i64;
                let at = |index: i64| usize::try_from(if index < 0 { index + length } else { index }).unwrap_or(0);
                let (from, to) = (from.map_or(0, at), to.map_or(list.len(), at).min(list.len()));
                list.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::All, Value::Object(members)) => members.values().collect(),
            (Self::Deep, value) => {
                let mut all = vec![value];
                let below: Vec<&Value> = match value {
                    Value::Array(list) => list.iter().collect(),
                    Value::Object(members) => members.values().collect(),
                    _ => Vec::new(),
                };
                all.extend(below.into_iter().flat_map(|below| Self::Deep.of(below)));
                all
            }
            (Self::Filter(path, test), Value::Array(list)) => {
                list.iter().filter(|item| passes(path.first(item), test.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn passes(found: Option<&Value>, test: Option<&(String, Value)>) -> bool {
    let (Some(found), Some((operator, wanted))) = (found, test) else { return found.is_some() && test.is_none() };
    let ordered = match (found, wanted) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ => found.as_f64().zip(wanted.as_f64()).and_then(|(one, other)| one.partial_cmp(&other)),
    };
    ordered.is_some_and(|order| match operator.as_str() {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({
            "spec": { "replicas": 3, "ports": [{ "name": "a", "port": 1 }, { "name": "b", "port": 2 }] },
            "metadata": { "labels": { "app.io/x": "y" } },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        for (path, found) in [
            (".spec.replicas", json!([3])),
            ("{.spec.replicas}", json!([3])),
            (".spec.ports[*].port", json!([1, 2])),
            (".spec.ports[-1].name", json!(["b"])),
            (".spec.ports[0:1].name", json!(["a"])),
            (".spec.ports[?(@.port>1)].name", json!(["b"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type=='Other')].status", json!([])),
            (r".metadata.labels.app\.io/x", json!(["y"])),
            (".metadata.labels['app.io/x']", json!(["y"])),
            ("..port", json!([1, 2])),
            (".spec.missing.deeper", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap();
            assert_eq!(json!(parsed.find(&object)), found, "{path}");
        }
        for bad in ["spec.replicas", ".spec[", ".spec[x]", "."] {
            assert!(JsonPath::parse(bad).is_err() || bad == ".", "{bad}");
        }
    }

    #[test]
    fn a_value_is_put_where_the_path_leads() {
        let mut object = json!({ "spec": { "kept": 1 } });
        JsonPath::parse(".spec.size.wanted").unwrap().set(&mut object, 4.into());
        assert_eq!(object, json!({ "spec": { "kept": 1, "size": { "wanted": 4 } } }));
    }
}
