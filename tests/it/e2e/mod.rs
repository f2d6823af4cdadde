//! Whole fleets of real programs on a real RabbitMQ, a real git host and sandboxd. Each test has a fleet of its own.

mod base;
mod blame;
mod clocks;
mod collecting;
mod crashes;
mod invariants;
mod jaeger;
mod job_trace;
mod leases;
mod loss;
pub(crate) mod messages;
mod metrics;
mod outcomes;
mod queues;
mod register;
mod retries;
pub(crate) mod scene;
mod secret_rules;
mod secrets;
mod silence;
mod steps;
mod stuck;
mod suspects;
mod sweeping;
mod traces;
mod upgrade;
mod withdrawn;
