//! `harvestctl prebuilds promote`: gives sessions a prebuild that is kept from before.
//!
//! It is a promotion as a worker's is: it names the one that it follows, and is refused where another was made meanwhile.

use chrono::Utc;
use daytona::SnapshotState;
use job::{Concern, Folded, LedgerEvent, PrebuildName, PrebuildRecord, Promotion, Target, TargetState};
use serde::Serialize;

use super::PrebuildCommands;
use crate::broker_access::REGISTER_READ;
use crate::cli::PromotePrebuild;
use crate::daytona_access::DaytonaClient;
use crate::error::{CommandError, Exit};
use crate::output::{Output, View};
use crate::terminal::Answer;

/// What sessions are given now.
#[derive(Debug, Serialize)]
struct PromotedView {
    target: Target,
    promoted: PrebuildName,
    commit: String,
    /// What they were given before, which is kept.
    before: Option<PrebuildName>,
}

impl PrebuildCommands<'_> {
    /// Promotes the kept prebuild of this name, once somebody has agreed.
    pub(super) async fn promote(
        &self,
        wanted: &PromotePrebuild,
        output: &mut Output<'_>,
    ) -> Result<Exit, CommandError> {
        let (broker, register) = self.broker.connect_with_register().await?;
        let done = async {
            let states = register.targets();
            let kept = states.iter().find_map(|state| Some((state, find(state, &wanted.name)?)));
            let Some((state, prebuild)) = kept else {
                let said = format!(
                    "no target keeps a prebuild named {}: harvestctl prebuilds list shows those that are kept",
                    wanted.name
                );
                return Err(CommandError::NotFound(said));
            };
            self.check_usable(prebuild).await?;
            let question = format!(
                "Give sessions of {} the prebuild of commit {}?",
                state.target,
                prebuild.commit.short()
            );
            if !wanted.yes && output.confirm(&question)? == Answer::No {
                output.print_note("nothing was promoted")?;
                return Ok(Exit::Failed);
            }
            let promotion = Concern::Promotion(Box::new(promotion_of(state, prebuild)));
            let folded = register.append(&state.target, promotion, REGISTER_READ).await;
            match folded.map_err(anyhow::Error::new)? {
                Folded::Taken => {}
                Folded::Refused | Folded::Outdated | Folded::Overtaken => {
                    let said = "another prebuild was promoted meanwhile, and sessions are given that one: \
                                look again (harvestctl prebuilds list)";
                    return Err(CommandError::Failed(anyhow::anyhow!(said)));
                }
            }
            let event = LedgerEvent::Operator {
                act: "promote".to_owned(),
                target: Some(state.target.clone()),
                job: None,
            };
            if let Err(error) = self.acts.record(&broker.publisher(), event, None).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the ledger does not have it");
            }
            output.print(&PromotedView {
                target: state.target.clone(),
                promoted: prebuild.name.clone(),
                commit: prebuild.commit.to_string(),
                before: state.promoted.as_ref().map(|before| before.name.clone()),
            })?;
            Ok(Exit::Done)
        };
        let done = done.await;
        broker.close().await;
        done
    }

    /// Sessions can't start from what Daytona does not have.
    async fn check_usable(&self, prebuild: &PrebuildRecord) -> Result<(), CommandError> {
        let client = match self.daytona.client() {
            DaytonaClient::Ready(client) => client,
            DaytonaClient::Unusable(error) => return Err(CommandError::Usage(error)),
            DaytonaClient::NoKey => {
                return Err(CommandError::usage(
                    "set DAYTONA_API_KEY: it is asked whether the prebuild is there",
                ));
            }
        };
        let found = client.get_snapshot(&prebuild.snapshot_id).await.map_err(anyhow::Error::new)?;
        let state = found.map(|snapshot| snapshot.state);
        if state == Some(SnapshotState::Active) {
            return Ok(());
        }
        let word = state.map_or_else(|| "missing".to_owned(), |state| state.to_string());
        Err(CommandError::Failed(anyhow::anyhow!(
            "Daytona says that {} is {word}: sessions can't start from it",
            prebuild.name
        )))
    }
}

fn find<'a>(state: &'a TargetState, name: &PrebuildName) -> Option<&'a PrebuildRecord> {
    state.kept.iter().find(|kept| kept.name == *name)
}

/// The same prebuilds, with this one first.
fn promotion_of(state: &TargetState, prebuild: &PrebuildRecord) -> Promotion {
    let kept = state.prebuilds().filter(|other| other.name != prebuild.name).cloned().collect();
    Promotion {
        follows: state.promotion,
        promoted: prebuild.clone(),
        kept,
        newest: None,
        at: Some(Utc::now()),
    }
}

impl View for PromotedView {
    fn text(&self) -> String {
        format!(
            "sessions of {} are given {}\nthe next tick builds the branch's head again, unless the target is paused: \
             harvestctl pause {} --reason TEXT\n",
            self.target, self.promoted, self.target
        )
    }
}
