//! The worker's instruments. Names and units are documented in docs/metrics; a test compares them with `/metrics`.

use std::time::Duration;

use job::{Decision, FailureKind, Outcome, OutcomeWord, Stage};
use telemetry::DURATION_BUCKETS;
use telemetry::opentelemetry::KeyValue;
use telemetry::opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

/// Buckets for the time a sandbox takes to start, seconds; the aim is below half of one.
const COLD_START_BUCKETS: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

/// Buckets for what a stage adds to the disk, bytes: 1 MB to 10 GB.
const ADDED_BUCKETS: [f64; 9] = [1e6, 1e7, 3e7, 1e8, 3e8, 6e8, 1e9, 3e9, 1e10];

/// Everything a worker counts and measures.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    attempts: Counter<u64>,
    attempt_duration: Histogram<f64>,
    stage_duration: Histogram<f64>,
    stage_added: Histogram<f64>,
    queue_wait: Histogram<f64>,
    cold_start: Histogram<f64>,
    retries: Counter<u64>,
    dead_letters: Counter<u64>,
    slots_used: UpDownCounter<i64>,
    key_refused: Gauge<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter, slots: u32) -> Self {
        let seconds = |name: &'static str, what: &'static str, buckets: &[f64]| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(what)
                .with_boundaries(buckets.to_vec())
                .build()
        };
        let count =
            |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
        let slots_total =
            meter.u64_gauge("harvest.worker.slots").with_description("Builds this worker can hold").build();
        slots_total.record(u64::from(slots), &[]);
        let slots_used = meter
            .i64_up_down_counter("harvest.worker.slots.used")
            .with_description("Builds this worker holds")
            .build();
        slots_used.add(0, &[]);
        let instruments = Self {
            attempts: count("harvest.attempts", "Attempts ended, by outcome and failure id"),
            attempt_duration: seconds(
                "harvest.attempt.duration",
                "From delivery to settlement",
                &DURATION_BUCKETS,
            ),
            stage_duration: seconds("harvest.stage.duration", "One stage of an attempt", &DURATION_BUCKETS),
            stage_added: meter
                .f64_histogram("harvest.stage.added")
                .with_unit("By")
                .with_description("Bytes on disk that a stage added, where it added any")
                .with_boundaries(ADDED_BUCKETS.to_vec())
                .build(),
            queue_wait: seconds("harvest.queue.wait", "From publication to delivery", &DURATION_BUCKETS),
            cold_start: seconds(
                "harvest.sandbox.cold_start",
                "From asking for a sandbox from a new prebuild to its being usable",
                &COLD_START_BUCKETS,
            ),
            retries: count("harvest.retries", "Jobs sent to a delay queue, by failure id"),
            dead_letters: count("harvest.dead_letters", "Jobs sent to the dead-letter queue, by failure id"),
            slots_used,
            key_refused: meter
                .u64_gauge("harvest.daytona.key_refused")
                .with_description("1 while Daytona refuses the API key, so that nothing is taken or asked")
                .build(),
        };
        instruments.begin_at_zero();
        instruments
    }

    /// Shows what alerts read at 0 from the start: of a series that begins at 1 Prometheus sees no increase.
    fn begin_at_zero(&self) {
        for failure in FailureKind::ALL {
            let failure = [KeyValue::new("failure", failure.id())];
            self.dead_letters.add(0, &failure);
            self.retries.add(0, &failure);
            let [failure] = failure;
            self.attempts.add(0, &[KeyValue::new("outcome", OutcomeWord::Failed.as_str()), failure]);
        }
        let over_quota = KeyValue::new("outcome", OutcomeWord::OverQuota.as_str());
        self.attempts.add(0, &[over_quota, KeyValue::new("failure", "")]);
    }

    pub(crate) fn record_key_refused(&self, is_refused: bool) {
        self.key_refused.record(u64::from(is_refused), &[]);
    }

    pub(crate) fn take_slot(&self) {
        self.slots_used.add(1, &[]);
    }

    pub(crate) fn free_slot(&self) {
        self.slots_used.add(-1, &[]);
    }

    pub(crate) fn record_queue_wait(&self, wait: Duration) {
        self.queue_wait.record(wait.as_secs_f64(), &[]);
    }

    pub(crate) fn record_stage(&self, stage: Stage, milliseconds: u64, result: &str) {
        let attributes = [KeyValue::new("stage", stage.as_str()), KeyValue::new("result", result.to_owned())];
        self.stage_duration.record(Duration::from_millis(milliseconds).as_secs_f64(), &attributes);
    }

    pub(crate) fn record_added(&self, stage: Stage, bytes: i64) {
        // What removes more than it adds is no addition.
        if let Ok(bytes) = u32::try_from(bytes / 1000) {
            self.stage_added.record(f64::from(bytes) * 1000.0, &[KeyValue::new("stage", stage.as_str())]);
        }
    }

    pub(crate) fn record_cold_start(&self, took: Duration) {
        self.cold_start.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn count_attempt(&self, outcome: &Outcome, decision: &Decision, took: Duration) {
        let failure = outcome.failure().map_or("", |failure| failure.id.id());
        let attributes =
            [KeyValue::new("outcome", outcome.word().as_str()), KeyValue::new("failure", failure)];
        self.attempts.add(1, &attributes);
        self.attempt_duration.record(took.as_secs_f64(), &attributes[..1]);
        match decision {
            Decision::RetryAfter { .. } => self.retries.add(1, &[KeyValue::new("failure", failure)]),
            Decision::DeadLetter(failure) => {
                self.dead_letters.add(1, &[KeyValue::new("failure", failure.id.id())]);
            }
            Decision::Ack | Decision::HandBack | Decision::Drop => {}
        }
    }
}
