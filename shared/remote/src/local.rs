//! Asks a repository in a local folder through git itself: for laptops and tests, where the remote is a folder.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tracing::Instrument;
use url::Url;

use crate::CommitId;
use crate::advert::{RefLine, ref_line};
use crate::error::{Garbled, HeadError, Unusable, truncate};
use crate::url_shown::ShownUrl;

/// The most read of what git writes; the pattern leaves a line or two.
const OUTPUT_LIMIT: u64 = 64 * 1024;
/// What `git ls-remote --exit-code` exits with when nothing matches.
const NOTHING_MATCHES: i32 = 2;

/// Asks with `git ls-remote`: no shell, and nothing that could be read as an option.
pub(crate) async fn head(url: &Url, branch: &str, shown: &ShownUrl) -> Result<Option<CommitId>, HeadError> {
    let folder = url
        .to_file_path()
        .map_err(|()| HeadError::UnusableUrl { url: shown.clone(), why: Unusable::NotLocal })?;
    if tokio::fs::metadata(&folder).await.is_err() {
        return Err(HeadError::RepositoryMissing { url: shown.clone(), status: 0, had_credential: false });
    }
    let wanted = format!("refs/heads/{branch}");
    let mut git = Command::new("git");
    git.args(["ls-remote", "--exit-code", "--"]).arg(&folder).arg(&wanted);
    // No question to a terminal, no transport but the folder, and messages that are not translated.
    git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", "file").env("LC_ALL", "C");
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let span = tracing::info_span!("git ls-remote", url.full = %shown);
    let (code, out, err) = run(git)
        .instrument(span)
        .await
        .map_err(|source| HeadError::GitMissing { url: shown.clone(), source })?;
    match code {
        Some(0) => {}
        Some(NOTHING_MATCHES) => return Ok(None),
        Some(_) | None => return Err(HeadError::GitFailed { url: shown.clone(), message: truncate(&err) }),
    }
    for line in out.split(|byte| *byte == b'\n') {
        // git separates by a tab what the protocol separates by a space.
        let line: Vec<u8> = line.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
        match ref_line(&line, &wanted) {
            RefLine::Wanted(commit) => return Ok(Some(commit)),
            RefLine::Garbled => {
                return Err(HeadError::Undecodable { url: shown.clone(), what: Garbled::CommitId });
            }
            RefLine::Other => {}
        }
    }
    Ok(None)
}

async fn run(mut git: Command) -> std::io::Result<(Option<i32>, Vec<u8>, Vec<u8>)> {
    let mut child = git.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = tokio::try_join!(read(stdout), read(stderr))?;
    Ok((child.wait().await?.code(), out, err))
}

/// Reads up to the limit, then closes: a writer that goes on is ended by that.
async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
