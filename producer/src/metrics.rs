//! The producer's instruments.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use job::{StaleReason, Superfluous, Target, Tick};
use telemetry::Metrics;
use telemetry::opentelemetry::KeyValue;
use telemetry::opentelemetry::metrics::{AsyncInstrument, Counter, Gauge, Meter};

/// What the producer counts and measures.
#[derive(Debug, Clone)]
pub struct ProducerMetrics {
    ticks: Counter<u64>,
    jobs_published: Counter<u64>,
    targets: Gauge<u64>,
    config_problems: Gauge<u64>,
    active: Gauge<u64>,
    last_tick: Gauge<f64>,
    swept: Counter<u64>,
    stuck: Gauge<u64>,
    each_target: EachTarget,
    prebuilds_collected: Counter<u64>,
    collections_failed: Counter<u64>,
    kept_awake: Counter<u64>,
    targets_gone: Gauge<u64>,
    retirements_held: Gauge<u64>,
}

/// What was last said of each target: none of those that are not asked about any more.
type EachTarget = Arc<Mutex<Vec<TargetFigures>>>;

/// What there is to say of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetFigures {
    pub(crate) target: String,
    /// When the promoted prebuild was built.
    pub(crate) built_at: Option<DateTime<Utc>>,
    /// How the last attempt that did something ended, and when.
    pub(crate) last_attempt: Option<(&'static str, DateTime<Utc>)>,
    pub(crate) stale: Option<StaleReason>,
}

impl TargetFigures {
    /// Of a target that the register says nothing of.
    pub(crate) fn never_built(target: &Target) -> Self {
        let target = target.to_string();
        Self { target, built_at: None, last_attempt: None, stale: Some(StaleReason::NeverBuilt) }
    }

    fn label(&self) -> KeyValue {
        KeyValue::new("target", self.target.clone())
    }
}

/// What became of a start that keeps a prebuild awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptAwake {
    /// A sandbox started from it, so its time begins anew.
    Started,
    /// None did; the next look tries again.
    Failed,
}

