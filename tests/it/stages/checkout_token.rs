//! The git token goes to the repository's own URL, and to those that fleet.toml names: whatever a repository's files name
//! beside them, and wherever a host sends git on to.

use std::time::Duration;

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::{Fault, GitServer};
use job::{Failure, FailureKind, Settings, Stage};
use remote::Credential;
use worker::sandbox::{Environment, Exit, LongCommand};
use worker::stages::checkout;

use super::bench::{Bench, NAME, commit, target};

const TOKEN: &str = "the-git-token-of-the-fleet";
const SECRET: &str = "other/secret";
const LIBRARY: &str = "owner/library";

fn credential() -> Credential {
    Credential { user: None, token: TOKEN.into() }
}

/// A repository that asks for everything, and two others on the same host that the same token opens.
async fn hosts() -> Bench {
    let bench = Bench::start().await;
    for name in [NAME, SECRET, LIBRARY] {
        bench.git.create_repo(name, Sample::NoLockfile).await.unwrap();
        bench.git.require_token(name, TOKEN).unwrap();
    }
    bench
}

fn with_submodules(bench: &Bench) -> Settings {
    let mut settings = bench.settings();
    settings.checkout.submodules = true;
    settings
}

/// Commits what makes `url` a submodule at `path`, at the head of `of`.
async fn link(git: &GitServer, name: &str, links: &[(&str, &str, &str)]) -> String {
    let modules: Vec<String> = links
        .iter()
        .map(|(path, url, _)| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"))
        .collect();
    git.commit(name, "main", &[(".gitmodules", &modules.concat())]).await.unwrap();
    let entries: Vec<(&str, &str)> = links.iter().map(|(path, _, head)| (*path, *head)).collect();
    git.link(name, "main", &entries).await.unwrap()
}

async fn check_out(bench: &Bench, settings: &Settings, wanted: &str) -> Result<(), Failure> {
    bench.prints("rm -rf /workspace/name").await;
    let sandbox = bench.sandbox_knowing(&[TOKEN]);
    let run = checkout::run(&sandbox, &target("main"), settings, &commit(wanted), Some(&credential())).await;
    run.map(drop).map_err(|end| end.failure().cloned().unwrap_or_else(|| panic!("{end:?}")))
}

fn token_went_to(git: &GitServer) -> Vec<String> {
    git.shown_passwords()
        .into_iter()
        .filter(|shown| shown.password == TOKEN)
        .map(|shown| shown.path)
        .collect()
}

#[tokio::test]
async fn no_submodule_takes_the_token_to_a_repository_of_others() {
    let bench = hosts().await;
    let secret = bench.git.commit(SECRET, "main", &[("secret.txt", "of another team")]).await.unwrap();
    let host = bench.git.host();
    let port = host.rsplit(':').next().unwrap();
    let own = format!("http://{host}/{NAME}");
    for url in [
        format!("http://{host}/{SECRET}.git"),
        format!("http://{host}/{SECRET}"),
        "../../other/secret.git".to_owned(),
        format!("http://localhost:{port}/{SECRET}.git"),
        format!("http://x-access-token@{host}/{SECRET}.git"),
        // Beneath the repository's own URL by the letters, elsewhere for a host that reads them obligingly.
        format!("{own}.git/../../{SECRET}.git"),
        format!("{own}.git/%2e%2e/%2e%2e/{SECRET}.git"),
        format!("{own}.git/..%2f..%2f{SECRET}.git"),
        format!("{own}.git//../../{SECRET}.git"),
        format!("{own}.git//%2e%2e/%2e%2e/{SECRET}.git"),
        format!("{own}.git/..;/..;/{SECRET}.git"),
        format!("{own}.git/x/%2e%2e%2f%2e%2e/%2e%2e/{SECRET}.git"),
        format!("{own}/../../{SECRET}.git"),
        format!("{own}.git/..\\\\..\\\\{SECRET}.git"),
        format!("{own}.git%2f..%2f..%2f{SECRET}.git"),
    ] {
        let wanted = link(&bench.git, NAME, &[("taken", &url, &secret)]).await;
        let mut settings = with_submodules(&bench);
        settings.checkout.also = vec![bench.git.url(LIBRARY)];
        let failure = check_out(&bench, &settings, &wanted).await.expect_err(&url);
        let is_refused = failure.id == FailureKind::CloneAuth && failure.message.contains("checkout.also");
        assert!(is_refused || failure.id == FailureKind::CloneIncomplete, "{url}: {failure:?}");
        assert_eq!(bench.prints("find /workspace -name secret.txt").await, "", "{url}");
    }
    let elsewhere: Vec<String> =
        token_went_to(&bench.git).into_iter().filter(|path| !path.starts_with("/owner/name.git/")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let beneath: Vec<String> =
        token_went_to(&bench.git).into_iter().filter(|path| path.contains("secret")).collect();
    assert!(beneath.is_empty(), "{beneath:?}");
    assert!(!bench.git.requests(SECRET).is_empty(), "no request came so far that it could have been refused");
    bench.end().await;
}

#[tokio::test]
async fn a_submodule_that_fleet_toml_names_is_fetched_at_any_depth() {
    let bench = hosts().await;
    let deep = bench.git.commit(SECRET, "main", &[("deep.txt", "deep")]).await.unwrap();
    let library = link(&bench.git, LIBRARY, &[("inner", "../../other/secret.git", &deep)]).await;
    let wanted = link(&bench.git, NAME, &[("vendor/library", "../library.git", &library)]).await;
    let mut settings = with_submodules(&bench);
    settings.checkout.also = vec![bench.git.url(LIBRARY)];
    let failure = check_out(&bench, &settings, &wanted).await.unwrap_err();
    assert_eq!(failure.id, FailureKind::CloneAuth, "{failure:?}");
    assert!(failure.message.contains("checkout.also"), "{failure}");

    settings.checkout.also.push(bench.git.url(SECRET).trim_end_matches(".git").to_owned());
    check_out(&bench, &settings, &wanted).await.unwrap();
    assert_eq!(bench.prints("cat /workspace/name/vendor/library/inner/deep.txt").await, "deep");
    let kept = "grep -rlE 'the-git-token|Basic|Authorization|credential' /workspace ~ 2>/dev/null; true";
    assert_eq!(bench.prints(kept).await, "");
    bench.end().await;
}

#[tokio::test]
async fn a_submodule_is_no_command_and_no_folder_of_the_machine() {
    let bench = hosts().await;
    let head = bench.git.commit(LIBRARY, "main", &[("a", "b")]).await.unwrap();
    for url in [
        "ext::sh -c touch% /tmp/pwned% >&2".to_owned(),
        bench.git.file_url(LIBRARY),
        bench.git.file_url(LIBRARY).trim_start_matches("file://").to_owned(),
        "-u./payload".to_owned(),
    ] {
        let wanted = link(&bench.git, NAME, &[("taken", &url, &head)]).await;
        let failure = check_out(&bench, &with_submodules(&bench), &wanted).await.expect_err(&url);
        assert_eq!(failure.id, FailureKind::CloneIncomplete, "{url}: {failure:?}");
    }
    assert_eq!(bench.prints("ls /tmp | grep pwned; true").await, "");
    bench.end().await;
}

#[tokio::test]
async fn a_redirect_ends_the_checkout_and_takes_nothing_along() {
    let bench = hosts().await;
    let wanted = bench.git.commit(NAME, "main", &[("a", "b")]).await.unwrap();
    let elsewhere = GitServer::start().await.unwrap();
    elsewhere.create_repo(NAME, Sample::NoLockfile).await.unwrap();
    let base = format!("http://{}", elsewhere.host());
    bench.git.move_to(NAME, &base).unwrap();
    let failure = check_out(&bench, &bench.settings(), &wanted).await.unwrap_err();
    assert_eq!(failure.id, FailureKind::CloneMoved, "{failure:?}");
    assert!(failure.message.contains(&elsewhere.url(NAME)), "it does not say where to: {failure}");
    assert_eq!(elsewhere.shown_passwords(), []);
    assert_eq!(elsewhere.requests(NAME), [""; 0]);

    // A submodule that fleet.toml names has moved.
    let other = bench.git.commit(LIBRARY, "main", &[("a", "b")]).await.unwrap();
    bench.git.stay(NAME).unwrap();
    bench.git.move_to(LIBRARY, &base).unwrap();
    let wanted = link(&bench.git, NAME, &[("library", "../library.git", &other)]).await;
    let mut settings = with_submodules(&bench);
    settings.checkout.also = vec![bench.git.url(LIBRARY)];
    let failure = check_out(&bench, &settings, &wanted).await.unwrap_err();
    assert_eq!(failure.id, FailureKind::CloneMoved, "{failure:?}");
    assert!(failure.message.contains(&elsewhere.url(LIBRARY)), "it does not say where to: {failure}");
    assert_eq!(elsewhere.shown_passwords(), []);
    bench.end().await;
}

#[tokio::test]
async fn lfs_takes_the_token_to_its_own_place_only() {
    let bench = hosts().await;
    let elsewhere = GitServer::start().await.unwrap();
    elsewhere.create_repo(SECRET, Sample::NoLockfile).await.unwrap();
    let pointer = bench.git.keep_lfs_object(NAME, b"large").unwrap();
    bench.git.keep_lfs_object(SECRET, b"large").unwrap();
    elsewhere.keep_lfs_object(SECRET, b"large").unwrap();
    let attributes = ("*.bin filter=lfs diff=lfs merge=lfs -text\n", ".gitattributes");
    let plain = [(attributes.1, attributes.0), ("large.bin", pointer.as_str())];
    let wanted = bench.git.commit(NAME, "main", &plain).await.unwrap();
    let mut settings = bench.settings();
    settings.checkout.lfs = true;
    check_out(&bench, &settings, &wanted).await.unwrap();
    assert_eq!(bench.prints("cat /workspace/name/large.bin").await, "large");

    let host = bench.git.host();
    let own = bench.git.url(NAME);
    for (number, place) in [
        format!("http://{}/{SECRET}.git/info/lfs", elsewhere.host()),
        format!("http://{host}/{SECRET}.git/info/lfs"),
        format!("{own}/../../{SECRET}.git/info/lfs"),
        format!("{own}/%2e%2e/%2e%2e/{SECRET}.git/info/lfs"),
        format!("{own}/..%2f..%2f{SECRET}.git/info/lfs"),
    ]
    .iter()
    .enumerate()
    {
        for key in ["[lfs]\n\turl", "[remote \"origin\"]\n\tlfsurl"] {
            let file = format!("{key} = {place}\n# {number}\n");
            let wanted =
                bench.git.commit(NAME, "main", &[plain[0], plain[1], (".lfsconfig", &file)]).await.unwrap();
            let checked_out = check_out(&bench, &settings, &wanted).await;
            let is_public = place.contains(&elsewhere.host());
            assert_eq!(checked_out.is_ok(), is_public, "{file}: {checked_out:?}");
        }
    }
    assert_eq!(elsewhere.shown_passwords(), []);
    let strayed: Vec<String> =
        token_went_to(&bench.git).into_iter().filter(|path| path.contains("secret")).collect();
    assert!(strayed.is_empty(), "{strayed:?}");

    // Named, it is fetched from there; and where the place moves on to another host, the token stays behind.
    let file = format!("[lfs]\n\turl = http://{host}/{SECRET}.git/info/lfs\n");
    let wanted = bench.git.commit(NAME, "main", &[plain[0], plain[1], (".lfsconfig", &file)]).await.unwrap();
    settings.checkout.also = vec![bench.git.url(SECRET)];
    check_out(&bench, &settings, &wanted).await.unwrap();
    bench.git.move_to(SECRET, &format!("http://{}", elsewhere.host())).unwrap();
    drop(check_out(&bench, &settings, &wanted).await);
    assert_eq!(elsewhere.shown_passwords(), []);
    bench.end().await;
}

/// Looks where anything of the user's could look, for the token in the forms it has had; the pattern is in no argument.
const SEARCH: &str = r#"
part=the-git-token; token=$part-of-the-fleet
for form in "$token" "$(printf 'x-access-token:%s' "$token" | base64 -w0)"; do
    for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
        cat "$file" 2>/dev/null | tr '\0' '\n' | grep -qF -f <(printf '%s\n' "$form") && echo "process ${file#/proc/[0-9]*/}"
    done
    grep -rlaF -f <(printf '%s\n' "$form") -- /workspace "$HOME" /tmp /var/tmp /run /dev/shm 2>/dev/null
done
exit 0"#;

fn search() -> LongCommand {
    LongCommand {
        stage: Stage::Install,
        label: "search",
        script: SEARCH.to_owned(),
        cwd: "/workspace".to_owned(),
        environment: Environment::new(),
        deadline: Duration::from_mins(1),
    }
}

#[tokio::test]
async fn the_token_is_nowhere_once_the_checkout_is_over() {
    let bench = hosts().await;
    let library = bench.git.commit(LIBRARY, "main", &[("a", "b")]).await.unwrap();
    let pointer = bench.git.keep_lfs_object(NAME, b"large").unwrap();
    let attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n";
    bench.git.commit(NAME, "main", &[(".gitattributes", attributes), ("large.bin", &pointer)]).await.unwrap();
    let wanted = link(&bench.git, NAME, &[("library", "../library.git", &library)]).await;
    let mut settings = with_submodules(&bench);
    settings.checkout.lfs = true;
    settings.checkout.filter = Some("blob:none".to_owned());
    settings.checkout.also = vec![bench.git.url(LIBRARY)];
    check_out(&bench, &settings, &wanted).await.unwrap();
    let found = bench.sandbox().run(&search()).await.unwrap();
    assert_eq!((found.exit, found.tail.as_str().trim()), (Exit::Code(0), ""));

    // The search finds what is there: a checkout under way that hangs, and a file.
    bench.git.set_fault(LIBRARY, Fault::Hang).unwrap();
    let hanging = bench.sandbox_knowing(&[TOKEN]);
    let path = target("main");
    let token = credential();
    let fetched = commit(&bench.git.commit(NAME, "main", &[("new", "er")]).await.unwrap());
    bench.git.set_fault(NAME, Fault::Hang).unwrap();
    let under_way = checkout::run(&hanging, &path, &settings, &fetched, Some(&token));
    let seen = async {
        eventually(Duration::from_secs(30), "the search sees the token", async || {
            let found = bench.sandbox().run(&search_again()).await.unwrap();
            if found.tail.as_str().contains("process environ") { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    tokio::select! {
        () = seen => {}
        end = under_way => panic!("the checkout ended: {end:?}"),
    }
    bench.sandbox().end_all(Stage::Install).await.unwrap();
    bench.end().await;
}

/// The same under another name, since a command of one attempt is never run twice.
fn search_again() -> LongCommand {
    let script = format!("{SEARCH}\n# {}", uuid::Uuid::new_v4());
    LongCommand { script, ..search() }
}
