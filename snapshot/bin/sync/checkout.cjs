// The checkout of a prebuild: what is in it, what its remote has, and how it gets from one commit to the other.
//
// It moves only when nothing of the session would be lost: on its own branch, at a commit that a prebuild or an earlier run put
// there, with no change but those that an install or a build made. Everything else is left exactly as it is, refs included.
// Git is the image's, with settings of this program's own over those of the repository, which are put back before. The token is in
// the environment of those calls that may ask the remote, and given to nobody but the remote, who must not pass it on.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { bytesOf } = require('./files.cjs');
const { helperOf } = require('./identity.cjs');
const { list } = require('./run.cjs');
const { parsed } = require('./settings.cjs');
const { gitEnvironment } = require('./surroundings.cjs');

const GIT = '/usr/bin/git';
/** A call that asks nobody but this machine. */
const LOCAL_MILLISECONDS = 120_000;
/** Where the fetched head lies until the checkout has moved to it. */
const FETCHED = 'refs/harvest/head';
const SETTINGS = [
  'gc.auto=0', 'maintenance.auto=false', 'core.hooksPath=/dev/null', 'core.fsmonitor=false', 'core.attributesFile=/dev/null',
  'credential.helper=', 'credential.useHttpPath=true', 'http.followRedirects=false', 'http.sslVerify=true', 'transfer.bundleURI=false',
  'fetch.recurseSubmodules=false', 'submodule.recurse=false',
  'advice.detachedHead=false', 'http.lowSpeedLimit=1000', 'http.lowSpeedTime=60',
].flatMap((setting) => ['-c', setting]);
/** The most that a file of settings may hold to be read. */
const SETTINGS_BYTES = 1024 * 1024;
const REDIRECTED = /returned error: 30[12378]/;

class Checkout {
  constructor({ runner, session, folder, branch }) {
    Object.assign(this, { runner, folder, branch, session });
    this.remote = { url: undefined, token: [] };
    const environment = gitEnvironment(session);
    // Submodules and LFS files have web addresses even where the repository is fetched from a folder.
    this.environment = { ...environment, GIT_CEILING_DIRECTORIES: path.dirname(folder), GIT_ALLOW_PROTOCOL: 'http:https' };
  }

  /** From here on calls may ask the remote: its settings are those of the prebuild again. */
  use({ remote, facts }) {
    Object.assign(this, { remote, facts });
    if (remote.url.startsWith('file:')) this.environment.GIT_ALLOW_PROTOCOL += ':file';
    this.settings = [...SETTINGS, ...remote.token.flatMap((url) => ['-c', `credential.${url}.helper=`, '-c', `credential.${url}.helper=${helperOf(url)}`])];
  }

  /** `asks` says that the remote may be asked; of a partial clone any call may. */
  git(args, { deadline = Date.now() + LOCAL_MILLISECONDS, asks = false, environment, ...options } = {}) {
    const token = this.session.GITHUB_TOKEN;
    const isGiven = token && this.remote.token.length > 0 && (asks || this.facts?.filter);
    const all = { ...this.environment, ...environment, ...(isGiven ? { GITHUB_TOKEN: token } : {}) };
    return this.runner.run(GIT, [...(this.settings ?? SETTINGS), ...args], { cwd: this.folder, environment: all, deadline, ...options });
  }

  /** What git prints; undefined when it fails. */
  async says(...args) {
    const { code, stdout } = await this.git(args);
    return code === 0 ? stdout.replace(/\n$/, '') : undefined;
  }

  /** The settings in a file, as pairs, without any of them being in force here; none where there is no such file. */
  async settingsIn(file) {
    if (bytesOf(file, SETTINGS_BYTES) === undefined) return [];
    const end = await this.git(['config', '--file', file, '--no-includes', '--null', '--list'], { cwd: '/' });
    return end.code === 0 ? parsed(end.stdout) : [];
  }

  async must(...args) {
    const end = await this.git(args);
    if (end.code !== 0 || end.late) throw new Error(`git ${args[0]} failed: ${this.lastLine(end)}`);
    return end.stdout;
  }

