// One run of harvest-sync, from the lock to the marker: put back, look, fetch, move, install, in this order and each only when it may.
//
// Before the remote is asked, what a build could have left for git and shells to run is put back, and again after an install.
// What a run is in the middle of is noted before it begins, what has been reached is saved at once: a kill at any point leaves a
// checkout that the next run understands. Whatever goes wrong with the remote or the install ends in a report, not in an error.
'use strict';

const { randomUUID } = require('node:crypto');
const os = require('node:os');

const { Checkout } = require('./checkout.cjs');
const { Dependencies } = require('./dependencies.cjs');
const { PutBack } = require('./put-back.cjs');
const { Runner, list } = require('./run.cjs');
const { MARK, endLeftovers, gitProcesses, removeLocks } = require('./state.cjs');
const { installEnvironment, isForbidden } = require('./surroundings.cjs');

/** What a fetch may take at most: a session should not wait for a host that does not answer. */
const FETCH_MILLISECONDS = 300_000;
/** File systems keep time more coarsely than processes do. */
const CLOCK_MILLISECONDS = 1000;
/** The last lines that are shown of an install that failed. */
const SHOWN_LINES = 15;

/** One run, from the lock to the marker. */
class Sync {
  constructor({ options, manifest, state, session, say }) {
    Object.assign(this, { options, manifest, state, session, say });
    this.began = Date.now();
    this.deadline = this.began + options.seconds * 1000;
    this.mark = randomUUID();
    this.runner = new Runner(session, { [MARK]: this.mark });
    const { path: folder, branch } = manifest;
    this.checkout = new Checkout({ runner: this.runner, session, folder, branch });
    this.putBack = new PutBack({ checkout: this.checkout, manifest, session, home: os.homedir() });
    const environment = installEnvironment(session, { home: os.homedir(), manifest, asked: options.variables });
    this.dependencies = new Dependencies({ checkout: this.checkout, runner: this.runner, manifest, log: state.log, environment });
    this.report = {
      target: manifest.target, from: null, to: null, moved: false, installed: false, reason: 'up-to-date', detail: '', code: 0,
      stale: false, dependencies: 'ready', ready: false, warnings: [], seconds: {},
    };
  }

  async timed(part, action) {
    const began = Date.now();
    try {
      return await action();
    } finally {
      this.report.seconds[part] = round((this.report.seconds[part] ?? 0) + Date.now() - began);
    }
  }

  /** Another run's report when one was at work and has come to its end meanwhile; else this run's own. */
  async run(onLock) {
    let waited = false;
    const held = await this.timed('lock', () => this.state.acquire(this.deadline, () => {
      waited = true;
      this.say('another harvest-sync is at work; waiting for it');
    }));
    if (!held) return { ...this.report, ...kept({ reason: 'busy', detail: 'another harvest-sync is still at work' }) };
    const last = this.state.load()?.last;
    if (waited && last?.ended >= this.began && this.state.hasMarker()) {
      this.state.release();
      return { ...last.report, waited: true };
    }
    onLock();
    this.left = this.state.leftBehind();
    const { marks = [], began = this.began, move, installing } = this.left ?? {};
    this.state.note({ marks: [...marks, this.mark], began, move, installing });
    this.state.removeMarker();
    await this.phases();
    return this.end();
  }

  async phases() {
    const before = this.state.load();
    this.known = { installed: { commit: this.manifest.commit, lockfiles: this.manifest.lockfiles }, ...before };
    this.#endLeftovers();
    await this.timed('putback', () => this.#begin(before === undefined));
    await this.repair();
    const found = await this.checkout.look([this.manifest.commit, this.known.commit], (stat, name) => this.isOurs(stat, name));
    this.known.made ??= this.signatures(found.ours);
    this.report.from = found.head;
    this.report.commit = found.head;
    if (this.options.fetch) await this.#ask(found);
    else Object.assign(this.report, { reason: 'not-asked', stale: this.known.last?.report.stale ?? false });
    await this.install(found.kept);
    await this.hints();
  }

  async #ask(found) {
    const deadline = Math.min(this.deadline, Date.now() + FETCH_MILLISECONDS);
    const asked = await this.timed('fetch', () => (found.kept ? this.checkout.askHead(deadline) : this.checkout.fetchHead(deadline)));
    if (asked.failure) this.fall(kept(asked.failure));
    else await this.bring(found, asked.head);
  }

