//! `amphipod bench`: measures this program in one run and prints JSON, so that figures can be compared as ratios.
//! It starts a cluster of its own in a temporary folder and ends it.

mod api;
mod functions;
mod load;
mod measured;
mod pods;
mod subject;
mod watch;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use subject::Subject;

#[derive(Args)]
#[command(after_help = "Example:\n  amphipod bench --component hello.wasm > figures.json")]
pub struct Bench {
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Api, Part::Watch, Part::Pods, Part::Functions])]
    only: Vec<Part>,
    /// A wasi:http component; pods and functions need one
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// How many pods the largest step makes
    #[arg(long, default_value_t = 1_000)]
    pods: usize,
    /// Seconds of load per figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Serve the component plainly, without a cluster, on any port that is then printed
    #[arg(long, hide = true)]
    serve_reference: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Api,
    Watch,
    Pods,
    Functions,
}

impl Bench {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.serve_reference {
            return functions::serve_reference(self.component.as_deref()).await;
        }
        let mut figures = Map::new();
        let subject = Subject::start().await?;
        figures.insert("startSeconds".into(), json!(subject.start_seconds));
        figures.insert("idle".into(), subject.memory()?);
        for part in &self.only {
            let (name, figure): (&str, Value) = match part {
                Part::Api => ("api", api::measure(&subject).await?),
                Part::Watch => ("watch", watch::measure(&subject).await?),
                Part::Pods => ("pods", pods::measure(&subject, self.component()?, self.pods).await?),
                Part::Functions => ("functions", functions::measure(&subject, self.component()?, self.seconds).await?),
            };
            eprintln!("{name}: {figure}");
            figures.insert(name.into(), figure);
        }
        subject.end().await?;
        println!("{}", serde_json::to_string_pretty(&figures)?);
        Ok(())
    }

    fn component(&self) -> anyhow::Result<&std::path::Path> {
        self.component.as_deref().ok_or_else(|| crate::failure::refuse("pods and functions need --component FILE"))
    }
}
