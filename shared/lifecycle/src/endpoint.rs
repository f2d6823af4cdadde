//! The HTTP face of a program: `/healthz`, `/readyz`, `/metrics`. It keeps answering while the program drains
//! (a probe must see 503, a scrape the last figures) and ends when its owner stops it or drops it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::instrument::WithSubscriber;

use crate::health::Pulse;
use crate::{Health, Readiness, Shutdown};

/// How long answers in flight may take once the endpoint is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// The text format that Prometheus scrapes.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A serving endpoint; dropping it ends it.
#[derive(Debug)]
pub struct Endpoint {
    local_addr: SocketAddr,
    stop: CancellationToken,
    server: AbortOnDropHandle<()>,
}

struct Shared<R> {
    health: Health,
    render_metrics: R,
    shutdown: Shutdown,
}

impl Endpoint {
    /// Serves on `listener` from now on, under the caller's tracing subscriber. Should serving ever fail, the
    /// program drains: a process that cannot be probed or scraped is not to be trusted with work.
    pub fn serve<R>(
        listener: TcpListener,
        health: Health,
        render_metrics: R,
        shutdown: Shutdown,
    ) -> io::Result<Self>
    where
        R: Fn() -> String + Send + Sync + 'static,
    {
        let local_addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let router = router(Shared { health, render_metrics, shutdown: shutdown.clone() });
        let stopped = stop.clone().cancelled_owned();
        let server = async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
            if let Err(error) = served {
                tracing::error!(%local_addr, error = &error as &dyn std::error::Error, "endpoint failed; draining");
                shutdown.drain();
            }
        };
        let server = AbortOnDropHandle::new(tokio::spawn(server.with_current_subscriber()));
        Ok(Self { local_addr, stop, server })
    }

    /// Where it listens: the real port when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting and gives answers in flight a second.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_PATIENCE, self.server).await.is_err() {
            tracing::debug!(local_addr = %self.local_addr, "endpoint stopped with connections still open");
        }
    }
}

fn router<R: Fn() -> String + Send + Sync + 'static>(shared: Shared<R>) -> Router {
    Router::new()
        .route("/healthz", get(healthz::<R>))
        .route("/readyz", get(readyz::<R>))
        .route("/metrics", get(metrics::<R>))
        .with_state(Arc::new(shared))
}

async fn healthz<R>(State(shared): State<Arc<Shared<R>>>) -> Response {
    let heartbeats = shared.health.heartbeats();
    let stalled = heartbeats.values().any(|heartbeat| heartbeat.state == Pulse::Stalled);
    let (status, word) =
        if stalled { (StatusCode::SERVICE_UNAVAILABLE, "stalled") } else { (StatusCode::OK, "alive") };
    (status, Json(json!({ "status": word, "heartbeats": heartbeats }))).into_response()
}

async fn readyz<R>(State(shared): State<Arc<Shared<R>>>) -> Response {
    let (status, word) = if shared.shutdown.draining().is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        match shared.health.readiness() {
            Readiness::Ready => (StatusCode::OK, "ready"),
            Readiness::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        }
    };
    (status, Json(json!({ "status": word, "conditions": shared.health.conditions() }))).into_response()
}

async fn metrics<R: Fn() -> String>(State(shared): State<Arc<Shared<R>>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (shared.render_metrics)()).into_response()
}

#[cfg(test)]
mod tests;
