//! What a build leaves behind in its sandbox, running or lying in wait, learns nothing of the worker and changes nothing it says.

use job::{FailureKind, OutcomeWord, Stage};

use super::scene::Scene;

/// Starts `script`, which writes `~/seen`, beside the build, without its mark and in a session of its own, so that nothing finds it.
///
/// A build that ended at once would be over, and its sandbox restarted, before the script began: it waits for what the script writes.
fn beside(script: &str) -> String {
    format!(
        "cat >~/beside.sh <<'END'\n{script}\nEND\n\
         env -i HOME=\"$HOME\" PATH=/usr/bin:/bin setsid bash ~/beside.sh >/dev/null 2>&1 </dev/null &\n\
         until [ -s ~/seen ]; do sleep 0.02; done\n"
    )
}

/// Puts programs before root's that write down what they are given.
const CURIOUS_TOOLS: &str = r#"
mkdir -p ~/.harvest/bin
for name in bash sh env setsid grep cat sed stat find rm mkdir git tar sha256sum; do
    printf '#!/bin/bash -p\n/usr/bin/env >>"$HOME/seen"\nPATH=/usr/bin:/bin exec %s "$@"\n' "$name" >~/.harvest/bin/$name
done
chmod +x ~/.harvest/bin/*
echo '/usr/bin/env >>"$HOME/seen"' | tee -a ~/.bashrc ~/.profile ~/.bash_profile ~/.zshenv >/dev/null
"#;

fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_a_build_learns_no_secret() {
    let secrets = [("GITHUB_TOKEN", fresh("ghp_")), ("OTHER_TEAMS_TOKEN", fresh("other-"))];
    let scene = Scene::with(|plan| plan.secrets.extend(secrets.clone())).await;
    let (target, _) = scene.small("acme/curious").await;
    scene.git.require_token("acme/curious", &secrets[0].1).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let look = "while sleep 0.02; do cat /proc/[0-9]*/environ; done 2>/dev/null | tr '\\0' '\\n' >>~/seen";
    let job = scene.job_building(&target, &(beside(look) + CURIOUS_TOOLS));
    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");

    let session = scene.session(&scene.promoted(&target).await).await;
    let seen = session.says("cat ~/seen").await;
    assert!(seen.lines().any(|line| line.starts_with("PATH=")), "it saw nothing at all: {seen}");
    let amqp = ("AMQP_URL", "amqp://".to_owned());
    let key = ("DAYTONA_API_KEY", scene.fleet.api_key().to_owned());
    for (name, value) in secrets.into_iter().chain([amqp, key]) {
        assert!(!seen.contains(&value), "the build saw {name}");
    }
    assert_eq!(
        session.says("ls ~/.harvest/bin; tail -n 1 ~/.bashrc ~/.profile 2>/dev/null | grep seen; true").await,
        ""
    );
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_grep_does_not_answer_for_the_search() {
    let token = fresh("n/p+m=");
    let scene = Scene::with(|plan| plan.secrets.push(("NPM_PRIVATE_TOKEN", token))).await;
    let (target, _) = scene.small("acme/hiding").await;
    let worker = scene.fleet.worker().await.unwrap();
    let build = r#"mkdir -p ~/.harvest/bin dist/harvest-run "dist/$NPM_PRIVATE_TOKEN"
        for name in grep find sha256sum; do printf '#!/bin/sh\nexit 1\n' >~/.harvest/bin/$name; chmod +x ~/.harvest/bin/$name; done
        printf %s "$NPM_PRIVATE_TOKEN" >dist/harvest-run/plain
        printf %s "$NPM_PRIVATE_TOKEN" | gzip >dist/log.gz
        ln -s "https://x:$NPM_PRIVATE_TOKEN@host" dist/link
        printf %s "$NPM_PRIVATE_TOKEN" | base64 >dist/closed; chmod 0 dist/closed; touch -d 1970-01-02 dist/closed"#;
    let job = |forced| {
        let mut job = scene.job_building(&target, build);
        job.settings.secrets = ["NPM_PRIVATE_TOKEN".to_owned()].into();
        job::Job { forced, ..job }
    };
    let first = job(false);
    scene.publish(&first).await;
    let end = scene.last_end(&first).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Failed, 1), "{end:?}");
    let failure = end.failure.unwrap();
    assert_eq!((failure.id, failure.stage), (FailureKind::ScrubSecretFound, Stage::Scrub), "{failure:?}");
    let log = failure.log_tail.as_str();
    for found in
        ["harvest-run/plain (plain", "log.gz (plain", "link (plain", "closed (base64", "dist/[redacted]"]
    {
        assert!(log.contains(found), "{found}: {log}");
    }
    assert_eq!(scene.prebuilds().await, [""; 0]);

    // It stands, and a value that nobody has written anywhere yet is worth another look.
    let again = job(false);
    scene.publish(&again).await;
    assert_eq!(scene.last_end(&again).await.outcome, OutcomeWord::StillFailing);
    drop(worker);
    let _rotated = scene.fleet.worker_with([("NPM_PRIVATE_TOKEN", &fresh("rotated-"))]).await.unwrap();
    let rotated = job(false);
    scene.publish(&rotated).await;
    let end = scene.last_end(&rotated).await;
    assert_eq!(end.outcome, OutcomeWord::Failed, "it was built, and found, once more: {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_a_build_does_not_write_its_manifest() {
    let scene = Scene::start().await;
    let (target, commit) = scene.small("acme/forging").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let forge = "while sleep 0.02; do echo seen >~/seen; sed -i 's/\"flags\": \\[\\]/\"flags\": [\"forged\"]/' /workspace/.harvest/manifest.json; done";
    let job = scene.job_building(&target, &beside(forge));
    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let prebuild = scene.promoted(&target).await;
    assert_eq!((prebuild.commit.as_str(), prebuild.flags.len()), (commit.as_str(), 0), "{prebuild:?}");
    let session = scene.session(&prebuild).await;
    let manifest = session.says("cat /workspace/.harvest/manifest.json").await;
    let manifest: job::Manifest = serde_json::from_str(&manifest).unwrap();
    assert_eq!((manifest.flags, manifest.prebuild), (Vec::new(), prebuild.name.clone()));
    assert_eq!(
        session.says("ls -A /workspace/.harvest | grep -vE '^(manifest.json|tools\\.)'; true").await,
        ""
    );
    session.end().await;
    scene.nothing_leaks().await;
}
