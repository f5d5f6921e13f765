//! `amphipod get`: the server's own table, or JSON, YAML, names.

use clap::{Args, ValueEnum};
use kube::discovery::Scope;
use serde_json::Value;

use crate::connect::{Connection, Resource, Target};
use crate::failure::refuse;
use crate::report;

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod get pods -o wide\n  amphipod get deployment hello -o json")]
pub struct Get {
    /// Kind and names: `pods`, `pod a`, `pod/a`
    #[arg(required = true)]
    words: Vec<String>,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels: `app=web,tier!=x`
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

impl Get {
    pub async fn run(self) -> anyhow::Result<()> {
        let (kind, name) = match self.words.as_slice() {
            [word] => match word.split_once('/') {
                Some((kind, name)) => (kind, Some(name)),
                None => (word.as_str(), None),
            },
            [kind, name] => (kind.as_str(), Some(name.as_str())),
            _ => return Err(refuse("say a kind and at most one name")),
        };
        let connection = self.target.connect().await?;
        let resource = connection.by_word(kind).await?;
        let url = self.url(&connection, &resource, name);
        let answer: Value = match self.output {
            Output::Table | Output::Wide => ask(&connection, &url, TABLE).await?,
            _ => ask(&connection, &url, "application/json").await?,
        };
        self.print(&resource, &answer)
    }

    fn url(&self, connection: &Connection, resource: &Resource, name: Option<&str>) -> String {
        let namespaced = resource.scope == Scope::Namespaced && !self.all_namespaces;
        let namespace = namespaced.then_some(connection.namespace.as_str());
        let mut url = kube::core::DynamicObject::url_path(&resource.api, namespace);
        if let Some(name) = name {
            url = format!("{url}/{name}");
        }
        if let Some(selector) = &self.selector {
            let selector: String = selector.bytes().flat_map(escape).collect();
            url = format!("{url}?labelSelector={selector}");
        }
        url
    }

    fn print(&self, resource: &Resource, answer: &Value) -> anyhow::Result<()> {
        let text = match self.output {
            Output::Table | Output::Wide => table(answer, self.output == Output::Wide, self.all_namespaces),
            Output::Json => serde_json::to_string_pretty(answer)? + "\n",
            Output::Yaml => serde_yaml_ng::to_string(answer)?,
            Output::Name => {
                let single = std::slice::from_ref(answer);
                let objects = answer["items"].as_array().map_or(single, Vec::as_slice);
                let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                objects.iter().map(|object| format!("{}/{}\n", resource.api.plural, name(object))).collect()
            }
        };
        Ok(report::print(text)?)
    }
}

use kube::Resource as _;

fn escape(byte: u8) -> Vec<char> {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        vec![char::from(byte)]
    } else {
        format!("%{byte:02X}").chars().collect()
    }
}

async fn ask(connection: &Connection, url: &str, accept: &str) -> anyhow::Result<Value> {
    let request = http::Request::get(url).header(http::header::ACCEPT, accept).body(Vec::new())?;
    Ok(connection.client.request(request).await?)
}

/// A `meta.k8s.io` Table as text, columns padded as kubectl pads them.
fn table(answer: &Value, wide: bool, namespaces: bool) -> String {
    let none = Vec::new();
    let columns = answer["columnDefinitions"].as_array().unwrap_or(&none);
    let shown: Vec<usize> = (0..columns.len()).filter(|i| wide || columns[*i]["priority"] == 0).collect();
    let mut lines = Vec::new();
    let mut head: Vec<String> = shown.iter().map(|i| text(&columns[*i]["name"]).to_uppercase()).collect();
    if namespaces {
        head.insert(0, "NAMESPACE".to_owned());
    }
    lines.push(head);
    for row in answer["rows"].as_array().unwrap_or(&none) {
        let mut cells: Vec<String> = shown.iter().map(|i| text(&row["cells"][*i])).collect();
        if namespaces {
            cells.insert(0, text(&row["object"]["metadata"]["namespace"]));
        }
        lines.push(cells);
    }
    if lines.len() == 1 {
        return "No resources found.\n".to_owned();
    }
    aligned(&lines)
}

fn text(cell: &Value) -> String {
    cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |i: usize| lines.iter().filter_map(|line| line.get(i)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("   ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_padded_and_wide_columns_wait_for_wide() {
        let answer = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["hello-1", "1/1", "127.42.0.2"]}, {"cells": ["a", "0/1", "<none>"]}],
        });
        assert_eq!(table(&answer, false, false), "NAME      READY\nhello-1   1/1\na         0/1\n");
        assert!(table(&answer, true, false).contains("127.42.0.2"));
    }
}
