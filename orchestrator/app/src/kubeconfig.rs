//! `amphipod kubeconfig`: a way into a cluster of this machine. It needs only the data directory (the authority's key lies
//! there), so it also works when nothing runs, and when the old certificate has ended.

use std::path::{Path, PathBuf};

use amphipod_server::certificates::{Clients, Context, Subject, kubeconfig};
use clap::Args;

use crate::data::{API_ADDRESS, DataDirectory};
use crate::failure::refuse;
use crate::report;

const ADMIN: &str = "amphipod-admin";
const MASTERS: &str = "system:masters";
const DEFAULT_SERVER: &str = "https://127.0.0.1:6443";

#[derive(Args)]
#[command(
    after_help = "Examples:\n  amphipod kubeconfig --merge\n  amphipod kubeconfig --user alice --group dev --output alice.kubeconfig"
)]
pub struct Kubeconfig {
    /// Where the cluster keeps its data (default: ~/.local/share/amphipod)
    #[arg(long, env = "AMPHIPOD_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Whom the certificate stands for (default: the administrator)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A group of the user; may be repeated
    #[arg(long, value_name = "GROUP", requires = "user")]
    group: Vec<String>,
    /// Where the API server is reached (default: where it last listened)
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Put a context into the file that kubectl uses, and make it current
    #[arg(long, conflicts_with = "output")]
    merge: bool,
    /// Write a file, for the owner alone (default: print)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Kubeconfig {
    pub fn run(self) -> anyhow::Result<()> {
        let path = self.data_dir.clone().unwrap_or_else(DataDirectory::default_path);
        let clients = Clients::open(&path.join("server/tls"))
            .map_err(|error| refuse(format!("cannot use the cluster in {}: {error}", path.display())))?;
        let now = jiff::Timestamp::now();
        let issued = match &self.user {
            None => clients.kept_client("admin", &Subject::new(ADMIN, &[MASTERS]), now),
            Some(user) => {
                let groups: Vec<&str> = self.group.iter().map(String::as_str).collect();
                clients.client(&subject(user, &groups)?, now)
            }
        };
        let client = issued?;
        let server = self.server.clone().or_else(|| known_address(&path)).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let name = self.user.as_ref().map_or_else(|| "amphipod".to_owned(), |user| format!("{user}@amphipod"));
        let context = Context { name: &name, server: &server, authority: clients.authority_pem(), client: &client };
        self.hand_out(&context)
    }

    fn hand_out(&self, context: &Context<'_>) -> anyhow::Result<()> {
        if let Some(path) = &self.output {
            kubeconfig::write_kubeconfig(path, context)
                .map_err(|error| refuse(format!("--output {}: {error}", path.display())))?;
            eprintln!("wrote {}", path.display());
            return Ok(());
        }
        if !self.merge {
            report::print(kubeconfig::kubeconfig(context))?;
            return Ok(());
        }
        let path = kubectls_file()?;
        kubeconfig::merge_kubeconfig(&path, context)?;
        eprintln!("context {:?} is current in {}", context.name, path.display());
        Ok(())
    }
}

/// The file that kubectl would write.
pub fn kubectls_file() -> anyhow::Result<PathBuf> {
    let environment = std::env::var("KUBECONFIG").ok();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = kubeconfig::kubeconfig_path(environment.as_deref(), home.as_deref());
    path.ok_or_else(|| refuse("no HOME to keep a kubeconfig in: name a file with --kubeconfig"))
}

fn subject(user: &str, groups: &[&str]) -> anyhow::Result<Subject> {
    if user.trim().is_empty() || groups.iter().any(|group| group.trim().is_empty()) {
        return Err(refuse("--user and --group must not be empty"));
    }
    Ok(Subject::new(user, groups))
}

fn known_address(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(API_ADDRESS)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
