// Who commits, and how git gets at the token: by a real smart HTTP server that asks for one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { FORMS, serve, TOKEN } from './host.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { BIN, filesWith, run, textOf } from './support.mjs';

/** Git as a session runs it. */
function git(t, made, args, { env = {}, input = '' } = {}) {
  return run(t, 'git', args, { cwd: made.app, env: { ...made.env, GIT_TERMINAL_PROMPT: '0', ...env }, input });
}

const config = (made, key) => made.git('workspace/app', 'config', '--global', '--get-all', key);

test('a private remote is fetched from with the token of the environment, which is written nowhere', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n' }, { install: 'echo "${GITHUB_TOKEN:-no token} $NPM_TOKEN"; env' });
  await serve(t, made);
  const head = made.push({ 'a.txt': 'two\n', '.npmrc': 'x' });
  const end = await sync(t, made, { env: { GITHUB_TOKEN: TOKEN, NPM_TOKEN: 'npm_0123456789', GIT_TRACE_CURL: '1', GIT_CURL_VERBOSE: '1', GIT_TRACE: made.at('home/trace') } });
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  assert.deepEqual([made.head(), end.report.installed], [head, true]);
  assert.equal(fs.existsSync(made.at('home/trace')), false);
  for (const form of FORMS) {
    assert.deepEqual(filesWith(form, made.at('home'), made.workspace), []);
    assert.ok(!(end.stdout + end.stderr).includes(form));
  }
  assert.match(textOf(path.join(made.state, 'sync-install.log')), /^no token \*\*\*$/m);
});

test('the session\'s own git gets the token of its own environment afterwards, and pushes', async (t) => {
  const made = prebuild(t);
  await serve(t, made);
  await sync(t, made, { env: { GITHUB_TOKEN: 'an-older-one', GIT_USER_NAME: 'Ann Example', GIT_USER_EMAIL: 'ann@example.com' } });
  made.put('a.txt', 'mine\n');
  const env = { GITHUB_TOKEN: TOKEN };
  const committed = await git(t, made, ['commit', '--all', '--quiet', '--message', 'mine'], { env });
  assert.equal(committed.code, 0, committed.stderr);
  const pushed = await git(t, made, ['push', '--quiet'], { env });
  assert.equal(pushed.code, 0, pushed.stderr);
  assert.equal(made.git('remote.git', 'log', '--max-count=1', '--format=%an <%ae> %cn', 'main'), 'Ann Example <ann@example.com> Ann Example');
  assert.deepEqual(filesWith(TOKEN, made.at('home'), made.workspace), []);
});

test('without a token, or with a wrong one, that is said and nothing hangs', async (t) => {
  const made = prebuild(t);
  const { seen } = await serve(t, made);
  const asks = made.at('home/asks');
  fs.writeFileSync(asks, '#!/bin/sh\necho "$1" >>"$HOME/asked"\necho typed\n', { mode: 0o755 });
  const without = await sync(t, made, { env: { GIT_ASKPASS: asks, SSH_ASKPASS: asks } });
  assert.equal(textOf(made.at('home/asked')), undefined, 'somebody was asked');
  assert.deepEqual([without.code, without.report.reason], [4, 'refused'], without.stderr);
  consistent(made, without);
  assert.ok(without.report.warnings.some((text) => text.startsWith('GITHUB_TOKEN is not set')));
  assert.ok(seen.every(({ authorization }) => authorization === undefined));

  const wrong = await sync(t, made, { env: { GITHUB_TOKEN: 'ghp_wrongwrongwrong' } });
  assert.deepEqual([wrong.code, wrong.report.reason], [4, 'refused'], wrong.stderr);
  assert.ok(!(wrong.stdout + wrong.stderr).includes('wrongwrong'));
});

test('a public remote needs no token', async (t) => {
  const made = prebuild(t);
  const head = made.push({ 'a.txt': 'two\n' });
  const { code, report } = await sync(t, made);
  assert.deepEqual([code, report.to], [0, head]);
});

