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
}

const SERVED: &[&str] = &["application/json", "application/yaml", PROTOBUF];
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How the reply is written. The form is the same; `encoding.rs` rewrites it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    /// JSON will do where there is no protobuf form.
    Protobuf,
    ProtobufOnly,
}

/// Reads the first range that is served, and whether a later one is something else than protobuf.
pub fn encoding(headers: &HeaderMap) -> Encoding {
    let media = |range: &str| range.split(';').next().unwrap_or_default().trim().to_owned();
    let ranges: Vec<String> = ranges(headers).filter(|range| served(range).is_some()).map(media).collect();
    match ranges.first().map(String::as_str) {
        Some("application/yaml") => Encoding::Yaml,
        Some(PROTOBUF) if ranges.iter().all(|media| media == PROTOBUF) => Encoding::ProtobufOnly,
        Some(PROTOBUF) => Encoding::Protobuf,
        _ => Encoding::Json,
    }
}

/// The first form of the header that we can give; no header asks for JSON.
pub fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let mut asked = false;
    for range in ranges(headers) {
        asked = true;
        if let Some(form) = served(range) {
            return Ok(form);
        }
    }
    if asked { Err(Status::not_acceptable(SERVED)) } else { Ok(Form::Json) }
}

/// Refuses who would take nothing but columns, for what has none.
pub fn without_table(headers: &HeaderMap) -> Result<(), Status> {
    let mut asked = ranges(headers).filter_map(served).peekable();
    match asked.peek().is_none() || asked.any(|form| form != Form::Table) {
        true => Ok(()),
        false => Err(Status::not_acceptable(SERVED)),
    }
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let ranges = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    ranges.filter(|range| !range.trim().is_empty())
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
    let is_protobuf = media == PROTOBUF;
    match (is_json, target, group, version) {
        (true, "", ..) => Some(Form::Json),
        (false, "", ..) if is_protobuf || media == "application/yaml" => Some(Form::Json),
        (false, "PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") if is_protobuf => {
            Some(Form::Metadata)
        }
        (true, "Table", "meta.k8s.io", "v1") => Some(Form::Table),
        (true, "PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => Some(Form::Metadata),
        (true, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Form::Discovery),
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
        check("application/vnd.kubernetes.protobuf", Some(Form::Json));
        check("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Some(Form::Metadata));
        check("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", None);
        check("application/cbor", None);
    }

    #[test]
    fn the_first_range_says_how_a_reply_is_written() {
        for (given, expected) in [
            ("application/vnd.kubernetes.protobuf,application/json", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuf", Encoding::ProtobufOnly),
            ("application/vnd.kubernetes.protobuf;stream=watch", Encoding::ProtobufOnly),
            ("application/json,application/vnd.kubernetes.protobuf", Encoding::Json),
            ("application/cbor,application/vnd.kubernetes.protobuf,*/*", Encoding::Protobuf),
            ("application/yaml", Encoding::Yaml),
            ("*/*", Encoding::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, given.parse().unwrap());
            assert_eq!(encoding(&headers), expected, "{given}");
        }
    }
}
