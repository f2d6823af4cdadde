// A build that has written into `.git` whatever git may run or follow: none of it is run, with the session's tokens or without, neither
// by harvest-sync nor by the session's git after it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { serve } from './host.mjs';
import { homeFolders, IDENTITY, planted, put, ran, SECRETS, sessionGit } from './hostile.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { textOf } from './support.mjs';

const HOOKS = [
  'applypatch-msg', 'pre-applypatch', 'pre-commit', 'prepare-commit-msg', 'commit-msg', 'post-commit', 'pre-merge-commit', 'pre-rebase', 'post-checkout',
  'post-merge', 'pre-push', 'post-rewrite', 'reference-transaction', 'post-index-change', 'pre-auto-gc', 'fsmonitor-watchman',
];
const FILES = { 'a.txt': 'one\n', 'm.slow': 'one\n', 'c.txt': 'one\n' };

/** Values of `.git/config` that name a program; the rest of a key follows from its first word. */
function commands(made) {
  const run = (name) => planted(made, name);
  return [
    ['filter.slow.smudge', run('smudge')], ['filter.slow.clean', run('clean')], ['filter.quick.process', run('process')],
    ['filter.lfs.smudge', run('lfs-smudge')], ['filter.lfs.process', run('lfs-process')],
    ['core.fsmonitor', run('fsmonitor')], ['core.hooksPath', made.at('planted/hooks')], ['core.sshCommand', run('ssh')], ['core.gitProxy', run('git-proxy')],
    ['core.askPass', run('askpass')], ['core.editor', run('editor')], ['core.pager', run('pager')], ['pager.log', run('pager-log')],
    ['core.alternateRefsCommand', run('alternate-refs')], ['core.attributesFile', made.at('planted/attributes')],
    ['sequence.editor', run('sequence-editor')], ['credential.helper', run('credential')], ['diff.external', run('diff-external')],
    ['diff.shown.textconv', run('textconv')], ['diff.shown.command', run('diff-command')], ['merge.mine.driver', `${run('merge-driver')} %A`],
    ['merge.default', 'mine'], ['gpg.program', run('gpg')], ['commit.gpgSign', 'true'], ['push.gpgSign', 'if-asked'], ['tag.gpgSign', 'true'],
    ['alias.status', `!${run('alias')}`], ['alias.st', `!${run('alias-st')}`], ['uploadpack.packObjectsHook', run('pack-objects')],
    ['remote.origin.uploadpack', run('upload-pack')], ['remote.origin.receivepack', run('receive-pack')], ['interactive.diffFilter', run('diff-filter')],
    ['submodule.part.update', `!${run('submodule-update')}`], ['trailer.x.command', run('trailer')], ['log.showSignature', 'true'],
  ];
}

/** Writes `.git/config` with more lines than it has. */
function configure(made, entries, file = path.join(made.app, '.git/config')) {
  for (const [key, value] of entries) made.git('.', 'config', '--file', file, '--add', key, value);
}

/** What a session does with git, once with each of its commands that may run something. */
async function works(t, made) {
  const git = async (...args) => {
    const end = await sessionGit(t, made, args);
    assert.equal(end.code, 0, `git ${args.join(' ')}\n${end.stderr}`);
    return end.stdout;
  };
  assert.equal(await git('status', '--porcelain'), '');
  fs.appendFileSync(path.join(made.app, 'a.txt'), 'mine\n');
  fs.appendFileSync(path.join(made.app, 'm.slow'), 'mine\n');
  await git('diff');
  await git('stash');
  await git('stash', 'pop');
  await git('add', '--all');
  await git('commit', '--quiet', '--message', 'mine');
  await git('log', '--patch', '--max-count=1');
  await git('checkout', '--quiet', '-b', 'side', 'HEAD~0');
  fs.appendFileSync(path.join(made.app, 'c.txt'), 'side\n');
  await git('commit', '--quiet', '--all', '--message', 'side');
  await git('checkout', '--quiet', 'main');
  await git('merge', '--quiet', '--no-ff', '--message', 'merged', 'side');
  await git('rebase', '--quiet', 'HEAD~1');
  await git('tag', '--annotate', '--message', 'tagged', 'v1');
  await git('fetch', '--quiet');
  await git('pull', '--quiet', '--no-rebase');
  await git('push', '--quiet');
  await git('gc', '--quiet');
}

