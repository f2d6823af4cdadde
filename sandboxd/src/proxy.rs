//! What stands before every toolbox: Daytona's proxy, which knows neither keys nor sandboxes. It asks the API whether this
//! key may reach the sandbox of this id, remembers a yes for a while and a no for a moment, and says 401 to whatever else it hears.
//!
//! So its 401 proves nothing about a key: an unknown id, a name in place of an id and an API that is down are 401 too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::Access;
use crate::auth::{self, Caller};
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
    let (caller, key) = (auth::find(&server.settings.api_keys, token), auth::digest(token));
    let sandbox = sandbox_of(request.uri().path()).to_owned();
    if matches!(request.extensions().get(), Some(Misbehaviour::ProxyCannotAsk)) {
        return api_unreachable(&sandbox);
    }
    let access = match server.access.recall(&sandbox, &key) {
        Some(access) => access,
        // The proxy asks in the caller's name and from its address: a lock counts here, and a wrong key is counted.
        None if server.lockouts.locked(address).is_some() => {
            return unauthorized("Bearer token validation error: ThrottlerException: Too Many Requests");
        }
        None => {
            if caller.is_none() {
                drop(server.lockouts.refuse(address, ApiError::Unauthorized.into_response()));
            }
            let access = look_up(&server, caller.as_ref(), &sandbox);
            server.access.remember(&sandbox, &key, access);
            access
        }
    };
    match (caller, access) {
        (Some(caller), Access::Granted) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        (_, Access::Refused) | (None, Access::Granted) => unauthorized("Bearer token is invalid"),
    }
}

/// What the API says: it goes by ids, and by the organization.
fn look_up(server: &Server, caller: Option<&Caller>, sandbox: &str) -> Access {
    let store = server.store();
    let owner = store.sandboxes.get(sandbox).map(|found| found.row.organization_id.as_str());
    match (caller.map(Caller::organization), owner) {
        (Some(own), Some(owner)) if own == owner => Access::Granted,
        (_, _) => Access::Refused,
    }
}
