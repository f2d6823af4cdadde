// What a build left where git opens files by their name: pipes, at which git would wait for ever, and attributes, which steer it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';

import { IDENTITY, put, SECRETS, sessionGit } from './hostile.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { textOf } from './support.mjs';

const FILES = { 'a.txt': 'one\n', 'src/b.txt': 'one\n', 'src/deep/er/c.txt': 'one\n' };
/** What git opens by its name. */
const OPENED = ['.gitattributes', '.gitignore', '.gitmodules', '.lfsconfig', '.mailmap'];
/** What waits for a pipe waits longer than this. */
const BOUND = { timeout: 40_000 };

async function ended(t, made, code = 0) {
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

function pipe(file) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.rmSync(file, { recursive: true, force: true });
  execFileSync('mkfifo', [file]);
}

/** A session's git comes to an end too, and finds nothing changed. */
async function isUsable(t, made) {
  for (const args of [['log', '-1'], ['fetch', '--quiet'], ['submodule', 'status'], ['diff', '--exit-code'], ['add', '--all']]) {
    const { code, stderr } = await sessionGit(t, made, args, { env: { GIT_ALLOW_PROTOCOL: 'file' } });
    assert.equal(code, 0, `git ${args.join(' ')}\n${stderr}`);
  }
  assert.equal((await sessionGit(t, made, ['status', '--porcelain'])).stdout, '');
}

for (const folder of ['', 'src/', 'src/deep/', 'src/deep/er/']) {
  test(`pipes that git opens by their name in the folder \`${folder}\` are gone, and nothing waits for them`, BOUND, async (t) => {
    const made = prebuild(t, FILES);
    for (const name of OPENED) pipe(path.join(made.app, folder, name));
    const head = made.push({ 'src/b.txt': 'two\n' });
    const { report } = await ended(t, made);
    assert.deepEqual([report.reason, made.head()], ['moved', head]);
    for (const name of OPENED) assert.equal(fs.existsSync(path.join(made.app, folder, name)), false, name);
    assert.ok(report.warnings.some((text) => text.includes('.gitattributes')), JSON.stringify(report.warnings));
    await isUsable(t, made);
  });
}

test('pipes, sockets and links to pipes in the place of tracked files give way to the files', BOUND, async (t) => {
  const made = prebuild(t, { ...FILES, '.gitattributes': '*.txt text\n', 'src/.gitignore': 'x\n', '.lfsconfig': '[lfs]\n' });
  for (const name of ['.gitattributes', 'src/.gitignore', 'src/deep/er/c.txt']) pipe(path.join(made.app, name));
  pipe(made.at('away'));
  fs.rmSync(path.join(made.app, '.lfsconfig'));
  fs.symlinkSync(made.at('away'), path.join(made.app, '.lfsconfig'));
  fs.rmSync(path.join(made.app, 'a.txt'));
  const server = net.createServer().listen(path.join(made.app, 'a.txt'));
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { report } = await ended(t, made);
  assert.equal(report.reason, 'up-to-date');
  assert.deepEqual(['.gitattributes', 'src/.gitignore', 'a.txt', 'src/deep/er/c.txt', '.lfsconfig'].map(made.file), ['*.txt text\n', 'x\n', 'one\n', 'one\n', '[lfs]\n']);
  await isUsable(t, made);
});

test('pipes among what `.git` keeps as data are gone, and nothing waits for them', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  const pipes = [
    'objects/pack/pack-1234567890123456789012345678901234567890.idx', 'objects/pack/x.idx', 'objects/pack/x.pack', 'objects/pack/multi-pack-index', 'objects/ab/pipe',
    'objects/info/commit-graph', 'lfs/objects/ab/cd/abcd', 'lfs/tmp/x', 'modules/x/HEAD', 'modules/x/objects/pack/x.idx', 'worktrees/x/HEAD',
    'commondir', 'shallow', 'packed-refs', 'config.worktree', 'info/exclude', 'info/attributes', 'logs/refs/stash', 'index.lock',
  ].filter((name) => name !== 'shallow' || !fs.existsSync(path.join(made.app, '.git/shallow')));
  for (const name of pipes) pipe(path.join(made.app, '.git', name));
  fs.symlinkSync(path.join(made.app, '.git/objects/pack/x.idx'), path.join(made.app, '.git/objects/pack/pack-2.idx'));
  await ended(t, made);
  for (const name of pipes) assert.equal(fs.existsSync(path.join(made.app, '.git', name)), false, name);
  await isUsable(t, made);
});