function later(made) {
  return made.push({ 'a.txt': 'two\n', 'm.slow': 'two\n', 'q.quick': 'two\n' });
}

/** Brings a hostile prebuild up to date with all of a session's secrets, lets a session work in it, and sees what ran. */
async function survives(t, made, head = later(made)) {
  const PATH = [...homeFolders(made), made.env.PATH].join(':');
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY, PATH } });
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  assert.deepEqual([made.head(), ran(made)], [head, []], 'harvest-sync itself');
  await works(t, made);
  assert.deepEqual(ran(made), [], 'the session\'s git');
  assert.equal(made.git('remote.git', 'log', '--max-count=1', '--format=%an', 'main'), IDENTITY.GIT_USER_NAME);
  return end;
}

test('settings, attributes and hooks that a build left run nothing, and are gone', async (t) => {
  const made = prebuild(t, FILES);
  const { url } = await serve(t, made);
  configure(made, commands(made));
  put(path.join(made.app, '.git/info/attributes'), '*.slow filter=slow diff=shown merge=mine\n*.quick filter=quick\n*.txt diff=shown merge=mine\n*.lfs filter=lfs\n');
  put(made.at('planted/attributes'), '* filter=slow diff=shown\n');
  for (const name of HOOKS) {
    for (const folder of [path.join(made.app, '.git/hooks'), made.at('planted/hooks')]) {
      put(path.join(folder, name), textOf(planted(made, `hook-${name}`)), 0o755);
    }
  }
  const { report } = await survives(t, made);
  assert.ok(report.warnings.some((text) => text.includes('core.fsmonitor')), JSON.stringify(report.warnings));
  const left = made.git('workspace/app', 'config', '--local', '--list', '--name-only').split('\n');
  assert.deepEqual(left.filter((key) => !/^(core\.(repositoryformatversion|filemode|bare|logallrefupdates)|remote\.origin\.(url|fetch)|branch\.main\.(remote|merge))$/.test(key)), []);
  assert.equal(made.git('workspace/app', 'config', '--local', 'remote.origin.url'), url);
  assert.equal(fs.existsSync(path.join(made.app, '.git/hooks')), false);
  assert.equal(fs.existsSync(path.join(made.app, '.git/info/attributes')), false);
});

test('a ~/.gitconfig and what goes with it that a build left run nothing, and are gone', async (t) => {
  const made = prebuild(t, { ...FILES, '.gitattributes': '*.slow filter=slow diff=shown merge=mine\n' });
  await serve(t, made);
  // Before, for the tests' own git would run what is planted.
  const head = later(made);
  const global = made.at('home/.gitconfig');
  configure(made, [...commands(made), ['init.templateDir', made.at('planted')], ['include.path', made.at('planted/more')]], global);
  configure(made, commands(made), made.at('planted/more'));
  fs.mkdirSync(made.at('home/.config/git'), { recursive: true });
  configure(made, commands(made), made.at('home/.config/git/config'));
  put(made.at('home/.config/git/attributes'), '* filter=slow\n');
  for (const name of HOOKS) put(made.at(`planted/hooks/${name}`), textOf(planted(made, `hook-${name}`)), 0o755);
  fs.rmSync(made.at('ran'), { recursive: true, force: true });
  await survives(t, made, head);
  assert.equal(fs.existsSync(made.at('home/.config/git')), false);
  assert.equal(textOf(global).includes('planted'), false);
});

