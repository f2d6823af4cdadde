//! The program around `sandboxd::serve`: flags, log, signals. API keys come from the environment or a file, so that
//! they stand in no process list.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sandboxd::{
    ApiKey, Exposed, FailedAuthentications, FaultInjection, Manner, PASSED_ENVIRONMENT, Quotas, Retention,
    Settings, Transfers, passed_environment, serve,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A Daytona-compatible sandbox server for one machine: laptops, tests, the quick start. Not for production.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where to listen. With port 0 a free one is taken; the first line on stdout names it:
    /// `sandboxd listening on http://127.0.0.1:PORT/api`.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What clients reach this server as, where that is not the address it listens on: in a container, say,
    /// `http://sandboxd:3986`. Without /api.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where snapshots are kept and sandboxes live. One server per directory.
    #[arg(long)]
    data_dir: PathBuf,
    /// An API key: `KEY[;PERMISSION+PERMISSION...|none][;ORGANIZATION]`. Repeatable. Stands in the process list: prefer
    /// SANDBOXD_API_KEYS (the same, separated by blanks) or --api-key-file.
    #[arg(long, value_name = "KEY")]
    api_key: Vec<SecretString>,
    /// A file of API keys, one a line, as for --api-key. Repeatable.
    #[arg(long, value_name = "FILE")]
    api_key_file: Vec<PathBuf>,
    #[arg(long, env = "SANDBOXD_API_KEYS", hide = true, hide_env_values = true)]
    api_keys: Option<SecretString>,
    /// A directory or file every sandbox sees, read-only, at DST or, without one, where it is (for file:// git remotes).
    /// DST is an absolute path; directories missing above it are made. Repeatable.
    #[arg(long, value_name = "SRC[:DST]")]
    expose_read_only: Vec<String>,
    /// A variable of this process's environment that sandbox processes get; `NAME*` for all that start so. Repeatable,
    /// in addition to the registry, proxy and certificate variables that are passed anyway (npm_config_*, PIP_*,
    /// HTTPS_PROXY, NODE_EXTRA_CA_CERTS...). Never captured in a snapshot.
    #[arg(long, value_name = "NAME")]
    pass_env: Vec<String>,
    /// The snapshot that is made when it is missing, and used where a create names none.
    #[arg(long, default_value = "harvest-snapshot", value_name = "NAME")]
    base_snapshot: String,
    /// Most active snapshots of an organization.
    #[arg(long, default_value_t = Quotas::default().snapshots, value_name = "COUNT")]
    quota_snapshots: u32,
    /// Most vCPUs of an organization's running sandboxes (counted, not enforced on processes).
    #[arg(long, default_value_t = Quotas::default().cpu, value_name = "COUNT")]
    quota_cpu: u32,
    /// Most memory of an organization's running sandboxes, in GB (counted, not enforced).
    #[arg(long, default_value_t = Quotas::default().memory_gb, value_name = "GB")]
    quota_memory: u32,
    /// Most disk of an organization's sandboxes, in GB (counted, not enforced).
    #[arg(long, default_value_t = Quotas::default().disk_gb, value_name = "GB")]
    quota_disk: u32,
    /// Remove the snapshots too when the server ends.
    #[arg(long)]
    ephemeral: bool,
    /// Serve /faults, where tests plant misbehaviour and count requests. Needs no API key: never on a shared machine.
    #[arg(long)]
    faults: bool,
    /// How many seconds a "minute" of autostop, autodelete and ttl lasts.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    minute_seconds: u64,
    /// The Daytona version whose behaviour it shows. What differs is in the README.
    #[arg(long, value_enum, default_value_t = Manner::V0_226, value_name = "VERSION")]
    manner: Manner,
    /// The failed authentication that locks an address out of the API, with a valid key too; 0 for never. X-Forwarded-For
    /// is believed.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    failed_authentications: u32,
    /// How long failed authentications count together, and how long an address is then locked out.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    lockout_seconds: u64,
    /// How long the toolbox's proxy goes on believing that a key may reach a sandbox.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    access_cache_seconds: u64,
    /// How long a snapshot that was put to sleep can't be woken.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    activation_cooldown_seconds: u64,
    /// How long a capture takes per megabyte that the sandbox wrote. Daytona: about 100.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    capture_per_megabyte: u64,
    /// How long a snapshot's first start on each runner takes per such megabyte. Daytona: about 20.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pull_per_megabyte: u64,
    /// How many runners take sandboxes in turn.
    #[arg(long, default_value_t = Transfers::default().runners, value_name = "COUNT")]
    runners: u32,
    /// A file of another user in the /tmp of every base snapshot, as images have files of root. Repeatable. Needs root.
    #[arg(long, value_name = "NAME")]
    foreign_file: Vec<String>,
    /// How the log on stderr looks. RUST_LOG chooses what is in it.
    #[arg(long, default_value = "pretty", value_name = "FORMAT")]
    log: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Pretty,
    Json,
}

