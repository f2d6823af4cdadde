//! What package managers and git leave behind goes into no prebuild, unless it is to be kept.

use worker::stages::scrub::{self, Leave, LeftoverSection};

use super::bench::{Bench, PATH};

/// Every leftover, in two projects of one checkout, with folders that nobody may enter.
const LEFT: &str = r"
set -e
put() { mkdir -p -- $1 && echo left >$1/file; }
cd ~
put .npm/_cacache/content; put .cache/node-gyp/22; put .cache/pnpm/metadata-v1.3; put .local/share/pnpm/store/v10; put .cache/yarn/v6
put .cache/ms-playwright/chromium
cd /workspace/name
for project in . packages/web; do
    put $project/node_modules/left; put $project/node_modules/.cache/babel; put $project/.next/cache/webpack; put $project/.next/server
done
chmod 0 ~/.npm/_cacache/content packages/web/.next/cache/webpack
# A link is not followed: what it points at is not the leftover.
mkdir -p linked/node_modules ~/elsewhere/cache && echo mine >~/elsewhere/cache/file && ln -s ~/elsewhere linked/.next
# Two packs, and what an interrupted fetch left.
for number in 1 2; do echo $number >file; git add file; git -c user.name=t -c user.email=t@example.com commit --quiet -m $number; git repack -d -q; done
touch .git/objects/pack/tmp_pack_x
";

const FOUND: &str = r"
there() { [ -e $2 ] && printf '%s ' $1; }
cd ~
there npm .npm/_cacache; there gyp .cache/node-gyp; there metadata .cache/pnpm/metadata-v1.3; there store .local/share/pnpm/store
there yarn .cache/yarn; there browsers .cache/ms-playwright
cd /workspace/name
for project in . packages/web; do
    there compilers $project/node_modules/.cache; there next $project/.next/cache; there built $project/.next/server; there modules $project/node_modules/left
done
there linked ~/elsewhere/cache/file
there garbage .git/objects/pack/tmp_pack_x
printf 'packs=%s ' $(ls .git/objects/pack/*.pack | wc -l)
git fsck --full --strict >/dev/null 2>&1 && git log --format=%s | tr '\n' ' '
";

async fn left_after(leave: Leave) -> String {
    let bench = Bench::start().await;
    let baseline = bench.baseline().await;
    bench.prints(LEFT).await;
    scrub::run(&bench.sandbox(), PATH, &baseline, LeftoverSection::all(leave), &[]).await.unwrap();
    let found = bench.prints(FOUND).await;
    bench.end().await;
    found
}

#[tokio::test]
async fn leftovers_are_dropped_with_nothing_else() {
    assert_eq!(left_after(Leave::Drop).await, "built modules built modules linked packs=1 m");
}

#[tokio::test]
async fn leftovers_that_are_to_be_kept_stay() {
    let all = "npm gyp metadata store yarn browsers compilers next built modules compilers next built modules linked garbage packs=2 m";
    assert_eq!(left_after(Leave::Keep).await, all);
}
