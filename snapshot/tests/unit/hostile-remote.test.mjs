// Where the token goes: to the target's own repository, whatever the checkout, a redirection, LFS settings or submodules say.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { elsewhere, FORMS, lfs, listen, pointer, serve, store } from './host.mjs';
import { SECRETS, sessionGit } from './hostile.mjs';
import { consistent, prebuild, sync } from './prebuild.mjs';
import { filesWith } from './support.mjs';

/** What somebody else's host was shown. */
function shown({ seen }) {
  return seen.filter(({ authorization }) => authorization !== undefined);
}

async function ended(t, made, code) {
  const end = await sync(t, made, { env: SECRETS });
  assert.equal(end.code, code, end.stderr);
  consistent(made, end);
  return end;
}

test('a build cannot lead the token to another host: not by the remote, by other names for it, nor by a proxy', async (t) => {
  const evil = await elsewhere(t);
  const plants = {
    'the remote\'s URL': (set, url) => (set('remote.origin.url', `${evil.origin}/remote.git`), set('remote.origin.pushurl', `${evil.origin}/push.git`), url),
    insteadOf: (set, url) => set(`url.${evil.origin}/.insteadOf`, url.slice(0, -4)),
    pushInsteadOf: (set, url) => set(`url.${evil.origin}/.pushInsteadOf`, url.slice(0, -4)),
    'a proxy': (set) => set('http.proxy', evil.origin),
    'a proxy for the URL': (set, url) => set(`http.${url}.proxy`, evil.origin),
    'a proxy for the remote': (set) => set('remote.origin.proxy', evil.origin),
    'a bundle': (set) => set('fetch.bundleURI', `${evil.origin}/bundle`),
    'another LFS server': (set) => (set('lfs.url', `${evil.origin}/lfs`), set('remote.origin.lfsurl', `${evil.origin}/lfs`)),
    'another remote of a partial clone': (set) => (set('remote.evil.url', `${evil.origin}/remote.git`), set('remote.evil.promisor', 'true')),
  };
  for (const [name, plant] of Object.entries(plants)) {
    for (const file of ['workspace/app/.git/config', 'home/.gitconfig']) {
      const made = prebuild(t, { 'a.txt': 'one\n' });
      const { url } = await serve(t, made);
      const head = made.push({ 'a.txt': 'two\n' });
      plant((key, value) => made.git('.', 'config', '--file', file, key, value), url);
      await ended(t, made, 0);
      assert.equal(made.head(), head, `${name} in ${file}`);
      fs.appendFileSync(path.join(made.app, 'a.txt'), 'mine\n');
      for (const args of [['commit', '--quiet', '--all', '--message', 'x'], ['fetch', '--quiet'], ['push', '--quiet']]) {
        const options = { env: { GIT_AUTHOR_NAME: 'x', GIT_AUTHOR_EMAIL: 'x', GIT_COMMITTER_NAME: 'x', GIT_COMMITTER_EMAIL: 'x' } };
        const { code, stderr } = await sessionGit(t, made, args, options);
        assert.equal(code, 0, `${name} in ${file}: ${stderr}`);
      }
      assert.deepEqual(evil.seen, [], `${name} in ${file}`);
    }
  }
});

test('headers that a build has git send along are not sent', async (t) => {
  const headers = [];
  const made = prebuild(t);
  await serve(t, made, { answer: (request) => void headers.push(request.headers['x-planted']) });
  for (const key of ['http.extraHeader', `http.${made.facts.clone.url}.extraHeader`]) made.git('workspace/app', 'config', key, 'X-Planted: yes');
  await ended(t, made, 0);
  assert.ok(headers.length > 0 && headers.every((header) => header === undefined), String(headers));
});

test('without the URL in the manifest the remote gets the token only where it is the target\'s', async (t) => {
  const made = prebuild(t, undefined, { facts: { clone: undefined, checkout: undefined } });
  const host = await serve(t, made);
  const { report } = await ended(t, made, 4);
  assert.deepEqual([report.reason, shown(host)], ['refused', []]);
  assert.ok(report.warnings.some((text) => text.includes('the manifest does not name this repository')), JSON.stringify(report.warnings));
  const { stdout } = await sessionGit(t, made, ['credential', 'fill'], { input: `url=${host.url}\n\n` });
  assert.doesNotMatch(stdout, /ghp_/);

  // The target's own: github.com, which is out of reach here behind a proxy that answers nothing.
  const proxy = await listen(t, (request, response) => response.writeHead(502).end());
  const configured = async (url) => {
    const fresh = prebuild(t, undefined, { facts: { clone: undefined } });
    fresh.git('workspace/app', 'remote', 'set-url', 'origin', url);
    await sync(t, fresh, { env: { ...SECRETS, HTTPS_PROXY: proxy.origin, HTTP_PROXY: proxy.origin } });
    return fresh.git('workspace/app', 'config', '--global', '--get-regexp', '^credential').includes('harvest-git-credential');
  };
  for (const url of ['https://github.com/acme/app.git', 'https://github.com/Acme/App', 'ext::sh -c true', 'https://github.com/acme/app.git?x']) {
    const isOwn = !url.includes('?');
    assert.equal(await configured(url).catch(() => false), isOwn, url);
  }
  for (const url of ['https://github.com/acme/other.git', 'http://github.com/acme/app.git', 'https://github.com.evil.example/acme/app.git', 'https://u:p@github.com/acme/app.git']) {
    assert.equal(await configured(url).catch(() => false), false, url);
  }
});

