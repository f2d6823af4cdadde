//! The small files a recipe is made from, read in one call.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use job::{Failure, FailureKind, Stage};
use serde_json::Value;

use crate::sandbox::{Environment, SHORT, Sandbox};

const READ: &str = include_str!("read.sh");
/// A package.json of this size was cut.
const LONGEST: usize = 1024 * 1024;

/// What was read, by path within the checkout.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    texts: BTreeMap<String, String>,
    /// Parsed once; null without one.
    package: Value,
    /// The Node that the sandbox has already, as it prints its version.
    pub(super) node_here: Option<String>,
}

impl Files {
    pub(super) fn new(mut texts: BTreeMap<String, String>) -> Result<Self, Failure> {
        let node_here =
            texts.remove("node").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let package = match texts.get("package.json") {
            None => Value::Null,
            Some(text) if text.len() >= LONGEST => {
                return Err(super::invalid("package.json is larger than 1 MiB"));
            }
            Some(text) => {
                let text = text.trim_start_matches('\u{feff}');
                let value: Value = serde_json::from_str(text)
                    .map_err(|error| super::invalid(format!("package.json is not valid JSON: {error}")))?;
                if !value.is_object() {
                    return Err(super::invalid("package.json is not a JSON object"));
                }
                value
            }
        };
        Ok(Self { texts, package, node_here })
    }

    /// The file's text (its beginning, for lockfiles).
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.texts.contains_key(name)
    }

    /// What package.json has there, by JSON pointer.
    pub(super) fn package(&self, pointer: &str) -> Option<&Value> {
        self.package.pointer(pointer)
    }

    pub(super) fn package_text(&self, pointer: &str) -> Option<&str> {
        self.package(pointer).and_then(Value::as_str)
    }

    /// Whether package.json has a non-empty object there.
    pub(super) fn package_has_entries(&self, pointer: &str) -> bool {
        self.package(pointer).and_then(Value::as_object).is_some_and(|entries| !entries.is_empty())
    }
}

pub(super) async fn read(sandbox: &Sandbox, path: &str) -> Result<Files, Failure> {
    let environment = Environment::new().with("HARVEST_PATH", path);
    let executed = sandbox.short(Stage::Detect, READ, &environment, SHORT).await?;
    if executed.exit_code != 0 {
        let text = format!("the checkout at {path} cannot be read: {}", executed.result.trim());
        return Err(Failure::new(FailureKind::Internal, text).at(Stage::Detect));
    }
    let mut texts = BTreeMap::new();
    for line in executed.result.lines() {
        let Some((name, encoded)) = line.split_once('\t') else { continue };
        if let Ok(bytes) = STANDARD.decode(encoded.trim()) {
            texts.insert(name.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Files::new(texts)
}
