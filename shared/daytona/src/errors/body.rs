//! Reads the message out of an error body, whoever wrote it.
//!
//! The API, the daemon in the sandbox and bulk-upload each have a form of their own; a proxy sends nothing and
//! a load balancer HTML. The status is known already, so nothing here can fail.

use serde_json::Value;

use super::Message;

/// The most of a body that is read.
const READ_LIMIT: usize = 16 * 1024;

/// The message in a body; empty where there is none.
pub(crate) fn read(body: &[u8]) -> Message {
    let body = &body[..body.len().min(READ_LIMIT)];
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => Message::new(&message_in(&value)),
        Err(_) => Message::new(&without_tags(&String::from_utf8_lossy(body))),
    }
}

fn message_in(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => ["message", "errors", "error"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .map(message_in)
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        Value::Array(items) => {
            items.iter().map(message_in).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn without_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut in_tag = false;
    for character in text.chars() {
        match character {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                shown.push(' ');
            }
            other if !in_tag => shown.push(other),
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        assert_eq!(read(body.as_bytes()).as_str(), expected, "{body}");
    }

    #[test]
    fn every_writer_of_bodies_is_understood() {
        check(
            r#"{"path":"/api/sandbox","statusCode":400,"error":"Bad Request","message":"No available runners"}"#,
            "No available runners",
        );
        check(
            r#"{"statusCode":400,"message":["name must be a string","labels must be an object"]}"#,
            "name must be a string, labels must be an object",
        );
        check(
            r#"{"statusCode":408,"message":"command execution timeout","code":"REQUEST_TIMEOUT","source":"DAYTONA_DAEMON"}"#,
            "command execution timeout",
        );
        check(r#"{"errors":["/root/x: permission denied"],"files":[]}"#, "/root/x: permission denied");
        check(r#"{"error":"Bad Gateway","message":null}"#, "Bad Gateway");
        check("", "");
        check(
            "<html><head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>",
            "502 Bad Gateway nginx",
        );
        check("upstream\nconnect error", "upstream connect error");
        check(r#"{"statusCode":400,"#, r#"{"statusCode":400,"#);
    }

    #[test]
    fn a_long_body_is_cut() {
        let message = read("é".repeat(100_000).as_bytes());
        assert!(message.as_str().len() < 310, "{}", message.as_str().len());
    }
}
