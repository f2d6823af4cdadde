use super::*;

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn spellings_round_trip() {
    for text in [
        "owner/name@main",
        "RelevanceAI/relevance-app@feature/αβγ",
        "git.example.com/group/sub/name@main",
        "localhost:8080/owner/name@x",
        "owner/name@feat/$(touch${IFS}pwned);`id`&&'q'\"d\"",
        "owner/name@user@host",
    ] {
        assert_eq!(target(text).to_string(), text);
    }
    assert_eq!(target("github.com/a/b@main").to_string(), "a/b@main");
}

#[test]
fn case_counts_only_where_the_host_says_so() {
    assert_eq!(target("Owner/Name@main"), target("owner/name@main"));
    assert_eq!(target("Owner/Name@main").hash12(), target("owner/name@main").hash12());
    assert_ne!(target("owner/name@Main"), target("owner/name@main"));
    assert_ne!(target("git.example.com/Owner/Name@main"), target("git.example.com/owner/name@main"));
}

#[test]
fn hostile_spellings_are_refused_with_a_reason() {
    for (text, expected) in [
        ("owner/name", "names no branch"),
        ("name@main", "not a repository path"),
        ("../etc@main", "path segment"),
        ("owner/..@main", "path segment"),
        ("owner/-rf@main", "path segment"),
        ("owner/na me@main", "path segment"),
        ("owner/näme@main", "path segment"),
        ("owner/name.git@main", "path segment"),
        ("owner/$(id)@main", "path segment"),
        ("owner//name@main", "path segment"),
        ("owner/name@", "branch name"),
        ("owner/name@-x", "branch name"),
        ("owner/name@a..b", "branch name"),
        ("owner/name@a b", "branch name"),
        ("owner/name@a\nb", "branch name"),
        ("owner/name@a.lock", "branch name"),
        ("owner/name@a~1", "branch name"),
        ("exa_mple.com/o/n@main", "host name"),
        ("example.com:99999/o/n@main", "host name"),
    ] {
        let error = text.parse::<Target>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(format!("owner/name@{}", "b".repeat(300)).parse::<Target>().is_err());
}