  lastLine({ stderr, stdout }) {
    const lines = (stderr.trim() || stdout.trim()).split('\n');
    const fatal = lines.filter((line) => /^(fatal|error|remote):/.test(line) && !/^error: Could not (fetch|read)/.test(line));
    return this.runner.scrub(fatal.at(0) ?? lines.at(-1)).slice(0, 300);
  }

  /** HEAD, and what keeps it from moving. `isOurs` tells a change that an install or a build made from the session's own. */
  async look(known, isOurs) {
    const head = await this.says('rev-parse', '--verify', 'HEAD^{commit}');
    const on = await this.says('symbolic-ref', '--quiet', '--short', 'HEAD');
    const status = (await this.must('status', '--porcelain', '-z', '--untracked-files=no', '--no-renames', '--ignore-submodules=none'))
      .split('\0').filter(Boolean);
    const changes = status.map((line) => ({ kind: line.slice(0, 2), name: line.slice(3) }));
    const ours = changes.filter(({ kind, name }) => kind === ' M' && isOurs(this.stat(name), name)).map(({ name }) => name);
    const theirs = changes.map(({ name }) => name).filter((name) => !ours.includes(name));
    const found = { head, ours, kept: undefined };
    if (on !== this.branch) found.kept = { reason: 'other-branch', detail: `${on ? `branch ${on}` : 'no branch'} is checked out` };
    else if (theirs.length > 0) found.kept = { reason: 'local-changes', detail: `there are changes: ${list(theirs)}` };
    else if (!known.includes(head)) found.kept = { reason: 'own-commits', detail: 'the branch has commits of its own' };
    return found;
  }

  stat(name) {
    return fs.lstatSync(path.join(this.folder, name), { throwIfNoEntry: false });
  }

  /** The head of the branch, asked for only: no ref and no object changes. */
  async askHead(deadline) {
    const end = await this.git(['ls-remote', 'origin', `refs/heads/${this.branch}`], { deadline, asks: true });
    if (end.code !== 0 || end.late) return this.#unreached(end, deadline);
    const head = end.stdout.split('\t')[0].trim();
    return head === '' ? this.#gone() : { head };
  }

