//! Who is speaking: the resource attributes on every span and metric.
//!
//! The environment wins (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, read by the SDK itself), because it
//! is where an installation adds the pod, the node and the environment's name.

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector,
};

const SERVICE_NAME: Key = Key::from_static_str("service.name");

/// One running program of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceIdentity {
    /// Becomes `service.name`: harvest-producer, harvest-worker, harvestctl.
    pub name: String,
    /// Becomes `service.version`: that of the crate.
    pub version: String,
    /// `service.namespace`: the fleet's name.
    pub fleet: String,
    /// `service.instance.id`: which of several (pod name, or anything unique).
    pub instance: String,
}

/// A program among others of its kind: the pod's or host's name, and the process where that is not unique.
pub fn instance_name(host: Option<&str>, program: &str) -> String {
    format!("{}-{}", host.unwrap_or(program), std::process::id())
}

impl ServiceIdentity {
    /// The resource of this identity, completed and overridden by the environment.
    pub(crate) fn resource(&self) -> Resource {
        let own = [
            KeyValue::new("service.version", self.version.clone()),
            KeyValue::new("service.namespace", self.fleet.clone()),
            KeyValue::new("service.instance.id", self.instance.clone()),
        ];
        Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(own)
            .with_service_name(self.name.clone())
            .with_detector(Box::new(EnvResourceDetector::new()))
            .with_attributes(name_from_environment().map(|name| KeyValue::new(SERVICE_NAME, name)))
            .build()
    }
}

/// The SDK's detector falls back to `unknown_service`, which must not hide the name we know.
fn name_from_environment() -> Option<Value> {
    let name = SdkProvidedResourceDetector.detect().get(&SERVICE_NAME)?;
    (!name.as_str().starts_with("unknown_service")).then_some(name)
}
