//! Which form of a reply a client asked for, by its Accept header.

use http::{HeaderMap, header};

use crate::reply::Status;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object as it is.
    Json,
    Table,
    /// PartialObjectMetadata, or its list.
    Metadata,
    /// APIGroupDiscoveryList, on `/api` and `/apis` only.
    Discovery,
    Yaml,
}

const SERVED: &[&str] = &["application/json", "application/yaml"];

/// The first form of the header that we can give; no header asks for JSON.
pub fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let mut asked = false;
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',').filter(|range| !range.trim().is_empty()) {
            asked = true;
            if let Some(form) = served(range) {
                return Ok(form);
            }
        }
    }
    if asked { Err(Status::not_acceptable(SERVED)) } else { Ok(Form::Json) }
}

fn served(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?;
    let (mut target, mut group, mut version) = ("", "", "");
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        match name {
            "as" => target = value,
            "g" => group = value,
            "v" => version = value,
            _ => {}
        }
    }
    let is_json = matches!(media, "application/json" | "application/*" | "*/*");
    match (is_json, target, group, version) {
        (true, "", ..) => Some(Form::Json),
        (true, "Table", "meta.k8s.io", "v1") => Some(Form::Table),
        (true, "PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => Some(Form::Metadata),
        (true, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Form::Discovery),
        (false, "", ..) if media == "application/yaml" => Some(Form::Yaml),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: Option<Form>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(form(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn the_first_form_that_is_served_wins() {
        check("application/vnd.kubernetes.protobuf,application/json", Some(Form::Json));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table));
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Form::Json));
        check("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata));
        check("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", Some(Form::Discovery));
        check("*/*", Some(Form::Json));
        check("application/vnd.kubernetes.protobuf", None);
        check("application/cbor", None);
    }
}
