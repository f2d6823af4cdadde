//! What telemetry is told to do, as plain values, and the `OTEL_*` variables that decide about trace export.
//!
//! The SDK reads its own variables too (`OTEL_BSP_*`, `OTEL_SPAN_*_LIMIT`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_EXPORTER_OTLP_{TIMEOUT,COMPRESSION,INSECURE}`). It ignores `OTEL_SDK_DISABLED`,
//! `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_OTLP_CERTIFICATE`: those are ours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::ServiceIdentity;

/// The section `[telemetry]` of a program's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySection {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which events are logged, see [`TelemetrySettings::log_filter`].
    pub log_filter: String,
}

/// Everything telemetry needs to start.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// The program that logs, traces and counts.
    pub service: ServiceIdentity,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which events are logged: `info`, or directives such as `info,broker=debug`. Libraries that only speak of
    /// their own plumbing are silenced unless a directive names them.
    pub log_filter: String,
    /// Where spans are sent, if anywhere.
    pub traces: TracesExport,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Short lines where stderr is a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line, for machines.
    Json,
    /// Short lines for a terminal, in colour when there is one.
    Pretty,
}

/// Where spans go. Trace ids exist either way: log lines and messages carry them.
#[derive(Debug, Clone)]
pub enum TracesExport {
    /// Spans are made and sent nowhere.
    Off,
    /// To a collector, over OTLP.
    Otlp(Otlp),
}

/// How to reach a collector.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// The complete URL: for gRPC `http://host:4317`, for HTTP with its path, `http://host:4318/v1/traces`.
    pub endpoint: String,
    /// What is spoken there.
    pub protocol: OtlpProtocol,
    /// Sent with every export; usually how the collector knows us, hence secret.
    pub headers: BTreeMap<String, SecretString>,
    /// A PEM file of certificate authorities to trust beside the system's. Only for gRPC.
    pub certificate_authorities: Option<PathBuf>,
}

/// The two transports of OTLP that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Named `grpc` in the variables; port 4317 by convention.
    Grpc,
    /// Named `http/protobuf` in the variables; port 4318 by convention.
    HttpProtobuf,
}

/// A variable that says something telemetry does not understand.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The exporter is not one we have.
    #[error("{variable}=`{value}` is not supported: use otlp or none")]
    Exporter {
        /// The variable that says it.
        variable: &'static str,
        /// The value that is not supported.
        value: String,
    },
    /// The protocol is not one we have.
    #[error("{variable}=`{value}` is not supported: use grpc or http/protobuf")]
    Protocol {
        /// The variable that says it.
        variable: &'static str,
        /// The value that is not supported.
        value: String,
    },
    /// The headers are not a list of `name=value`. The value is not shown: it is usually a credential.
    #[error("{variable} is not a comma-separated list of name=value (entry {entry} is wrong)")]
    Headers {
        /// The variable that holds the list.
        variable: &'static str,
        /// Which entry, counted from 1.
        entry: usize,
    },
}

impl TracesExport {
    /// Decides from the standard `OTEL_*` variables, looked up through `lookup` (the program's settings, so
    /// that a `.env` file counts too). No endpoint means no exporter, as does `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`. An unset protocol is gRPC, unless the port is OTLP/HTTP's 4318.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let find = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = lookup(name)?.trim().to_owned();
                (!value.is_empty()).then_some((*name, value))
            })
        };
        if find(&["OTEL_SDK_DISABLED"]).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::Off);
        }
        match find(&["OTEL_TRACES_EXPORTER"]) {
            Some((_, value)) if value == "none" => return Ok(Self::Off),
            Some((_, value)) if value == "otlp" => {}
            Some((variable, value)) => return Err(SettingsError::Exporter { variable, value }),
            None => {}
        }
        let own_endpoint = find(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]);
        let base_endpoint = find(&["OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let Some(given) = own_endpoint.as_ref().or(base_endpoint.as_ref()).map(|(_, url)| url.as_str())
        else {
            return Ok(Self::Off);
        };
        let protocol = match find(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]) {
            Some((_, value)) if value == "grpc" => OtlpProtocol::Grpc,
            Some((_, value)) if value == "http/protobuf" => OtlpProtocol::HttpProtobuf,
            Some((variable, value)) => return Err(SettingsError::Protocol { variable, value }),
            None => guess_protocol(given),
        };
        let endpoint = match (&own_endpoint, protocol) {
            (None, OtlpProtocol::HttpProtobuf) => format!("{}/v1/traces", given.trim_end_matches('/')),
            (Some(_), OtlpProtocol::HttpProtobuf) | (_, OtlpProtocol::Grpc) => given.to_owned(),
        };
        let headers = match find(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]) {
            Some((variable, list)) => parse_headers(variable, &list)?,
            None => BTreeMap::new(),
        };
        let certificate_authorities =
            find(&["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])
                .map(|(_, path)| PathBuf::from(path));
        Ok(Self::Otlp(Otlp { endpoint, protocol, headers, certificate_authorities }))
    }
}

fn guess_protocol(endpoint: &str) -> OtlpProtocol {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    if authority.ends_with(":4318") { OtlpProtocol::HttpProtobuf } else { OtlpProtocol::Grpc }
}

fn parse_headers(
    variable: &'static str,
    list: &str,
) -> Result<BTreeMap<String, SecretString>, SettingsError> {
    let entries = list.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
    entries
        .map(|(index, entry)| {
            let wrong = || SettingsError::Headers { variable, entry: index + 1 };
            let (name, value) = entry.split_once('=').ok_or_else(wrong)?;
            let name = name.trim().to_ascii_lowercase();
            let value = percent_decoded(value.trim()).ok_or_else(wrong)?;
            let valid = http::HeaderName::try_from(name.as_str()).is_ok()
                && http::HeaderValue::try_from(value.as_str()).is_ok();
            if valid { Ok((name, SecretString::from(value))) } else { Err(wrong()) }
        })
        .collect()
}

/// The specification has header values percent-encoded, as in W3C baggage.
fn percent_decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
