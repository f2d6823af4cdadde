use job::{Concern, EntryFormat, Promotion, TargetEntry, Writing};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::publish::REGISTER_TYPE;

fn target() -> Target {
    "owner/name@main".parse().unwrap()
}

/// A promotion of a prebuild of its own.
fn promotion(follows: Option<EntryVersion>, drawn: Uuid) -> Promotion {
    let attempt = job::AttemptId::new();
    let promoted = json!({
        "name": format!("hv.demo.name.7dhghiria4lg.aaaaaaaaaaaa.99999999.c.{attempt}"),
        "snapshot_id": drawn, "commit": "a".repeat(40), "fingerprint": "9".repeat(64), "mode": "cold",
        "completeness": "complete", "flags": [], "attempt": attempt, "built_at": "2026-11-26T09:00:12Z",
    });
    serde_json::from_value(json!({ "follows": follows, "promoted": promoted, "kept": [] })).unwrap()
}

/// A stream of entries, and a reader that writes what comes next from what it has read.
struct Stream {
    entries: Vec<Entry>,
    writers: [State; 2],
    read: [usize; 2],
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Read,
    Promote,
    Forget,
}

impl Stream {
    fn push(&mut self, kind: &str, body: Vec<u8>) {
        let offset = i64::try_from(self.entries.len()).unwrap();
        self.entries.push(Entry::example(offset, kind, body));
    }

    fn push_entry(&mut self, entry: &RegisterEntry) {
        self.push(REGISTER_TYPE, serde_json::to_vec(entry).unwrap());
    }

    fn act(&mut self, who: usize, act: Act) {
        let version = self.writers[who].next_version(target().key());
        let about = match act {
            Act::Read => {
                for entry in &self.entries[self.read[who]..] {
                    self.writers[who].take(entry.clone());
                }
                self.read[who] = self.entries.len();
                return;
            }
            Act::Promote => {
                let known = self.writers[who].known.target(&target());
                let follows = known.and_then(|known| known.promotion);
                Concern::Promotion(Box::new(promotion(follows, Uuid::now_v7())))
            }
            Act::Forget => Concern::LostSandbox(None),
        };
        let format = EntryFormat::PerConcern;
        let entry = TargetEntry { format, target: target(), version, writing: Writing::First, about };
        self.push_entry(&RegisterEntry::Concern(Box::new(entry)));
    }

    fn act_all(&mut self, acts: Vec<(usize, Act)>) {
        for (who, act) in acts {
            self.act(who, act);
        }
    }

    /// Begins a checkpoint. Its parts come later.
    fn begin_checkpoint(&mut self, id: Uuid) -> Vec<Vec<u8>> {
        self.push_entry(&RegisterEntry::CheckpointBegins { id });
        let known = reader(&self.entries).known;
        let few_a_part = known.lines().map(|line| part::encode(id, [line].into_iter()));
        let lines: Vec<_> = few_a_part.collect::<Result<Vec<_>, _>>().unwrap().concat();
        let decoded = lines.iter().map(|part| Part::decode(part).unwrap().lines.concat());
        let numbered = decoded.enumerate().map(|(number, line)| part::compress(id, number, &line).unwrap());
        numbered.collect()
    }
}

fn reader(entries: &[Entry]) -> State {
    let mut state = State::default();
    for entry in entries {
        state.take(entry.clone());
    }
    state
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![Just(Act::Read), Just(Act::Promote), Just(Act::Promote), Just(Act::Forget)];
    proptest::collection::vec((0..2_usize, act), 1..12)
}

proptest! {
    /// Wherever before a whole checkpoint somebody begins, and whatever is written while it is: it knows what everybody knows.
    #[test]
    fn who_begins_late_knows_what_who_read_all_knows(
        before in acts(), amid in proptest::collection::vec(acts(), 4..8), after in acts(), from in any::<prop::sample::Index>(),
    ) {
        let mut stream = Stream { entries: Vec::new(), writers: Default::default(), read: [0, 0] };
        stream.act_all(before);
        let id = Uuid::now_v7();
        let begins = stream.entries.len();
        let mut parts = stream.begin_checkpoint(id).into_iter();
        let number = u32::try_from(parts.len()).unwrap();
        for (turn, acts) in amid.into_iter().enumerate() {
            stream.act_all(acts);
            if turn == 0 {
                // By a keeper that is none any more, and does not know it yet.
                stream.push_entry(&RegisterEntry::CheckpointBegins { id: Uuid::now_v7() });
            }
            parts.by_ref().take(2).for_each(|part| stream.push(CHECKPOINT_PART_TYPE, part));
        }
        parts.for_each(|part| stream.push(CHECKPOINT_PART_TYPE, part));
        stream.push_entry(&RegisterEntry::CheckpointEnds { id, parts: number, at: Utc::now() });
        stream.act_all(after);

        let all = reader(&stream.entries);
        let late = reader(&stream.entries[from.index(begins + 1)..]);
        let known = |state: &State| state.known.target(&target());
        prop_assert_eq!(known(&late), known(&all));
        prop_assert!(matches!(late.base, Base::Whole));
        prop_assert!(!late.knows_less_than_a_checkpoint());
        prop_assert_eq!(late.checkpoint.entries_since, all.checkpoint.entries_since);
    }
}

#[test]
fn a_checkpoint_of_which_a_part_is_lost_is_none() {
    let mut stream = Stream { entries: Vec::new(), writers: Default::default(), read: [0, 0] };
    stream.act(0, Act::Promote);
    stream.act(0, Act::Forget);
    let id = Uuid::now_v7();
    let parts = stream.begin_checkpoint(id);
    assert!(parts.len() > 1, "{}", parts.len());
    stream.push(CHECKPOINT_PART_TYPE, parts[0].clone());
    let number = u32::try_from(parts.len()).unwrap();
    stream.push_entry(&RegisterEntry::CheckpointEnds { id, parts: number, at: Utc::now() });
    let late = reader(&stream.entries[1..]);
    assert!(late.knows_less_than_a_checkpoint());
    assert_eq!(late.known.targets.len(), 1, "what it read itself still counts");
}

#[test]
fn who_missed_entries_is_healed_by_the_next_checkpoint() {
    let mut stream = Stream { entries: Vec::new(), writers: Default::default(), read: [0, 0] };
    let mut asleep = State::default();
    stream.act(0, Act::Forget);
    asleep.take(stream.entries[0].clone());
    stream.act(0, Act::Promote);
    let missed = stream.entries.len();
    asleep.miss_entries();
    let id = Uuid::now_v7();
    let parts = stream.begin_checkpoint(id);
    let number = u32::try_from(parts.len()).unwrap();
    for part in parts {
        stream.push(CHECKPOINT_PART_TYPE, part);
    }
    stream.push_entry(&RegisterEntry::CheckpointEnds { id, parts: number, at: Utc::now() });
    for entry in &stream.entries[missed..] {
        asleep.take(entry.clone());
    }
    assert_eq!(asleep.known.target(&target()), reader(&stream.entries).known.target(&target()));
    assert!(matches!(asleep.base, Base::Whole));
}