  /** The head of the branch, fetched, as shallow as the checkout is. */
  async fetchHead(deadline) {
    const shallow = (await this.says('rev-parse', '--is-shallow-repository')) === 'true';
    const end = await this.git(
      ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--refmap=', ...(shallow ? ['--depth=1'] : []), 'origin',
        `+refs/heads/${this.branch}:${FETCHED}`],
      { deadline, asks: true },
    );
    if (end.code !== 0 || end.late) return /couldn't find remote ref/i.test(end.stderr) ? this.#gone() : this.#unreached(end, deadline);
    return { head: (await this.must('rev-parse', '--verify', `${FETCHED}^{commit}`)).trim() };
  }

  #gone() {
    return { failure: { reason: 'branch-gone', detail: `the remote has no branch ${this.branch} any more` } };
  }

  async #unreached(end, deadline) {
    if (end.late) return { failure: { reason: 'timeout', detail: 'the remote did not answer in time' } };
    if (REDIRECTED.test(end.stderr)) return { failure: { reason: 'redirected', detail: await this.#whereto(deadline) } };
    const refused = /Authentication failed|could not read (Username|Password)|returned error: 40[13]|access denied/i.test(end.stderr);
    const said = this.lastLine(end);
    return refused
      ? { failure: { reason: 'refused', detail: `the remote refused: ${said}` } }
      : { failure: { reason: 'unreachable', detail: `the remote could not be reached: ${said}` } };
  }

  /** Git tells of a redirection that it does not follow, and only its trace tells where it would have led. */
  async #whereto(deadline) {
    const { stderr } = await this.git(['ls-remote', 'origin', 'HEAD'], { deadline, asks: true, environment: { GIT_TRACE_CURL: '1' } });
    const header = /<= Recv header: location: ([^\r\n]+)/i.exec(stderr)?.[1] ?? '';
    const place = this.runner.scrub(header.split('/info/refs')[0].replace(/[^\x21-\x7e]/g, '')).slice(0, 300);
    return `the remote has moved${place ? ` to ${place}` : ''}, and it is not followed there: set clone_url in fleet.toml`;
  }

  /** Whether the remote has nothing that HEAD lacks. */
  async contains(head, commit) {
    if (head === commit) return true;
    return (await this.git(['merge-base', '--is-ancestor', commit, head])).code === 0;
  }

  /** Moves branch, index and files; answers with what is in the way, or undefined. Files that git does not track are not touched. */
  async move(from, to, ours, deadline) {
    let end = { code: 0 };
    if (ours.length > 0) end = await this.git(['checkout', '--quiet', '--force', 'HEAD', '--', ...ours]);
    const move = ['checkout', '--quiet', '--no-overwrite-ignore', '--no-track', '-B', this.branch, to];
    if (end.code === 0) end = await this.git(move, { deadline });
    if (end.code === 0 && !end.late) return undefined;
    if (/untracked/.test(end.stderr)) {
      const names = end.stderr.split('\n').filter((line) => line.startsWith('\t')).map((line) => line.trim());
      return { reason: 'untracked-files', detail: `files that git does not track are in the way: ${list(names)}` };
    }
    const busy = /\.lock': File exists/.test(end.stderr);
    if (!busy && !(await this.settle({ from, to }, from))) throw new Error(`the checkout is half moved: ${this.lastLine(end)}`);
    return { reason: busy ? 'busy' : 'not-moved', detail: `git could not move the checkout: ${this.lastLine(end)}` };
  }

  /** After the move: the remote's branch is known to be here, and nothing else of the fetch stays. */
  async tracked(to) {
    await this.must('update-ref', `refs/remotes/origin/${this.branch}`, to);
    await this.forgetFetched();
  }

  forgetFetched() {
    return this.git(['update-ref', '-d', FETCHED]);
  }

  /** Ends a move that was cut off, at `goal`; false when somebody changed files meanwhile, and then nothing is touched. */
  async settle({ from, to }, goal) {
    const head = await this.says('rev-parse', '--verify', 'HEAD^{commit}');
    if (![from, to].includes(head)) return false;
    const touched = split(await this.must('diff-tree', '-r', '-z', '--no-renames', '--name-only', from, to));
    const changed = split(await this.must('diff', '--no-ext-diff', '-z', '--no-renames', '--name-only', '--ignore-submodules=all', head));
    if (changed.some((name) => !touched.includes(name))) return false;
    for (const name of touched) if (!(await this.#isOfMove(name, from, to))) return false;
    await this.must('reset', '--quiet', '--hard', goal);
    return true;
  }

  /** Whether a file is what one of the two commits has there, or as much of the later one as had been written. */
  async #isOfMove(name, from, to) {
    const stat = this.stat(name);
    if (!stat?.isFile() && !stat?.isSymbolicLink()) return true;
    const file = path.join(this.folder, name);
    const here = stat.isSymbolicLink() ? Buffer.from(fs.readlinkSync(file)) : fs.readFileSync(file);
    const [before, after] = [await this.#blob(from, name), await this.#blob(to, name)];
    return before?.equals(here) || (after !== undefined && after.subarray(0, here.length).equals(here));
  }

  async #blob(commit, name) {
    const { code, bytes } = await this.git(['cat-file', 'blob', `${commit}:${name}`]);
    return code === 0 ? bytes : undefined;
  }

  /** What the checkout has populated, is brought along: LFS files and submodules. Answers with what did not work. */
  async bringAlong({ submodules, deadline }) {
    const failed = [];
    const attempt = async (what, args) => {
      const end = await this.git(args, { deadline, asks: true });
      if (end.code !== 0 || end.late) failed.push(`${what} could not be brought along: ${this.lastLine(end)}`);
    };
    if (this.facts.lfs) await attempt('LFS files', ['lfs', 'pull']);
    if (submodules) {
      await attempt('submodules', ['submodule', '--quiet', 'sync', '--recursive']);
      const update = ['submodule', '--quiet', 'update', '--init', '--recursive', '--depth', '1', '--jobs', '4'];
      await attempt('submodules', update);
    }
    return failed;
  }

  async hasSubmodules() {
    if (!this.stat('.gitmodules')) return false;
    const status = (await this.says('submodule', 'status')) ?? '';
    return status.split('\n').some((line) => line !== '' && !line.startsWith('-'));
  }
}

function split(text) {
  return text.split('\0').filter(Boolean);
}

module.exports = { Checkout, split };
