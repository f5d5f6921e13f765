//! What a request is about, read from its method and address alone; `pipeline.rs` puts it into the extensions.
//!
//! ```text
//!  /api/v1/namespaces/N/pods/P/status   /apis/G/V/resource/name/subresource   anything else: a plain path
//! ```

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use crate::seams::Attributes;

/// The parameters behind the question mark, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value; `None` when absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// A whole number; the error is what Go says of anything else.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        text.parse().map(Some).map_err(|_| format!("strconv.ParseInt: parsing {text:?}: {why}"))
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there at all.
    pub fn named(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// As Go's lenient conversion has it: everything but `false` and `0` is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }
}

/// A request as the road and the verbs see it.
#[derive(Debug, Clone)]
pub struct Route {
    pub attributes: Attributes,
    pub query: Query,
}

impl Route {
    pub fn parse(method: &Method, uri: &Uri) -> Self {
        let query = Query::parse(uri);
        let attributes = match address(uri.path()) {
            Some(mut attributes) => {
                attributes.verb = verb(method, &attributes, &query).to_owned();
                attributes.field_selector = selected(&attributes.verb, &query);
                if attributes.name.is_empty() {
                    attributes.name = value_of(&attributes.field_selector, "metadata.name");
                }
                attributes
            }
            None => {
                let verb = method.as_str().to_ascii_lowercase();
                Attributes { verb, path: Some(uri.path().to_owned()), ..Attributes::default() }
            }
        };
        Self { attributes, query }
    }

    /// Watches, logs and streams live long and are not counted against anyone's limit.
    pub fn is_long_running(&self) -> bool {
        let streams = ["log", "exec", "attach", "portforward", "proxy"];
        self.attributes.verb == "watch" || streams.contains(&self.attributes.subresource.as_str())
    }
}

fn address(path: &str) -> Option<Attributes> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).map(decoded);
    let (group, version) = match segments.next()?.as_str() {
        "api" => (String::new(), segments.next()?),
        "apis" => (segments.next()?, segments.next()?),
        _ => return None,
    };
    let mut parts: Vec<String> = segments.collect();
    let mut namespace = String::new();
    let is_own_subresource = |part: &String| part == "status" || part == "finalize";
    if parts.first()? == "namespaces" && parts.len() >= 2 {
        namespace = parts[1].clone();
        if parts.len() >= 3 && !is_own_subresource(&parts[2]) {
            parts.drain(..2);
        }
    }
    let mut parts = parts.into_iter();
    let resource = parts.next()?;
    let name = parts.next().unwrap_or_default();
    let subresource = parts.next().unwrap_or_default();
    let verb = String::new();
    Some(Attributes { verb, group, version, resource, subresource, namespace, name, ..Attributes::default() })
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn verb(method: &Method, attributes: &Attributes, query: &Query) -> &'static str {
    let collection = attributes.name.is_empty();
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if attributes.subresource.is_empty() && query.flag("watch") => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        _ => "",
    }
}

/// What many objects are narrowed to; a selector that does not parse is refused later.
fn selected(verb: &str, query: &Query) -> Vec<(String, String)> {
    let selector = query.get("fieldSelector").filter(|_| matches!(verb, "list" | "watch" | "deletecollection"));
    selector.map(equalities).unwrap_or_default()
}

/// The `field=value` (or `field==value`) terms of a field selector.
pub fn equalities(selector: &str) -> Vec<(String, String)> {
    let pair = |term: &str| {
        let (field, value) = term.split_once('=')?;
        let equality = !field.ends_with('!');
        equality.then(|| (field.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()))
    };
    selector.split(',').filter_map(pair).collect()
}

/// A list of one name counts as a request for that object.
fn value_of(equalities: &[(String, String)], field: &str) -> String {
    equalities.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, expected: &str) {
        let (method, uri) = request.split_once(' ').unwrap();
        let a = Route::parse(&method.parse().unwrap(), &uri.parse().unwrap()).attributes;
        let fields = [&a.verb, &a.group, &a.version, &a.namespace, &a.resource, &a.name, &a.subresource];
        let shown = a.path.clone().unwrap_or_else(|| fields.map(String::as_str).join("|"));
        assert_eq!(shown, expected, "{request}");
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let query = Query::parse(&"/?a=5&b=-1&c=x&d=99999999999999999999".parse().unwrap());
        assert_eq!((query.integer("a"), query.integer("b"), query.integer("z")), (Ok(Some(5)), Ok(Some(-1)), Ok(None)));
        assert_eq!(query.integer("c").unwrap_err(), r#"strconv.ParseInt: parsing "x": invalid syntax"#);
        assert!(query.integer("d").unwrap_err().ends_with("value out of range"));
    }

    #[test]
    fn addresses_and_methods_give_attributes() {
        check("GET /api/v1/pods", "list||v1||pods||");
        check("GET /api/v1/namespaces/a/pods?watch=1", "watch||v1|a|pods||");
        check("GET /api/v1/namespaces/a", "get||v1|a|namespaces|a|");
        check("PUT /api/v1/namespaces/a/finalize", "update||v1|a|namespaces|a|finalize");
        check("PATCH /apis/apps/v1/namespaces/a/deployments/b/scale", "patch|apps|v1|a|deployments|b|scale");
        check("DELETE /api/v1/nodes", "deletecollection||v1||nodes||");
        check("GET /api/v1/pods?fieldSelector=metadata.name%3Dx", "list||v1||pods|x|");
        check("GET /api/v1/pods?fieldSelector=metadata.name!%3Dx", "list||v1||pods||");
        check("GET /apis/apps/v1", "/apis/apps/v1");
        check("GET /healthz", "/healthz");
    }
}
