//! What stands before every toolbox: Daytona's proxy, which knows neither keys nor sandboxes. It asks the API whether this
//! key may reach the sandbox of this id, remembers a yes for a while, and says 401 to whatever else it hears.
//!
//! So its 401 proves nothing about a key: an unknown id, a name in place of an id and an API that is down are 401 too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth;
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::lockout;
use crate::server::Server;
use crate::toolbox::ToolboxError;

/// What the proxy says while it can't reach the API.
fn api_unreachable(sandbox: &str) -> Response {
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
    if matches!(request.extensions().get(), Some(Misbehaviour::ProxyCannotAsk)) {
        return api_unreachable(&sandbox);
    }
    if let Some(caller) = caller.as_ref().filter(|caller| server.access.knows(&sandbox, caller.id())) {
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
    server.access.remember(&sandbox, caller.id());
    request.extensions_mut().insert(caller);
    next.run(request).await
}
