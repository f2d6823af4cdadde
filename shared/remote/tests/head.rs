//! Real git on both ends: what a branch points at, and every way of not knowing it.

mod support;

use std::fmt::Write;
use std::time::Duration;

use remote::{Credential, Garbled, Head, HeadError, Outage, Remote, Timeouts, Unusable};
use support::{Fixed, Host, Manners, Repository, git};
use url::Url;

/// Branch names that git allows and careless code does not.
const HOSTILE: [&str; 6] =
    ["main2", "feat/ünï-çødé-日本", "a;touch${IFS}pwned", "$(id)", "x'y\"z", "--upload-pack=id"];

async fn ask(url: &Url, branch: &str) -> Result<Head, HeadError> {
    ask_as(url, branch, None).await
}

async fn ask_as(url: &Url, branch: &str, credential: Option<&Credential>) -> Result<Head, HeadError> {
    Remote::new(Timeouts::default()).expect("an HTTP client").head(url, branch, credential).await
}

#[tokio::test]
async fn a_branch_is_found_by_every_protocol() {
    let repository = Repository::new(&HOSTILE);
    let two = Host::start(repository.root(), Manners::default()).await;
    let zero =
        Host::start(repository.root(), Manners { only_version_zero: true, ..Manners::default() }).await;
    for url in [two.url("/repo.git"), two.url("/repo.git/"), zero.url("/repo.git"), repository.file_url()] {
        for branch in HOSTILE.iter().chain(&["main"]) {
            let head = ask(&url, branch).await.unwrap();
            assert_eq!(head.commit.as_str(), repository.commit, "{url} {branch}");
        }
        for branch in
            ["mai", "absent", "refs/heads/main", "*", "main\nref-prefix refs/heads/main2", "main ", ""]
        {
            let missing = ask(&url, branch).await.unwrap_err();
            assert!(matches!(missing, HeadError::BranchMissing { .. }), "{url} {branch:?}: {missing}");
        }
    }
    assert!(two.paths().iter().any(|path| path.starts_with("POST")), "protocol 2 asks for one ref");
    assert!(zero.paths().iter().all(|path| path.starts_with("GET")), "protocol 0 has told everything");
    assert!(!repository.root().join("repo.git/pwned").exists());
}

#[tokio::test]
async fn a_large_old_server_is_read_only_as_far_as_needed() {
    let repository = Repository::new(&[]);
    let bare = repository.root().join("repo.git");
    let mut refs = "# pack-refs with: peeled fully-peeled sorted\n".to_owned();
    for number in 0..30_000 {
        writeln!(refs, "{} refs/heads/branch-{number:06}", repository.commit).unwrap();
    }
    std::fs::write(bare.join("packed-refs"), refs).unwrap();
    let host =
        Host::start(repository.root(), Manners { only_version_zero: true, ..Manners::default() }).await;
    for branch in ["branch-000000", "branch-029999", "main"] {
        assert_eq!(ask(&host.url("/repo.git"), branch).await.unwrap().commit.as_str(), repository.commit);
    }
}

#[tokio::test]
async fn an_empty_repository_and_a_sha256_one_are_understood() {
    let repository = Repository::new(&[]);
    git(repository.root(), &["init", "--quiet", "--bare", "empty.git"]);
    git(repository.root(), &["init", "--quiet", "--bare", "--object-format=sha256", "long.git"]);
    let long = repository.root().join("long.git");
    let tree = git(&long, &["hash-object", "-t", "tree", "-w", "--stdin"]);
    let commit = git(&long, &["commit-tree", "-m", "first", &tree]);
    git(&long, &["update-ref", "refs/heads/main", &commit]);
    for only_version_zero in [false, true] {
        let host = Host::start(repository.root(), Manners { only_version_zero, ..Manners::default() }).await;
        let missing = ask(&host.url("/empty.git"), "main").await.unwrap_err();
        assert!(matches!(missing, HeadError::BranchMissing { .. }), "{missing}");
        assert_eq!(ask(&host.url("/long.git"), "main").await.unwrap().commit.as_str(), commit);
    }
}

