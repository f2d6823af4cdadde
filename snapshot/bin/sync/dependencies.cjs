// Whether a checkout's dependencies have to be installed again, and installing them as the prebuild did.
//
// An install costs minutes, so a change counts only when it shapes what an install makes: lockfiles, the package manager's
// settings, patches, and of each package.json the parts that an install reads. What cannot be compared counts as changed.
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { split } = require('./checkout.cjs');
const { replace } = require('./files.cjs');

const BASH = '/bin/bash';

const LOCKFILES = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml'];
const SETTINGS = ['.npmrc', 'pnpm-workspace.yaml', '.pnpmfile.cjs', '.pnpmfile.mjs', '.yarnrc', '.yarnrc.yml', 'yarn.lock', 'bun.lock', 'bun.lockb'];
/** What an install command of the repository's own may read besides. */
const FOREIGN = /^(requirements.*\.txt|pyproject\.toml|poetry\.lock|uv\.lock|Pipfile(\.lock)?|Cargo\.(toml|lock)|go\.(mod|sum)|Gemfile(\.lock)?|composer\.(json|lock))$/;
const PARTS = [
  'dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies', 'peerDependenciesMeta', 'dependenciesMeta',
  'bundledDependencies', 'bundleDependencies', 'overrides', 'resolutions', 'pnpm', 'workspaces', 'packageManager', 'engines', 'bin', 'name',
];
const SCRIPTS = [
  'preinstall', 'install', 'postinstall', 'preprepare', 'prepare', 'postprepare', 'pnpm:devPreinstall',
];
/** Files that name versions of the toolchain, which is the prebuild's. */
const TOOLCHAIN = ['.nvmrc', '.node-version', '.tool-versions', 'mise.toml', '.mise.toml'];
const TOOLCHAIN_PARTS = ['engines', 'packageManager', 'devEngines', 'volta'];

class Dependencies {
  constructor({ checkout, runner, manifest, log, environment }) {
    Object.assign(this, { checkout, runner, manifest, log, environment });
    this.step = manifest.recipe?.install?.run;
    // Only the root counts where the package manager's own command installs one package; a command set by hand may go anywhere.
    this.byHand = ['settings', '.harvest.toml'].includes(this.step?.from);
  }

