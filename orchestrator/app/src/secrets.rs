//! `amphipod secrets`: which keys seal the cluster's Secrets, and giving them a new one.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::connect::Target;
use crate::report;

const PATH: &str = "/amphipod/secrets";

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod secrets status\n  amphipod secrets rotate -o json")]
pub struct Secrets {
    #[command(subcommand)]
    what: What,
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Show the keys, their age, and how many Secrets each seals
    Status,
    /// Make a new key and seal every Secret with it
    Rotate,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl Secrets {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.target.connect().await?.client;
        let request = match self.what {
            What::Status => http::Request::get(PATH),
            What::Rotate => http::Request::post(PATH),
        };
        let answer: Value = client.request(request.body(Vec::new())?).await?;
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(&answer)? + "\n",
            Output::Table => table(&answer, jiff::Timestamp::now()),
        };
        Ok(report::print(text)?)
    }
}

fn table(answer: &Value, now: jiff::Timestamp) -> String {
    let mut text = format!("{:<6}{:<12}{:<10}{}\n", "KEY", "STATE", "AGE", "SECRETS");
    for key in answer["keys"].as_array().into_iter().flatten() {
        let created: Option<jiff::Timestamp> = key["created"].as_str().and_then(|time| time.parse().ok());
        let age = created.map_or_else(|| "<unknown>".to_owned(), |created| age(now.duration_since(created).as_secs()));
        let state = key["state"].as_str().unwrap_or_default();
        let (id, objects) = (key["id"].to_string(), &key["objects"]);
        text.push_str(&format!("{id:<6}{state:<12}{age:<10}{objects}\n"));
    }
    text
}

fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_lines() {
        let answer = json!({ "keys": [
            { "id": 2, "state": "Primary", "created": "2026-02-01T00:00:00Z", "objects": 7 },
            { "id": 1, "state": "Retired", "created": "2026-01-01T00:00:00Z", "objects": 0 },
        ] });
        let shown = table(&answer, "2026-02-01T00:01:00Z".parse().unwrap());
        assert_eq!(
            shown,
            "KEY   STATE       AGE       SECRETS\n2     Primary     60s       7\n1     Retired     31d       0\n"
        );
    }
}