test('a redirection is not followed, and the message names where it leads', async (t) => {
  const evil = await elsewhere(t);
  const places = [[`${evil.origin}/new/home.git`, `${evil.origin}/new/home.git`], ['/new/home.git', '/new/home.git'], ['https://u:p@evil.example/\u00e9\u0080x.git', 'https://evil.example/x.git']];
  for (const [place, expected] of places) {
    for (const status of [301, 302, 307, 308]) {
      const made = prebuild(t);
      const { url, seen } = await serve(t, made, {
        answer: (request, response) => {
          response.writeHead(status, { Location: `${place}${request.url.replace('/remote.git', '')}` }).end();
          return true;
        },
      });
      const { report, stdout, stderr } = await ended(t, made, 4);
      assert.equal(report.reason, 'redirected', stderr);
      assert.ok(report.detail.includes(`moved to ${expected}`), report.detail);
      assert.deepEqual([evil.seen, seen.some((one) => !one.url.startsWith('/remote.git/'))], [[], false]);
      const pulled = await sessionGit(t, made, ['fetch']);
      assert.notEqual(pulled.code, 0);
      assert.deepEqual([evil.seen, seen.some((one) => !one.url.startsWith('/remote.git/'))], [[], false], url);
      for (const form of FORMS) assert.ok(!(stdout + stderr + pulled.stderr).includes(form));
    }
  }
});

/** A prebuild with a submodule of the same host, whose URL the repository chose. */
async function withSubmodule(t, urlOf, also) {
  const made = prebuild(t);
  made.git('.', 'init', '--quiet', '--bare', '--initial-branch=main', 'private.git');
  made.git('work', 'push', '--quiet', made.at('private.git'), 'HEAD:main');
  const host = await serve(t, made);
  made.git('work', 'submodule', '--quiet', 'add', `file://${made.at('private.git')}`, 'part');
  made.states({ checkout: { submodules: true, ...(also ? { also: [`${host.origin}/private.git`] } : {}) } });
  made.push({ '.gitmodules': `[submodule "part"]\n\tpath = part\n\turl = ${urlOf(host)}\n` });
  fs.mkdirSync(path.join(made.app, 'part'), { recursive: true });
  return { made, host };
}

test('a submodule of another repository gets no token, whatever its URL looks like', async (t) => {
  const urls = [({ origin }) => `${origin}/private.git`, ({ url }) => `${url}/../private.git`, () => '../private.git', ({ origin }) => `${origin}//private.git`];
  for (const urlOf of urls) {
    const { made, host } = await withSubmodule(t, urlOf);
    await sync(t, made, { env: SECRETS });
    const { code } = await sessionGit(t, made, ['submodule', 'update', '--init', '--depth', '1']);
    assert.notEqual(code, 0);
    const asked = host.seen.filter(({ url }) => url.includes('private.git'));
    assert.deepEqual([asked.length > 0, asked.filter(({ authorization }) => authorization)], [true, []], urlOf(host));
    assert.equal(made.file('part/old.txt') ?? made.file('part/a.txt'), undefined);
  }
});

test('a submodule that the fleet\'s settings name gets the token', async (t) => {
  const { made, host } = await withSubmodule(t, ({ origin }) => `${origin}/private.git`, true);
  await ended(t, made, 0);
  const { code, stderr } = await sessionGit(t, made, ['submodule', 'update', '--init', '--depth', '1']);
  assert.equal(code, 0, stderr);
  assert.equal(made.file('part/a.txt'), 'one\n');
  assert.ok(host.seen.some(({ url, authorization }) => url.includes('private.git') && authorization));
});

test('LFS files come and go by the token, from and to the repository\'s own server alone', async (t) => {
  const evil = await elsewhere(t);
  const made = prebuild(t, { '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n' });
  const add = (text, more = {}) => (store(made, text), made.push({ 'a.bin': pointer(text), ...more }));
  made.commit = add('first\n');
  made.checkOut({ lfs: 'yes' });
  const host = await serve(t, made, { answer: lfs(made) });
  made.git('workspace/app', 'config', 'filter.lfs.process', '/bin/false');
  add('second\n');
  await ended(t, made, 0);
  assert.equal(made.file('a.bin'), 'second\n');

  made.put('b.bin', 'of the session\n');
  const env = { GIT_AUTHOR_NAME: 'x', GIT_AUTHOR_EMAIL: 'x', GIT_COMMITTER_NAME: 'x', GIT_COMMITTER_EMAIL: 'x' };
  for (const args of [['add', '--all'], ['commit', '--quiet', '--message', 'x'], ['push', '--quiet']]) {
    const { code, stderr } = await sessionGit(t, made, args, { env });
    assert.equal(code, 0, stderr);
  }
  assert.equal(made.git('remote.git', 'show', 'main:b.bin'), pointer('of the session\n').trim());
  assert.ok(host.seen.some(({ url }) => url.endsWith('/info/lfs/objects/batch')));
  assert.equal(filesWith('of the session', path.join(made.remote, 'lfs')).length, 1);

  // The repository's own file may name another server; that one is shown nothing.
  await ended(t, made, 0);
  made.git('work', 'pull', '--quiet', '--no-rebase', 'origin', 'main');
  add('third\n', { '.lfsconfig': `[lfs]\n\turl = ${evil.origin}/lfs\n` });
  const end = await ended(t, made, 4);
  assert.equal(end.report.reason, 'incomplete', end.stderr);
  assert.deepEqual([evil.seen.length > 0, shown(evil)], [true, []]);
});
