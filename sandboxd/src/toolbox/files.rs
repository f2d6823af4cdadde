//! Files of a sandbox, read and written by commands inside it; contents are streamed, never held whole.

use std::process::{Output, Stdio};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::multipart::Field;
use axum::extract::{Multipart, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_util::io::ReaderStream;

use super::error::ToolboxError;
use super::inside::Inside;
use crate::jail::SHELL;

/// Exit codes of the scripts below, told apart from those of the tools they run.
const MISSING: i32 = 44;
const NOT_A_FILE: i32 = 45;

/// `$1` must exist and be reachable.
const CHECK: &str = r#"[ -e "$1" ] || [ -L "$1" ] || exit 44; "#;
const FIELDS: &str = r"%f\0%p\0%s\0%T@\0%M\0%m\0%u\0%g\0%y\0";

#[derive(Deserialize)]
pub(crate) struct PathQuery {
    #[serde(default)]
    path: String,
    #[serde(default)]
    mode: String,
    depth: Option<u32>,
    recursive: Option<String>,
}

fn checked(output: Output, path: &str) -> Result<Vec<u8>, ToolboxError> {
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        Some(MISSING) => Err(ToolboxError::NoFile(path.to_owned())),
        Some(NOT_A_FILE) => Err(ToolboxError::Invalid("not a regular file")),
        _ => Err(ToolboxError::FileDenied(path.to_owned())),
    }
}

async fn script(inside: &Inside, script: &str, arguments: &[&str]) -> Result<Vec<u8>, ToolboxError> {
    let path = arguments.first().copied().unwrap_or_default();
    if path.is_empty() {
        return Err(ToolboxError::Invalid("path is required"));
    }
    let absolute = absolute(path);
    let mut program = vec![SHELL, "-c", script, "files", &absolute];
    program.extend(arguments.iter().skip(1));
    checked(inside.run(&program, &[]).await?, path)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", crate::jail::HOME) }
}

fn describe(listing: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(listing);
    let fields: Vec<&str> = text.split_terminator('\0').collect();
    let files = fields.chunks_exact(9).map(|file| {
        let modified = file[3].parse::<f64>().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
        let modified = DateTime::<Utc>::from_timestamp_millis((modified * 1000.0) as i64).unwrap_or_default();
        json!({
            "name": file[0], "path": file[1], "size": file[2].parse::<u64>().unwrap_or_default(),
            "modTime": modified, "modifiedAt": modified, "mode": file[4], "permissions": format!("{:0>4}", file[5]),
            "owner": file[6], "group": file[7], "isDir": file[8] == "d",
        })
    });
    files.collect()
}

