// When edits are safe, and what becomes of runs that are killed, stopped, or at work at the same time.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';

import { consistent, prebuild, startSync, sync } from './prebuild.mjs';
import { eventually, textOf } from './support.mjs';

/** An install that says its pid and then blocks until somebody writes to the fifo; counts when it ends. */
const BLOCKING = 'echo $$ >"$HOME/pid.new"; mv "$HOME/pid.new" "$HOME/pid"; read -r _ <"$HOME/fifo"; echo x >>"$HOME/installs"';
const NPMRC = { '.npmrc': 'a=b\n' };

function blocking(t, files) {
  const made = prebuild(t, files, { install: BLOCKING });
  execFileSync('mkfifo', [made.at('home/fifo')]);
  made.blocked = () => eventually('the install is at work', () => textOf(made.at('home/pid')));
  // Opening for writing alone would wait for a reader, and a test that is wrong would hang.
  made.unblock = () => fs.writeFileSync(fs.openSync(made.at('home/fifo'), 'r+'), 'go\n');
  return made;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return !/^[0-9]+ \(.*\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function gone(pid) {
  return eventually(`${pid} is gone`, () => !isAlive(pid));
}

test('the marker is there before and after, and not while an install is at work', async (t) => {
  const made = blocking(t);
  consistent(made, await sync(t, made));
  const before = made.marker();
  const head = made.push(NPMRC);
  const running = startSync(t, made);
  await made.blocked();
  assert.equal(made.marker(), undefined);
  assert.equal(made.head(), head, 'what is there can be read meanwhile');
  made.unblock();
  const { code, stdout } = await running.ended;
  consistent(made, { code, report: JSON.parse(stdout), stderr: running.stderr });
  const { at, ...rest } = made.marker();
  assert.deepEqual(rest, { commit: head, moved: true, installed: true, stale: false, dependencies: 'ready', reason: 'moved' });
  assert.ok(Date.parse(at) >= Date.parse(before.at));
  assert.equal(textOf(path.join(made.state, 'ready')).trim().split('\n').length, 1);
});

test('a run that is killed leaves no marker; the next one ends what it left running and does its work', async (t) => {
  const made = blocking(t);
  const head = made.push(NPMRC);
  const running = startSync(t, made);
  const install = Number(await made.blocked());
  running.child.kill('SIGKILL');
  await running.ended;
  assert.deepEqual([made.marker(), isAlive(install)], [undefined, true]);

  fs.rmSync(made.at('home/pid'));
  const next = startSync(t, made);
  await made.blocked();
  assert.equal(isAlive(install), false, 'two installs at once');
  made.unblock();
  const { code, stdout, stderr } = await next.ended;
  assert.equal(code, 0, stderr);
  consistent(made, { code, report: JSON.parse(stdout), stderr });
  assert.match(stderr, /ended what a killed harvest-sync had left running/);
  assert.deepEqual([made.head(), made.installs()], [head, 1]);
});

/** Killed while git was writing files: git is stopped where it can be seen to be in the middle of the move. */
async function killedInMove(t) {
  const names = ['a.txt', ...Array.from({ length: 30 }, (_, at) => `m/${at + 10}`), 'z.txt'];
  const textIn = (name, text) => `${name} ${text}\n`.repeat(name.startsWith('m/') ? 40_000 : 1);
  const all = (text) => Object.fromEntries(names.map((name) => [name, textIn(name, text)]));
  for (let tries = 0; tries < 5; tries += 1) {
    const made = prebuild(t, { ...all('one'), '.gitattributes': '# nothing\n' });
    const head = made.push(all('two'));
    const running = startSync(t, made);
    await eventually('git is at work', () => made.file('a.txt') === 'a.txt two\n' && made.file('m/10') !== textIn('m/10', 'one'));
    const git = gitOf(running.child.pid);
    if (!git) continue;
    process.kill(git, 'SIGSTOP');
    running.child.kill('SIGKILL');
    await running.ended;
    if (made.file('z.txt') !== 'z.txt one\n') continue;
    assert.ok(fs.existsSync(path.join(made.app, '.git/index.lock')), 'not in the middle');
    assert.deepEqual([made.file('a.txt'), made.marker()], ['a.txt two\n', undefined]);
    return { made, head, changed: (text) => names.filter((name) => made.file(name) !== textIn(name, text)) };
  }
  throw new Error('git was never seen in the middle of a move');
}

/** The git that a harvest-sync waits for. */
function gitOf(parent) {
  return fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).map(Number)
    .find((pid) => new RegExp(`^[0-9]+ \\(git\\) \\S+ ${parent} `).test(textOf(`/proc/${pid}/stat`) ?? ''));
}

test('a move that was killed half way is brought to its end', async (t) => {
  const { made, head, changed } = await killedInMove(t);
  const end = await sync(t, made);
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  assert.match(end.stderr, /removed lock files of a killed git/);
  assert.deepEqual(changed('two'), []);
  assert.deepEqual([made.head(), made.git('workspace/app', 'status', '--porcelain')], [head, '']);
});

test('a move that was killed half way is left as it is when somebody has edited since', async (t) => {
  for (const name of ['a.txt', 'z.txt', '.gitattributes']) {
    const { made } = await killedInMove(t);
    made.put(name, '# mine\n');
    const end = await sync(t, made);
    assert.equal(end.code, 4, end.stderr);
    consistent(made, end);
    assert.equal(end.report.reason, 'local-changes');
    assert.equal(made.file(name), '# mine\n');
  }
});

test('lock files of a killed run stay while a git is at work in the checkout, and go afterwards', async (t) => {
  const made = blocking(t);
  made.push(NPMRC);
  const running = startSync(t, made);
  await made.blocked();
  running.child.kill('SIGKILL');
  await running.ended;
  const lock = path.join(made.app, '.git/index.lock');
  fs.writeFileSync(lock, '');
  const busy = spawn('git', ['cat-file', '--batch'], { cwd: made.app, stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => busy.kill('SIGKILL'));
  await eventually('git is at work', () => textOf(`/proc/${busy.pid}/comm`)?.startsWith('git'));
  const first = await sync(t, made, { args: ['--no-install'] });
  assert.deepEqual([first.code, fs.existsSync(lock)], [5, true], first.stderr);
  busy.stdin.end();
  await gone(busy.pid);
  const second = await sync(t, made, { args: ['--no-install'] });
  assert.deepEqual([second.code, fs.existsSync(lock)], [5, false], second.stderr);
});

test('a run that is told to stop ends what it started, and leaves no marker', async (t) => {
  for (const [signal, expected] of [['SIGTERM', 143], ['SIGINT', 130]]) {
    const made = blocking(t);
    made.push(NPMRC);
    const running = startSync(t, made);
    const install = Number(await made.blocked());
    running.child.kill(signal);
    const { code, stdout } = await running.ended;
    assert.deepEqual([code, JSON.parse(stdout).ready, made.marker(), isAlive(install)], [expected, false, undefined, false]);
    const next = await sync(t, made, { args: ['--no-install'] });
    assert.equal(next.code, 5, 'the install that was cut off is not taken for done');
    consistent(made, next);
  }
});

test('of two at once the second waits, does nothing, and reports what the first did', async (t) => {
  const made = blocking(t);
  const head = made.push(NPMRC);
  const first = startSync(t, made);
  await made.blocked();
  const second = startSync(t, made);
  await eventually('the second waits', () => second.stderr.includes('waiting'));
  assert.equal(made.marker(), undefined);
  made.unblock();
  const [one, two] = (await Promise.all([first.ended, second.ended])).map(({ code, stdout }) => ({ code, ...JSON.parse(stdout) }));
  assert.deepEqual(two, { ...one, waited: true });
  assert.deepEqual([one.to, one.installed, made.installs()], [head, true, 1]);
  assert.equal(made.marker().commit, head);
});

test('the second waits only as long as it may, and disturbs nothing', async (t) => {
  const made = blocking(t);
  made.push(NPMRC);
  const first = startSync(t, made);
  await made.blocked();
  const { code, report } = await sync(t, made, { args: ['--timeout', '1'] });
  assert.deepEqual([code, report.reason, report.ready, made.marker()], [4, 'busy', false, undefined]);
  made.unblock();
  const { code: ended, stdout, stderr } = await first.ended;
  consistent(made, { code: ended, report: JSON.parse(stdout), stderr });
});

test('the second does the work itself when the first is killed', async (t) => {
  const made = blocking(t);
  const head = made.push(NPMRC);
  const first = startSync(t, made);
  await made.blocked();
  const second = startSync(t, made);
  await eventually('the second waits', () => second.stderr.includes('waiting'));
  fs.rmSync(made.at('home/pid'));
  first.child.kill('SIGKILL');
  await made.blocked();
  made.unblock();
  const { code, stdout, stderr } = await second.ended;
  const report = JSON.parse(stdout);
  consistent(made, { code, report, stderr });
  assert.deepEqual([report.waited, report.installed, made.head()], [undefined, true, head]);
});

test('a remote that takes the call and never answers is given up in time', async (t) => {
  const made = prebuild(t);
  const server = net.createServer(() => {});
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  made.states({ clone: { url: `http://127.0.0.1:${server.address().port}/app.git` } });
  const end = await sync(t, made, { args: ['--timeout', '2'] });
  assert.deepEqual([end.code, end.report.reason], [4, 'timeout'], end.stderr);
  consistent(made, end);
});

test('an install that takes too long is ended, and is not taken for done', async (t) => {
  const made = blocking(t);
  made.push(NPMRC);
  const end = await sync(t, made, { args: ['--timeout', '8'] });
  assert.deepEqual([end.code, end.report.reason, end.report.moved], [5, 'install-failed', true], end.stderr);
  consistent(made, end);
  assert.equal(isAlive(Number(textOf(made.at('home/pid')))), false);
});