test('programs of git\'s that a build put first on PATH are not run, and are gone; the repository\'s toolchain stays', async (t) => {
  const made = prebuild(t, FILES);
  await serve(t, made);
  const names = ['git', 'git-remote-http', 'git-lfs', 'git-anything', 'rg', 'zsh', 'flock', 'sh', 'bash', 'env', 'ssh', 'cat', 'gh', 'harvest-git-credential', 'less'];
  for (const folder of homeFolders(made)) for (const name of names) put(path.join(folder, name), textOf(planted(made, `path-${name}`)), 0o755);
  for (const name of ['node', 'pnpm', 'own-tool']) put(path.join(homeFolders(made)[0], name), '#!/bin/sh\n', 0o755);
  const { report } = await survives(t, made);
  assert.ok(report.warnings.some((text) => text.includes('.harvest/bin/bash')), JSON.stringify(report.warnings));
  const left = homeFolders(made).map((folder) => fs.readdirSync(folder).sort());
  // What has no namesake among root's programs is in nobody's place.
  for (const names_ of left) assert.deepEqual(names_.filter((name) => fs.existsSync(`/usr/bin/${name}`) && name !== 'node'), []);
  // Nor does what git and Claude Code look for stay where root has none.
  for (const names_ of left) assert.deepEqual(names_.filter((name) => ['git-anything', 'rg', 'zsh'].includes(name)), []);
  assert.deepEqual(left[0].filter((name) => ['node', 'pnpm', 'own-tool'].includes(name)), ['node', 'own-tool', 'pnpm']);
});

/** Ways to make git take its settings from elsewhere, or to find a repository where none should be. */
const REDIRECTIONS = {
  'settings that include others': (made) => configure(made, [['include.path', evil(made)], [`includeIf.gitdir:${made.app}/.path`, evil(made)]]),
  'settings of a worktree': (made) => {
    configure(made, [['extensions.worktreeConfig', 'true']]);
    fs.copyFileSync(evil(made), path.join(made.app, '.git/config.worktree'));
  },
  'another common folder': (made) => {
    fs.cpSync(path.join(made.app, '.git'), made.at('planted/common'), { recursive: true });
    configure(made, commands(made), made.at('planted/common/config'));
    put(path.join(made.app, '.git/commondir'), `${made.at('planted/common')}\n`);
  },
  'another work tree': (made) => {
    fs.mkdirSync(made.at('planted/tree'), { recursive: true });
    configure(made, [['core.worktree', made.at('planted/tree')]]);
  },
  'remotes of the old kind': (made) => {
    configure(made, [['branch.main.pushRemote', 'old']]);
    put(path.join(made.app, '.git/remotes/old'), `URL: ext::${planted(made, 'ext')}\nPull: refs/heads/main:refs/remotes/old/main\n`);
    put(path.join(made.app, '.git/branches/older'), `ext::${planted(made, 'ext')}\n`);
  },
  'commands that the remote is asked by': (made) => {
    configure(made, [['protocol.ext.allow', 'always'], [`url.ext::${planted(made, 'ext')} .insteadOf`, made.facts.clone.url]]);
  },
  'a repository around the checkout and in it': (made) => {
    for (const folder of [made.workspace, made.at('home'), path.join(made.app, 'dir')]) {
      fs.mkdirSync(folder, { recursive: true });
      made.git('.', 'init', '--quiet', folder);
      configure(made, commands(made), path.join(folder, '.git/config'));
    }
  },
  'other objects': (made) => put(path.join(made.app, '.git/objects/info/alternates'), `${made.at('planted/objects')}\n`),
  'a half done rebase with commands': (made) => {
    put(path.join(made.app, '.git/rebase-merge/git-rebase-todo'), `exec ${planted(made, 'rebase')}\n`);
    put(path.join(made.app, '.git/rebase-merge/head-name'), 'refs/heads/main\n');
    put(path.join(made.app, '.git/rebase-merge/interactive'), '');
  },
};

function evil(made) {
  const file = made.at('planted/evil');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  configure(made, commands(made), file);
  return file;
}

for (const [name, plant] of Object.entries(REDIRECTIONS)) {
  test(`left by a build: ${name}`, async (t) => {
    const made = prebuild(t, { ...FILES, '.gitattributes': '*.slow filter=slow diff=shown merge=mine\n', 'dir/d.txt': 'one\n' });
    await serve(t, made);
    plant(made);
    await survives(t, made);
    for (const cwd of [path.join(made.app, 'dir'), made.workspace, made.at('home')]) await sessionGit(t, made, ['status'], { cwd });
    assert.deepEqual(ran(made), [], 'git in other folders');
    const git = path.join(made.app, '.git');
    for (const gone of ['config.worktree', 'commondir', 'remotes', 'branches', 'rebase-merge', 'objects/info/alternates']) {
      assert.equal(fs.existsSync(path.join(git, gone)), false, gone);
    }
    assert.equal((await sessionGit(t, made, ['rev-parse', '--absolute-git-dir'], { cwd: path.join(made.app, 'dir') })).stdout.trim(), git);
    for (const around of [made.workspace, made.at('home')]) assert.equal((await sessionGit(t, made, ['status'], { cwd: around })).code, 128);
  });
}

