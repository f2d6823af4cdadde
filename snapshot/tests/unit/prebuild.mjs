// A remote, and a prebuild of it as the fleet makes one: the worker's own checkout script, then a manifest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { BIN, folder, run, start, textOf } from './support.mjs';

export const SCRIPT = path.join(BIN, 'harvest-sync');
const CHECKOUT = fileURLToPath(new URL('../../../worker/src/stages/checkout/checkout.sh', import.meta.url));
const IDENTITY = { GIT_AUTHOR_NAME: 'T', GIT_AUTHOR_EMAIL: 't@example.com', GIT_COMMITTER_NAME: 'T', GIT_COMMITTER_EMAIL: 't@example.com' };

/**
 * `files` are the first commit's; `install` is the command of the recipe (null: none); `checkout` is how it was checked out; `facts`
 * are more fields of the manifest, undefined for those that prebuilds from before them lack.
 */
export function prebuild(t, files = { 'a.txt': 'one\n' }, { install = 'echo x >>"$HOME/installs"', checkout = {}, facts = {}, ...manifest } = {}) {
  const home = folder(t);
  const at = (name) => path.join(home, name);
  for (const name of ['home', 'workspace/.harvest']) fs.mkdirSync(at(name), { recursive: true });
  const env = { HOME: at('home'), PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`, GIT_CONFIG_NOSYSTEM: '1', TMPDIR: home };
  const made = { home, at, env, workspace: at('workspace'), app: at('workspace/app'), remote: at('remote.git'), state: at('workspace/.harvest') };

  // A bare repository is named, for a session's own settings have git find none.
  made.git = (where, ...args) =>
    execFileSync('git', [...(where.endsWith('.git') ? ['--git-dir=.'] : []), ...args], { cwd: at(where), env: { ...env, ...IDENTITY, GIT_ALLOW_PROTOCOL: 'file:http' }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  /** Commits to the remote's branch what `change` says (null deletes), and answers with the commit. */
  made.push = (change, ...options) => {
    for (const [name, text] of Object.entries(change)) {
      const file = path.join(at('work'), name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      if (text === null) fs.rmSync(file);
      else fs.writeFileSync(file, text);
    }
    made.git('work', 'add', '--all', '--force');
    made.git('work', 'commit', '--quiet', '--allow-empty', '--message', 'change', ...options);
    made.git('work', 'push', '--quiet', '--force', 'origin', 'HEAD:main');
    return made.git('work', 'rev-parse', 'HEAD');
  };
  made.head = (where = 'workspace/app') => made.git(where, 'rev-parse', 'HEAD');
  made.file = (name) => textOf(path.join(made.app, name));
  made.put = (name, text) => fs.writeFileSync(path.join(made.app, name), text);
  made.installs = () => (textOf(at('home/installs')) ?? '').length / 2;
  made.marker = () => {
    const text = textOf(at('workspace/.harvest/ready'));
    return text === undefined ? undefined : JSON.parse(text);
  };

  execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', made.remote], { env });
  made.git('remote.git', 'config', 'uploadpack.allowAnySHA1InWant', 'true');
  execFileSync('git', ['init', '--quiet', '--initial-branch=main', at('work')], { env });
  made.git('work', 'remote', 'add', 'origin', made.remote);
  made.push({ 'old.txt': 'history\n' });
  made.commit = made.push({ 'old.txt': null, ...files });
  made.url = `file://${made.remote}`;

  const recipe = {
    toolchain: { kind: 'node', node: '22.1.0', package_manager: { kind: 'npm' } },
    install: install === null ? { skip: 'nothing_to_run' } : { run: { command: install, from: 'package-lock.json' } },
    build: { skip: 'nothing_to_run' }, verify: { skip: 'nothing_to_run' }, sources: [],
    ...manifest.recipe,
  };
  made.recipe = recipe;
  /** Writes the manifest, as it is from now on with these facts. */
  made.states = (change) => writeManifest(made, Object.assign(made.facts, change));
  /** Checks `made.commit` out as the worker does, and states it. */
  made.checkOut = (how) => {
    checkOut(made, how);
    const sparse = how.sparse?.split('\n').filter(Boolean) ?? [];
    const stated = { filter: how.filter, sparse, lfs: Boolean(how.lfs), submodules: Boolean(how.submodules) };
    made.states({ clone: { url: made.url }, checkout: stated, ...facts });
  };
  made.facts = {};
  made.checkOut(checkout);
  return made;
}

function checkOut(made, { lfs = '', submodules = '', sparse = '', filter = '' }) {
  execFileSync('bash', [CHECKOUT], {
    cwd: made.workspace, stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...made.env, GIT_ALLOW_PROTOCOL: 'file', HARVEST_URL: made.url, HARVEST_BRANCH: 'main', HARVEST_COMMIT: made.commit, HARVEST_PATH: made.app,
      HARVEST_FILTER: filter, HARVEST_SPARSE: sparse, HARVEST_LFS: lfs, HARVEST_SUBMODULES: '',
    },
  });
  // The script takes submodules from no folder of this machine, and those of these tests come from one.
  if (submodules) made.git('workspace/app', 'submodule', '--quiet', 'update', '--init', '--recursive', '--depth', '1');
}

function writeManifest(made, facts) {
  const lockfiles = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml'].filter((name) => made.file(name) !== undefined);
  fs.writeFileSync(path.join(made.state, 'manifest.json'), JSON.stringify({
    version: 1, fleet: 'test', target: 'acme/app@main', path: made.app, commit: made.commit, completeness: 'complete', flags: [],
    ...facts, recipe: made.recipe, lockfiles: lockfiles.map((name) => ({ path: name, sha256: createHash('sha256').update(made.file(name)).digest('hex') })),
  }));
}

/** Runs harvest-sync; answers with the exit code, the report and what was said. */
export async function sync(t, made, { env = {}, args = [] } = {}) {
  const ended = await run(t, process.execPath, command(made, args), { env: { ...made.env, ...env } });
  return { ...ended, report: ended.stdout === '' ? undefined : JSON.parse(ended.stdout) };
}

export function startSync(t, made, { env = {}, args = [] } = {}) {
  return start(t, process.execPath, command(made, args), { env: { ...made.env, ...env } });
}

function command(made, args) {
  return [SCRIPT, '--json', '--workspace', made.workspace, ...args];
}

/** What must hold after every run that came to its end. */
export function consistent(made, { code, report, stderr }) {
  assert.equal(report.code, code, stderr);
  assert.equal(report.ready, true, stderr);
  const marker = made.marker();
  assert.equal(marker.commit, made.head());
  assert.equal(marker.stale, report.stale);
  assert.equal(marker.dependencies, report.dependencies);
  assert.equal(textOf(path.join(made.state, 'sync.lock')), '');
  assert.deepEqual(made.git('workspace/app', 'for-each-ref', '--format=%(refname)', 'refs/harvest'), '');
}
