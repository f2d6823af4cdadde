//! Daytona's public OpenAPI files, and whether an answer is what they promise.

use serde_json::{Value, json};

use super::{Answered, contract};

/// The OpenAPI files as one JSON schema: `nullable` becomes a type of its own.
pub(super) struct Schemas {
    document: Value,
}

impl Schemas {
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(contract().join("openapi-min.json")).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        widen(&mut document);
        Self { document }
    }

    /// Checks `answered` against the schema of its operation; the operation's path, or none where it has no schema.
    pub(super) fn check(&self, file: &str, answered: &Answered) -> Option<String> {
        let paths = self.document[file]["paths"].as_object().unwrap();
        let segments: Vec<&str> = answered.path.split('/').collect();
        let (template, operations) = paths
            .iter()
            .filter(|(template, _)| fits(template, &segments))
            .min_by_key(|(template, _)| template.matches('{').count())?;
        let answers = &operations[answered.method.to_lowercase()]["responses"];
        // Daytona answers 201 where its documents have 200.
        let status = match (answered.status, &answers["201"]) {
            (201, Value::Null) => 200,
            (status, _) => status,
        };
        let answer = &answers[status.to_string()];
        let schema =
            if file == "api" { &answer["content"]["application/json"]["schema"] } else { &answer["schema"] };
        if schema.is_null() {
            return None;
        }
        let mut root = schema.clone();
        let shared = if file == "api" { "components" } else { "definitions" };
        root[shared] = self.document[file][shared].clone();
        let validator = jsonschema::validator_for(&root).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&answered.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{} {} does not fit {template}: {errors:#?}\n{:#}",
            answered.method,
            answered.path,
            answered.body
        );
        Some(format!("{} {template}", answered.method))
    }
}

fn fits(template: &str, segments: &[&str]) -> bool {
    let wanted: Vec<&str> = template.split('/').collect();
    wanted.len() == segments.len()
        && wanted.iter().zip(segments).all(|(want, got)| want.starts_with('{') || want == got)
}

fn widen(schema: &mut Value) {
    if schema["nullable"] == json!(true) {
        let mut plain = schema.take();
        plain.as_object_mut().unwrap().remove("nullable");
        widen(&mut plain);
        *schema = json!({ "anyOf": [plain, { "type": "null" }] });
        return;
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(widen),
        Value::Array(items) => items.iter_mut().for_each(widen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
