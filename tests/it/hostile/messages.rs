//! Messages that are no job, and what operators are shown of all this: what cannot be dead-lettered whole is dead-lettered in
//! part, at once, and nothing that a repository says moves anybody's cursor.

use broker::WorkQueue;
use fleet_tests::eventually::within;
use lapin::BasicProperties;

use super::row::Row;
use super::scene::Yard;
use crate::e2e::messages::Stranger;
use crate::e2e::scene::SOON;

/// More than RabbitMQ takes of one message today, and than a dead letter can hold.
const TOO_MUCH: usize = 17 << 20;
/// Not in any other message.
const BEGINNING: &[u8] = b"hostile bytes that are no job";
/// What the last thousand bytes of a terminal's trouble look like: escapes, and characters that turn the direction.
const MOVES: [char; 8] = ['\u{1b}', '\u{7}', '\u{9b}', '\u{8}', '\u{202e}', '\u{2066}', '\u{200f}', '\r'];

impl Yard {
    /// Publishes what no dead letter can hold.
    pub(super) async fn publish_too_much(&self) {
        let stranger = Stranger::of(&self.scene).await;
        let mut body = BEGINNING.to_vec();
        body.resize(TOO_MUCH, b'x');
        stranger.publish(WorkQueue::OnDemand, &body, BasicProperties::default()).await;
    }

    /// It lies among the dead letters by now, in part.
    pub(super) async fn look_for_too_much(&self) -> Option<String> {
        let found = within(SOON, "a message that is too large is dead-lettered in part", async || {
            let mut queue = self.scene.broker.dead_letters().await.map_err(|error| error.to_string())?;
            let letters = queue.list().await.map_err(|error| error.to_string());
            queue.close().await;
            let letters = letters?;
            let letter = letters.iter().find(|letter| letter.body.starts_with(BEGINNING));
            let letter = letter.ok_or_else(|| format!("none of {} letters", letters.len()))?;
            if letter.body.len() < TOO_MUCH { Ok(()) } else { Err("it is there as a whole".to_owned()) }
        });
        found.await.err().map(|never| never.to_string())
    }

    /// What harvestctl prints of these repositories.
    pub(super) async fn look_at_the_terminal(&self, rows: &[Row]) -> Vec<String> {
        let repositories: Vec<String> = rows.iter().map(Row::repository).collect();
        let listed: Vec<(&str, &str)> = repositories.iter().map(|name| (name.as_str(), "")).collect();
        self.scene.fleet.follow(&self.scene.git, &listed).unwrap();
        let mut asked: Vec<Vec<&str>> = vec![vec!["status"], vec!["dead-letters", "list"]];
        for (row, name) in rows.iter().zip(&repositories).filter(|(row, _)| row.is_of_terminals()) {
            asked.extend([vec!["explain", name], vec!["submit", name, "--wait", "--timeout", "1m"]]);
            println!("what harvestctl says of {} is looked at", row.name);
        }
        let mut complaints = Vec::new();
        for arguments in asked {
            let answer = self.scene.fleet.ask(&arguments, SOON * 2).await.unwrap();
            let said = answer.stdout + &answer.stderr;
            if let Some(line) = said.lines().find(|line| line.contains(MOVES)) {
                complaints.push(format!("harvestctl {arguments:?} prints {line:?}"));
            }
        }
        complaints
    }
}