test('a `.git` that leads elsewhere is no prebuild, and nothing is asked there', async (t) => {
  const plants = [
    (git, away) => put(git, `gitdir: ${away}\n`),
    (git, away) => fs.symlinkSync(away, git),
  ];
  for (const plant of plants) {
    const made = prebuild(t, FILES);
    await serve(t, made);
    const git = path.join(made.app, '.git');
    fs.renameSync(git, made.at('planted.git'));
    configure(made, commands(made), made.at('planted.git/config'));
    plant(git, made.at('planted.git'));
    const { code, report } = await sync(t, made, { env: SECRETS });
    assert.deepEqual([code, report.reason, made.marker(), ran(made)], [3, 'not-a-prebuild', undefined, []]);
  }
});

test('a folder with the files of a bare repository is no repository to a session', async (t) => {
  const made = prebuild(t, { ...FILES, 'dir/d.txt': 'one\n' });
  await serve(t, made);
  made.git('.', 'init', '--quiet', '--bare', path.join(made.app, 'dir'));
  configure(made, commands(made), path.join(made.app, 'dir/config'));
  await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  for (const args of [['status'], ['st'], ['fetch'], ['log', '--patch']]) {
    const { code, stderr } = await sessionGit(t, made, args, { cwd: path.join(made.app, 'dir') });
    assert.deepEqual([code === 0, ran(made)], [false, []], stderr);
  }
});

test('a folder that a build made a link to the checkout itself costs it nothing', async (t) => {
  const made = prebuild(t, { ...FILES, 'dir/d.txt': 'one\n' });
  await serve(t, made);
  fs.rmSync(path.join(made.app, 'dir'), { recursive: true });
  fs.symlinkSync('.', path.join(made.app, 'dir'));
  const { code, report } = await sync(t, made, { env: SECRETS });
  assert.deepEqual([code, report.reason, made.head()], [0, 'up-to-date', made.commit]);
});

test('links in `.git` are not followed', async (t) => {
  const made = prebuild(t, FILES);
  await serve(t, made);
  const git = path.join(made.app, '.git');
  const away = made.at('away');
  put(path.join(away, 'sparse-checkout'), '/*\n');
  put(path.join(away, 'file'), 'the session\'s own\n');
  for (const name of ['info', 'hooks', 'modules']) {
    fs.rmSync(path.join(git, name), { recursive: true, force: true });
    fs.symlinkSync(away, path.join(git, name));
  }
  fs.renameSync(path.join(git, 'config'), path.join(away, 'config'));
  fs.symlinkSync(path.join(away, 'config'), path.join(git, 'config'));
  const config = textOf(path.join(away, 'config'));
  await survives(t, made);
  assert.deepEqual([fs.readdirSync(away).sort(), textOf(path.join(away, 'config'))], [['config', 'file', 'sparse-checkout'], config]);
});

/** A prebuild with a submodule, and its remote beside it. */
function withSubmodule(t) {
  const made = prebuild(t, FILES);
  made.git('.', 'init', '--quiet', '--bare', '--initial-branch=main', 'part.git');
  made.git('.', 'clone', '--quiet', 'part.git', 'part');
  made.grow = (text) => {
    fs.writeFileSync(made.at('part/part.txt'), text);
    made.git('part', 'add', '--all');
    made.git('part', 'commit', '--quiet', '--message', text);
    made.git('part', 'push', '--quiet', 'origin', 'HEAD:main');
    return made.git('part', 'rev-parse', 'HEAD');
  };
  made.grow('1');
  made.git('work', 'submodule', '--quiet', 'add', `file://${made.at('part.git')}`, 'lib/part');
  made.commit = made.push({});
  made.checkOut({ submodules: 'yes' });
  made.later = () => {
    made.grow('2');
    made.git('work/lib/part', 'pull', '--quiet', 'origin', 'main');
    return made.push({});
  };
  return made;
}

