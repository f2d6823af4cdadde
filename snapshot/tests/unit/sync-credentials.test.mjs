// Who commits, and how git gets at the token: by a real smart HTTP server that asks for one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';

import { consistent, prebuild, sync } from './prebuild.mjs';
import { filesWith, run, textOf } from './support.mjs';

const TOKEN = 'ghp_0123456789secretsecret';
const GOOD = `Basic ${Buffer.from(`x-access-token:${TOKEN}`).toString('base64')}`;

/** Serves the remote by git's own program to who has the token; `seen` is what clients sent as authorization. */
async function serve(t, made) {
  const seen = [];
  const server = http.createServer((request, response) => {
    seen.push(request.headers.authorization);
    if (request.headers.authorization !== GOOD) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const { pathname, search } = new URL(request.url, 'http://x');
    const git = spawn('git', ['http-backend'], {
      env: {
        ...made.env, GIT_PROJECT_ROOT: made.home, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: pathname, QUERY_STRING: search.slice(1),
        REQUEST_METHOD: request.method, CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: 'x',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '', GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
      },
    });
    request.pipe(git.stdin);
    git.stdin.on('error', () => {});
    const chunks = [];
    git.stdout.on('data', (chunk) => chunks.push(chunk));
    git.on('close', () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf('\r\n\r\n');
      const lines = all.subarray(0, end).toString().split('\r\n').map((line) => line.split(': '));
      const { Status: status = '200', ...headers } = Object.fromEntries(lines);
      response.writeHead(Number.parseInt(status, 10), headers).end(all.subarray(end + 4));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const origin = `http://127.0.0.1:${server.address().port}`;
  made.git('workspace/app', 'remote', 'set-url', 'origin', `${origin}/remote.git`);
  return { origin, seen };
}

/** Git as a session runs it. */
function git(t, made, args, { env = {}, input = '' } = {}) {
  return run(t, 'git', args, { cwd: made.app, env: { ...made.env, GIT_TERMINAL_PROMPT: '0', ...env }, input });
}

const config = (made, key) => made.git('workspace/app', 'config', '--global', '--get-all', key);

test('a private remote is fetched from with the token of the environment, which is written nowhere', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n' }, { install: 'echo "$GITHUB_TOKEN"; env' });
  await serve(t, made);
  const head = made.push({ 'a.txt': 'two\n', '.npmrc': 'x' });
  const end = await sync(t, made, { env: { GITHUB_TOKEN: TOKEN, GIT_TRACE_CURL: '1', GIT_CURL_VERBOSE: '1', GIT_TRACE: made.at('home/trace') } });
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  assert.deepEqual([made.head(), end.report.installed], [head, true]);
  assert.equal(fs.existsSync(made.at('home/trace')), false);
  for (const form of [TOKEN, GOOD.slice(6)]) {
    assert.deepEqual(filesWith(form, made.at('home'), made.workspace), []);
    assert.ok(!(end.stdout + end.stderr).includes(form));
  }
  assert.ok(textOf(path.join(made.state, 'sync-install.log')).includes('***'));
});

test('the session\'s own git gets the token of its own environment afterwards, and pushes', async (t) => {
  const made = prebuild(t);
  await serve(t, made);
  made.git('remote.git', 'config', 'http.receivepack', 'true');
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
  assert.ok(seen.every((one) => one === undefined));

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

test('the token is for the remote\'s host alone, other helpers are out of force there and in force elsewhere', async (t) => {
  const made = prebuild(t);
  const { origin } = await serve(t, made);
  const helper = made.at('home/other-helper');
  fs.writeFileSync(helper, '#!/bin/sh\necho "$1" >>"$HOME/asked"\n[ "$1" = get ] && echo username=other && echo password=other\n', { mode: 0o755 });
  made.git('workspace/app', 'config', '--global', 'credential.helper', helper);
  await sync(t, made, { env: { GITHUB_TOKEN: TOKEN } });
  fs.rmSync(made.at('home/asked'), { force: true });
  const fill = async (url) => (await git(t, made, ['credential', 'fill'], { env: { GITHUB_TOKEN: TOKEN }, input: `url=${url}\n\n` })).stdout;
  assert.match(await fill(`${origin}/any/other.git`), new RegExp(`^username=x-access-token\\npassword=${TOKEN}$`, 'm'));
  for (const url of ['https://127.0.0.1', 'http://127.0.0.1:1', 'https://example.com', origin.replace('127.0.0.1', 'localhost')]) {
    assert.match(await fill(`${url}/any.git`), /password=other/, url);
  }
  fs.rmSync(made.at('home/asked'));
  // What git offers to be stored, or to be forgotten, reaches nobody.
  const entry = `url=${origin}/x.git\nusername=x-access-token\npassword=${TOKEN}\n\n`;
  for (const verb of ['approve', 'reject']) assert.equal((await git(t, made, ['credential', verb], { env: { GITHUB_TOKEN: TOKEN }, input: entry })).stdout, '');
  assert.equal(fs.existsSync(made.at('home/asked')), false);
  const text = config(made, `credential.${origin}.helper`).slice(1);
  for (const [verb, expected] of [['get', `username=x-access-token\npassword=${TOKEN}\n`], ['store', ''], ['erase', '']]) {
    assert.equal((await run(t, 'sh', ['-c', `${text} ${verb}`], { env: { ...made.env, GITHUB_TOKEN: TOKEN } })).stdout, expected);
  }
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
  const made = prebuild(t);
  made.git('workspace/app', 'remote', 'set-url', 'origin', 'http://user:hunter2secret@127.0.0.1:1/x.git');
  const { code, stdout, stderr } = await sync(t, made);
  assert.equal(code, 4);
  assert.doesNotMatch(stdout + stderr + textOf(path.join(made.state, 'ready')) + textOf(path.join(made.state, 'sync.json')), /hunter2/);
});
