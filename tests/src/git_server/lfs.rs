//! Git LFS as a host has it beneath each repository: the batch call that says where objects are, and the objects.

use anyhow::Context as _;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Hosted;

const BODY_LIMIT: usize = 1024 * 1024;
const OBJECTS: &str = "/info/lfs/objects/";

/// The name of an object: the SHA-256 of its content.
pub(super) fn object_id(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// The file that stands for an object in a commit.
pub(super) fn pointer(id: &str, size: usize) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {size}\n")
}

/// Answers a request that was admitted.
pub(super) async fn answer(hosted: &Hosted, name: &str, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let last = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    if last != "batch" {
        let object = hosted.lock().get(name).and_then(|repository| repository.objects.get(&last).cloned());
        return Ok(
            object.map_or(StatusCode::NOT_FOUND.into_response(), axum::response::IntoResponse::into_response)
        );
    }
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.context("the batch's body")?;
    let asked: Value = serde_json::from_slice(&body).context("the batch's JSON")?;
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).context("a host")?;
    let known = hosted.lock().get(name).map(|repository| repository.objects.clone()).unwrap_or_default();
    let objects: Vec<Value> = asked["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| {
            let id = object["oid"].as_str().unwrap_or_default();
            let href = format!("http://{host}/{name}.git{OBJECTS}{id}");
            match known.get(id) {
                Some(content) => {
                    json!({ "oid": id, "size": content.len(), "actions": { "download": { "href": href } } })
                }
                None => {
                    json!({ "oid": id, "size": 0, "error": { "code": 404, "message": "no such object" } })
                }
            }
        })
        .collect();
    let answer = json!({ "transfer": "basic", "objects": objects }).to_string();
    Ok(([(header::CONTENT_TYPE, "application/vnd.git-lfs+json")], answer).into_response())
}
