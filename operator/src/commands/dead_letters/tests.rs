use std::sync::Arc;

use broker::{BrokerDeath, DeadLetter, DeadLetterId, WorkQueue};
use chrono::Duration;
use daytona::{BaseIds, SnapshotId};
use job::{
    AttemptSummary, CutMessage, DeadLetterReason, DeadLetterRecord, Envelope, FleetName, Job, OutcomeWord,
    Reason, Tail,
};
use settings::FleetFile;

use super::letter::{LetterView, NoSuchLetter, Promoted, find, short_id};
use super::list::list_view;
use super::plan::{NotReplayable, SettingsFrom, plan};
use super::show::letter_view;
use crate::examples::{attempt, failure, job, now, prebuild, settings, target};
use crate::output::View;

fn fleet() -> FleetName {
    "demo".parse().unwrap()
}

fn recorded(number: u8) -> Job {
    let settings = settings();
    let asked = Job::on_demand(&fleet(), &target("acme/service@main"), &settings, Some("base-1".into()));
    Job { id: job(number), ..asked }
}

fn failed(number: u8) -> Arc<DeadLetter> {
    let note = AttemptSummary {
        number: 1,
        attempt: attempt(),
        ended_at: now() - Duration::minutes(20),
        outcome: OutcomeWord::Failed,
        failure: Some(::job::FailureKind::InstallRegistryUnavailable),
        stage: Some(::job::Stage::Install),
        worker: "worker-2".into(),
    };
    let tail = Tail::of("npm error code EUSAGE\nnpm error \u{1b}[31mmissing: left-pad@1.3.0\n");
    let record = DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: now() - Duration::minutes(10),
        worker: "worker-1".into(),
        job: Some(job(number)),
        target: Some(target("acme/service@main")),
        failure: Some(failure().with_output(Some(1), tail)),
        decode_error: None,
        cut: None,
        queue: "harvest.demo.work.ondemand".into(),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
    };
    let envelope = Envelope { attempt: 2, ..Envelope::first(now() - Duration::minutes(30), [].into()) };
    letter(&job(number).to_string(), Some(record), envelope.remember(note), recorded(number).encode())
}

fn undecodable(body: &[u8]) -> Arc<DeadLetter> {
    let record = DeadLetterRecord {
        reason: DeadLetterReason::Undecodable,
        at: now() - Duration::minutes(5),
        worker: "worker-1".into(),
        job: None,
        target: None,
        failure: None,
        decode_error: Some("the message is not a job: expected value at line 1 column 1".into()),
        cut: None,
        queue: "harvest.demo.work.ondemand".into(),
        trace_id: None,
    };
    letter("bytes-0123456789abcdef", Some(record), Envelope::first(now(), [].into()), body.to_vec())
}

/// What was too large to be kept, posing as a job by its beginning.
fn in_part() -> Arc<DeadLetter> {
    let mut letter = DeadLetter::clone(&undecodable(&recorded(1).encode()));
    let record = letter.record.as_mut().unwrap();
    record.decode_error = Some("the message has 17825792 bytes; a job has at most 262144".into());
    record.cut = Some(CutMessage { bytes: 17 << 20, sha256: "5".repeat(64), kept: 528 });
    Arc::new(letter)
}

fn by_the_broker() -> Arc<DeadLetter> {
    let envelope = Envelope::first(now() - Duration::minutes(30), [].into());
    let mut letter = DeadLetter::clone(&letter(&job(3).to_string(), None, envelope, recorded(3).encode()));
    letter.broker_death = Some(BrokerDeath {
        reason: "delivery_limit".into(),
        queue: "harvest.demo.work.refresh".into(),
        count: 1,
        at: Some(now()),
    });
    Arc::new(letter)
}

fn letter(id: &str, record: Option<DeadLetterRecord>, envelope: Envelope, body: Vec<u8>) -> Arc<DeadLetter> {
    let died_at = record.as_ref().map_or(now(), |record| record.at);
    Arc::new(DeadLetter {
        id: DeadLetterId::new(id),
        body,
        record,
        broker_death: None,
        envelope,
        unreadable_headers: Vec::new(),
        message_id: Some(id.to_owned()),
        died_at,
        home: WorkQueue::OnDemand,
    })
}

#[test]
fn the_list_has_a_line_for_each() {
    let letters = [undecodable(b"\x1b[2Jnot json"), failed(1), by_the_broker()];
    insta::assert_snapshot!(list_view(&letters, &fleet(), &Promoted::new(), now()).text());
    insta::assert_json_snapshot!(list_view(&letters, &fleet(), &Promoted::new(), now()));
    assert_eq!(
        list_view::<Arc<DeadLetter>>(&[], &fleet(), &Promoted::new(), now()).text(),
        "no dead letters\n"
    );
}

