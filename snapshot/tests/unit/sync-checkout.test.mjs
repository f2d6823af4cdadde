// What harvest-sync does to a checkout, and what it leaves alone. The remote is a real one, on disk.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { pointer, store } from './host.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { folder, run } from './support.mjs';

/** Everything git knows, so that "left as it is" can be held against it. */
function everything(made) {
  const index = made.git('workspace/app', 'ls-files', '--stage');
  return [made.git('workspace/app', 'show-ref', '--head'), made.git('workspace/app', 'status', '--porcelain'), index, readShallow(made)];
}

function readShallow(made) {
  return fs.readFileSync(path.join(made.app, '.git/shallow'), 'utf8');
}

async function ended(t, made, code, options) {
  const end = await sync(t, made, options);
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

test('a prebuild behind its branch is moved to the head, with only what was missing', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n', 'gone.txt': 'x\n' });
  made.push({ 'a.txt': 'between\n' });
  const head = made.push({ 'a.txt': 'two\n', 'gone.txt': null, 'dir/new.txt': 'new\n' });
  const { report, stderr } = await ended(t, made, 0);
  assert.deepEqual([report.from, report.to, report.moved, report.reason], [made.commit, head, true, 'moved']);
  assert.deepEqual([made.file('a.txt'), made.file('gone.txt'), made.file('dir/new.txt')], ['two\n', undefined, 'new\n']);
  assert.equal(made.head(), head);
  assert.equal(made.git('workspace/app', 'symbolic-ref', 'HEAD'), 'refs/heads/main');
  assert.equal(made.git('workspace/app', 'rev-parse', '@{upstream}'), head);
  assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
  assert.equal(made.git('workspace/app', 'rev-list', '--count', 'HEAD'), '1', 'the history was fetched too');
  assert.match(stderr, /from .* to /);
  for (const part of ['fetch', 'move', 'total']) assert.equal(typeof report.seconds[part], 'number', part);
});

test('a prebuild at its branch\'s head stays, and running again changes nothing', async (t) => {
  const made = prebuild(t);
  const before = everything(made);
  for (const _ of [1, 2]) {
    const { report } = await ended(t, made, 0);
    assert.deepEqual([report.moved, report.installed, report.reason, report.to], [false, false, 'up-to-date', made.commit]);
    assert.deepEqual(everything(made), before);
  }
  assert.equal(made.installs(), 0);
});

test('a branch that moves again and again is followed each time', async (t) => {
  const made = prebuild(t);
  for (const text of ['two\n', 'three\n']) {
    const head = made.push({ 'a.txt': text });
    const { report } = await ended(t, made, 0);
    assert.deepEqual([report.to, made.file('a.txt')], [head, text]);
  }
});

test('a branch that was pushed by force is followed, even back to an older commit', async (t) => {
  const made = prebuild(t);
  const amended = made.push({ 'a.txt': 'rewritten\n' }, '--amend');
  assert.equal((await ended(t, made, 0)).report.to, amended);
  assert.equal(made.file('a.txt'), 'rewritten\n');
  made.git('work', 'reset', '--quiet', '--hard', 'HEAD~1');
  made.git('work', 'push', '--quiet', '--force', 'origin', 'HEAD:main');
  assert.equal((await ended(t, made, 0)).report.to, made.head('work'));
  assert.deepEqual([made.file('a.txt'), made.file('old.txt')], [undefined, 'history\n']);
});

test('a branch that is gone, a remote that cannot be reached and one that does not answer leave a usable checkout', async (t) => {
  const made = prebuild(t);
  const before = everything(made);
  made.push({ 'a.txt': 'elsewhere\n' });
  made.git('work', 'push', '--quiet', 'origin', 'HEAD:other');
  made.git('remote.git', 'update-ref', '-d', 'refs/heads/main');
  const rows = [[made.url, 'branch-gone'], [`file://${made.home}/none.git`, 'unreachable'], ['http://127.0.0.1:1/x.git', 'unreachable']];
  for (const [url, reason] of rows) {
    made.states({ clone: { url } });
    const { report, stderr } = await ended(t, made, 4);
    assert.deepEqual([report.reason, report.stale, report.moved, report.to], [reason, true, false, null]);
    assert.match(stderr, /left at/);
    assert.deepEqual(everything(made), before);
  }
});

