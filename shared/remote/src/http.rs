//! Git's smart HTTP: the advertisement, then `ls-refs` where the server speaks protocol 2.
//!
//! Redirects are followed here and not by the HTTP client, because the second request must go to where the first one
//! ended, and because a credential follows none: it was given for one URL, and the host that answers does not choose another.

use std::time::Duration;

use gix_packetline::blocking_io::encode::{data_to_write, delim_to_write, flush_to_write};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use tracing::Instrument;
use url::Url;

use crate::advert::{Capabilities, Greeting, RefLine, greeting, ref_line, refusal};
use crate::credential::Credential;
use crate::error::{Garbled, HeadError, Outage, truncate};
use crate::lines::{Broken, Line, Lines};
use crate::url_shown::ShownUrl;
use crate::{CommitId, span};

/// The most read of capabilities and of the answer to `ls-refs`.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// The most read of a version 0 advertisement, which names every ref there is.
const ADVERT_LIMIT: usize = 64 * 1024 * 1024;
/// The most redirects followed.
const HOPS: u32 = 5;

/// Some hosts speak git only to what calls itself git.
const AGENT: &str = concat!("git/2.39 (harvest-fleet ", env!("CARGO_PKG_VERSION"), ")");

pub(crate) fn client(connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(AGENT)
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Asks over HTTP for the commit of one branch; none when there is no such branch.
pub(crate) async fn head(
    http: &reqwest::Client,
    repository: &Url,
    branch: &str,
    credential: Option<&Credential>,
    shown: &ShownUrl,
) -> Result<Option<CommitId>, HeadError> {
    let mut request = HeadRequest { http, repository: repository.clone(), credential, shown };
    let wanted = format!("refs/heads/{branch}");
    let advertised = request.advertisement().await?;
    let mut lines = Lines::new(advertised, ANSWER_LIMIT);
    loop {
        match request.line(&mut lines).await? {
            // An empty repository may say nothing at all.
            None => return Ok(None),
            Some(Line::Flush) => {}
            Some(Line::Delimiter | Line::ResponseEnd) => return Err(request.garbled(Garbled::Lines)),
            Some(Line::Data(line)) => match greeting(&line) {
                Greeting::Service => {}
                Greeting::VersionTwo => {
                    let known = request.capabilities(&mut lines).await?;
                    // The connection is used again only once its answer is given up.
                    drop(lines);
                    return request.ls_refs(&wanted, &known).await;
                }
                Greeting::VersionOne => {
                    // Versions 0 and 1 list every ref before anything can be asked for.
                    lines.allow(ADVERT_LIMIT);
                    return request.search(&mut lines, &wanted).await;
                }
                Greeting::Ref(first) => {
                    lines.allow(ADVERT_LIMIT);
                    return match ref_line(first, &wanted) {
                        RefLine::Wanted(commit) => Ok(Some(commit)),
                        RefLine::Garbled => Err(request.garbled(Garbled::CommitId)),
                        RefLine::Other => request.search(&mut lines, &wanted).await,
                    };
                }
                Greeting::Refused(words) => return Err(request.refused(words)),
            },
        }
    }
}

/// One request to one host.
struct HeadRequest<'a> {
    http: &'a reqwest::Client,
    /// Where the repository is, after redirects.
    repository: Url,
    /// What may be shown to that host.
    credential: Option<&'a Credential>,
    shown: &'a ShownUrl,
}

