//! Every endpoint the client calls: its words for errors and spans, its path, and whether it may be repeated.

use std::fmt;

/// The HTTP method of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Method {
    /// Reads, and so has no effect.
    Get,
    /// Makes or starts something.
    Post,
    /// Replaces what is there.
    Put,
    /// Removes what is there.
    Delete,
}

impl Method {
    /// As it goes over the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether sending a call twice equals sending it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does; an unknown answer is answered by sending it again.
    Safe,
    /// It does not; after an unknown answer the caller must read what is there first.
    ReadFirst,
}

/// One endpoint of Daytona.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it does, in words: `create sandbox`.
    pub name: &'static str,
    /// The HTTP method it is called by.
    pub method: Method,
    /// Its path below the base, arguments in braces: `/sandbox/{sandboxIdOrName}`.
    pub template: &'static str,
    pub(crate) repeat: Repeat,
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} {})", self.name, self.method, self.template)
    }
}

macro_rules! operations {
    ($($name:ident: $words:literal, $method:ident $template:literal, $repeat:ident;)+) => {
        $(pub(crate) const $name: Operation = Operation {
            name: $words,
            method: Method::$method,
            template: $template,
            repeat: Repeat::$repeat,
        };)+
    };
}

operations! {
    WHOAMI: "read API key", Get "/api-keys/current", Safe;
    LIST_REGIONS: "list regions", Get "/regions", Safe;
    CREATE_SANDBOX: "create sandbox", Post "/sandbox", ReadFirst;
    LIST_SANDBOXES: "list sandboxes", Get "/sandbox", Safe;
    GET_SANDBOX: "get sandbox", Get "/sandbox/{sandboxIdOrName}", Safe;
    DELETE_SANDBOX: "delete sandbox", Delete "/sandbox/{sandboxIdOrName}", Safe;
    START_SANDBOX: "start sandbox", Post "/sandbox/{sandboxIdOrName}/start", ReadFirst;
    STOP_SANDBOX: "stop sandbox", Post "/sandbox/{sandboxIdOrName}/stop", ReadFirst;
    REPLACE_LABELS: "replace labels", Put "/sandbox/{sandboxIdOrName}/labels", Safe;
    SET_AUTOSTOP: "set auto-stop", Post "/sandbox/{sandboxIdOrName}/autostop/{interval}", Safe;
    SET_AUTODELETE: "set auto-delete", Post "/sandbox/{sandboxIdOrName}/autodelete/{interval}", Safe;
    SET_TTL: "set time to live", Post "/sandbox/{sandboxIdOrName}/ttl/{ttlMinutes}", Safe;
    TOUCH: "touch sandbox", Post "/sandbox/{sandboxId}/last-activity", Safe;
    TOOLBOX_URL: "get toolbox URL", Get "/sandbox/{sandboxId}/toolbox-proxy-url", Safe;
    CAPTURE: "capture sandbox", Post "/sandbox/{sandboxIdOrName}/snapshot", ReadFirst;
    LIST_SNAPSHOTS: "list snapshots", Get "/snapshots", Safe;
    GET_SNAPSHOT: "get snapshot", Get "/snapshots/{id}", Safe;
    DELETE_SNAPSHOT: "delete snapshot", Delete "/snapshots/{id}", Safe;
    TOOLBOX_VERSION: "read toolbox version", Get "/version", Safe;
    EXECUTE: "execute command", Post "/process/execute", ReadFirst;
    UPLOAD: "upload files", Post "/files/bulk-upload", Safe;
    DOWNLOAD: "download file", Get "/files/download", Safe;
}
