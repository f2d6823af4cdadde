//! Each stage that runs in a sandbox, in real sandboxes, with real git, npm and pnpm.

mod baseline;
mod bench;
mod commands;
mod forged;
mod leftovers;
mod node;
mod proxy;
mod secrets;

mod checkout;
mod checkout_token;