impl HeadRequest<'_> {
    /// Gets the advertisement, following redirects and moving the repository along.
    async fn advertisement(&mut self) -> Result<Response, HeadError> {
        for hop in 0..=HOPS {
            let mut url = below(&self.repository, "info/refs");
            url.set_query(Some("service=git-upload-pack"));
            let request = self.http.get(url.clone()).header("Git-Protocol", "version=2");
            let response = self.send(request, "GET", "/{repository}/info/refs", &url, hop).await?;
            if !response.status().is_redirection() {
                return self.accept(response, "application/x-git-upload-pack-advertisement");
            }
            self.follow(&url, &response)?;
        }
        Err(HeadError::Redirected { url: self.shown.clone() })
    }

    fn follow(&mut self, from: &Url, response: &Response) -> Result<(), HeadError> {
        let refused = || HeadError::Redirected { url: self.shown.clone() };
        let mut to = location(from, response).ok_or_else(refused)?;
        let repository_path = to.path().strip_suffix("/info/refs").map(str::to_owned);
        if let Some(path) = &repository_path {
            to.set_path(path);
        }
        if self.credential.is_some() {
            return Err(HeadError::Moved { url: self.shown.clone(), to: ShownUrl::of(&to) });
        }
        let allowed = matches!((from.scheme(), to.scheme()), (_, "https") | ("http", "http"));
        if !allowed || repository_path.is_none() {
            return Err(refused());
        }
        let mut repository = to;
        repository.set_query(None);
        repository.set_fragment(None);
        // A user in a redirect is the host's invention, not the caller's credential.
        if repository.set_username("").is_err() || repository.set_password(None).is_err() {
            return Err(refused());
        }
        self.repository = repository;
        Ok(())
    }

    /// Reads the capabilities of a version 2 server, up to the flush.
    async fn capabilities(&self, lines: &mut Lines) -> Result<Capabilities, HeadError> {
        let mut known = Capabilities::default();
        while let Some(Line::Data(line)) = self.line(lines).await? {
            known.learn(&line);
        }
        if known.ls_refs { Ok(known) } else { Err(self.garbled(Garbled::Version)) }
    }

    async fn ls_refs(&self, wanted: &str, known: &Capabilities) -> Result<Option<CommitId>, HeadError> {
        let url = below(&self.repository, "git-upload-pack");
        let body = ls_refs_request(wanted, known).map_err(|_| self.garbled(Garbled::Lines))?;
        let request = self
            .http
            .post(url.clone())
            .header("Git-Protocol", "version=2")
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(body);
        let response = self.send(request, "POST", "/{repository}/git-upload-pack", &url, 0).await?;
        if let (true, Some(_), Some(mut to)) =
            (response.status().is_redirection(), self.credential, location(&url, &response))
        {
            let path = to.path().trim_end_matches("/git-upload-pack").to_owned();
            to.set_path(&path);
            return Err(HeadError::Moved { url: self.shown.clone(), to: ShownUrl::of(&to) });
        }
        let response = self.accept(response, "application/x-git-upload-pack-result")?;
        let mut lines = Lines::new(response, ANSWER_LIMIT);
        self.search(&mut lines, wanted).await
    }

    /// Reads refs until the wanted one, or the flush.
    async fn search(&self, lines: &mut Lines, wanted: &str) -> Result<Option<CommitId>, HeadError> {
        loop {
            match self.line(lines).await? {
                Some(Line::Data(line)) => {
                    if let Some(words) = refusal(&line) {
                        return Err(self.refused(words));
                    }
                    match ref_line(&line, wanted) {
                        RefLine::Wanted(commit) => return Ok(Some(commit)),
                        RefLine::Garbled => return Err(self.garbled(Garbled::CommitId)),
                        RefLine::Other => {}
                    }
                }
                Some(Line::Flush) => return Ok(None),
                // Without the flush the list may be cut, and "no such branch" would be a guess.
                Some(Line::Delimiter | Line::ResponseEnd) | None => return Err(self.garbled(Garbled::Lines)),
            }
        }
    }

    async fn send(
        &self,
        mut request: RequestBuilder,
        method: &'static str,
        template: &'static str,
        url: &Url,
        hop: u32,
    ) -> Result<Response, HeadError> {
        if let Some(credential) = self.credential {
            request = request.header(AUTHORIZATION, credential.header());
        }
        let span = span::open(method, template, url, hop);
        let ended = request.send().instrument(span.clone()).await;
        span::close(&span, ended.as_ref().map(|response| response.status().as_u16()));
        ended.map_err(|error| self.unreachable(error))
    }

    /// Turns every answer but a git server's into an error.
    fn accept(&self, response: Response, media: &str) -> Result<Response, HeadError> {
        let status = response.status().as_u16();
        let url = || self.shown.clone();
        let had_credential = self.credential.is_some();
        let after = retry_after(&response);
        let exhausted = response.headers().get("x-ratelimit-remaining").is_some_and(|left| left == "0");
        match status {
            200 => {
                let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let matches =
                    media_type.is_some_and(|text| text.split(';').next().unwrap_or_default().trim() == media);
                if matches { Ok(response) } else { Err(self.garbled(Garbled::NotGit)) }
            }
            429 => Err(HeadError::RateLimited { url: url(), status, after }),
            403 if after.is_some() || exhausted => Err(HeadError::RateLimited { url: url(), status, after }),
            401 | 403 | 407 => Err(HeadError::Unauthorized { url: url(), status, had_credential }),
            404 | 410 | 451 => Err(HeadError::RepositoryMissing { url: url(), status, had_credential }),
            408 | 500..=599 => Err(HeadError::HostUnavailable { url: url(), cause: Outage::Status(status) }),
            300..=399 => Err(HeadError::Redirected { url: url() }),
            _ => Err(self.garbled(Garbled::Status(status))),
        }
    }

    async fn line(&self, lines: &mut Lines) -> Result<Option<Line>, HeadError> {
        lines.next().await.map_err(|broken| match broken {
            Broken::Connection(error) => self.unreachable(error),
            Broken::Garbled => self.garbled(Garbled::Lines),
            Broken::TooLarge(limit) => HeadError::TooLarge { url: self.shown.clone(), limit },
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> HeadError {
        let cause = Outage::Connection(error.without_url());
        HeadError::HostUnavailable { url: self.shown.clone(), cause }
    }

    fn garbled(&self, what: Garbled) -> HeadError {
        HeadError::Undecodable { url: self.shown.clone(), what }
    }

    fn refused(&self, words: &[u8]) -> HeadError {
        HeadError::Refused { url: self.shown.clone(), message: truncate(words) }
    }
}

/// Where a redirect leads; none when it does not say.
fn location(from: &Url, response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    from.join(location).ok()
}

fn below(repository: &Url, path: &str) -> Url {
    let mut url = repository.clone();
    url.set_path(&format!("{}/{path}", repository.path().trim_end_matches('/')));
    url
}

fn ls_refs_request(wanted: &str, known: &Capabilities) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    data_to_write(b"command=ls-refs\n", &mut body)?;
    if let Some(format) = &known.object_format {
        data_to_write(&[b"object-format=", format.as_slice()].concat(), &mut body)?;
    }
    delim_to_write(&mut body)?;
    data_to_write(format!("ref-prefix {wanted}\n").as_bytes(), &mut body)?;
    flush_to_write(&mut body)?;
    Ok(body)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    // No host limits for longer; a larger number is a mistake.
    Some(Duration::from_secs(seconds.min(3600)))
}