test('changes of the session are left alone, whatever the remote has', async (t) => {
  const rows = [
    (made) => made.put('a.txt', 'mine\n'),
    (made) => fs.rmSync(path.join(made.app, 'a.txt')),
    (made) => (made.put('b.txt', 'staged\n'), made.git('workspace/app', 'add', 'b.txt')),
    (made) => made.git('workspace/app', 'rm', '--quiet', '--cached', 'a.txt'),
  ];
  for (const change of rows) {
    const made = prebuild(t);
    change(made);
    const before = everything(made);
    assert.equal((await ended(t, made, 0)).report.reason, 'up-to-date');
    const head = made.push({ 'a.txt': 'theirs\n' });
    const { report, stderr } = await ended(t, made, 4);
    assert.deepEqual([report.reason, report.to, report.stale], ['local-changes', head, true]);
    assert.match(stderr, /there are changes: [ab]\.txt/);
    assert.deepEqual(everything(made), before);
    assert.equal(made.installs(), 0);
  }
});

test('commits of the session are left alone until they are pushed, and then the branch is followed again', async (t) => {
  const made = prebuild(t);
  made.put('mine.txt', 'mine\n');
  made.git('workspace/app', 'add', '--all');
  made.git('workspace/app', 'commit', '--quiet', '--message', 'mine');
  const before = everything(made);
  assert.equal((await ended(t, made, 0)).report.reason, 'up-to-date');
  made.push({ 'a.txt': 'theirs\n' });
  assert.equal((await ended(t, made, 4)).report.reason, 'own-commits');
  assert.deepEqual(everything(made), before);

  made.git('workspace/app', 'push', '--quiet', '--force', 'origin', 'main');
  assert.equal((await ended(t, made, 0)).report.reason, 'up-to-date');
  made.git('work', 'fetch', '--quiet', 'origin');
  made.git('work', 'reset', '--quiet', '--hard', 'origin/main');
  const head = made.push({ 'a.txt': 'later\n' });
  assert.equal((await ended(t, made, 0)).report.to, head);
  assert.equal(made.file('mine.txt'), 'mine\n');
});

test('another branch, or none, that is checked out is left alone', async (t) => {
  for (const args of [['switch', '--quiet', '--create', 'topic'], ['switch', '--quiet', '--detach']]) {
    const made = prebuild(t);
    made.git('workspace/app', ...args);
    made.push({ 'a.txt': 'theirs\n' });
    const before = everything(made);
    assert.equal((await ended(t, made, 4)).report.reason, 'other-branch');
    assert.deepEqual(everything(made), before);
  }
});

test('files that git does not track stay, and one in the way, ignored or not, stops the move', async (t) => {
  for (const name of ['new.txt', 'ignored.log']) {
    const made = prebuild(t, { 'a.txt': 'one\n', '.gitignore': '*.log\n' });
    made.put(name, 'mine\n');
    made.put('scratch.txt', 'mine too\n');
    const before = everything(made);
    made.push({ 'a.txt': 'two\n', [name]: 'theirs\n' });
    const { report, stderr } = await ended(t, made, 4);
    assert.equal(report.reason, 'untracked-files');
    assert.ok(stderr.includes(name), stderr);
    assert.equal(made.file(name), 'mine\n');
    assert.deepEqual(everything(made).slice(0, 3), before.slice(0, 3));
    fs.rmSync(path.join(made.app, name));
    assert.equal((await ended(t, made, 0)).report.moved, true);
    assert.deepEqual([made.file(name), made.file('scratch.txt')], ['theirs\n', 'mine too\n']);
  }
});

test('what the prebuild\'s own build changed does not count as the session\'s', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n', 'generated.ts': 'x\n' });
  made.put('generated.ts', 'built\n');
  fs.utimesSync(path.join(made.app, 'generated.ts'), 1, 1);
  const head = made.push({ 'a.txt': 'two\n' });
  const { report } = await ended(t, made, 0);
  assert.deepEqual([made.head(), made.file('generated.ts')], [head, 'x\n']);
  assert.ok(report.warnings.some((text) => text.includes('generated.ts')));
});

test('a change with an old time that comes later is the session\'s', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n', 'generated.ts': 'x\n' });
  made.put('generated.ts', 'built\n');
  fs.utimesSync(path.join(made.app, 'generated.ts'), 1, 1);
  await ended(t, made, 0);
  made.put('generated.ts', 'mine!\n');
  fs.utimesSync(path.join(made.app, 'generated.ts'), 1, 1);
  made.push({ 'a.txt': 'two\n' });
  assert.equal((await ended(t, made, 4)).report.reason, 'local-changes');
  assert.equal(made.file('generated.ts'), 'mine!\n');
});

test('a checkout that git is at work in is not moved', async (t) => {
  const made = prebuild(t);
  made.push({ 'a.txt': 'two\n' });
  const lock = path.join(made.app, '.git/index.lock');
  fs.writeFileSync(lock, '');
  assert.equal((await ended(t, made, 4)).report.reason, 'busy');
  assert.deepEqual([made.file('a.txt'), fs.existsSync(lock)], ['one\n', true]);
  fs.rmSync(lock);
  assert.equal((await ended(t, made, 0)).report.moved, true);
});