  /** As on the first run also when an install was cut off: it may have left anything. */
  async #begin(isNew) {
    const isFirst = isNew || this.left?.installing === true;
    this.isFirst = isFirst;
    if (isNew) this.state.begin();
    (await this.putBack.before(isFirst)).forEach((text) => this.warn(text));
    if (isNew) this.state.save(this.known);
    this.state.note({ installing: undefined });
  }

  /**
   * What a build or an install changed is not the session's: older than the manifest when this runs for the first time, and since
   * then as it was found. Times alone would not do for later runs: a session can unpack files with any.
   */
  isOurs(stat, name) {
    if (!stat) return false;
    return this.known.made ? this.known.made[name] === signature(stat) : stat.mtimeMs < this.manifest.writtenAt;
  }

  signatures(names) {
    return Object.fromEntries(names.map((name) => [name, signature(this.checkout.stat(name))]));
  }

  #endLeftovers() {
    const ended = (this.left?.marks ?? []).map(endLeftovers);
    if (ended.some((count) => count > 0)) this.say('ended what a killed harvest-sync had left running');
    this.state.note({ marks: [this.mark] });
  }

  /** After a run that was killed: its lock files go, its move is brought to an end. */
  async repair() {
    const since = this.left?.began ?? this.known.locksSince;
    if (since === undefined) return;
    this.known.locksSince = await this.#unlock(since);
    await this.checkout.forgetFetched();
    const move = this.left?.move;
    if (!move) return;
    if (await this.checkout.settle(move, move.to)) {
      await this.arrived(move.to);
      this.say(`brought a move to its end that was cut off: now at ${short(move.to)}`);
    } else this.warn('a move was cut off, and the checkout has been changed since: it is left as it is');
    this.state.note({ move: undefined });
  }

  /** Answers with `since` when the lock files have to wait for the next run. */
  async #unlock(since) {
    if (gitProcesses(this.manifest.path).length > 0) {
      this.warn('git is at work in the checkout: its lock files are left alone');
      return since;
    }
    if (removeLocks(this.putBack.repository.gitFolder, since - CLOCK_MILLISECONDS) > 0) this.say('removed lock files of a killed git');
    return undefined;
  }

  /** To the remote's head, when nothing is in the way. */
  async bring(found, head) {
    const { head: from, kept: keeping, ours } = found;
    this.report.to = head;
    if (from === head) {
      if (!keeping || keeping.reason === 'own-commits') await this.arrived(head);
      if (keeping?.reason === 'own-commits') found.kept = undefined;
      return;
    }
    if (keeping) {
      if (!(await this.checkout.contains(from, head))) this.fall(kept(keeping));
      return;
    }
    const submodules = await this.checkout.hasSubmodules();
    (await this.putBack.beforeMove(from, head, this.isFirst)).forEach((text) => this.warn(text));
    this.state.note({ move: { from, to: head } });
    const failure = await this.timed('move', () => this.checkout.move(from, head, ours, this.deadline));
    if (failure) {
      await this.checkout.forgetFetched();
      this.state.note({ move: undefined });
      this.fall(kept(failure));
      return;
    }
    if (this.isFirst) (await this.putBack.check(head)).forEach((text) => this.warn(text));
    await this.arrived(head);
    this.state.note({ move: undefined });
    if (ours.length > 0) this.warn(`changes that the prebuild's install or build had made are gone: ${list(ours)}`);
    Object.assign(this.report, { moved: true, reason: 'moved', commit: head });
    const failed = await this.timed('move', () => this.checkout.bringAlong({ submodules, deadline: this.deadline }));
    if (failed.length > 0) this.fall({ code: 4, reason: 'incomplete', detail: failed.join('; '), stale: true });
  }

  /** The checkout is at a commit of the remote, by our hand or by a push. */
  async arrived(commit) {
    await this.checkout.tracked(commit);
    this.known.commit = commit;
    this.state.save(this.known);
  }

  /** Installs when dependencies are not those of what is checked out. */
  async install(keeping) {
    const { dependencies: before } = this.known;
    if (keeping) {
      if (['stale', 'put-off'].includes(before)) this.#notInstalled(`dependencies are not installed, and ${keeping.detail}`);
      return;
    }
    const head = this.report.commit;
    const reasons = await this.dependencies.reasons(this.known.installed, head);
    if (before === 'stale') reasons.unshift('the last install did not come to its end');
    if (reasons.length === 0) return;
    if (!this.dependencies.step) {
      this.warn(`the prebuild knows no install command, but this has changed: ${list(reasons)}`);
      return;
    }
    this.report.installReasons = reasons;
    if (!this.options.install) {
      this.known.dependencies = before === 'stale' ? 'stale' : 'put-off';
      this.state.save(this.known);
      this.#notInstalled(`--no-install, but this has changed: ${list(reasons)}`);
      return;
    }
    const refused = this.options.variables.filter(isForbidden);
    if (refused.length > 0) this.warn(`no install is given what is the session's own: ${list(refused)}`);
    this.say(`installing, for this has changed: ${list(reasons)}`);
    await this.#install(head);
  }

  #notInstalled(detail) {
    this.fall({ code: 5, reason: 'not-installed', detail, dependencies: 'stale' });
  }

  async #install(head) {
    this.known.dependencies = 'stale';
    this.state.save(this.known);
    this.state.note({ installing: true });
    const putBack = this.putBack.guard();
    const settle = async () => {
      endLeftovers(this.mark);
      (await putBack()).forEach((text) => this.warn(text));
    };
    const { failure, warnings } = await this.timed('install', () => this.dependencies.install(this.deadline, settle));
    this.state.note({ installing: undefined });
    if (failure) {
      const detail = `${failure.detail}; see ${this.state.log}`;
      this.fall({ code: 5, reason: 'install-failed', detail, dependencies: 'stale', output: failure.lines.slice(-SHOWN_LINES) });
      return;
    }
    warnings.forEach((text) => this.warn(text));
    this.report.installed = true;
    this.known.installed = { commit: head, lockfiles: await this.dependencies.lockfiles(head) };
    this.known.dependencies = 'ready';
    await this.noteMade();
  }

  /** Tracked files that the install changed, so that they do not count as the session's later. */
  async noteMade() {
    const { ours, kept: keeping } = await this.checkout.look([this.report.commit], () => true);
    this.known.made = this.signatures(ours);
    if (ours.length > 0) this.warn(`the install changed files of the repository: ${list(ours)}`);
    if (keeping) this.warn(`after the install ${keeping.detail}`);
  }

  /** What the session should know that this program does nothing about. */
  async hints() {
    const head = this.report.commit;
    const { recipe } = this.manifest;
    const toolchain = await this.dependencies.newerToolchain(head);
    if (toolchain.length > 0) {
      const which = recipe?.toolchain?.node ? `Node ${recipe.toolchain.node}` : 'the toolchain';
      this.warn(`${list(toolchain)} changed: ${which} is still the prebuild's`);
    }
    if (await this.dependencies.changed('.harvest.toml', head)) this.warn('.harvest.toml changed: its commands are still the prebuild\'s');
    if (recipe?.build?.run && head !== this.manifest.commit) {
      this.warn(`the build was not run: its output is that of ${short(this.manifest.commit)}`);
    }
  }

  warn(text) {
    this.report.warnings.push(this.runner.scrub(text));
  }

  /** The later of two things that went wrong is the one to tell first: without dependencies less works. */
  fall(outcome) {
    if (this.report.code !== 0) this.warn(this.report.detail);
    Object.assign(this.report, outcome, { code: Math.max(this.report.code, outcome.code) });
  }

  end() {
    const { report, state } = this;
    report.seconds.total = round(Date.now() - this.began);
    report.ready = true;
    this.known.last = { ended: Date.now(), report };
    state.save(this.known);
    const { commit, stale, dependencies, moved, installed, reason } = report;
    state.writeMarker({ commit, at: new Date().toISOString(), moved, installed, stale, dependencies, reason });
    state.release();
    return report;
  }
}

function signature({ mtimeMs, ctimeMs, size }) {
  return `${mtimeMs} ${ctimeMs} ${size}`;
}

function kept(failure) {
  return { code: 4, stale: true, ...failure };
}

function round(milliseconds) {
  return Math.round(milliseconds) / 1000;
}

function short(commit) {
  return commit.slice(0, 12);
}

module.exports = { Sync, short };
