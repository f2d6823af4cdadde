//! Cloning and status, by the git inside the sandbox. Credentials reach it through the environment of that one
//! command and are written nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Query;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ToolboxError;
use super::inside::{Inside, collect};
use crate::jail::HOME;

#[derive(Deserialize)]
struct CloneRequest {
    url: String,
    path: String,
    branch: Option<String>,
    commit_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(default)]
    insecure_skip_tls: bool,
    depth: Option<u32>,
}

pub(crate) async fn clone(inside: Inside, bytes: Bytes) -> Result<(), ToolboxError> {
    let request: CloneRequest = serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    if request.url.is_empty() || request.path.is_empty() {
        return Err(ToolboxError::Invalid("url and path are required"));
    }
    let environment = environment(&inside, &request);
    let mut program =
        vec!["git".to_owned(), "clone".to_owned(), "--quiet".to_owned(), "--single-branch".to_owned()];
    if let Some(branch) = request.branch.filter(|branch| !branch.is_empty()) {
        program.push(format!("--branch={branch}"));
    }
    if let Some(depth) = request.depth.filter(|depth| *depth > 0) {
        program.push(format!("--depth={depth}"));
    }
    program.extend(["--".to_owned(), request.url, request.path.clone()]);
    let inside = Arc::new(inside);
    git(&inside, &environment, &program).await?;
    if let Some(commit) = request.commit_id.filter(|commit| !commit.is_empty()) {
        let checkout =
            ["git", "-C", &request.path, "checkout", "--quiet", "--detach", &commit].map(str::to_owned);
        git(&inside, &environment, &checkout).await?;
    }
    Ok(())
}

fn environment(inside: &Inside, request: &CloneRequest) -> BTreeMap<String, String> {
    let mut environment = inside.environment.clone();
    environment.insert("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned());
    if request.insecure_skip_tls {
        environment.insert("GIT_SSL_NO_VERIFY".to_owned(), "1".to_owned());
    }
    if request.username.is_some() || request.password.is_some() {
        let user = request.username.as_deref().unwrap_or_default();
        let basic = STANDARD.encode(format!("{user}:{}", request.password.as_deref().unwrap_or_default()));
        environment.insert("GIT_CONFIG_COUNT".to_owned(), "1".to_owned());
        environment.insert("GIT_CONFIG_KEY_0".to_owned(), "http.extraHeader".to_owned());
        environment.insert("GIT_CONFIG_VALUE_0".to_owned(), format!("Authorization: Basic {basic}"));
    }
    environment
}

async fn git(
    inside: &Inside,
    environment: &BTreeMap<String, String>,
    program: &[String],
) -> Result<Vec<u8>, ToolboxError> {
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let output = collect(&mut inside.jail.command(HOME, environment, &program), &[]).await?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(classify(&String::from_utf8_lossy(&output.stderr)))
    }
}

fn classify(complaint: &str) -> ToolboxError {
    let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
    if says(&["Authentication failed", "could not read Username", "could not read Password"]) {
        ToolboxError::GitAuth
    } else if says(&["already exists and is not an empty directory"]) {
        ToolboxError::GitTargetExists
    } else if says(&["Remote branch", "did not match any", "unable to read tree", "reference is not a tree"])
    {
        ToolboxError::GitNoBranch
    } else if says(&[
        "not found",
        "does not exist",
        "does not appear to be a git repository",
        "not a git repository",
    ]) {
        ToolboxError::GitNoRepository
    } else {
        ToolboxError::GitTransport
    }
}

#[derive(Deserialize)]
pub(crate) struct StatusQuery {
    path: String,
}

pub(crate) async fn status(
    inside: Inside,
    Query(query): Query<StatusQuery>,
) -> Result<Json<Value>, ToolboxError> {
    let program = ["git", "-C", &query.path, "status", "--porcelain=v2", "--branch", "-z"].map(str::to_owned);
    let environment = inside.environment.clone();
    let listing = git(&inside, &environment, &program).await?;
    Ok(Json(parse_status(&String::from_utf8_lossy(&listing))))
}

fn parse_status(listing: &str) -> Value {
    let (mut branch, mut upstream, mut ahead, mut behind) = (String::new(), String::new(), 0_i64, 0_i64);
    let mut files = Vec::new();
    let mut entries = listing.split_terminator('\0');
    while let Some(entry) = entries.next() {
        if let Some(name) = entry.strip_prefix("# branch.head ") {
            name.clone_into(&mut branch);
        } else if let Some(name) = entry.strip_prefix("# branch.upstream ") {
            name.clone_into(&mut upstream);
        } else if let Some(counts) = entry.strip_prefix("# branch.ab ") {
            let mut counts = counts.split(' ').map(|count| count.parse::<i64>().unwrap_or_default().abs());
            (ahead, behind) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
        } else if let Some(name) = entry.strip_prefix("? ") {
            files.push(json!({ "name": name, "staging": "Untracked", "worktree": "Untracked", "extra": "" }));
        } else if entry.starts_with(['1', '2', 'u']) {
            // `1 XY sub mH mI mW hH hI path`; `2` has a score before the path and the old path after it; `u` more hashes.
            let before_path = match entry.as_bytes()[0] {
                b'1' => 8,
                b'2' => 9,
                _ => 10,
            };
            let extra = if entry.starts_with('2') { entries.next().unwrap_or_default() } else { "" };
            let state = entry.get(2..4).unwrap_or("..");
            let name = entry.splitn(before_path + 1, ' ').last().unwrap_or_default();
            files.push(json!({
                "name": name, "extra": extra,
                "staging": word(state.as_bytes()[0]), "worktree": word(state.as_bytes()[1]),
            }));
        }
    }
    json!({
        "currentBranch": branch, "detached": branch == "(detached)", "fileStatus": files, "ahead": ahead,
        "behind": behind, "branchPublished": !upstream.is_empty(), "upstream": upstream,
    })
}

fn word(letter: u8) -> &'static str {
    match letter {
        b'M' | b'T' => "Modified",
        b'A' => "Added",
        b'D' => "Deleted",
        b'R' => "Renamed",
        b'C' => "Copied",
        b'U' => "Updated but unmerged",
        _ => "Unmodified",
    }
}

#[cfg(test)]
mod tests {
    use super::parse_status;

    #[test]
    fn status_is_read() {
        let listing = "# branch.oid 1234\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0\
            1 .M N... 100644 100644 100644 aaaa bbbb a file.txt\0? new\0";
        let status = parse_status(listing);
        assert_eq!(status["currentBranch"], "main");
        assert_eq!((status["ahead"].as_i64(), status["behind"].as_i64()), (Some(2), Some(1)));
        assert_eq!(status["fileStatus"][0]["name"], "a file.txt");
        assert_eq!(status["fileStatus"][0]["worktree"], "Modified");
        assert_eq!(status["fileStatus"][1]["worktree"], "Untracked");
    }
}
