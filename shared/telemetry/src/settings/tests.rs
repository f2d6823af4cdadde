use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

fn from(variables: &[(&str, &str)]) -> Result<TracesExport, SettingsError> {
    TracesExport::from_variables(|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn otlp(variables: &[(&str, &str)]) -> Otlp {
    match from(variables) {
        Ok(TracesExport::Otlp(otlp)) => otlp,
        other => panic!("{variables:?} gave {other:?}"),
    }
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

#[test]
fn nothing_is_exported_without_an_endpoint_or_when_switched_off() {
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "  ")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
        &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        assert!(matches!(from(variables), Ok(TracesExport::Off)), "{variables:?}");
    }
    let on = [ENDPOINT, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")];
    assert_eq!(otlp(&on).endpoint, "http://collector:4317");
}

#[test]
fn the_protocol_is_what_is_set_or_what_the_port_says() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert_eq!(otlp(&[ENDPOINT]).protocol, OtlpProtocol::Grpc);
    assert_eq!(otlp(&[ENDPOINT, http]).protocol, OtlpProtocol::HttpProtobuf);
    let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
    assert_eq!(otlp(&[ENDPOINT, http, own]).protocol, OtlpProtocol::Grpc);
    let by_port = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")]);
    assert_eq!(by_port.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(by_port.endpoint, "http://collector:4318/v1/traces");
}

#[test]
fn the_path_is_added_to_the_common_endpoint_only() {
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/custom");
    assert_eq!(otlp(&[ENDPOINT, own]).endpoint, "http://collector:4318/custom");
}

#[test]
fn headers_are_decoded_and_stay_secret() {
    let given = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret, x-team = a=b ");
    let otlp = otlp(&[ENDPOINT, given, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")]);
    assert_eq!(otlp.headers["authorization"].expose_secret(), "Bearer s3cret");
    assert_eq!(otlp.headers["x-team"].expose_secret(), "a=b");
    assert_eq!(otlp.certificate_authorities.as_deref(), Some(Path::new("/ca.pem")));
    assert!(!format!("{otlp:?}").contains("s3cret"));
}

#[test]
fn mistakes_are_named_without_their_secrets() {
    for list in ["a=b,s3cret", "a=b,s3cret=%zz", "a=b,s3 cret=c", "a=b,=s3cret"] {
        let error = from(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", list)]).expect_err(list);
        assert_eq!(
            error.to_string(),
            "OTEL_EXPORTER_OTLP_HEADERS is not a comma-separated list of name=value (entry 2 is wrong)"
        );
    }
    let error = from(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).expect_err("protocol");
    assert!(error.to_string().contains("use grpc or http/protobuf"), "{error}");
    let error = from(&[("OTEL_TRACES_EXPORTER", "jaeger")]).expect_err("exporter");
    assert!(error.to_string().contains("use otlp or none"), "{error}");
}
