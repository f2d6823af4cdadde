//! A Daytona-compatible sandbox server for one machine: laptops, tests, the quick start; not for production.
//! Sandboxes are isolated by bubblewrap, snapshots are directories, and it misbehaves on demand.
//! Nothing is global: any number of servers fit in one process, each with its own data directory.

mod access;
mod api;
mod auth;
mod capture;
mod disk;
mod error;
mod faults;
mod images;
mod jail;
mod lifecycle;
mod lockout;
mod manner;
mod plan;
mod planted;
mod planting;
mod proxy;
mod rows;
mod runners;
mod server;
mod session;
mod settings;
mod toolbox;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use manner::{FailedAuthentications, Manner, Transfers};
pub use settings::{
    ApiKey, DEFAULT_ORGANIZATION, ExposeError, Exposed, FaultInjection, KeyError, PASSED_ENVIRONMENT,
    Permission, Quotas, Retention, Settings, TokenKind, passed_environment,
};

use access::AccessCache;
use disk::{Disk, DiskError};
use error::ApiError;
use lockout::Lockouts;
use plan::Plan;
use server::{Server, Store};

/// How long open requests may take to end once every sandbox is gone.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Why a server can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("bwrap was not found: install the package `bubblewrap`")]
    NoBubblewrap,
    #[error("nsenter was not found: install the package `util-linux`")]
    NoNsenter,
    #[error("no API key was given")]
    NoKey,
    #[error("the data directory could not be made or made absolute")]
    DataDirectory(#[source] std::io::Error),
    #[error("another server uses this data directory")]
    DataDirectoryInUse,
    #[error("the data directory could not be prepared: {0}")]
    Prepare(String),
    #[error("the listener failed")]
    Listener(#[source] std::io::Error),
}

/// Serves until `shutdown`, then kills every sandbox and removes its files.
pub async fn serve(
    mut settings: Settings,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    check_tools().await?;
    if settings.api_keys.is_empty() {
        return Err(Error::NoKey);
    }
    std::fs::create_dir_all(&settings.data_dir).map_err(Error::DataDirectory)?;
    settings.data_dir = settings.data_dir.canonicalize().map_err(Error::DataDirectory)?;
    let address = listener.local_addr().map_err(Error::Listener)?;
    let disk = Disk::open(&settings.data_dir).map_err(|error| match error {
        DiskError::InUse => Error::DataDirectoryInUse,
        other @ (DiskError::Directory(..)
        | DiskError::Copy(_)
        | DiskError::CopyFailed(_)
        | DiskError::Mount(_)) => Error::Prepare(error_chain::line(&other)),
    })?;
    let plan = Plan::make(&settings).map_err(Error::DataDirectory)?;
    let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let server = Arc::new(Server {
        lockouts: Lockouts::new(settings.failed_authentications),
        access: AccessCache::new(settings.access_cache),
        settings,
        disk,
        plan,
        store: Mutex::new(Store::default()),
        faults: Arc::default(),
        tasks: TaskTracker::new(),
        ending: CancellationToken::new(),
        url: url.trim_end_matches('/').to_owned(),
        started_at: rows::now(),
    });
    server.load().map_err(|error| Error::Prepare(error_chain::line(&error)))?;
    let (intervals, tick) = (Arc::clone(&server), server.settings.tick);
    let ticker = tokio::spawn(async move {
        loop {
            tokio::time::sleep(tick).await;
            intervals.apply_intervals();
        }
    });
    let ended = accept(&server, listener, shutdown).await;
    ticker.abort();
    ended
}

/// Accepts until `shutdown`; then ends the sandboxes first, since an open `execute` ends only with its sandbox.
async fn accept(
    server: &Arc<Server>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let stop = shutdown.clone();
    let routes = routes(server).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    let mut serving = tokio::spawn(serving.into_future());
    let ended_early = tokio::select! {
        () = shutdown.cancelled() => None,
        outcome = &mut serving => Some(outcome),
    };
    server.end().await;
    let outcome = if let Some(outcome) = ended_early {
        outcome
    } else {
        let Ok(outcome) = tokio::time::timeout(CLOSE_DEADLINE, &mut serving).await else {
            serving.abort();
            return Ok(());
        };
        outcome
    };
    outcome.map_err(|error| Error::Listener(std::io::Error::other(error)))?.map_err(Error::Listener)
}

fn routes(server: &Arc<Server>) -> Router {
    let manner = server.settings.manner;
    let layer = Arc::clone(server);
    let api = Router::new()
        .nest("/api", api::routes(manner))
        .route_layer(from_fn_with_state(Arc::clone(&layer), auth::require))
        .route_layer(from_fn_with_state(Arc::clone(&layer), auth::enforce_lockout));
    let toolbox = Router::new()
        .nest("/toolbox/{sandbox}", toolbox::routes(manner))
        .route_layer(from_fn_with_state(layer, proxy::authenticate));
    let guarded =
        api.merge(toolbox).route_layer(from_fn_with_state(Arc::clone(&server.faults), faults::apply));
    let router = match server.settings.faults {
        FaultInjection::Enabled => {
            guarded.merge(planting::routes()).merge(faults::routes(Arc::clone(&server.faults)))
        }
        FaultInjection::Disabled => guarded,
    };
    router
        .fallback(no_route)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(manner, error::complete_answers))
        .with_state(Arc::clone(server))
}

async fn no_route(request: Request) -> ApiError {
    ApiError::NoRoute { method: request.method().to_string(), path: request.uri().path().to_owned() }
}

async fn check_tools() -> Result<(), Error> {
    for (tool, missing) in [("bwrap", Error::NoBubblewrap), ("nsenter", Error::NoNsenter)] {
        if tokio::process::Command::new(tool).arg("--version").output().await.is_err() {
            return Err(missing);
        }
    }
    Ok(())
}
