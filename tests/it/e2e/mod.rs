//! Whole fleets of real programs on a real RabbitMQ, a real git host and sandboxd. Each test has a fleet of its own.

mod outcomes;
mod scene;
mod secrets;