impl Flags {
    fn keys(&self) -> anyhow::Result<Vec<ApiKey>> {
        let files: Vec<String> = self
            .api_key_file
            .iter()
            .map(|path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display())))
            .collect::<Result<_, _>>()?;
        let given = self.api_key.iter().chain(&self.api_keys).map(ExposeSecret::expose_secret);
        let texts = given.chain(files.iter().map(String::as_str)).flat_map(str::split_whitespace);
        Ok(texts.map(ApiKey::parse).collect::<Result<_, _>>()?)
    }

    fn settings(self) -> anyhow::Result<Settings> {
        let mut settings = Settings::new(&self.data_dir);
        settings.api_keys = self.keys()?;
        settings.public_url = self.public_url;
        let patterns: Vec<String> =
            PASSED_ENVIRONMENT.iter().map(|name| (*name).to_owned()).chain(self.pass_env).collect();
        settings.environment = passed_environment(&patterns);
        settings.expose_read_only = self
            .expose_read_only
            .iter()
            .map(|text| Exposed::parse(text).with_context(|| format!("--expose-read-only {text}")))
            .collect::<Result<_, _>>()?;
        settings.base_snapshot = self.base_snapshot;
        settings.quotas = Quotas {
            snapshots: self.quota_snapshots,
            cpu: self.quota_cpu,
            memory_gb: self.quota_memory,
            disk_gb: self.quota_disk,
        };
        settings.retention = if self.ephemeral { Retention::RemoveAll } else { Retention::KeepSnapshots };
        settings.faults = if self.faults { FaultInjection::Enabled } else { FaultInjection::Disabled };
        settings.minute = Duration::from_secs(self.minute_seconds);
        settings.manner = self.manner;
        settings.failed_authentications = (self.failed_authentications > 0).then(|| FailedAuthentications {
            limit: self.failed_authentications,
            period: Duration::from_secs(self.lockout_seconds),
        });
        settings.access_cache = Duration::from_secs(self.access_cache_seconds);
        settings.activation_cooldown = Duration::from_secs(self.activation_cooldown_seconds);
        settings.transfers = Transfers {
            capture_per_megabyte: Duration::from_millis(self.capture_per_megabyte),
            pull_per_megabyte: Duration::from_millis(self.pull_per_megabyte),
            runners: self.runners,
        };
        settings.foreign_files = self.foreign_file;
        Ok(settings)
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    log(flags.log);
    let ran =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(run(flags)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(flags.listen).await.with_context(|| format!("listening on {}", flags.listen))?;
    let address = listener.local_addr()?;
    let settings = flags.settings()?;
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.cancel();
    });
    // Connections made from now on wait in the listener until the server is ready.
    writeln!(std::io::stdout(), "sandboxd listening on http://{address}/api")?;
    serve(settings, listener, shutdown).await?;
    Ok(())
}