#[test]
fn everything_about_one_is_shown() {
    insta::assert_snapshot!("failed", letter_view(&failed(1), &fleet(), &Promoted::new(), now()).text());
    insta::assert_snapshot!(
        "undecodable",
        letter_view(&undecodable(&[0xff, 0x00]), &fleet(), &Promoted::new(), now()).text()
    );
    insta::assert_snapshot!("in_part", letter_view(&in_part(), &fleet(), &Promoted::new(), now()).text());
    insta::assert_json_snapshot!("failed_json", letter_view(&failed(1), &fleet(), &Promoted::new(), now()));
}

#[test]
fn an_id_is_known_by_its_beginning_or_its_end() {
    let letters = [failed(1), failed(2), undecodable(b"x"), failed(2)];
    for letter in &letters {
        assert_eq!(find(&letters, letter.id.as_str()).unwrap().id, letter.id);
        assert_eq!(find(&letters, &short_id(letter)).unwrap().id, letter.id);
    }
    assert_eq!(find(&letters, "BYTES-01").unwrap().id, letters[2].id);
    let several = find(&letters, "018f6f2e").unwrap_err();
    assert!(
        matches!(several, NoSuchLetter::Several { ref candidates, .. } if candidates.len() == 2),
        "{several}"
    );
    assert!(matches!(find(&letters, "ffffffffff"), Err(NoSuchLetter::None(_))));
    assert!(matches!(find(&letters, "01"), Err(NoSuchLetter::Short(_))));
}

#[test]
fn a_replay_is_forced_and_takes_what_fleet_toml_says_now() {
    let text = "[[repository]]\nname = \"acme/service\"\nkeep = 7\n";
    let load = FleetFile::new("fleet.toml").understand(text).unwrap();
    let now = BaseIds::from_iter([("harvest-snapshot".into(), SnapshotId::new("base-2"))]);
    let anew = plan(&failed(1), &fleet(), SettingsFrom::FleetFile(&load, &now)).unwrap();
    assert_eq!((anew.id, anew.reason, anew.forced, anew.settings.keep), (job(1), Reason::Replay, true, 7));
    assert_eq!(anew.base_snapshot_id.as_deref(), Some("base-2"));
    let unknown = BaseIds::default();
    let left_out = plan(&failed(1), &fleet(), SettingsFrom::FleetFile(&load, &unknown)).unwrap();
    assert_eq!(left_out.base_snapshot_id, None, "an old base does not come back with new settings");
    let as_recorded = plan(&failed(1), &fleet(), SettingsFrom::Recorded).unwrap();
    assert_eq!((as_recorded.settings, as_recorded.forced), (settings(), true));
    assert_eq!(as_recorded.base_snapshot_id.as_deref(), Some("base-1"));

    let empty = FleetFile::new("fleet.toml").understand("").unwrap();
    let refused = plan(&failed(1), &fleet(), SettingsFrom::FleetFile(&empty, &now)).unwrap_err();
    assert_eq!(refused, NotReplayable::NotListed("acme/service@main".into()));
}

#[test]
fn what_was_undecodable_is_sent_only_if_it_decodes_now() {
    let refused = plan(&undecodable(b"junk"), &fleet(), SettingsFrom::Recorded).unwrap_err();
    assert!(matches!(refused, NotReplayable::NoJob(_)), "{refused}");
    let part = plan(&in_part(), &fleet(), SettingsFrom::Recorded).unwrap_err();
    assert_eq!(part, NotReplayable::Part { kept: 528, bytes: 17 << 20 });
    let readable_now = undecodable(&recorded(1).encode());
    assert_eq!(plan(&readable_now, &fleet(), SettingsFrom::Recorded).unwrap().id, job(1));
    let others = Job { fleet: "other".parse().unwrap(), ..recorded(1) };
    assert!(plan(&undecodable(&others.encode()), &fleet(), SettingsFrom::Recorded).is_err());
}

#[test]
fn a_later_build_resolves_a_letter_and_an_earlier_one_does_not() {
    let letter = failed(1);
    let built = |minutes: i64| {
        let built_at = letter.died_at + Duration::minutes(minutes);
        Promoted::from([(target("acme/service@main"), prebuild("acme/service@main", built_at))])
    };
    let resolved =
        |promoted: &Promoted| LetterView::new(&letter, &fleet(), promoted).resolved_by.map(|by| by.built_at);
    assert_eq!(resolved(&built(-1)), None);
    assert_eq!(resolved(&built(5)), Some(letter.died_at + Duration::minutes(5)));
    let elsewhere = built(5).into_values().map(|prebuild| (target("acme/other@main"), prebuild)).collect();
    assert_eq!(resolved(&elsewhere), None);
    let list = list_view(&[Arc::clone(&letter)], &fleet(), &built(5), now()).text();
    assert!(list.contains("resolved: built "), "{list}");
    let whole = letter_view(&letter, &fleet(), &built(5), now()).text();
    assert!(whole.contains("resolved") && whole.contains("the target was built"), "{whole}");
}
