//! What operators say of a target: nothing is to be built of it, or sessions are to be given an older prebuild.

use job::OutcomeWord;
use serde_json::Value;

use super::scene::{SOON, Scene};

/// harvestctl with these arguments, to a good end.
async fn ask(scene: &Scene, arguments: &[&str]) -> Value {
    scene.fleet.ask_json(&[arguments, &["--json"]].concat()).await.unwrap()
}

async fn given(scene: &Scene) -> Value {
    ask(scene, &["resolve", "acme/steered@main"]).await["name"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_given_what_an_operator_went_back_to() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/steered").await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let first = scene.promoted(&target).await;
    scene.git.commit("acme/steered", "main", &[("README.md", "worse\n")]).await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let second = scene.promoted(&target).await;
    assert_eq!(given(&scene).await, second.name.to_string());

    let paused = ask(&scene, &["pause", "acme/steered@main", "--reason", "the last commit is bad"]).await;
    assert_eq!(paused["targets"][0]["pause"]["reason"], "the last commit is bad", "{paused}");
    let back = ask(&scene, &["prebuilds", "promote", &first.name.to_string(), "--yes"]).await;
    assert_eq!(
        (&back["promoted"], &back["before"]),
        (&first.name.to_string().into(), &second.name.to_string().into())
    );
    assert_eq!(given(&scene).await, first.name.to_string());
    let state = scene.state(&target).await;
    assert_eq!((state.promoted.as_ref(), &state.kept), (Some(&first), &vec![second.clone()]));

    // Not even what somebody asks for is built meanwhile.
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Paused);
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Paused, "nor the second time");
    assert_eq!(given(&scene).await, first.name.to_string());

    let resumed = ask(&scene, &["resume", "acme/steered@main"]).await;
    assert_eq!(
        (&resumed["targets"][0]["was_paused"], resumed["targets"][0]["pause"].is_null()),
        (&true.into(), true)
    );
    assert_eq!(
        scene.bring_up_to_date(&target).await.outcome,
        OutcomeWord::Built,
        "the kept one is promoted again"
    );
    assert_eq!(given(&scene).await, second.name.to_string());
    assert_eq!(scene.captures().await, 2);

    // What is not kept can't be promoted, and what is promoted already is not kept.
    for name in [second.name.to_string(), first.name.to_string().replace(".c.", ".w.")] {
        let answer = scene.fleet.ask(&["prebuilds", "promote", &name, "--yes"], SOON).await.unwrap();
        assert_eq!(answer.code, Some(3), "{name}: {}", answer.stderr);
    }
    let past = ["pause", "acme/steered@main", "--reason", "x", "--until", "2020-01-01T00:00:00Z"];
    assert_eq!(scene.fleet.ask(&past, SOON).await.unwrap().code, Some(2));
    scene.nothing_leaks().await;
}
