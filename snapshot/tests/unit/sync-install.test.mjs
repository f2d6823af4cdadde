// When dependencies are installed again, how, and what is said when they are not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { consistent, prebuild, sync } from './prebuild.mjs';
import { filesWith, textOf } from './support.mjs';

const json = (value) => JSON.stringify(value);
const BASE = { name: 'app', version: '1.0.0', scripts: { build: 'x', postinstall: 'node scripts/after.js' }, dependencies: { a: '1' } };

async function ended(t, made, code, options) {
  const end = await sync(t, made, options);
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

/** Pushes each row's change and sees whether that alone calls for an install. */
async function decides(t, made, rows) {
  for (const [change, expected] of rows) {
    const before = made.installs();
    made.push(change);
    const { report } = await ended(t, made, 0);
    const name = Object.keys(change)[0];
    assert.deepEqual([report.moved, report.installed, made.installs() - before], [true, expected, expected ? 1 : 0], `${json(change)}\n${json(report)}`);
    if (expected) assert.ok(report.installReasons.includes(name), json(report));
  }
}

test('an install follows from what shapes it, and from nothing else', async (t) => {
  const made = prebuild(t, { 'package.json': json(BASE), 'package-lock.json': '{}', 'src/a.js': '1', 'scripts/after.js': '1' });
  const with_ = (change) => ({ 'package.json': json(Object.assign(BASE, change)) });
  await decides(t, made, [
    [{ 'src/a.js': '2' }, false],
    [{ 'README.md': 'x' }, false],
    [{ 'package-lock.json': '{"x":1}' }, true],
    [{ 'package-lock.json': null }, true],
    [{ 'package-lock.json': '{}' }, true],
    [{ 'pnpm-lock.yaml': 'x' }, true],
    [with_({ scripts: { ...BASE.scripts, build: 'y', test: 'z' } }), false],
    [with_({ version: '2.0.0', description: 'x' }), false],
    [{ 'package.json': JSON.stringify({ dependencies: BASE.dependencies, ...BASE }, null, 4) }, false],
    [with_({ dependencies: { a: '2' } }), true],
    [with_({ devDependencies: { b: '1' } }), true],
    [with_({ optionalDependencies: { c: '1' } }), true],
    [with_({ peerDependencies: { d: '1' } }), true],
    [with_({ overrides: { e: '1' } }), true],
    [with_({ resolutions: { e: '1' } }), true],
    [with_({ pnpm: { patchedDependencies: {} } }), true],
    [with_({ packageManager: 'npm@10.9.9' }), true],
    [with_({ engines: { node: '>=22' } }), true],
    [with_({ scripts: { ...BASE.scripts, prepare: 'x' } }), true],
    [{ 'scripts/after.js': '2' }, true],
    [{ 'scripts/other.js': '2' }, false],
    [{ '.npmrc': 'x=y' }, true],
    [{ '.pnpmfile.cjs': 'x' }, true],
    [{ 'patches/a.patch': 'x' }, true],
    [{ 'sub/package.json': json({ dependencies: { z: '1' } }) }, false],
    [{ 'requirements.txt': 'x' }, false],
    [with_({ workspaces: ['sub'] }), true],
    [{ 'sub/package.json': json({ dependencies: { z: '2' } }) }, true],
    [{ 'sub/package.json': json({ dependencies: { z: '2' }, scripts: { test: 'x' } }) }, false],
    [{ 'sub/src/a.js': 'x' }, false],
  ]);
});

test('a command set by hand may install anything anywhere', async (t) => {
  const command = 'echo x >>"$HOME/installs" && ls tools/setup.sh';
  const made = prebuild(t, { 'a.txt': '1', 'tools/setup.sh': '1' }, { recipe: { install: { run: { command, from: 'settings' } } } });
  await decides(t, made, [
    [{ 'a.txt': '2' }, false],
    [{ 'tools/setup.sh': '2' }, true],
    [{ 'deep/er/package.json': json({ dependencies: { z: '1' } }) }, true],
    [{ 'requirements-dev.txt': 'x' }, true],
    [{ 'py/uv.lock': 'x' }, true],
  ]);
});

test('what is compared is the commit that dependencies were installed for, however many runs lie between', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1' });
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 5, { args: ['--no-install'] });
  made.push({ 'a.txt': 'x' });
  const { report } = await ended(t, made, 0);
  assert.deepEqual([report.installed, made.installs()], [true, 1]);
  assert.equal((await ended(t, made, 0)).report.installed, false);
});

test('a commit that cannot be compared counts as changed', async (t) => {
  const made = prebuild(t, { 'a.txt': '1' });
  fs.writeFileSync(path.join(made.state, 'sync.json'), json({ sandbox: os.hostname(), installed: { commit: 'f'.repeat(40), lockfiles: [] }, commit: made.commit }));
  assert.equal((await ended(t, made, 0)).report.installed, true);
});