test('a session that fetched the history keeps it', async (t) => {
  const made = prebuild(t);
  made.git('workspace/app', 'fetch', '--quiet', '--unshallow', 'origin');
  made.push({ 'a.txt': 'two\n' });
  await ended(t, made, 0);
  assert.equal(made.git('workspace/app', 'rev-list', '--count', 'HEAD'), '3');
});

test('a sparse, partial checkout stays so', async (t) => {
  const made = prebuild(t, { 'in/a.txt': '1', 'out/b.txt': '1' }, { checkout: { sparse: 'in\n', filter: 'blob:none' } });
  made.git('remote.git', 'config', 'uploadpack.allowFilter', 'true');
  made.push({ 'in/a.txt': '2', 'out/b.txt': '2' });
  await ended(t, made, 0);
  assert.deepEqual([made.file('in/a.txt'), made.file('out/b.txt')], ['2', undefined]);
});

test('submodules are brought along where the prebuild has them, and only there', async (t) => {
  for (const submodules of ['yes', '']) {
    const made = prebuild(t, { 'a.txt': 'one\n' });
    made.git('.', 'init', '--quiet', '--bare', '--initial-branch=main', 'part.git');
    made.git('.', 'clone', '--quiet', 'part.git', 'part');
    const grow = (text) => {
      fs.writeFileSync(made.at('part/part.txt'), text);
      made.git('part', 'add', '--all');
      made.git('part', 'commit', '--quiet', '--message', text);
      made.git('part', 'push', '--quiet', 'origin', 'HEAD:main');
    };
    grow('1');
    made.git('work', 'submodule', '--quiet', 'add', `file://${made.at('part.git')}`, 'part');
    made.push({});
    await ended(t, made, 0);
    if (submodules) made.git('workspace/app', 'submodule', '--quiet', 'update', '--init', '--depth', '1');
    grow('2');
    made.git('work/part', 'pull', '--quiet', 'origin', 'main');
    made.push({});
    await ended(t, made, 0);
    assert.equal(made.file('part/part.txt'), submodules ? '2' : undefined);
    assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
  }
});

test('LFS files are pulled where the prebuild has them, and only there', async (t) => {
  for (const lfs of ['yes', '']) {
    const made = prebuild(t, { '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n' });
    const add = (text) => (store(made, text), made.push({ 'a.bin': pointer(text) }));
    made.commit = add('first\n');
    made.checkOut({ lfs });
    const here = (text) => (lfs ? text : pointer(text));
    assert.equal(made.file('a.bin'), here('first\n'));
    add('second\n');
    await ended(t, made, 0);
    assert.equal(made.file('a.bin'), here('second\n'));
    assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
    assert.deepEqual(fs.existsSync(path.join(made.app, '.git/hooks/pre-push')), Boolean(lfs));
  }
});

test('where there is no prebuild that is said, and nothing is made', async (t) => {
  const empty = folder(t);
  const script = (workspace) => sync(t, { workspace, env: { PATH: process.env.PATH, HOME: empty } });
  const { code, report, stderr } = await script(empty);
  assert.deepEqual([code, report.reason, report.ready, fs.readdirSync(empty)], [3, 'not-a-prebuild', false, []]);
  assert.match(stderr, /not a prebuild/);
  for (const text of ['{', '{}', '{"target":"a/b@-x","path":"/","commit":"x"}', '{"target":"a/b@main","path":"' + path.join(empty, 'missing') + '","commit":"' + 'a'.repeat(40) + '"}']) {
    fs.mkdirSync(path.join(empty, '.harvest'), { recursive: true });
    fs.writeFileSync(path.join(empty, '.harvest/manifest.json'), text);
    assert.equal((await script(empty)).code, 3, text);
    assert.deepEqual(fs.readdirSync(path.join(empty, '.harvest')), ['manifest.json']);
  }
});

test('what is asked for wrongly is refused before anything is done, and --help answers', async (t) => {
  const made = prebuild(t);
  for (const args of [['--jsn'], ['--timeout', 'x'], ['--timeout', '0'], ['--timeout'], ['--workspace'], ['main']]) {
    const { code, stdout } = await sync(t, made, { args });
    assert.deepEqual([code, stdout, made.marker()], [2, '', undefined], args.join(' '));
  }
  const help = await run(t, process.execPath, [new URL('../../bin/harvest-sync', import.meta.url).pathname, '--help'], { env: made.env });
  assert.equal(help.code, 0);
  for (const code of [0, 2, 3, 4, 5]) assert.match(help.stdout, new RegExp(`^  ${code}  `, 'm'));
});
