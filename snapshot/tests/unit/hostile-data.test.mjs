// What git keeps as data, as a build can forge it: an index that hides changes, refs that stand for others, objects that hold something
// else than their names say. And what Claude Code would have run by it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { deflateSync, inflateSync } from 'node:zlib';

import { serve } from './host.mjs';
import { IDENTITY, put, SECRETS, sessionGit } from './hostile.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';

const SETTINGS = '.claude/settings.json';
const OWN = '{"hooks":{} }\n';
const EVIL = '{"hooks":[]}\n\n';
const FILES = { 'a.txt': 'one\n', 'dir/b.txt': 'one\n', [SETTINGS]: OWN };

async function ended(t, made, code = 0) {
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  assert.equal(end.code, code, end.stderr);
  if (code === 0) consistent(made, end);
  return end;
}

/** Changes a file long before the prebuild's manifest was written, as a build does. */
function change(made, name, text) {
  put(path.join(made.app, name), text);
  fs.utimesSync(path.join(made.app, name), 1, 1);
}

/** Writes into the index that a file, as it is now, is the one that was added. */
function forgeTimes(made, name) {
  const file = path.join(made.app, '.git/index');
  const bytes = fs.readFileSync(file);
  const stat = fs.statSync(path.join(made.app, name), { bigint: true });
  const at = bytes.indexOf(name) - 62;
  const parts = [stat.ctimeNs / 1_000_000_000n, stat.ctimeNs % 1_000_000_000n, stat.mtimeNs / 1_000_000_000n, stat.mtimeNs % 1_000_000_000n, stat.dev, stat.ino];
  parts.forEach((part, index) => bytes.writeUInt32BE(Number(part & 0xffffffffn), at + index * 4));
  bytes.writeUInt32BE(Number(stat.size), at + 36);
  createHash('sha1').update(bytes.subarray(0, -20)).digest().copy(bytes, bytes.length - 20);
  fs.writeFileSync(file, bytes);
}

test('an index in which a build hid its changes hides none', async (t) => {
  const hide = (...args) => (made) => made.git('workspace/app', ...args, SETTINGS, 'a.txt');
  const ways = {
    'files that are not to be looked at': hide('update-index', '--assume-unchanged'),
    'files that are said not to be there': hide('update-index', '--skip-worktree'),
    'times of the changed files': (made) => [SETTINGS, 'a.txt'].forEach((name) => forgeTimes(made, name)),
    'an index in two parts': (made) => (hide('update-index', '--assume-unchanged')(made), made.git('workspace/app', 'update-index', '--split-index')),
  };
  for (const [name, hideThem] of Object.entries(ways)) {
    const made = prebuild(t, FILES);
    change(made, SETTINGS, EVIL);
    change(made, 'a.txt', 'evil\n');
    hideThem(made);
    assert.equal(made.git('workspace/app', 'status', '--porcelain'), '', name);
    const head = made.push({ 'a.txt': 'two\n' });
    const { report } = await ended(t, made);
    assert.deepEqual([made.head(), made.file(SETTINGS), made.file('a.txt')], [head, OWN, 'two\n'], name);
    assert.ok(report.warnings.some((text) => text.includes('.claude')), JSON.stringify(report.warnings));
    assert.equal((await sessionGit(t, made, ['ls-files', '-v'])).stdout.replace(/^H .*\n/gm, ''), '', name);
    assert.deepEqual(fs.readdirSync(path.join(made.app, '.git')).filter((entry) => /index/.test(entry)), ['index']);
  }
});

test('what a session has staged before the first run stays staged', async (t) => {
  const made = prebuild(t, FILES);
  made.put('a.txt', 'mine\n');
  made.git('workspace/app', 'add', 'a.txt');
  made.put('a.txt', 'mine, later\n');
  await ended(t, made);
  assert.deepEqual([made.git('workspace/app', 'show', ':a.txt'), made.file('a.txt')], ['mine', 'mine, later\n']);
});

test('a build cannot say where the remote\'s branch is, even while the remote is out of reach', async (t) => {
  const made = prebuild(t, FILES);
  const evil = made.git('workspace/app', 'commit-tree', '-m', 'evil', 'HEAD^{tree}');
  made.git('workspace/app', 'update-ref', 'refs/remotes/origin/main', evil);
  fs.renameSync(made.remote, made.at('away.git'));
  await ended(t, made, 4);
  assert.equal(made.git('workspace/app', 'rev-parse', 'origin/main'), made.commit);
});

