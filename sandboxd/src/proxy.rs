//! What stands before every toolbox: Daytona's proxy, which knows neither keys nor sandboxes. It asks the API whether this
//! key may reach the sandbox of this id, remembers a yes for a while, and says 401 to whatever else it hears.
//!
//! So its 401 proves nothing about a key: an unknown id, a name in place of an id and an API that is down are 401 too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::auth::{self, Caller};
use crate::error::ApiError;
use crate::lockout;
use crate::server::Server;
use crate::toolbox::ToolboxError;

/// Which key reached which sandbox, and until when that is believed.
pub(crate) struct AccessCache {
    lasts: Duration,
    known: Mutex<HashMap<(String, String), Instant>>,
}

impl AccessCache {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { lasts, known: Mutex::default() }
    }

    fn knows(&self, sandbox: &str, caller: &Caller) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(sandbox, caller)).is_some_and(|until| *until > Instant::now())
    }

    fn remember(&self, sandbox: &str, caller: &Caller) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| *until > now);
        known.insert(key(sandbox, caller), now + self.lasts);
    }

    /// What a restart of the proxy does.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn key(sandbox: &str, caller: &Caller) -> (String, String) {
    (sandbox.to_owned(), caller.id().to_owned())
}

/// What the proxy says while it can't reach the API.
pub(crate) fn api_unreachable(path: &str) -> Response {
    let sandbox = sandbox_of(path);
    let reason = format!(
        "Bearer token validation error: Get \"http://api:3000/api/preview/{sandbox}/access\": dial tcp 10.0.0.2:3000: \
         connect: connection refused"
    );
    unauthorized(&reason)
}

fn unauthorized(reason: &str) -> Response {
    ToolboxError::Proxy(format!("authentication failed: {reason}")).into_response()
}

fn sandbox_of(path: &str) -> &str {
    path.trim_start_matches("/toolbox").trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// Lets through what the API says yes to.
pub(crate) async fn authenticate(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = lockout::address(&request);
    let Some(token) = auth::token(request.headers()) else {
        return ToolboxError::Proxy(
            "missing authentication: provide a preview access token (via header, query parameter, or cookie) or use an API key or JWT"
                .to_owned(),
        )
        .into_response();
    };
    let caller = auth::find(&server.settings.api_keys, token);
    let sandbox = sandbox_of(request.uri().path()).to_owned();
    if let Some(caller) = caller.as_ref().filter(|caller| server.access.knows(&sandbox, caller)) {
        request.extensions_mut().insert(caller.clone());
        return next.run(request).await;
    }
    // The proxy asks in the caller's name and from its address: a lock counts here, and a wrong key is counted.
    if server.lockouts.locked(address).is_some() {
        return unauthorized("Bearer token validation error: ThrottlerException: Too Many Requests");
    }
    let Some(caller) = caller else {
        drop(server.lockouts.refuse(address, ApiError::Unauthorized.into_response()));
        return unauthorized("Bearer token is invalid");
    };
    let reaches = server
        .store()
        .sandboxes
        .get(&sandbox)
        .is_some_and(|found| found.row.organization_id == caller.organization());
    if !reaches {
        return unauthorized("Bearer token is invalid");
    }
    server.access.remember(&sandbox, &caller);
    request.extensions_mut().insert(caller);
    next.run(request).await
}