  /** What speaks for an install at `head`; none when dependencies are those of `installed` (`{ commit, lockfiles }`). */
  async reasons(installed, head) {
    const changes = await this.#changes(installed.commit, head);
    if (!changes) return ['the commit they were installed for is not here'];
    const found = await this.#changedLockfiles(installed.lockfiles ?? [], head);
    const everywhere = this.byHand || (await this.#isWorkspace(installed.commit)) || (await this.#isWorkspace(head));
    const commands = [this.step?.command ?? '', ...(await this.#installScripts(head))];
    for (const name of changes) {
      if (found.includes(name)) continue;
      const counts = (everywhere || !name.includes('/')) && (await this.#shapes(name, installed.commit, head));
      if (counts || isPatch(name) || commands.some((command) => isNamed(name, command))) found.push(name);
    }
    return found;
  }

  /** Files that name toolchain versions and are not as the prebuild found them. */
  async newerToolchain(head) {
    const changes = (await this.#changes(this.manifest.commit, head)) ?? [];
    const found = changes.filter((name) => TOOLCHAIN.includes(name));
    if (changes.includes('package.json') && (await this.#partsDiffer('package.json', this.manifest.commit, head, TOOLCHAIN_PARTS, []))) {
      found.push('package.json');
    }
    return found;
  }

  async changed(name, head) {
    return ((await this.#changes(this.manifest.commit, head)) ?? []).includes(name);
  }

  /** The lockfiles of `head`, which is checked out, as the manifest lists them: hashes of the files, not of what git stores. */
  async lockfiles(head) {
    const found = [];
    for (const name of LOCKFILES) {
      const stat = this.checkout.stat(name);
      if (!stat?.isFile() || (await this.#blob(head, name)).code !== 0) continue;
      const bytes = fs.readFileSync(path.join(this.checkout.folder, name));
      found.push({ path: name, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
    return found;
  }

  async #changes(from, to) {
    const end = await this.checkout.git(['diff-tree', '-r', '-z', '--no-renames', '--name-only', from, to]);
    return end.code === 0 ? split(end.stdout) : undefined;
  }

  async #changedLockfiles(before, head) {
    const now = await this.lockfiles(head);
    const same = (one, other) => one.path === other.path && one.sha256 === other.sha256;
    const without = (some, others) => some.filter((one) => !others.some((other) => same(one, other)));
    return [...new Set([...without(now, before), ...without(before, now)].map(({ path: name }) => name))];
  }

  async #shapes(name, from, to) {
    const base = path.posix.basename(name);
    if (base === 'package.json') return this.#partsDiffer(name, from, to, PARTS, SCRIPTS);
    return LOCKFILES.includes(base) || SETTINGS.includes(base) || (this.byHand && FOREIGN.test(base));
  }

  async #partsDiffer(name, from, to, parts, scripts) {
    const [before, after] = [await this.#package(from, name), await this.#package(to, name)];
    if (!before || !after) return true;
    const pick = (value) => stable([parts.map((part) => value[part]), scripts.map((script) => value.scripts?.[script])]);
    return pick(before) !== pick(after);
  }

  async #isWorkspace(commit) {
    if ((await this.#blob(commit, 'pnpm-workspace.yaml')).code === 0) return true;
    return Boolean((await this.#package(commit, 'package.json'))?.workspaces);
  }

  async #installScripts(commit) {
    const scripts = (await this.#package(commit, 'package.json'))?.scripts ?? {};
    return SCRIPTS.map((name) => scripts[name]).filter((script) => typeof script === 'string');
  }

  async #package(commit, name) {
    try {
      const value = JSON.parse((await this.#blob(commit, name)).stdout.replace(/^\uFEFF/, ''));
      return typeof value === 'object' && value !== null ? value : undefined;
    } catch {
      return undefined;
    }
  }

  #blob(commit, name) {
    return this.checkout.git(['cat-file', 'blob', `${commit}:${name}`]);
  }

  /**
   * Installs into the checkout: `{ failure }`, or `{ warnings }` when dependencies are in place. `settle` is called when the
   * repository's code has run, before anything else is.
   */
  async install(deadline, settle) {
    replace(this.log, '', 0o600);
    const warnings = [];
    let end = await this.#attempt(this.step.command, deadline);
    if (end.code !== 0 && this.step.fallback && isOutOfStep(end.lines)) {
      warnings.push('the lockfile does not match package.json: dependencies were resolved anew');
      end = await this.#attempt(this.step.fallback, deadline);
    }
    await settle();
    await this.#restoreLockfiles();
    if (end.late) return { failure: { detail: 'the install took too long', lines: end.lines } };
    if (end.code !== 0) return { failure: { detail: `the install ended with ${end.code}`, lines: end.lines } };
    return { warnings };
  }

  async #attempt(command, deadline) {
    const lines = [];
    const onLine = (line) => {
      fs.appendFileSync(this.log, `${line}\n`);
      lines.push(line);
    };
    onLine(`$ ${this.runner.scrub(command)}`);
    const { environment, checkout } = this;
    const end = await this.runner.run(BASH, ['-c', command], { cwd: checkout.folder, environment, deadline, onLine });
    return { ...end, code: end.late ? 124 : end.code, lines };
  }

  /** A plain install writes the lockfile; the checkout keeps the one that was committed. */
  async #restoreLockfiles() {
    for (const name of LOCKFILES) {
      if ((await this.checkout.says('ls-files', '--error-unmatch', '--', name)) === undefined) continue;
      const { code } = await this.checkout.git(['diff', '--quiet', 'HEAD', '--', name]);
      if (code !== 0) await this.checkout.git(['checkout', '--quiet', '--force', 'HEAD', '--', name]);
    }
  }
}

function isPatch(name) {
  return /(^|\/)(patches|\.yarn\/patches)\//.test(name) || name.endsWith('.patch');
}

/** Whether a command line names a file. */
function isNamed(name, command) {
  return name.length > 2 && command.split(/[\s'"=;&|()]+/).some((word) => word.replace(/^\.\//, '') === name);
}

/** JSON in which the order of keys does not show. */
function stable(value) {
  return JSON.stringify(value, (_, item) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item);
}

const OUT_OF_STEP = [
  /missing: .* from lock file/i, /invalid: lock file's/i, /`npm ci` can only install packages when your package\.json/i,
  /`npm ci` command can only install with an existing/i,
  /ERR_PNPM_(OUTDATED_LOCKFILE|NO_LOCKFILE|BROKEN_LOCKFILE|LOCKFILE_CONFIG_MISMATCH|LOCKFILE_MISSING_DEPENDENCY|LOCKFILE_BREAKING_CHANGE)/i,
];
const STARVED = /javascript heap out of memory|signal sigkill|cannot allocate memory|enomem|enospc|no space left on device|disk quota exceeded/i;
const NOISE = /^\s*(npm warn|npm notice|npm http|WARN\b|Progress:)|Will retry/i;

/** Whether the package manager says that the lockfile, and nothing worse, is what is wrong. The worker decides by the same lines. */
function isOutOfStep(lines) {
  const said = lines.filter((line) => !NOISE.test(line));
  return !said.some((line) => STARVED.test(line)) && said.some((line) => OUT_OF_STEP.some((text) => text.test(line)));
}

module.exports = { Dependencies, isOutOfStep };