test('--no-install decides, says so, and installs nothing', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1' });
  made.push({ 'package-lock.json': '2' });
  const { report, stderr } = await ended(t, made, 5, { args: ['--no-install'] });
  assert.deepEqual([report.moved, report.installed, report.dependencies, made.installs()], [true, false, 'stale', 0]);
  assert.match(stderr, /package-lock\.json/);
});

test('an install that fails is shown by its last lines, leaves edits safe, and is tried again', async (t) => {
  const install = 'for i in $(seq 30); do echo line $i; done; test -e "$HOME/fixed" && echo x >>"$HOME/installs"';
  const made = prebuild(t, { 'package-lock.json': '1' }, { install });
  const head = made.push({ 'package-lock.json': '2' });
  const first = await ended(t, made, 5);
  assert.deepEqual([first.report.reason, first.report.dependencies, made.head()], ['install-failed', 'stale', head]);
  assert.match(first.stderr, /\| line 30/);
  assert.doesNotMatch(first.stderr, /\| line 3\n/);
  assert.match(textOf(path.join(made.state, 'sync-install.log')), /line 3\n[^]*line 30\n/);

  made.put('package-lock.json', 'mine');
  assert.equal((await ended(t, made, 5)).report.reason, 'not-installed', 'not while the session has changes');
  made.git('workspace/app', 'checkout', '--quiet', '.');
  fs.writeFileSync(made.at('home/fixed'), '');
  const last = await ended(t, made, 0);
  assert.deepEqual([last.report.moved, last.report.installed, last.report.dependencies], [false, true, 'ready']);
});

test('what an install left half done is put right even when the branch goes back to where it was', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1' }, { install: 'grep -q 1 package-lock.json && echo x >>"$HOME/installs"' });
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 5);
  made.push({ 'package-lock.json': '1' });
  const { report } = await ended(t, made, 0);
  assert.deepEqual([report.installed, made.installs()], [true, 1]);
});

test('an install is tried again even where the remote cannot be reached', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1' });
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 5, { args: ['--no-install'] });
  fs.renameSync(made.remote, made.at('away.git'));
  const { report } = await ended(t, made, 4);
  assert.deepEqual([report.installed, report.dependencies, report.reason], [true, 'ready', 'unreachable']);
});

test('the install runs in the checkout with the repository\'s own tools first, and without secrets it has no use for', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1' }, { install: 'node-of-repo; pwd; env >"$HOME/env"; echo $GITHUB_TOKEN; echo https://u:p@host/x >&2' });
  const bin = made.at('home/.harvest/bin');
  fs.mkdirSync(bin, { recursive: true });
  fs.writeFileSync(path.join(bin, 'node-of-repo'), '#!/bin/sh\necho from the repository\n', { mode: 0o755 });
  made.push({ 'package-lock.json': '2' });
  const secrets = Object.fromEntries(['CLAUDE_CODE_OAUTH_TOKEN', 'ANTHROPIC_API_KEY', 'LINEAR_API_KEY', 'SENTRY_AUTH_TOKEN', 'GEMINI_API_KEY', 'GITHUB_TOKEN', 'NPM_TOKEN']
    .map((name) => [name, `secret-of-${name}`]));
  const { stdout, stderr } = await ended(t, made, 0, { env: { ...secrets, HUSKY: '1' } });
  const log = textOf(path.join(made.state, 'sync-install.log'));
  assert.match(log, /from the repository/);
  assert.ok(log.includes(`${made.app}\n`));
  const env = textOf(made.at('home/env'));
  assert.deepEqual(env.match(/secret-of-\w+/g).sort(), ['secret-of-NPM_TOKEN']);
  for (const line of ['CI=true', 'HUSKY=1', 'npm_config_include=dev']) assert.ok(env.includes(`${line}\n`), line);
  fs.rmSync(made.at('home/env'));
  assert.deepEqual(filesWith('secret-of-', made.workspace, made.at('home')), []);
  assert.doesNotMatch(stdout + stderr + log, /secret-of-|u:p@/);
  assert.match(log, /https:\/\/host\/x/);
});