test('folders that a build closed are open again, and so hide no pipe', BOUND, async (t) => {
  for (const mode of [0o000, 0o300, 0o500]) {
    const made = prebuild(t, FILES);
    pipe(path.join(made.app, 'src/deep/.gitattributes'));
    pipe(path.join(made.app, '.git/objects/pack/x.idx'));
    for (const name of ['src/deep', 'src', '.git/objects/pack', '.git/objects', '.git/refs', '.git']) fs.chmodSync(path.join(made.app, name), mode);
    try {
      await ended(t, made);
    } finally {
      execFileSync('chmod', ['-R', 'u+rwx', made.app]);
    }
    assert.deepEqual([fs.existsSync(path.join(made.app, 'src/deep/.gitattributes')), made.head()], [false, made.commit]);
  }
});

test('an index that is a pipe, or gone, is the commit\'s again', BOUND, async (t) => {
  for (const plant of [pipe, (file) => fs.rmSync(file)]) {
    const made = prebuild(t, FILES);
    plant(path.join(made.app, '.git/index'));
    const head = made.push({ 'a.txt': 'two\n' });
    await ended(t, made);
    assert.equal(made.head(), head);
    await isUsable(t, made);
  }
});

test('a pipe in a folder that the commit has not, and the branch\'s head has, is not waited for', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  pipe(path.join(made.app, 'new/inner/.gitattributes'));
  pipe(path.join(made.app, 'new/.gitignore'));
  const head = made.push({ 'new/inner/d.txt': 'two\n' });
  await ended(t, made);
  assert.deepEqual([made.head(), made.file('new/inner/d.txt')], [head, 'two\n']);
  await isUsable(t, made);
});

test('pipes in a submodule and in its repository are gone, and nothing waits for them', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  made.git('.', 'init', '--quiet', '--bare', '--initial-branch=main', 'part.git');
  made.git('.', 'clone', '--quiet', 'part.git', 'part');
  put(made.at('part/inner/part.txt'), '1');
  made.git('part', 'add', '--all');
  made.git('part', 'commit', '--quiet', '--message', 'part');
  made.git('part', 'push', '--quiet', 'origin', 'HEAD:main');
  made.git('work', 'submodule', '--quiet', 'add', `file://${made.at('part.git')}`, 'lib/part');
  made.commit = made.push({});
  made.checkOut({ submodules: 'yes' });
  const module_ = path.join(made.app, '.git/modules/lib/part');
  for (const name of ['.gitattributes', 'inner/.gitattributes', 'inner/.gitignore']) pipe(path.join(made.app, 'lib/part', name));
  for (const name of ['objects/pack/x.idx', 'FETCH_HEAD', 'refs/pipe', 'info/exclude']) pipe(path.join(module_, name));
  await ended(t, made);
  assert.deepEqual([made.file('lib/part/inner/part.txt'), fs.existsSync(path.join(made.app, 'lib/part/inner/.gitattributes'))], ['1', false]);
  await isUsable(t, made);
});

test('a repository of pipes in the place of a submodule\'s is not waited for', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  made.git('work', 'update-index', '--add', '--cacheinfo', `160000,${made.commit},lib/part`);
  made.git('work', 'commit', '--quiet', '--message', 'a submodule that is not there');
  made.git('work', 'push', '--quiet', '--force', 'origin', 'HEAD:main');
  made.commit = made.git('work', 'rev-parse', 'HEAD');
  made.checkOut({});
  for (const name of ['HEAD', 'config', 'commondir', 'refs/heads/main', 'packed-refs']) pipe(made.at(`planted/${name}`));
  put(path.join(made.app, 'lib/part/.git'), `gitdir: ${made.at('planted')}\n`);
  await ended(t, made);
  assert.equal(fs.existsSync(path.join(made.app, 'lib/part/.git')), false);
});

test('pipes that an install left are gone after it, and nothing waits for them', BOUND, async (t) => {
  const pipes = ['src/.gitattributes', '.gitmodules', 'package-lock.json', '.git/objects/pack/x.idx', '.git/logs/pipe'];
  const install = `rm -f ${pipes.join(' ')} && mkfifo ${pipes.join(' ')} && echo x >>"$HOME/installs"`;
  const made = prebuild(t, { ...FILES, 'package-lock.json': '1' }, { install });
  made.push({ 'package-lock.json': '2' });
  const { report } = await ended(t, made);
  assert.deepEqual([report.installed, made.installs(), made.file('package-lock.json')], [true, 1, '2']);
  assert.ok(report.warnings.some((text) => text.includes('src/.gitattributes')), JSON.stringify(report.warnings));
  await isUsable(t, made);
});

