//! The producer's instruments.

use job::Tick;
use telemetry::Metrics;
use telemetry::opentelemetry::KeyValue;
use telemetry::opentelemetry::metrics::{Counter, Gauge};

/// What the producer counts and measures.
#[derive(Debug, Clone)]
pub struct ProducerMetrics {
    ticks: Counter<u64>,
    jobs_published: Counter<u64>,
    targets: Gauge<u64>,
    config_problems: Gauge<u64>,
    active: Gauge<u64>,
    last_tick: Gauge<f64>,
}

/// What a producer does among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It fires the ticks.
    Active,
    /// It waits for the active one to go.
    Standby,
}

impl ProducerMetrics {
    /// The instruments, on this registry.
    pub fn new(metrics: &Metrics) -> Self {
        let meter = metrics.meter();
        Self {
            ticks: meter.u64_counter("harvest.ticks").with_description("Ticks, by result").build(),
            jobs_published: meter
                .u64_counter("harvest.jobs.published")
                .with_description("Jobs published and confirmed, by queue")
                .build(),
            targets: meter.u64_gauge("harvest.targets").with_description("Targets in force").build(),
            config_problems: meter
                .u64_gauge("harvest.config.problems")
                .with_description("Mistakes in the fleet file")
                .build(),
            active: meter
                .u64_gauge("harvest.producer.active")
                .with_description("1 while this producer is the active one")
                .build(),
            last_tick: meter
                .f64_gauge("harvest.last_tick.timestamp")
                .with_unit("s")
                .with_description("The last tick that was fired, in Unix time")
                .build(),
        }
    }

    pub(crate) fn count_fired(&self, tick: Tick) {
        self.ticks.add(1, &[KeyValue::new("result", "fired")]);
        self.record_last_tick(tick);
    }

    pub(crate) fn count_skipped(&self) {
        self.ticks.add(1, &[KeyValue::new("result", "skipped")]);
    }

    #[expect(clippy::cast_precision_loss, reason = "Unix time fits 52 bits for a hundred million years")]
    fn record_last_tick(&self, tick: Tick) {
        self.last_tick.record(tick.time().timestamp() as f64, &[]);
    }

    pub(crate) fn count_published(&self, queue: &'static str, jobs: usize) {
        self.jobs_published.add(count(jobs), &[KeyValue::new("queue", queue)]);
    }

    pub(crate) fn record_targets(&self, targets: usize) {
        self.targets.record(count(targets), &[]);
    }

    pub(crate) fn record_config_problems(&self, problems: usize) {
        self.config_problems.record(count(problems), &[]);
    }

    pub(crate) fn record_role(&self, role: Role) {
        let active = match role {
            Role::Active => 1,
            Role::Standby => 0,
        };
        self.active.record(active, &[]);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