test('files of the repository that an install changes are said, and do not stop the next move', async (t) => {
  const made = prebuild(t, { 'package-lock.json': '1', 'made.ts': 'x' }, { install: 'cat package-lock.json >made.ts; echo x >>"$HOME/installs"' });
  made.push({ 'package-lock.json': '2' });
  const { report } = await ended(t, made, 0);
  assert.ok(report.warnings.some((text) => text.includes('made.ts')), json(report));
  const head = made.push({ 'a.txt': 'x' });
  assert.equal((await ended(t, made, 0)).report.to, head);
  assert.equal(made.head(), head);

  made.push({ 'package-lock.json': '3' });
  await ended(t, made, 0);
  made.put('made.ts', 'mine');
  made.push({ 'a.txt': 'y' });
  assert.equal((await ended(t, made, 4)).report.reason, 'local-changes');
  assert.equal(made.file('made.ts'), 'mine');
});

test('what it does nothing about is said: no install command, another toolchain, an older build, other commands', async (t) => {
  const said = async (made, pattern) => {
    const { report } = await ended(t, made, 0);
    return report.warnings.filter((text) => pattern.test(text)).length;
  };
  const none = prebuild(t, { 'a.txt': '1' }, { install: null });
  none.push({ 'package.json': json({ dependencies: { a: '1' } }) });
  assert.equal(await said(none, /no install command.*package\.json/), 1);

  const made = prebuild(t, { '.nvmrc': '22', 'a.js': '1', 'package.json': '{}' }, { recipe: { build: { run: { command: 'x', from: 'y' } } } });
  assert.equal(await said(made, /toolchain|prebuild's|build/), 0);
  made.push({ 'a.js': '2' });
  assert.equal(await said(made, /the build was not run/), 1);
  assert.equal(await said(made, /Node/), 0);
  made.push({ '.nvmrc': '24', 'package.json': json({ engines: { node: '24' } }), '.harvest.toml': 'x' });
  assert.equal(await said(made, /\.nvmrc, package\.json changed: Node 22\.1\.0/), 1);
  assert.equal(await said(made, /\.harvest\.toml changed/), 1, 'said in every run');
});

/** A repository with one dependency, an archive in the repository itself, so that npm needs no registry. */
function npmPrebuild(t) {
  const npm = (made, where, ...args) =>
    execFileSync('npm', args, { cwd: made.at(where), env: { ...made.env, npm_config_offline: 'true', npm_config_cache: made.at('npm') }, stdio: ['ignore', 'ignore', 'pipe'] });
  const install = { run: { command: 'npm ci', from: 'package-lock.json', fallback: 'npm install' } };
  const made = prebuild(t, { '.gitignore': 'node_modules\n' }, { recipe: { install } });
  made.npm = (...args) => npm(made, ...args);
  made.pack = (version) => {
    fs.mkdirSync(made.at('dep'), { recursive: true });
    fs.writeFileSync(made.at('dep/package.json'), json({ name: 'dep', version }));
    fs.mkdirSync(made.at('work/vendor'), { recursive: true });
    made.npm('dep', 'pack', '--pack-destination', made.at('work/vendor'));
    fs.writeFileSync(made.at('work/package.json'), json({ name: 'app', version: '1.0.0', dependencies: { dep: `file:vendor/dep-${version}.tgz` } }));
  };
  made.lock = () => {
    made.npm('work', 'install', '--package-lock-only', '--ignore-scripts');
    return textOf(made.at('work/package-lock.json'));
  };
  made.installed = () => JSON.parse(made.file('node_modules/dep/package.json')).version;
  made.npmEnv = { npm_config_offline: 'true', npm_config_cache: made.at('npm') };
  return made;
}

test('npm installs the new version that the new lockfile names', async (t) => {
  const made = npmPrebuild(t);
  for (const version of ['1.0.0', '2.0.0']) {
    made.pack(version);
    made.lock();
    made.push({});
    const { report } = await ended(t, made, 0, { env: made.npmEnv });
    assert.deepEqual([report.installed, made.installed()], [true, version]);
  }
  assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
});

test('a lockfile that is out of step falls back to a plain install, is said, and stays as committed', async (t) => {
  const made = npmPrebuild(t);
  made.pack('1.0.0');
  const lock = made.lock();
  made.push({});
  made.pack('2.0.0');
  made.push({ 'package-lock.json': lock });
  const { report } = await ended(t, made, 0, { env: made.npmEnv });
  assert.equal(made.installed(), '2.0.0');
  assert.ok(report.warnings.some((text) => /lockfile does not match/.test(text)), json(report));
  assert.equal(made.file('package-lock.json'), lock);
  assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
  assert.equal((await ended(t, made, 0, { env: made.npmEnv })).report.installed, false);
});

test('an install that fails for another reason does not fall back', async (t) => {
  const install = { run: { command: 'echo "npm error code E404"; exit 1', from: 'package-lock.json', fallback: 'echo x >>"$HOME/installs"' } };
  const made = prebuild(t, { 'package-lock.json': '1' }, { recipe: { install } });
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 5);
  assert.equal(made.installs(), 0);
});