test('attributes that a build left or changed are as the commit has them, in every folder that it has', BOUND, async (t) => {
  const made = prebuild(t, { ...FILES, '.gitattributes': '*.txt text\n', 'src/deep/.gitattributes': '*.bin binary\n' });
  const evil = '* merge=union -text filter=lfs\n';
  put(path.join(made.app, '.gitattributes'), evil.repeat(1000));
  for (const name of ['src/.gitattributes', 'src/deep/er/.gitattributes']) put(path.join(made.app, name), evil);
  const { report } = await ended(t, made);
  assert.deepEqual([made.file('.gitattributes'), made.file('src/deep/.gitattributes')], ['*.txt text\n', '*.bin binary\n']);
  for (const name of ['src/.gitattributes', 'src/deep/er/.gitattributes']) assert.equal(made.file(name), undefined, name);
  for (const name of ['.gitattributes', 'src/.gitattributes']) assert.ok(report.warnings.some((text) => text.includes(name)), JSON.stringify(report.warnings));
  assert.ok(report.warnings.every((text) => !text.includes('src/deep/.gitattributes')), JSON.stringify(report.warnings));
  await isUsable(t, made);
});

test('what a session has in the checkout stays: its attributes, and pipes and sockets that git does not open', BOUND, async (t) => {
  const made = prebuild(t, { ...FILES, '.gitattributes': '*.txt text\n' });
  pipe(path.join(made.app, 'src/of-the-build'));
  await ended(t, made);
  assert.ok(fs.existsSync(path.join(made.app, 'src/of-the-build')));
  put(path.join(made.app, '.gitattributes'), 'mine\n');
  put(path.join(made.app, 'src/.gitattributes'), 'mine\n');
  pipe(path.join(made.app, 'src/pipe'));
  pipe(path.join(made.app, 'src/deep/.gitattributes'));
  fs.symlinkSync('../../src/b.txt', path.join(made.app, '.git/own-link'));
  await ended(t, made);
  assert.deepEqual([made.file('.gitattributes'), made.file('src/.gitattributes'), fs.existsSync(path.join(made.app, 'src/pipe'))], ['mine\n', 'mine\n', true]);
  assert.deepEqual([fs.existsSync(path.join(made.app, 'src/deep/.gitattributes')), fs.readlinkSync(path.join(made.app, '.git/own-link'))], [false, '../../src/b.txt']);
});

test('nothing is removed behind a link that a build put in the place of a folder', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  pipe(made.at('away/.gitattributes'));
  put(made.at('away/.gitignore'), 'somebody else\'s\n');
  fs.rmSync(path.join(made.app, 'src'), { recursive: true });
  fs.symlinkSync(made.at('away'), path.join(made.app, 'src'));
  await ended(t, made, 0);
  assert.deepEqual(fs.readdirSync(made.at('away')).sort(), ['.gitattributes', '.gitignore']);
  assert.equal(textOf(made.at('away/.gitignore')), 'somebody else\'s\n');
});

test('a folder with a name that is no text is looked into as well', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  const name = Buffer.concat([Buffer.from(`${made.at('work')}/`), Buffer.from([0xff, 0xfe])]);
  fs.mkdirSync(name);
  fs.writeFileSync(Buffer.concat([name, Buffer.from('/d.txt')]), 'one\n');
  made.commit = made.push({});
  fs.rmSync(made.app, { recursive: true });
  made.checkOut({});
  const planted = Buffer.concat([Buffer.from(`${made.app}/`), Buffer.from([0xff, 0xfe]), Buffer.from('/.gitattributes')]);
  execFileSync('bash', ['-c', `mkfifo "$1"/$'\\xff\\xfe'/.gitattributes`, 'bash', made.app]);
  assert.ok(fs.lstatSync(planted).isFIFO());
  await ended(t, made);
  assert.equal(fs.existsSync(planted), false);
});

test('what git was in the middle of in a build is over, even where only its folder is left', BOUND, async (t) => {
  const made = prebuild(t, FILES);
  const git = path.join(made.app, '.git');
  const folders = ['rebase-merge', 'rebase-apply', 'sequencer', 'worktrees', 'rr-cache', 'NOTES_MERGE_WORKTREE'];
  for (const name of folders) fs.mkdirSync(path.join(git, name));
  const files = ['MERGE_HEAD', 'MERGE_MSG', 'MERGE_MODE', 'CHERRY_PICK_HEAD', 'REVERT_HEAD', 'REBASE_HEAD', 'BISECT_LOG', 'BISECT_START', 'AUTO_MERGE', 'COMMIT_EDITMSG'];
  for (const name of files) put(path.join(git, name), `${made.commit}\n`);
  await ended(t, made);
  for (const name of [...folders, ...files]) assert.equal(fs.existsSync(path.join(git, name)), false, name);
  const { stdout } = await sessionGit(t, made, ['status']);
  assert.match(stdout, /nothing to commit, working tree clean/);
  assert.doesNotMatch(stdout, /progress|rebas|bisect|merg|cherry|revert/i);
});
