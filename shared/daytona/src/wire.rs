//! Sends one call: addresses it, bounds it, repeats it where that is harmless, and turns every answer into
//! either bytes of an expected status or an [`Error`].

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use url::Url;

use crate::client::{Client, TracePropagation};
use crate::errors::{Error, ErrorKind, Sent, classify, read_body, retry_after};
use crate::lenient;
use crate::operation::{Method, Operation, Repeat, WHOAMI};
use crate::span;
use crate::upload::Upload;

/// The most that is read of an answer unless the caller says otherwise.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// The most that is read of a refusal.
const REFUSAL_LIMIT: usize = 64 * 1024;

/// What a call carries.
pub(crate) enum Body<'a> {
    Nothing,
    Json(Vec<u8>),
    Files(&'a [Upload]),
}

/// Who watches a call.
pub(crate) enum Watch {
    /// Each attempt has its own span, and a harmless one is repeated.
    Attempt,
    /// A wait, which has one span for all its polls and is itself the repetition. Ends at its deadline.
    Poll(Instant, Span),
}

/// Who answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// The API itself, which alone knows whether a key is good.
    Api,
    /// A sandbox's toolbox, behind a proxy that says 401 and 404 of more than keys and sandboxes.
    Toolbox,
}

/// One call, ready to be sent.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Body<'a>,
    pub(crate) base: &'a Url,
    pub(crate) recipient: Recipient,
    pub(crate) timeout: Duration,
    pub(crate) limit: usize,
    pub(crate) watch: Watch,
}

impl<'a> Call<'a> {
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body).map_err(|source| Error::Undecodable {
            operation: self.operation,
            status: 0,
            source,
        })?;
        self.body = Body::Json(bytes);
        Ok(self)
    }

    pub(crate) fn files(mut self, files: &'a [Upload]) -> Self {
        self.body = Body::Files(files);
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    fn time_left(&self) -> Duration {
        match &self.watch {
            Watch::Attempt => self.timeout,
            Watch::Poll(deadline, _) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // The last poll begins at the deadline, and needs some time for itself.
                self.timeout.min(left.max(Duration::from_secs(1)))
            }
        }
    }
}

/// An answer with a status of success.
#[derive(Debug)]
pub(crate) struct Answer {
    operation: Operation,
    status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| self.undecodable(source))
    }

    fn undecodable(&self, source: serde_json::Error) -> Error {
        Error::Undecodable { operation: self.operation, status: self.status, source }
    }
}

impl Answer {
    /// An object, read however odd its fields are.
    pub(crate) fn read_row<T: DeserializeOwned>(&self) -> Result<T, Error> {
        lenient::row(&self.body).map_err(|source| self.undecodable(source))
    }
}