test('refs that a build left stand for nothing and make nobody wait', async (t) => {
  const made = prebuild(t, FILES);
  await serve(t, made);
  const evil = made.git('workspace/app', 'commit-tree', '-m', 'evil', 'HEAD^{tree}');
  const git = path.join(made.app, '.git');
  for (const name of ['refs/tags/main', 'refs/tags/origin/main', 'refs/heads/origin/main', 'refs/heads/HEAD', 'refs/main', 'refs/remotes/other/main']) {
    put(path.join(git, name), `${evil}\n`);
  }
  put(path.join(git, `refs/replace/${made.commit}`), `${evil}\n`);
  made.git('workspace/app', 'pack-refs', '--all');
  assert.match(fs.readFileSync(path.join(git, 'packed-refs'), 'utf8'), /refs\/replace/);
  put(path.join(git, 'refs/remotes/origin/main'), `${evil}\n`);
  for (const name of ['refs/heads/pipe', 'logs/HEAD', 'refs/remotes/origin/HEAD', 'FETCH_HEAD', 'ORIG_HEAD']) {
    fs.rmSync(path.join(git, name), { force: true });
    execFileSync('mkfifo', [path.join(git, name)]);
  }
  const { report } = await ended(t, made);
  assert.deepEqual([report.reason, made.head()], ['up-to-date', made.commit]);
  const refs = await sessionGit(t, made, ['for-each-ref', '--format=%(refname) %(objectname)']);
  assert.equal(refs.stdout, ['heads/main', 'remotes/origin/main'].map((name) => `refs/${name} ${made.commit}\n`).join(''));
  const name = await sessionGit(t, made, ['rev-parse', 'origin/main', 'HEAD']);
  assert.deepEqual([name.stdout, name.stderr], [`${made.commit}\n${made.commit}\n`, '']);
  assert.equal((await sessionGit(t, made, ['cat-file', 'commit', made.commit])).stdout.includes('evil'), false);
});

/** Writes something else under an object's name. */
function forge(made, name, edit) {
  const oid = made.git('workspace/app', 'rev-parse', name);
  const file = path.join(made.app, '.git/objects', oid.slice(0, 2), oid.slice(2));
  const object = inflateSync(fs.readFileSync(file)).toString('latin1');
  const body = edit(object.slice(object.indexOf('\0') + 1));
  put(file, deflateSync(Buffer.from(`${object.split(' ')[0]} ${body.length}\0${body}`, 'latin1')), 0o444);
}

test('an object that holds something else than its name says makes it no prebuild, and nothing is checked out of it', async (t) => {
  const forgeries = {
    'a file': (made) => forge(made, `HEAD:${SETTINGS}`, () => EVIL),
    'a folder': (made) => forge(made, 'HEAD:.claude', (text) => text.replace('settings.json', 'settings.jsom')),
    'the root': (made) => forge(made, 'HEAD^{tree}', (text) => text.replace('.claude', '.clauda')),
    'the commit': (made) => forge(made, 'HEAD', (text) => text.replace(/change/, 'evil!!')),
    'nothing': (made) => {
      const oid = made.git('workspace/app', 'rev-parse', `HEAD:${SETTINGS}`);
      fs.rmSync(path.join(made.app, '.git/objects', oid.slice(0, 2), oid.slice(2)));
    },
  };
  for (const [name, make] of Object.entries(forgeries)) {
    const made = prebuild(t, FILES);
    make(made);
    const { code, report, stderr } = await sync(t, made, { env: SECRETS });
    assert.deepEqual([code, report.reason, made.marker()], [3, 'not-a-prebuild', undefined], `${name}: ${stderr}`);
  }
});

test('a file of a later commit that a build forged beforehand is found once it is checked out', async (t) => {
  const made = prebuild(t, FILES);
  const later = '{"hooks":{},"later":true}\n';
  const oid = createHash('sha1').update(`blob ${later.length}\0${later}`).digest('hex');
  put(path.join(made.app, '.git/objects', oid.slice(0, 2), oid.slice(2)), deflateSync(Buffer.from(`blob ${EVIL.length}\0${EVIL}`)), 0o444);
  made.push({ [SETTINGS]: later });
  const { code, report } = await sync(t, made, { env: SECRETS });
  assert.notEqual(made.file(SETTINGS) === EVIL && code === 0, true);
  assert.ok(code === 3 || (code === 4 && report.stale) || made.file(SETTINGS) === later, JSON.stringify(report));
});

test('another common folder that is put there between two runs is not followed', async (t) => {
  const made = prebuild(t, FILES);
  await ended(t, made);
  fs.cpSync(path.join(made.app, '.git'), made.at('common'), { recursive: true });
  put(path.join(made.app, '.git/commondir'), `${made.at('common')}\n`);
  const head = made.push({ 'a.txt': 'two\n' });
  await ended(t, made);
  assert.deepEqual([made.head(), fs.existsSync(path.join(made.app, '.git/commondir'))], [head, false]);
});

test('a partial clone and a sparse one are put back without asking for what they lack', async (t) => {
  const files = { 'a.txt': 'one\n', 'in/b.txt': 'one\n', 'out/c.txt': 'one\n', '.claude/x.md': 'one\n', 'CLAUDE.md': 'one\n' };
  for (const how of [{ filter: 'blob:none', sparse: 'in\n' }, { sparse: 'in\n' }, { filter: 'blob:none' }]) {
    const made = prebuild(t, files);
    made.git('remote.git', 'config', 'uploadpack.allowFilter', 'true');
    fs.rmSync(made.app, { recursive: true });
    made.checkOut(how);
    const before = made.git('workspace/app', 'ls-files', '-t');
    change(made, 'CLAUDE.md', 'evil\n');
    fs.renameSync(made.remote, made.at('away.git'));
    const { report } = await ended(t, made, 4);
    assert.deepEqual([report.reason, made.file('CLAUDE.md'), made.file('in/b.txt')], ['unreachable', 'one\n', 'one\n'], JSON.stringify(how));
    assert.equal(made.git('workspace/app', 'ls-files', '-t'), before, JSON.stringify(how));
    assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
  }
});
