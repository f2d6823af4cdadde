use opentelemetry::KeyValue;

use super::*;

fn metrics() -> Metrics {
    let resource = Resource::builder_empty().with_service_name("harvest-worker").build();
    Metrics::new(resource).expect("metrics")
}

#[test]
fn durations_are_counted_in_buckets_of_seconds() {
    let metrics = metrics();
    let meter = metrics.meter();
    let durations = meter.f64_histogram("harvest.stage.duration").with_unit("s");
    let stage = durations.with_boundaries(DURATION_BUCKETS.to_vec()).build();
    stage.record(70.0, &[KeyValue::new("stage", "install")]);
    let text = metrics.render();
    for line in [
        r#"harvest_stage_duration_seconds_bucket{stage="install",le="60"} 0"#,
        r#"harvest_stage_duration_seconds_bucket{stage="install",le="120"} 1"#,
        r#"harvest_stage_duration_seconds_bucket{stage="install",le="3600"} 1"#,
        r#"harvest_stage_duration_seconds_sum{stage="install"} 70"#,
    ] {
        assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
    }
}

#[test]
fn every_histogram_keeps_its_own_buckets() {
    let metrics = metrics();
    let meter = metrics.meter();
    let sizes = meter.u64_histogram("harvest.body").with_unit("By").with_boundaries(vec![1024.0]).build();
    sizes.record(10, &[]);
    let starts = meter.f64_histogram("harvest.start").with_unit("s").with_boundaries(vec![0.3]).build();
    starts.record(0.2, &[]);
    let text = metrics.render();
    for line in [r#"harvest_body_bytes_bucket{le="1024"} 1"#, r#"harvest_start_seconds_bucket{le="0.3"} 1"#] {
        assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
    }
}

#[test]
fn two_in_one_process_count_apart() {
    let (first, second) = (metrics(), metrics());
    let counter = |metrics: &Metrics| metrics.meter().u64_counter("harvest.jobs").build();
    counter(&first).add(2, &[]);
    counter(&second).add(5, &[]);
    // The same instrument made twice is one instrument.
    counter(&first).add(1, &[]);
    assert!(first.render().contains("harvest_jobs_total 3"), "{}", first.render());
    assert!(second.render().contains("harvest_jobs_total 5"), "{}", second.render());
}

#[test]
fn who_speaks_is_told_once() {
    let metrics = metrics();
    metrics.meter().u64_gauge("harvest.slots").build().record(8, &[]);
    let text = metrics.render();
    assert!(text.contains(r#"target_info{service_name="harvest-worker"} 1"#), "{text}");
    assert!(text.contains("harvest_slots 8"), "{text}");
}