impl KeptAwake {
    fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Failed => "failed",
        }
    }
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
        let swept = meter
            .u64_counter("harvest.sandboxes.swept")
            .with_description("Sandboxes of dead holders that were deleted")
            .build();
        let stuck = meter
            .u64_gauge("harvest.sandboxes.stuck")
            .with_description(
                "Sandboxes without a sign of life that can't be deleted, as the keeper sees them",
            )
            .build();
        let each_target = EachTarget::default();
        observe_each_target(&meter, &each_target);
        let these = Self {
            each_target,
            swept,
            stuck,
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
            prebuilds_collected: meter
                .u64_counter("harvest.prebuilds.collected")
                .with_description("Prebuilds that were deleted because nobody is given them any more, by why")
                .build(),
            collections_failed: meter
                .u64_counter("harvest.prebuilds.collections.failed")
                .with_description("Deletions of prebuilds that failed and are tried again")
                .build(),
            kept_awake: meter
                .u64_counter("harvest.prebuilds.kept_awake")
                .with_description(
                    "Starts from idle prebuilds so that Daytona does not put them to sleep, by result",
                )
                .build(),
            targets_gone: meter
                .u64_gauge("harvest.targets.gone")
                .with_description("Targets that are gone from the fleet file and not retired yet")
                .build(),
            retirements_held: meter
                .u64_gauge("harvest.targets.retirements.held")
                .with_description("Targets that are due to be retired, beyond what is done in a day")
                .build(),
        };
        these.begin_at_zero();
        these
    }

    /// There from the start, so that the first one is an increase.
    fn begin_at_zero(&self) {
        self.swept.add(0, &[]);
        for result in ["fired", "skipped"] {
            self.ticks.add(0, &[KeyValue::new("result", result)]);
        }
        self.record_stuck(0);
        self.collections_failed.add(0, &[]);
        for kept in [KeptAwake::Started, KeptAwake::Failed] {
            self.kept_awake.add(0, &[KeyValue::new("result", kept.as_str())]);
        }
        for why in [Superfluous::Withdrawn, Superfluous::Old, Superfluous::HalfMade, Superfluous::Asleep] {
            self.prebuilds_collected.add(0, &[KeyValue::new("why", <&'static str>::from(why))]);
        }
    }

    pub(crate) fn count_fired(&self, tick: Tick) {
        self.ticks.add(1, &[KeyValue::new("result", "fired")]);
        self.record_last_tick(tick);
    }

    pub(crate) fn count_skipped(&self) {
        self.ticks.add(1, &[KeyValue::new("result", "skipped")]);
    }

    fn record_last_tick(&self, tick: Tick) {
        self.last_tick.record(unix_time(tick.time()), &[]);
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

    /// Says this of these targets, and nothing of any other.
    pub(crate) fn record_each_target(&self, figures: Vec<TargetFigures>) {
        *self.each_target.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    pub(crate) fn count_swept(&self) {
        self.swept.add(1, &[]);
    }

    pub(crate) fn record_stuck(&self, sandboxes: usize) {
        self.stuck.record(count(sandboxes), &[]);
    }

    pub(crate) fn count_collected(&self, why: Superfluous) {
        self.prebuilds_collected.add(1, &[KeyValue::new("why", <&'static str>::from(why))]);
    }

    pub(crate) fn count_not_collected(&self) {
        self.collections_failed.add(1, &[]);
    }

    pub(crate) fn count_kept_awake(&self, kept: KeptAwake) {
        self.kept_awake.add(1, &[KeyValue::new("result", kept.as_str())]);
    }

    pub(crate) fn record_gone_targets(&self, targets: usize) {
        self.targets_gone.record(count(targets), &[]);
    }

    pub(crate) fn record_held_retirements(&self, targets: usize) {
        self.retirements_held.record(count(targets), &[]);
    }

    pub(crate) fn record_role(&self, role: Role) {
        let active = match role {
            Role::Active => 1,
            Role::Standby => 0,
        };
        self.active.record(active, &[]);
    }
}

/// A value with its labels, where there is something to say.
type Sample = Option<(f64, Vec<KeyValue>)>;

/// Instruments that are asked for when somebody scrapes, so that a target which is gone is gone from them too.
fn observe_each_target(meter: &Meter, each_target: &EachTarget) {
    let each = |say: fn(&TargetFigures) -> Sample| {
        let each_target = Arc::clone(each_target);
        move |observer: &dyn AsyncInstrument<f64>| {
            let figures = each_target.lock().unwrap_or_else(PoisonError::into_inner);
            for (value, labels) in figures.iter().filter_map(say) {
                observer.observe(value, &labels);
            }
        }
    };
    meter
        .f64_observable_gauge("harvest.target.prebuild.timestamp")
        .with_unit("s")
        .with_description("When the promoted prebuild of a target was built, in Unix time")
        .with_callback({
            let observe = each(|it| Some((unix_time(it.built_at?), vec![it.label()])));
            move |observer| observe(observer)
        })
        .build();
    meter
        .f64_observable_gauge("harvest.target.last_attempt.timestamp")
        .with_unit("s")
        .with_description(
            "When the last attempt of a target that did something ended, by its outcome, in Unix time",
        )
        .with_callback({
            let observe = each(|it| {
                let (outcome, at) = it.last_attempt?;
                Some((unix_time(at), vec![it.label(), KeyValue::new("outcome", outcome)]))
            });
            move |observer| observe(observer)
        })
        .build();
    meter
        .f64_observable_gauge("harvest.target.stale")
        .with_description("1 for each target whose prebuild is not what it should be, by the reason")
        .with_callback({
            let observe =
                each(|it| Some((1.0, vec![it.label(), KeyValue::new("reason", it.stale?.as_str())])));
            move |observer| observe(observer)
        })
        .build();
}

#[expect(clippy::cast_precision_loss, reason = "Unix time fits 52 bits for a hundred million years")]
fn unix_time(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
