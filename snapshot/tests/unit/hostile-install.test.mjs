// An install is the repository's code: what it can see of the session, and what of its doings lasts.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { serve } from './host.mjs';
import { homeFolders, IDENTITY, put, SECRETS } from './hostile.mjs';
import { consistent, prebuild, startSync, sync } from './prebuild.mjs';
import { eventually, filesWith, textOf } from './support.mjs';

const LOCK = { 'package-lock.json': '1' };
/** An install that looks everywhere it can: in its own environment, and in that of every process it may look at. */
const LOOKS = 'env >"$HOME/env"; cat /proc/[0-9]*/environ >"$HOME/processes" 2>/dev/null; cat /proc/[0-9]*/cmdline >>"$HOME/processes" 2>/dev/null; true';

/** Values that nobody else on this machine has. */
function secrets(...names) {
  return Object.fromEntries(names.map((name) => [name, `${name.toLowerCase()}-${randomBytes(12).toString('hex')}`]));
}

async function ended(t, made, code, options) {
  const end = await sync(t, made, options);
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

test('an install sees none of the session\'s tokens, neither in its environment nor in that of harvest-sync', async (t) => {
  const made = prebuild(t, LOCK, { install: LOOKS });
  made.push({ 'package-lock.json': '2' });
  const own = secrets(...Object.keys(SECRETS), 'GH_TOKEN', 'AWS_SECRET_ACCESS_KEY', 'SOME_PASSWORD', 'DAYTONA_API_KEY', 'HARVEST_ANY', 'OTHER');
  const plain = { HUSKY: '1', npm_config_registry: 'http://127.0.0.1:1/', HTTPS_PROXY: 'http://127.0.0.1:2', NODE_EXTRA_CA_CERTS: '/ca.pem', LANG: 'C.UTF-8', NODE_OPTIONS: '--no-warnings' };
  const { report } = await ended(t, made, 0, { env: { ...own, ...plain } });
  assert.equal(report.installed, true);
  const [env, processes] = ['env', 'processes'].map((name) => textOf(made.at(`home/${name}`)));
  // The look was a good one: it saw harvest-sync itself.
  assert.ok(processes.includes('harvest-sync'));
  for (const [name, value] of Object.entries(own)) {
    assert.ok(!env.includes(value), `${name} in the install's environment`);
    assert.ok(name === 'OTHER' || name === 'HARVEST_ANY' || !processes.includes(value), `${name} in a process's environment`);
  }
  for (const [name, value] of Object.entries(plain)) assert.ok(env.includes(`${name}=${value}\n`), name);
  assert.match(env, new RegExp(`^PATH=${made.at('home/.harvest/bin')}:`, 'm'));
});

test('an install is given the secrets that the manifest names, the usual ones where it names none, and those it is to have', async (t) => {
  const names = ['NPM_TOKEN', 'NODE_AUTH_TOKEN', 'OWN_TOKEN', 'PLAIN'];
  const rows = [
    [{}, [], ['NPM_TOKEN', 'NODE_AUTH_TOKEN']],
    [{ secrets: [] }, [], []],
    [{ secrets: ['OWN_TOKEN'] }, [], ['OWN_TOKEN']],
    [{ secrets: ['OWN_TOKEN', 'GITHUB_TOKEN', 'ANTHROPIC_API_KEY'] }, ['--install-variable', 'PLAIN'], ['OWN_TOKEN', 'PLAIN']],
    [{ secrets: [], env: { PLAIN: 'stated', FROM_MANIFEST: 'stated', GITHUB_TOKEN: 'stated' } }, ['--install-variable=NPM_TOKEN'], ['NPM_TOKEN']],
  ];
  for (const [facts, args, expected] of rows) {
    const made = prebuild(t, LOCK, { install: LOOKS, facts });
    made.push({ 'package-lock.json': '2' });
    const own = secrets(...names, 'GITHUB_TOKEN', 'ANTHROPIC_API_KEY');
    await ended(t, made, 0, { env: own, args });
    const env = textOf(made.at('home/env'));
    assert.deepEqual(Object.keys(own).filter((name) => env.includes(own[name])).sort(), expected.sort(), JSON.stringify(facts));
    if (facts.env) assert.deepEqual(env.match(/^(PLAIN|FROM_MANIFEST|GITHUB_TOKEN)=.*$/gm).sort(), ['FROM_MANIFEST=stated', 'PLAIN=stated']);
    fs.rmSync(made.at('home/env'));
    fs.rmSync(made.at('home/processes'));
    for (const value of Object.values(own)) assert.deepEqual(filesWith(value, made.at('home'), made.workspace), []);
  }
});

test('no caller can have a token of the session\'s own given to an install', async (t) => {
  const made = prebuild(t, LOCK, { install: LOOKS });
  made.push({ 'package-lock.json': '2' });
  const names = [...Object.keys(SECRETS), 'GH_TOKEN'];
  const own = secrets(...names);
  const { report } = await ended(t, made, 0, { args: names.flatMap((name) => ['--install-variable', name]), env: own });
  assert.deepEqual(Object.keys(own).filter((name) => textOf(made.at('home/env')).includes(own[name])), []);
  assert.ok(report.warnings.some((text) => /no install is given.*GITHUB_TOKEN/.test(text)), JSON.stringify(report.warnings));
});

test('in two runs the token and the install never meet: first the fetch, then the install without any token', async (t) => {
  const made = prebuild(t, LOCK, { install: `${LOOKS}; echo x >>"$HOME/installs"` });
  const { seen } = await serve(t, made);
  const head = made.push({ 'package-lock.json': '2' });
  const first = await ended(t, made, 5, { args: ['--no-install'], env: { ...SECRETS, ...IDENTITY } });
  assert.deepEqual([first.report.moved, first.report.reason, made.head(), made.installs()], [true, 'not-installed', head, 0]);
  const asked = seen.length;
  const second = await ended(t, made, 0, { args: ['--no-fetch'] });
  assert.deepEqual([second.report.installed, second.report.reason, second.report.stale, made.installs(), seen.length], [true, 'not-asked', false, 1, asked]);
  assert.doesNotMatch(second.stderr, /did not come to its end/);
  const third = await ended(t, made, 0, { args: ['--no-fetch'] });
  assert.deepEqual([third.report.installed, made.installs()], [false, 1]);
  assert.equal(made.git('workspace/app', 'config', '--global', 'user.name'), IDENTITY.GIT_USER_NAME, 'set by the first');
});

test('a checkout that could not be brought up to date is still said to be so by the second run', async (t) => {
  const made = prebuild(t, LOCK);
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 5, { args: ['--no-install'] });
  fs.renameSync(made.remote, made.at('away.git'));
  const first = await ended(t, made, 5, { args: ['--no-install'] });
  assert.deepEqual([first.report.stale, first.report.dependencies], [true, 'stale']);
  const second = await ended(t, made, 0, { args: ['--no-fetch'] });
  assert.deepEqual([second.report.installed, second.report.stale], [true, true]);
});