test('the token is for the remote\'s own repository alone, other helpers are out of force there and in force elsewhere', async (t) => {
  const made = prebuild(t);
  const { origin, url } = await serve(t, made);
  await sync(t, made);
  const helper = made.at('home/other-helper');
  fs.writeFileSync(helper, '#!/bin/sh\necho "$1" >>"$HOME/asked"\n[ "$1" = get ] && echo username=other && echo password=other\n', { mode: 0o755 });
  made.git('workspace/app', 'config', '--global', 'credential.helper', helper);
  await sync(t, made, { env: { GITHUB_TOKEN: TOKEN } });
  fs.rmSync(made.at('home/asked'), { force: true });
  const fill = async (asked) => (await git(t, made, ['credential', 'fill'], { env: { GITHUB_TOKEN: TOKEN }, input: `url=${asked}\n\n` })).stdout;
  for (const own of [url, `${url}/`, `${url}/info/lfs`]) {
    assert.match(await fill(own), new RegExp(`^username=x-access-token\npassword=${TOKEN}$`, 'm'), own);
  }
  const others = [
    `${origin}/any/other.git`, origin, `${url}x`, `${url}/../other.git`, `${url}/%2e%2e/other.git`, `${origin}/REMOTE.git`, `${origin}/x/remote.git`,
    'https://127.0.0.1/remote.git', 'http://127.0.0.1:1/remote.git', 'https://example.com/remote.git', url.replace('127.0.0.1', 'localhost'), url.replace('http:', 'https:'),
  ];
  for (const other of others) assert.match(await fill(other), /password=other/, other);
  fs.rmSync(made.at('home/asked'));
  // What git offers to be stored, or to be forgotten, reaches nobody.
  const entry = `url=${url}\nusername=x-access-token\npassword=${TOKEN}\n\n`;
  for (const verb of ['approve', 'reject']) assert.equal((await git(t, made, ['credential', verb], { env: { GITHUB_TOKEN: TOKEN }, input: entry })).stdout, '');
  assert.equal(fs.existsSync(made.at('home/asked')), false);
});

test('the helper answers for its repository and what lies below it, whatever git should ask', async (t) => {
  const helper = path.join(BIN, 'harvest-git-credential');
  const says = async (verb, { protocol = 'https', host = 'h:1', path: asked = 'a/b.git', token = TOKEN } = {}) => {
    const input = [`protocol=${protocol}`, `host=${host}`, asked === null ? undefined : `path=${asked}`, '', ''].filter((line) => line !== undefined).join('\n');
    return (await run(t, helper, ['https', 'h:1', 'a/b.git', verb], { env: { GITHUB_TOKEN: token }, input })).stdout;
  };
  const answer = `username=x-access-token\npassword=${TOKEN}\n`;
  for (const own of [{}, { path: 'a/b.git/info/lfs' }]) assert.equal(await says('get', own), answer, JSON.stringify(own));
  const others = [
    { path: null }, { path: '' }, { path: 'a' }, { path: 'a/b.gitx' }, { path: 'a/b.git/../../c/d.git' }, { path: 'a/b.git/./x' }, { path: 'a/b.git//x' },
    { path: 'a/B.git' }, { path: 'x/a/b.git' }, { path: 'a/?.git' }, { host: 'h' }, { host: 'h:12' }, { protocol: 'http' }, { token: '' },
  ];
  for (const other of others) assert.equal(await says('get', other), '', JSON.stringify(other));
  for (const verb of ['store', 'erase', '']) assert.equal(await says(verb), '', verb);
});

test('running again leaves the settings as they are', async (t) => {
  const made = prebuild(t);
  await serve(t, made);
  const env = { GITHUB_TOKEN: TOKEN, GIT_USER_NAME: 'A', GIT_USER_EMAIL: 'a@b' };
  await sync(t, made, { env });
  const first = fs.readFileSync(made.at('home/.gitconfig'), 'utf8');
  assert.equal(first.match(/helper =/g).length, 2, 'an empty one and ours');
  await sync(t, made, { env });
  assert.equal(fs.readFileSync(made.at('home/.gitconfig'), 'utf8'), first);
  await sync(t, made, { env: { ...env, GIT_USER_NAME: 'B "C" \\ $(id)' } });
  assert.equal(config(made, 'user.name'), 'B "C" \\ $(id)');
});

test('an identity that is not set is said, unless git has one', async (t) => {
  const made = prebuild(t);
  const said = async (env) => (await sync(t, made, { env })).report.warnings.filter((text) => /commits will fail/.test(text));
  assert.deepEqual(await said({}), ['GIT_USER_NAME is not set: commits will fail', 'GIT_USER_EMAIL is not set: commits will fail']);
  assert.deepEqual(await said({ GIT_USER_NAME: 'A', GIT_USER_EMAIL: 'a@b' }), []);
  assert.deepEqual(await said({}), []);
});

test('a password in the remote\'s URL is in no output', async (t) => {
  const made = prebuild(t, undefined, { facts: { clone: undefined } });
  made.git('workspace/app', 'remote', 'set-url', 'origin', 'http://user:hunter2secret@127.0.0.1:1/x.git');
  const { code, stdout, stderr } = await sync(t, made);
  assert.equal(code, 4);
  assert.doesNotMatch(stdout + stderr + textOf(path.join(made.state, 'ready')) + textOf(path.join(made.state, 'sync.json')), /hunter2/);
});
