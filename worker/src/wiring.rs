//! From settings to what a slot needs: the one place where everything of a worker is put together.

use std::sync::Arc;

use account::Rooms;
use daytona::Client;
use remote::{Remote, Timeouts};
use settings::Secrets;

use crate::base::BaseSnapshots;
use crate::captured_records::CapturedRecords;
use crate::consume::Consumer;
use crate::job_secrets::JobSecrets;
use crate::lease::{HeldSandboxes, Leases, SandboxLimits};
use crate::ledger_writer::LedgerWriter;
use crate::losses::Losses;
use crate::metrics::Instruments;
use crate::process::Pipeline;
use crate::sandbox::Watching;
use crate::sandbox_opener::SandboxOpener;
use crate::settings::WorkerFile;
use crate::settle::{Reporter, Settler};
use crate::stages::build_in_sandbox::Builder;
use crate::stages::promote::Promoter;
use crate::stages::provision::Provisioner;
use crate::stages::resolve::Resolver;
use crate::stages::verify::Verifier;
use crate::target_register::TargetRegister;

/// What a worker is connected to.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pub(crate) client: Client,
    pub(crate) rooms: Rooms,
    pub(crate) register: TargetRegister,
    pub(crate) ledger: LedgerWriter,
    pub(crate) metrics: Instruments,
}

/// Puts a consumer of this fleet's jobs together, by this worker's name.
pub(crate) fn consumer(
    worker: String,
    fleet: job::FleetName,
    file: WorkerFile,
    secrets: Secrets,
    connections: Connections,
) -> Result<Consumer, remote::SetupError> {
    let WorkerFile { retry, lease, sandboxes, commands, toolchain, leftovers, classes, .. } = file;
    let Connections { client, rooms, register, ledger, metrics } = connections;
    let secrets = Arc::new(JobSecrets::new(secrets));
    let leases = Leases {
        client: client.clone(),
        section: lease,
        limits: SandboxLimits {
            start_timeout: sandboxes.start_timeout,
            auto_stop: sandboxes.auto_stop,
            ttl: sandboxes.ttl,
        },
        held: HeldSandboxes::default(),
        busy_delay: retry.delay_of_at_least(retry.busy_delay),
    };
    let opener = SandboxOpener {
        client: client.clone(),
        secrets: Arc::clone(&secrets),
        watching: Watching::new(&commands, sandboxes.min_free_disk_mb.saturating_mul(1_000_000)),
    };
    let pipeline = Pipeline {
        resolver: Resolver {
            client: client.clone(),
            remote: Remote::new(Timeouts::default())?,
            bases: BaseSnapshots::new(client.clone(), classes),
            secrets: Arc::clone(&secrets),
            register: register.clone(),
        },
        provisioner: Provisioner { leases: leases.clone(), rooms },
        builder: Builder {
            client: client.clone(),
            opener: opener.clone(),
            secrets: Arc::clone(&secrets),
            mirrors: toolchain,
            leftovers,
            records: Arc::new(CapturedRecords::new(register.clone())),
        },
        verifier: Verifier { leases, opener, secrets, metrics: metrics.clone() },
        losses: Losses { client: client.clone(), register: register.clone() },
        promoter: Promoter { register: register.clone() },
    };
    let settler = Settler {
        register: register.clone(),
        reporter: Reporter {
            metrics: metrics.clone(),
            ledger: ledger.clone(),
            max_attempts: retry.max_attempts,
        },
        policy: retry.clone(),
    };
    Ok(Consumer { worker, fleet, client, policy: retry, register, ledger, metrics, pipeline, settler })
}