test('what an install plants for later is put back as it was, and said', async (t) => {
  const install = [
    'cd "$HOME"; app=$OLDPWD', 'printf "[core]\\n\\tfsmonitor = /planted\\n" >>"$app/.git/config"', 'printf "[credential]\\n\\thelper = /planted\\n" >>.gitconfig',
    'mkdir -p "$app/.git/hooks" && echo planted >"$app/.git/hooks/pre-push"', 'echo "* filter=x" >"$app/.git/info/attributes"', 'echo planted >"$app/.git/commondir"',
    'mkdir -p .ssh .harvest/bin .local/bin .config/git "$app/.claude"', 'echo planted | tee .ssh/config .bashrc .netrc .config/git/config .harvest/bin/git .local/bin/env >/dev/null',
    'mkdir -p .config/anthropic .npm-global/etc "$app/.claude/agents"', 'echo planted | tee .npmrc .config/anthropic/active_config .npm-global/etc/npmrc .anything "$app/.claude/agents/x.md" "$app/CLAUDE.md" "$app/AGENTS.md" >/dev/null',
    'echo planted >.local/bin/own-tool', 'echo "{}" | tee "$app/.claude/settings.json" "$app/.mcp.json" >/dev/null', 'rm -f "$app/.git/hooks/own"', 'echo x >>installs',
  ].join(' && ');
  const made = prebuild(t, { ...LOCK, '.gitignore': '.claude\n.mcp.json\n', 'CLAUDE.md': 'own\n' }, { install });
  await serve(t, made);
  await ended(t, made, 0, { env: { ...SECRETS, ...IDENTITY } });
  put(path.join(made.app, '.git/hooks/own'), 'the session\'s\n', 0o755);
  const before = ['home/.gitconfig', 'workspace/app/.git/config'].map((name) => textOf(made.at(name)));
  made.push({ 'package-lock.json': '2' });
  const { report } = await ended(t, made, 0, { env: { ...SECRETS, ...IDENTITY } });
  assert.deepEqual([report.installed, made.installs()], [true, 1]);
  assert.deepEqual(['home/.gitconfig', 'workspace/app/.git/config'].map((name) => textOf(made.at(name))), before);
  const names = ['.ssh', '.bashrc', '.netrc', '.config/git', '.harvest/bin/git', '.local/bin/env', '.npmrc', '.config/anthropic', '.npm-global/etc', '.anything'].map((name) => `home/${name}`);
  const inside = ['.git/hooks/pre-push', '.git/info/attributes', '.git/commondir', '.claude/settings.json', '.claude/agents', '.mcp.json', 'AGENTS.md'].map((name) => `workspace/app/${name}`);
  for (const name of [...names, ...inside]) assert.equal(fs.existsSync(made.at(name)), false, name);
  assert.deepEqual([made.file('.git/hooks/own'), made.file('CLAUDE.md')], ['the session\'s\n', 'own\n']);
  assert.ok(fs.existsSync(made.at('home/.local/bin/own-tool')));
  assert.ok(report.warnings.some((text) => /the install changed what is not its own/.test(text)), JSON.stringify(report.warnings));
});