pub(crate) async fn info(
    inside: Inside,
    Query(query): Query<PathQuery>,
) -> Result<Json<Value>, ToolboxError> {
    let find = format!(r#"{CHECK} exec find -H "$1" -maxdepth 0 -printf "$2""#);
    let listing = script(&inside, &find, &[&query.path, FIELDS]).await?;
    describe(&listing).pop().map(Json).ok_or(ToolboxError::NoFile(query.path))
}

pub(crate) async fn list(
    inside: Inside,
    Query(query): Query<PathQuery>,
) -> Result<Json<Value>, ToolboxError> {
    let find = format!(
        r#"{CHECK} [ -d "$1" ] || exit 45; exec find -H "$1" -mindepth 1 -maxdepth "$3" -printf "$2""#
    );
    let path = if query.path.is_empty() { "." } else { &query.path };
    let depth = query.depth.unwrap_or(1).max(1).to_string();
    let listing = script(&inside, &find, &[path, FIELDS, &depth]).await?;
    Ok(Json(Value::Array(describe(&listing))))
}

pub(crate) async fn folder(
    inside: Inside,
    Query(query): Query<PathQuery>,
) -> Result<StatusCode, ToolboxError> {
    let mode = if query.mode.is_empty() { "0755" } else { &query.mode };
    if !mode.chars().all(|digit| ('0'..='7').contains(&digit)) {
        return Err(ToolboxError::Invalid("mode must be octal"));
    }
    script(&inside, r#"mkdir -p -- "$1" && chmod -- "$2" "$1""#, &[&query.path, mode]).await?;
    Ok(StatusCode::CREATED)
}

pub(crate) async fn delete(
    inside: Inside,
    Query(query): Query<PathQuery>,
) -> Result<StatusCode, ToolboxError> {
    let recursive = query.recursive.as_deref() == Some("true");
    let remove =
        if recursive { r#"exec rm -rf -- "$1""# } else { r#"[ -d "$1" ] && exit 45; exec rm -f -- "$1""# };
    script(&inside, &format!("{CHECK}{remove}"), &[&query.path]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An opened file: its size, then its bytes.
struct Opened {
    size: u64,
    bytes: Box<dyn AsyncRead + Send + Unpin>,
}

async fn open(inside: &Inside, path: &str) -> Result<Opened, ToolboxError> {
    if path.is_empty() {
        return Err(ToolboxError::Invalid("path is required"));
    }
    let cat = format!(
        r#"{CHECK} [ -e "$1" ] || exit 44; [ -f "$1" ] || exit 45; [ -r "$1" ] || exit 1; stat -Lc %s -- "$1" && exec cat -- "$1""#
    );
    let mut command = inside.command(&[SHELL, "-c", &cat, "files", &absolute(path)]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().map(BufReader::new).ok_or(ToolboxError::NoPipe)?;
    let mut size = String::new();
    stdout.read_line(&mut size).await?;
    match size.trim().parse::<u64>() {
        // The client sees exactly the announced length, even of a file that grows.
        Ok(size) => Ok(Opened { size, bytes: Box::new(stdout.take(size)) }),
        Err(_) => match child.wait().await?.code() {
            Some(MISSING) => Err(ToolboxError::NoFile(path.to_owned())),
            Some(NOT_A_FILE) => Err(ToolboxError::Invalid("not a regular file")),
            Some(_) | None => Err(ToolboxError::FileDenied(path.to_owned())),
        },
    }
}

pub(crate) async fn download(
    inside: Inside,
    Query(query): Query<PathQuery>,
) -> Result<Response, ToolboxError> {
    let opened = open(&inside, &query.path).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, opened.size.to_string()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(opened.bytes))).into_response())
}

#[derive(Deserialize)]
struct DownloadRequest {
    #[serde(default)]
    paths: Vec<String>,
}

/// A multipart answer: a part `file` or a part `error` for each path, in order.
pub(crate) async fn bulk_download(inside: Inside, bytes: Bytes) -> Result<Response, ToolboxError> {
    let request: DownloadRequest =
        serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    if request.paths.is_empty() {
        return Err(ToolboxError::Invalid("paths are required"));
    }
    let boundary = format!("sandboxd{}", uuid::Uuid::new_v4().simple());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let closing = Bytes::from(format!("--{boundary}--\r\n"));
    let parts = futures::stream::iter(request.paths).then({
        let inside = std::sync::Arc::new(inside);
        move |path| {
            let (inside, boundary) = (std::sync::Arc::clone(&inside), boundary.clone());
            async move { part(&inside, &boundary, &path).await }
        }
    });
    let end = futures::stream::once(async move { Ok::<_, std::io::Error>(closing) });
    Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(parts.flatten().chain(end)))
        .into_response())
}

type Chunks = futures::stream::BoxStream<'static, std::io::Result<Bytes>>;

async fn part(inside: &Inside, boundary: &str, path: &str) -> Chunks {
    let name = path.replace('"', "%22").replace(['\r', '\n'], " ");
    let head = |kind: &str, content_type: &str, length: u64| {
        Bytes::from(format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{kind}\"; filename=\"{name}\"\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        ))
    };
    let end = futures::stream::once(async { Ok(Bytes::from_static(b"\r\n")) });
    match open(inside, path).await {
        Ok(opened) => {
            let head = head("file", "application/octet-stream", opened.size);
            let start = futures::stream::once(async { Ok(head) });
            start.chain(ReaderStream::new(opened.bytes)).chain(end).boxed()
        }
        Err(error) => {
            let (status, code) = error.status();
            let body = json!({ "message": error.to_string(), "statusCode": status.as_u16(), "code": code })
                .to_string();
            let head = head("error", "application/json", body.len() as u64);
            futures::stream::iter([Ok(head), Ok(Bytes::from(body))]).chain(end).boxed()
        }
    }
}

async fn write(inside: &Inside, path: &str, mut field: Field<'_>) -> Result<u64, ToolboxError> {
    if path.is_empty() {
        return Err(ToolboxError::Invalid("path is required"));
    }
    let store = r#"mkdir -p -- "$(dirname -- "$1")" && exec cat > "$1""#;
    let mut child =
        inside.command(&[SHELL, "-c", store, "files", &absolute(path)]).stdin(Stdio::piped()).spawn()?;
    let mut written = 0;
    let mut stdin = child.stdin.take().ok_or(ToolboxError::NoPipe)?;
    while let Some(chunk) = field.chunk().await? {
        written += chunk.len() as u64;
        if stdin.write_all(&chunk).await.is_err() {
            break;
        }
    }
    drop(stdin);
    if child.wait().await?.success() { Ok(written) } else { Err(ToolboxError::FileDenied(path.to_owned())) }
}

pub(crate) async fn upload(
    inside: Inside,
    Query(query): Query<PathQuery>,
    mut form: Multipart,
) -> Result<Json<Value>, ToolboxError> {
    while let Some(field) = form.next_field().await? {
        if field.name() == Some("file") {
            let name = field.file_name().unwrap_or_default().to_owned();
            write(&inside, &query.path, field).await?;
            return Ok(Json(json!({ "name": name, "path": query.path, "type": "file" })));
        }
    }
    Err(ToolboxError::Invalid("no file in the form"))
}

/// `files[N].path` before `files[N].file`, any number of pairs; one that fails doesn't stop the others.
pub(crate) async fn bulk_upload(inside: Inside, mut form: Multipart) -> Result<Response, ToolboxError> {
    let mut paths = std::collections::BTreeMap::new();
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    while let Some(field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if let Some(index) = name.strip_suffix(".path") {
            paths.insert(index.to_owned(), field.text().await?);
        } else if let Some(index) = name.strip_suffix(".file") {
            let Some(path) = paths.get(index) else {
                errors.push(format!("{index}: the path must come before the file"));
                continue;
            };
            match write(&inside, path, field).await {
                Ok(bytes) => files.push(json!({ "path": path, "bytes": bytes })),
                Err(error) => errors.push(format!("{path}: {error}")),
            }
        }
    }
    if errors.is_empty() {
        Ok(Json(json!({ "files": files })).into_response())
    } else {
        // A Go slice that nothing was put into.
        let files = if files.is_empty() { Value::Null } else { files.into() };
        Ok((StatusCode::BAD_REQUEST, Json(json!({ "errors": errors, "files": files }))).into_response())
    }
}
