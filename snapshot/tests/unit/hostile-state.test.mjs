// What a build left where harvest-sync keeps what it knows: none of it is a word of harvest-sync's own, and nothing waits for it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { put } from './hostile.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { textOf } from './support.mjs';

const NAMES = ['sync.json', 'sync.lock', 'ready', 'sync-install.log', 'sync.json.harvest-new', 'ready.harvest-new', 'sync.json.new', 'other'];
const SANDBOX = { DAYTONA_SANDBOX_ID: 'this-one' };

async function ended(t, made, code, options) {
  const end = await sync(t, made, { env: SANDBOX, ...options });
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

test('what a build says of earlier runs is not believed, even in harvest-sync\'s own words', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1', 'a.txt': 'one\n' });
  const bystander = spawn('sleep', ['1000'], { env: { HARVEST_SYNC_RUN: 'mark' }, stdio: 'ignore' });
  t.after(() => bystander.kill('SIGKILL'));
  const head = made.push({ 'package-lock.json': '2' });
  const move = { from: `--output=${made.at('elsewhere')}`, to: made.commit };
  const record = { marks: ['mark'], began: 0, move, installing: true };
  const known = { commit: head, dependencies: 'ready', installed: { commit: head, lockfiles: [] }, made: {}, last: { ended: Date.now() * 2, report: { code: 0 } } };
  for (const sandbox of [undefined, 'the-build\'s']) {
    put(path.join(made.state, 'sync.json'), JSON.stringify({ sandbox, ...known }));
    put(path.join(made.state, 'sync.lock'), JSON.stringify({ sandbox, ...record }));
    put(path.join(made.state, 'ready'), '{}');
    put(path.join(made.app, '.git/index.lock'), '');
    const { report } = await ended(t, made, 4, { env: { DAYTONA_SANDBOX_ID: `${sandbox}+` } });
    assert.deepEqual([report.reason, bystander.exitCode, bystander.signalCode], ['busy', null, null]);
    assert.ok(fs.existsSync(path.join(made.app, '.git/index.lock')), 'a lock file of somebody else\'s');
    assert.equal(fs.existsSync(made.at('elsewhere')), false);
  }
  fs.rmSync(path.join(made.app, '.git/index.lock'));
  assert.deepEqual([(await ended(t, made, 0)).report.installed, made.installs()], [true, 1]);
});

test('pipes, links and folders in its place make it neither wait nor write elsewhere', async (t) => {
  const plants = [
    (file) => execFileSync('mkfifo', [file]),
    (file, away) => fs.symlinkSync(away, file),
    (file) => put(path.join(file, 'inner'), 'x'),
    (file) => fs.symlinkSync('/dev/zero', file),
  ];
  for (const plant of plants) {
    const made = prebuild(t, { 'package-lock.json': '1' });
    put(made.at('away'), 'somebody else\'s\n');
    for (const name of NAMES) plant(path.join(made.state, name), made.at('away'));
    made.push({ 'package-lock.json': '2' });
    const { report } = await ended(t, made, 0);
    assert.deepEqual([report.installed, textOf(made.at('away'))], [true, 'somebody else\'s\n']);
    assert.deepEqual(fs.readdirSync(made.state).sort(), ['manifest.json', 'ready', 'sync-install.log', 'sync.json', 'sync.lock']);
  }
});

test('a manifest that is no file is no manifest, and is not waited for', async (t) => {
  for (const plant of [(file) => execFileSync('mkfifo', [file]), (file) => fs.symlinkSync('/dev/zero', file), (file) => fs.mkdirSync(file)]) {
    const made = prebuild(t);
    fs.rmSync(path.join(made.state, 'manifest.json'));
    plant(path.join(made.state, 'manifest.json'));
    const { code, report } = await sync(t, made);
    assert.deepEqual([code, report.reason], [3, 'not-a-prebuild']);
  }
});

test('a folder of harvest-sync\'s that is a link is none, and nothing behind it is touched', async (t) => {
  const made = prebuild(t);
  fs.renameSync(made.state, made.at('away'));
  put(made.at('away/precious'), 'x');
  fs.symlinkSync(made.at('away'), made.state);
  const { code, report } = await sync(t, made);
  assert.deepEqual([code, report.reason, fs.existsSync(made.at('away/precious'))], [3, 'not-a-prebuild', true]);
});

test('a sandbox made from a session\'s begins anew', async (t) => {
  const made = prebuild(t);
  await ended(t, made, 0);
  put(made.at('home/.netrc'), 'of the first session\n');
  await ended(t, made, 0);
  assert.ok(fs.existsSync(made.at('home/.netrc')));
  await ended(t, made, 0, { env: { DAYTONA_SANDBOX_ID: 'another' } });
  assert.equal(fs.existsSync(made.at('home/.netrc')), false);
});
