//! The register as attempts use it: a target's state now, or certainly after everything that was written before.

use std::sync::Arc;
use std::time::Duration;

use broker::{PublishError, Register};
use job::{
    AttemptId, Concern, Failure, FailureKind, Folded, Promotion, Scope, Stage, Target, TargetState, Tick,
};

use crate::early_end::EarlyEnd;

/// How long the register may take to catch up before an attempt gives up on it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// The states of all targets. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TargetRegister {
    register: Register,
}

impl TargetRegister {
    pub(crate) fn new(register: Register) -> Self {
        Self { register }
    }

    /// The target's state as far as it has been read, which may be behind.
    pub(crate) fn get(&self, target: &Target) -> Option<Arc<TargetState>> {
        self.register.get(target)
    }

    /// The id of an attempt that begins now: newer than those that were promoted, whoever's clock is wrong.
    pub(crate) fn begin_attempt(&self, target: &Target) -> AttemptId {
        AttemptId::after(self.get(target).and_then(|state| state.newest_promoted))
    }

    /// The target's state with everything written before now.
    pub(crate) async fn catch_up_and_get(
        &self,
        target: &Target,
    ) -> Result<Option<Arc<TargetState>>, EarlyEnd> {
        self.catch_up().await?;
        Ok(self.register.get(target))
    }

    /// Waits until the register shows everything written before now.
    pub(crate) async fn catch_up(&self) -> Result<(), EarlyEnd> {
        self.register.sync(CATCH_UP).await.map_err(|error| {
            let text = format!("the register in RabbitMQ could not be read: {}", error_chain::line(&error));
            Failure::new(FailureKind::RegisterUnavailable, text).with_scope(Scope::Broker).into()
        })
    }

    /// Writes about one concern of a target, confirmed.
    pub(crate) async fn note(&self, target: &Target, about: Concern) -> Result<(), PublishError> {
        self.register.note(target, about).await
    }

    /// Writes a promotion, and waits for what becomes of it.
    pub(crate) async fn promote(&self, target: &Target, promotion: Promotion) -> Result<Folded, EarlyEnd> {
        let promoted = self.register.append(target, Concern::Promotion(Box::new(promotion)), CATCH_UP);
        promoted.await.map_err(|error| {
            let text =
                format!("the register in RabbitMQ could not be written: {}", error_chain::line(&error));
            let failure = Failure::new(FailureKind::RegisterUnavailable, text).with_scope(Scope::Broker);
            failure.at(Stage::Promote).into()
        })
    }

    /// The last tick that was fired.
    pub(crate) fn last_tick(&self) -> Option<Tick> {
        self.register.fleet().last_tick
    }
}
