use std::time::Duration;

use super::*;
use crate::{CloneSettings, CommandSetting, Commands};

pub(crate) fn settings() -> Settings {
    Settings {
        clone: CloneSettings {
            url: "https://github.com/owner/name.git".into(),
            user: "x-access-token".into(),
            token_secret: "GITHUB_TOKEN".into(),
        },
        base_snapshot: "harvest-snapshot".into(),
        class: "default".into(),
        commands: Commands {
            build: Some(CommandSetting::Run("npm run build:ci".into())),
            verify: Some(CommandSetting::Skip(())),
            install: None,
        },
        env: [("CI".to_owned(), "true".to_owned())].into(),
        secrets: ["NPM_TOKEN".to_owned()].into(),
        toolchain: crate::ToolchainSettings::default(),
        checkout: crate::CheckoutSettings::default(),
        timeouts: crate::Timeouts::default(),
        owner: Some("team-web".into()),
        keep: 2,
    }
}

fn job() -> Job {
    let fleet: FleetName = "demo".parse().unwrap();
    let target: Target = "owner/name@main".parse().unwrap();
    let tick = Tick::at_or_before("2026-11-23T10:00:00Z".parse().unwrap(), Duration::from_mins(30));
    Job {
        version: JOB_VERSION,
        id: JobId::scheduled(&fleet, tick, &target),
        fleet,
        target,
        reason: Reason::Scheduled { tick },
        settings: settings(),
        base_snapshot_id: Some("7f9c2d1e-5b0a-4c3d-9e8f-1a2b3c4d5e6f".into()),
        forced: false,
    }
}

#[test]
fn golden_file_of_version_1() {
    let golden = include_str!("golden-v1.json");
    let fleet = "demo".parse().unwrap();
    assert_eq!(Job::decode(golden.as_bytes(), &fleet).unwrap(), job());
    let written: serde_json::Value = serde_json::from_slice(&job().encode()).unwrap();
    let kept: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(
        written, kept,
        "the wire format changed: old workers must still read it; then add a golden file"
    );
}

#[test]
fn golden_file_of_version_1_before_jobs_named_their_base() {
    let golden = include_str!("golden-v1-without-base.json");
    let older = Job { base_snapshot_id: None, ..job() };
    assert_eq!(Job::decode(golden.as_bytes(), &"demo".parse().unwrap()).unwrap(), older);
    let written: serde_json::Value = serde_json::from_slice(&older.encode()).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(golden).unwrap());
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_have_defaults() {
    let mut value: serde_json::Value = serde_json::from_slice(&job().encode()).unwrap();
    value["from_the_future"] = serde_json::json!({"x": [1, 2]});
    value["settings"]["also_new"] = serde_json::json!(true);
    let settings = value["settings"].as_object_mut().unwrap();
    settings.retain(|key, _| ["clone", "base_snapshot", "also_new"].contains(&key.as_str()));
    let decoded = Job::decode(value.to_string().as_bytes(), &"demo".parse().unwrap()).unwrap();
    assert_eq!(decoded.settings.keep, 2);
    assert_eq!(decoded.settings.class, "default");
}

#[test]
fn what_is_no_job_says_why() {
    let fleet: FleetName = "demo".parse().unwrap();
    let mut future: serde_json::Value = serde_json::from_slice(&job().encode()).unwrap();
    future["version"] = 99.into();
    future["target"] = serde_json::json!({"completely": "different"});
    let other: FleetName = "other".parse().unwrap();
    for (bytes, fleet, expected) in [
        (b"not json".to_vec(), &fleet, "not a job"),
        (b"{}".to_vec(), &fleet, "not a job"),
        (b"\xff\xfe".to_vec(), &fleet, "not a job"),
        (vec![b' '; MAX_JOB_BYTES + 1], &fleet, "at most"),
        (future.to_string().into_bytes(), &fleet, "version 99"),
        (job().encode(), &other, "belongs to fleet `demo`"),
    ] {
        let error = Job::decode(&bytes, fleet).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut hostile: serde_json::Value = serde_json::from_slice(&job().encode()).unwrap();
    hostile["target"] = "owner/../../etc@main".into();
    assert!(Job::decode(hostile.to_string().as_bytes(), &fleet).is_err());
}