#[tokio::test]
async fn a_credential_opens_the_door_and_stays_unseen() {
    let repository = Repository::new(&[]);
    let wanted = Some("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0".to_owned());
    let host = Host::start(repository.root(), Manners { authorization: wanted, ..Manners::default() }).await;
    let url = host.url("/repo.git");
    let good = Credential { user: None, token: "s3cret".into() };
    assert_eq!(ask_as(&url, "main", Some(&good)).await.unwrap().commit.as_str(), repository.commit);
    let none = ask(&url, "main").await.unwrap_err();
    assert!(matches!(none, HeadError::Unauthorized { status: 401, had_credential: false, .. }), "{none}");
    let bad = Credential { user: Some("bot".to_owned()), token: "wr0ng".into() };
    let refused = ask_as(&url, "main", Some(&bad)).await.unwrap_err();
    assert!(
        matches!(refused, HeadError::Unauthorized { status: 401, had_credential: true, .. }),
        "{refused}"
    );
    assert!(!format!("{refused} {refused:?} {bad:?}").contains("wr0ng"));
    let inside = Url::parse("https://u:s3cret@git.example/r").unwrap();
    let unusable = ask(&inside, "main").await.unwrap_err();
    assert!(matches!(unusable, HeadError::UnusableUrl { why: Unusable::CredentialInside, .. }));
    assert!(!format!("{unusable} {unusable:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_redirect_is_followed_without_a_credential_only() {
    let repository = Repository::new(&[]);
    let target = Host::start(repository.root(), Manners::default()).await;
    let elsewhere = Manners { moved_to: Some(format!("http://{}", target.address)), ..Manners::default() };
    let from = Host::start(repository.root(), elsewhere).await;
    let head = ask(&from.url("/moved/repo.git"), "main").await.unwrap();
    assert_eq!(head.commit.as_str(), repository.commit);
    assert_eq!(target.paths(), ["GET /repo.git/info/refs", "POST /repo.git/git-upload-pack"]);

    for to in ["/moved", "file:///etc", "ftp://git.example"] {
        let host =
            Host::start(repository.root(), Manners { moved_to: Some(to.to_owned()), ..Manners::default() })
                .await;
        let lost = ask(&host.url("/moved/repo.git"), "main").await.unwrap_err();
        assert!(matches!(lost, HeadError::Redirected { .. }), "{to}: {lost}");
        assert!(host.paths().len() <= 6, "{:?}", host.paths());
    }
}

#[tokio::test]
async fn a_credential_follows_no_redirect_and_the_place_is_named() {
    let repository = Repository::new(&[]);
    let target = Host::start(repository.root(), Manners::default()).await;
    let credential = Credential { user: None, token: "s3cret".into() };
    // To another host, within the host, with a user and a query, and to where git could not go at all.
    for (base, named) in [
        (format!("http://{}", target.address), format!("http://{}/repo.git", target.address)),
        (String::new(), "/repo.git".to_owned()),
        (format!("http://u:pw@{}", target.address), format!("http://{}/repo.git", target.address)),
        ("ftp://git.example".to_owned(), "ftp://git.example/repo.git".to_owned()),
    ] {
        let host =
            Host::start(repository.root(), Manners { moved_to: Some(base.clone()), ..Manners::default() });
        let host = host.await;
        let lost = ask_as(&host.url("/moved/repo.git"), "main", Some(&credential)).await.unwrap_err();
        let HeadError::Moved { to, .. } = &lost else { panic!("{base}: {lost:?}") };
        assert!(to.to_string().ends_with(&named), "{base}: {to}");
        assert!(!format!("{lost} {lost:?}").contains("s3cret") && !lost.to_string().contains("pw"), "{lost}");
        assert_eq!(host.paths(), ["GET /moved/repo.git/info/refs"], "{base}");
    }
    assert!(target.paths().is_empty(), "{:?}", target.paths());
}

#[tokio::test]
async fn every_refusal_has_its_name() {
    type Expected = fn(&HeadError) -> bool;
    const ADVERT: &str = "application/x-git-upload-pack-advertisement";
    let git = |body: &[u8]| (200, vec![("content-type", ADVERT.to_owned())], body.to_vec());
    let page = |status: u16| (status, vec![("content-type", "text/html".to_owned())], b"<html>".to_vec());
    let limited = (403, vec![("x-ratelimit-remaining", "0".to_owned())], vec![]);
    let wait = (429, vec![("retry-after", "7".to_owned())], vec![]);
    let cases: Vec<(Fixed, Expected)> = vec![
        (page(404), |e| matches!(e, HeadError::RepositoryMissing { status: 404, .. })),
        (page(403), |e| matches!(e, HeadError::Unauthorized { status: 403, .. })),
        (limited, |e| matches!(e, HeadError::RateLimited { after: None, .. })),
        (wait, |e| matches!(e, HeadError::RateLimited { after: Some(Duration { .. }), .. })),
        (page(503), |e| matches!(e, HeadError::HostUnavailable { cause: Outage::Status(503), .. })),
        (page(200), |e| matches!(e, HeadError::Undecodable { what: Garbled::NotGit, .. })),
        (page(418), |e| matches!(e, HeadError::Undecodable { what: Garbled::Status(418), .. })),
        (git(b"zzzz"), |e| matches!(e, HeadError::Undecodable { what: Garbled::Lines, .. })),
        (git(b"0032cut"), |e| matches!(e, HeadError::Undecodable { what: Garbled::Lines, .. })),
        (git(b"000eversion 2\n0000"), |e| matches!(e, HeadError::Undecodable { what: Garbled::Version, .. })),
        (git(b"0019nonsense refs/heads/main"), |e| matches!(e, HeadError::Undecodable { .. })),
        (
            git(b"000fERR go away"),
            |e| matches!(e, HeadError::Refused { message, .. } if message == "go away"),
        ),
        (git(&b"0ffc".iter().chain(&[b'x'; 4088]).copied().collect::<Vec<u8>>().repeat(17_000)), |e| {
            matches!(e, HeadError::TooLarge { .. })
        }),
    ];
    for (number, (always, expected)) in cases.into_iter().enumerate() {
        let manners = Manners { always: Some(always), ..Manners::default() };
        let host = Host::start(std::path::Path::new("/"), manners).await;
        let error = ask(&host.url("/r"), "main").await.unwrap_err();
        assert!(expected(&error), "case {number}: {error:?}");
    }
}

#[tokio::test]
async fn an_unreachable_host_is_an_outage() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent: Url = format!("http://{}/r", listener.local_addr().unwrap()).parse().unwrap();
    let short = Timeouts { connect: Duration::from_secs(1), total: Duration::from_millis(100) };
    let late = Remote::new(short).unwrap().head(&silent, "main", None).await.unwrap_err();
    assert!(matches!(late, HeadError::HostUnavailable { cause: Outage::Timeout(_), .. }), "{late}");
    drop(listener);
    let closed = ask(&silent, "main").await.unwrap_err();
    assert!(matches!(closed, HeadError::HostUnavailable { cause: Outage::Connection(_), .. }), "{closed}");
}

#[tokio::test]
async fn a_folder_that_is_no_repository_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let failed = ask(&Url::from_file_path(folder.path()).unwrap(), "main").await.unwrap_err();
    assert!(matches!(failed, HeadError::GitFailed { .. }), "{failed}");
    let absent = ask(&Url::from_file_path(folder.path().join("no")).unwrap(), "main").await.unwrap_err();
    assert!(matches!(absent, HeadError::RepositoryMissing { .. }), "{absent}");
    let ssh = ask(&Url::parse("ssh://git@git.example/r").unwrap(), "main").await.unwrap_err();
    assert!(matches!(ssh, HeadError::UnusableUrl { why: Unusable::Scheme, .. }), "{ssh}");
}