test('a submodule whose settings a build changed runs nothing, and is brought along', async (t) => {
  const made = withSubmodule(t);
  const module_ = path.join(made.app, '.git/modules/lib/part');
  configure(made, commands(made), path.join(module_, 'config'));
  configure(made, [['submodule.lib/part.update', `!${planted(made, 'update')}`], ['url.file:///nowhere.insteadOf', 'file:///']]);
  put(path.join(module_, 'info/attributes'), '* filter=slow\n');
  for (const name of HOOKS) put(path.join(module_, 'hooks', name), textOf(planted(made, `hook-${name}`)), 0o755);
  // Another one that no submodule uses yet.
  fs.cpSync(module_, path.join(made.app, '.git/modules/lib/next'), { recursive: true });
  const head = made.later();
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  assert.deepEqual([made.head(), made.file('lib/part/part.txt'), ran(made)], [head, '2', []]);
  assert.equal((await sessionGit(t, made, ['status', '--porcelain'])).stdout, '');
  await sessionGit(t, made, ['status'], { cwd: path.join(made.app, 'lib/part') });
  assert.deepEqual([ran(made), fs.existsSync(path.join(made.app, '.git/modules/lib/next'))], [[], false]);
});

test('a submodule\'s repository that is not where the checkout has it is not used', async (t) => {
  const plants = {
    elsewhere: (made, dot) => put(dot, `gitdir: ${evilRepository(made)}\n`),
    'a folder': (made, dot) => {
      fs.rmSync(dot);
      fs.cpSync(evilRepository(made), dot, { recursive: true });
    },
    'a link': (made, dot) => {
      const [module_, away] = [path.resolve(path.dirname(dot), '../../.git/modules/lib/part'), evilRepository(made)];
      fs.rmSync(module_, { recursive: true });
      fs.symlinkSync(away, module_);
    },
  };
  for (const [name, plant] of Object.entries(plants)) {
    const made = withSubmodule(t);
    plant(made, path.join(made.app, 'lib/part/.git'));
    const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
    assert.ok([0, 4].includes(end.code), end.stderr);
    await sessionGit(t, made, ['status']);
    assert.deepEqual(ran(made), [], name);
    assert.equal(fs.existsSync(path.join(made.app, 'lib/part/.git')), false, name);
    assert.ok(end.report.warnings.some((text) => text.includes('lib/part')), name);
  }
});

function evilRepository(made) {
  const folder = made.at('planted/repository');
  fs.cpSync(path.join(made.app, '.git/modules/lib/part'), folder, { recursive: true });
  made.git('.', 'config', '--file', path.join(folder, 'config'), '--unset-all', 'core.worktree');
  configure(made, commands(made), path.join(folder, 'config'));
  return folder;
}

test('what a session sets in `.git/config` stays in later runs, but for what harvest-sync\'s git would run', async (t) => {
  const made = prebuild(t, FILES);
  await serve(t, made);
  await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  const own = [
    ['pull.rebase', 'true'], ['remote.fork.url', 'https://example.com/fork.git'], ['branch.side.remote', 'fork'], ['core.hooksPath', '.husky/_'],
    ['alias.st', 'status'], ['user.signingKey', 'x'], ['branch.side.vscode-merge-base', 'origin/main'],
  ];
  configure(made, own);
  configure(made, [...commands(made).filter(([key]) => !/^(core.hooksPath|alias|commit|push|tag|log)/.test(key)), ['http.proxy', 'http://127.0.0.1:1']]);
  put(path.join(made.app, '.git/info/attributes'), '*.slow filter=slow\n');
  put(path.join(made.app, '.git/hooks/pre-commit'), '#!/bin/sh\n', 0o755);
  const head = made.push({ 'm.slow': 'two\n' });
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  assert.deepEqual([end.code, made.head(), ran(made)], [0, head, []], end.stderr);
  for (const [key, value] of own) assert.equal(made.git('workspace/app', 'config', '--local', key), value, key);
  assert.ok(end.report.warnings.some((text) => /core\.fsmonitor/.test(text)), JSON.stringify(end.report.warnings));
  assert.ok(fs.existsSync(path.join(made.app, '.git/hooks/pre-commit')));
  const before = textOf(path.join(made.app, '.git/config'));
  await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  assert.equal(textOf(path.join(made.app, '.git/config')), before);
});
