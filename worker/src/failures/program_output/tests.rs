//! Every file of `worker/samples` is what a real program printed (its paths shortened); the snapshot is what we make of it.

use super::*;

fn samples() -> Vec<(String, Tail)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    let mut samples: Vec<(String, Tail)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, Tail::of(&std::fs::read_to_string(&path).unwrap()))
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    samples
}

#[test]
fn what_each_program_says_at_install() {
    let lines: Vec<String> = samples()
        .iter()
        .map(|(name, tail)| {
            let failure = from_install(tail);
            format!("{name}: {} | {}", failure.id, failure.message)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_same_words_mean_other_things_elsewhere() {
    let of = |name: &str| samples().into_iter().find(|(sample, _)| sample == name).unwrap().1;
    assert_eq!(from_toolchain(&of("npm10-etarget"), "Node 99.0.0").id, FailureKind::ToolchainVersionUnknown);
    assert_eq!(from_toolchain(&of("npm11-eintegrity"), "Node 22.0.0").id, FailureKind::ToolchainChecksum);
    let refused = from_toolchain(&of("npm11-econnrefused"), "Node 22.0.0");
    assert_eq!((refused.id, &refused.scope), (FailureKind::ToolchainUnavailable, &Scope::Registry));
    assert!(refused.message.contains("toolchain.npm_registry"), "{}", refused.message);
    assert_eq!(from_build(&of("npm10-build")).id, FailureKind::BuildFailed);
    assert_eq!(from_build(&of("npm11-heap")).id, FailureKind::OutOfMemory);
    assert_eq!(from_build(&of("pnpm10-heap")).id, FailureKind::OutOfMemory);
}

#[test]
fn git_is_understood() {
    let check = |text: &str, id: FailureKind| {
        let failure = from_git(&Tail::of(text), FailureKind::CloneFailed, "git.example", "TOKEN");
        assert_eq!(failure.id, id, "{text}");
        assert_eq!(failure.stage, Stage::Checkout);
    };
    check(
        "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
        FailureKind::CloneAuth,
    );
    check(
        "remote: Invalid username or token.\nfatal: Authentication failed for 'https://git.example/a/b/'",
        FailureKind::CloneAuth,
    );
    check(
        "remote: Repository not found.\nfatal: repository 'https://git.example/a/b/' not found",
        FailureKind::CloneRepositoryMissing,
    );
    check(
        "fatal: unable to access 'https://git.example/a/b/': Could not resolve host: git.example",
        FailureKind::CloneHostUnavailable,
    );
    check(
        "fatal: unable to access 'https://git.example/a/b/': The requested URL returned error: 503",
        FailureKind::CloneHostUnavailable,
    );
    check(
        "fatal: unable to access 'https://git.example/a/b/': The requested URL returned error: 429",
        FailureKind::CloneRateLimited,
    );
    check("error: unable to write file a: No space left on device", FailureKind::NoSpace);
    check("fatal: something nobody has seen", FailureKind::CloneFailed);
}

#[test]
fn what_was_said_while_trying_again_does_not_count() {
    let text = " WARN  GET https://registry.example/ms error (ECONNRESET). Will retry in 10 seconds. 2 retries left.\n\
                npm warn attempt 2 failed with ETIMEDOUT\n\
                npm error code ETARGET\nnpm error notarget No matching version found for ms@9.\n";
    assert_eq!(from_install(&Tail::of(text)).id, FailureKind::InstallPackageMissing);
    let text =
        "GET https://registry.example/ms error (ECONNRESET). Will retry in 10 seconds.\nSyntaxError: x\n";
    assert_eq!(from_install(&Tail::of(text)).id, FailureKind::InstallFailed);
}

#[test]
fn a_build_is_the_networks_fault_only_in_its_last_words() {
    let early =
        format!("Error: getaddrinfo ENOTFOUND fonts.example\n{}error TS2304\n", "compiling\n".repeat(30));
    assert_eq!(from_build(&Tail::of(&early)).id, FailureKind::BuildFailed);
    assert_eq!(
        from_build(&Tail::of("Error: getaddrinfo ENOTFOUND fonts.example\n")).id,
        FailureKind::BuildNetwork
    );
    assert_eq!(
        from_build(&Tail::of("Error: connect ECONNREFUSED 127.0.0.1:5432\n")).id,
        FailureKind::BuildFailed
    );
    assert_eq!(from_build(&Tail::of("")).id, FailureKind::BuildFailed);
}