test('what an install leaves running ends with it', async (t) => {
  const made = prebuild(t, LOCK, { install: 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >"$HOME/pid"; setsid -f sleep 1001 </dev/null >/dev/null 2>&1' });
  made.push({ 'package-lock.json': '2' });
  await ended(t, made, 0);
  const pid = textOf(made.at('home/pid')).trim();
  await eventually('it is gone', () => !fs.existsSync(`/proc/${pid}`) || /^\S+ \(.*\) Z/.test(textOf(`/proc/${pid}/stat`) ?? ''));
});

test('an install that puts another repository in place of the checkout\'s leaves no marker', async (t) => {
  const made = prebuild(t, LOCK, { install: 'cp -r .git "$HOME/copy" && rm -rf .git && mv "$HOME/copy" .git' });
  made.push({ 'package-lock.json': '2' });
  const { code, report, stderr } = await sync(t, made, { env: SECRETS });
  assert.deepEqual([code, report.reason, made.marker()], [1, 'unexpected', undefined]);
  assert.match(stderr, /in place of/);
});

test('after an install that was cut off everything is put back as in the first run', async (t) => {
  const install = 'printf "[core]\\n\\tfsmonitor = /planted\\n" >>"$HOME/.gitconfig"; mkdir -p "$HOME/.harvest/bin" .git/hooks; echo planted | tee "$HOME/.harvest/bin/git" .git/hooks/pre-push; echo $$ >"$HOME/pid"; sleep 1000';
  const made = prebuild(t, LOCK, { install });
  made.push({ 'package-lock.json': '2' });
  const running = startSync(t, made, { env: { ...SECRETS, ...IDENTITY } });
  await eventually('the install is at work', () => textOf(made.at('home/pid')));
  running.child.kill('SIGKILL');
  await running.ended;
  await ended(t, made, 5, { args: ['--no-install'], env: { ...SECRETS, ...IDENTITY } });
  assert.doesNotMatch(textOf(made.at('home/.gitconfig')), /planted/);
  assert.deepEqual([fs.existsSync(path.join(homeFolders(made)[0], 'git')), fs.existsSync(path.join(made.app, '.git/hooks'))], [false, false]);
});