impl Client {
    /// A call to the API itself.
    pub(crate) fn call<'a>(&'a self, operation: Operation, arguments: &'a [&'a str]) -> Call<'a> {
        Call {
            operation,
            arguments,
            query: vec![],
            body: Body::Nothing,
            base: &self.settings.api_url,
            recipient: Recipient::Api,
            timeout: self.settings.request_timeout,
            limit: ANSWER_LIMIT,
            watch: Watch::Attempt,
        }
    }

    /// Sends a call, again where that is harmless and Daytona was unavailable. None is sent with a key that the API refused.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        if self.key.is_refused() {
            return Err(Error::KeyRefused { operation: call.operation });
        }
        self.send_past_gate(call).await
    }

    /// The same for who asks whether the key is taken by now.
    pub(crate) async fn send_past_gate(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let url = address(call).ok_or(Error::Unaddressable { operation: call.operation })?;
        let sends = match (call.operation.repeat, &call.watch) {
            (Repeat::Safe, Watch::Attempt) => self.settings.sends.max(1),
            (Repeat::ReadFirst, _) | (_, Watch::Poll(..)) => 1,
        };
        let mut pauses = self.settings.repeat_pace.pauses();
        let mut resend = 0;
        loop {
            match self.attempt(call, &url, resend).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && resend + 1 < sends => {
                    tokio::time::sleep(pauses.next_pause()).await;
                    resend += 1;
                }
                Err(error) if error.kind() == ErrorKind::Unauthorized && call.recipient == Recipient::Api => {
                    return Err(self.confirm_refusal(call.operation, error).await);
                }
                ended => {
                    if let Err(error) = &ended
                        && let Some(exceeded) = error.exceeded()
                    {
                        // Nobody needs to listen.
                        drop(self.limits_met.send(exceeded));
                    }
                    return ended;
                }
            }
        }
    }

    /// What a 401 of the API means: some of its routes are for people only, and answer any key so. The route about the key itself
    /// decides, and where that gives no answer nothing is known.
    async fn confirm_refusal(&self, operation: Operation, error: Error) -> Error {
        let is_about_key = operation == WHOAMI;
        let confirmed = if is_about_key {
            Err(ErrorKind::Unauthorized)
        } else {
            let question = self.call(WHOAMI, &[]);
            let url = address(&question).ok_or(ErrorKind::InvalidRequest);
            match url {
                Ok(url) => self.attempt(&question, &url, 0).await.map(drop).map_err(|error| error.kind()),
                Err(kind) => Err(kind),
            }
        };
        match (confirmed, error) {
            (Err(ErrorKind::Unauthorized), error) => {
                self.key.refuse();
                error
            }
            (Ok(()), Error::Refused { operation, status, message, after, .. }) => {
                Error::Refused { operation, kind: ErrorKind::Forbidden, status, message, after }
            }
            (Err(_), Error::Refused { operation, status, message, after, .. }) => {
                Error::Refused { operation, kind: ErrorKind::Unavailable, status, message, after }
            }
            (_, error) => error,
        }
    }

    /// Like `send`, where 404 is an answer and no failure.
    pub(crate) async fn find(&self, call: &Call<'_>) -> Result<Option<Answer>, Error> {
        match self.send(call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn attempt(&self, call: &Call<'_>, url: &Url, resend: u32) -> Result<Answer, Error> {
        match &call.watch {
            Watch::Poll(_, span) => self.exchange(call, url, span).await,
            Watch::Attempt => {
                let span = span::open(call.operation, url, resend);
                let ended = self.exchange(call, url, &span).instrument(span.clone()).await;
                match &ended {
                    Ok(answer) => {
                        span.record("http.response.status_code", answer.status);
                    }
                    Err(error) => {
                        if let Some(status) = error.status() {
                            span.record("http.response.status_code", status);
                        }
                        if !is_answer(call.operation, error) {
                            span::fail(&span, error);
                        }
                    }
                }
                ended
            }
        }
    }

    async fn exchange(&self, call: &Call<'_>, url: &Url, span: &Span) -> Result<Answer, Error> {
        let operation = call.operation;
        let timeout = call.time_left();
        let failed = |source: reqwest::Error| failure(operation, timeout, source);
        let mut request = self.http.request(method(operation.method), url.clone()).timeout(timeout);
        request = match &call.body {
            Body::Nothing => request,
            Body::Json(bytes) => {
                request.header(reqwest::header::CONTENT_TYPE, "application/json").body(bytes.clone())
            }
            Body::Files(files) => request.multipart(form(files)),
        };
        if self.settings.propagate_trace == TracePropagation::Inject {
            request = request.headers(span::context(span));
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            let body =
                read(response, operation, call.limit).await.map_err(|ended| ended.into_error(failed))?;
            return Ok(Answer { operation, status: status.as_u16(), body });
        }
        let after = retry_after(response.headers());
        let message = match read(response, operation, REFUSAL_LIMIT).await {
            Ok(body) => read_body(&body),
            // The status is the answer; a body that breaks off or never ends adds nothing to it.
            Err(Unread::TooLarge(_) | Unread::Broken(_)) => read_body(b""),
        };
        let kind = classify(operation, status.as_u16(), &message);
        Err(Error::Refused { operation, kind, status: status.as_u16(), message, after })
    }
}

/// Whether a refusal is what a look-up is for, or a delete that has nothing left to do.
fn is_answer(operation: Operation, error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound && matches!(operation.method, Method::Get | Method::Delete)
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn failure(operation: Operation, timeout: Duration, source: reqwest::Error) -> Error {
    let sent = if source.is_connect() { Sent::No } else { Sent::Perhaps };
    if source.is_timeout() {
        Error::TimedOut { operation, timeout, sent }
    } else {
        Error::Unreachable { operation, sent, source: source.without_url() }
    }
}

/// The URL of a call: each argument one encoded segment. An argument that would vanish from the path (and so
/// turn one endpoint into another) makes no URL at all.
fn address(call: &Call<'_>) -> Option<Url> {
    let mut url = call.base.clone();
    let mut arguments = call.arguments.iter();
    {
        let mut path = url.path_segments_mut().ok()?;
        path.pop_if_empty();
        for segment in call.operation.template.split('/').filter(|segment| !segment.is_empty()) {
            if segment.starts_with('{') {
                let argument = arguments.next()?;
                if matches!(*argument, "" | "." | "..") {
                    return None;
                }
                path.push(argument);
            } else {
                path.push(segment);
            }
        }
    }
    if !call.query.is_empty() {
        url.query_pairs_mut().extend_pairs(call.query.iter().map(|(name, value)| (*name, value.as_str())));
    }
    Some(url)
}

fn form(files: &[Upload]) -> Form {
    let mut form = Form::new();
    for (index, file) in files.iter().enumerate() {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        // The daemon writes each file as it reads it, so its path must come first.
        form = form
            .text(format!("files[{index}].path"), file.path.clone())
            .part(format!("files[{index}].file"), Part::bytes(file.content.clone()).file_name(name));
    }
    form
}

enum Unread {
    TooLarge(Error),
    Broken(reqwest::Error),
}

impl Unread {
    fn into_error(self, failed: impl FnOnce(reqwest::Error) -> Error) -> Error {
        match self {
            Self::TooLarge(error) => error,
            Self::Broken(source) => failed(source),
        }
    }
}

async fn read(
    mut response: reqwest::Response,
    operation: Operation,
    limit: usize,
) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(Unread::TooLarge(Error::TooLarge { operation, limit }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
