// What harvest-sync keeps under /workspace/.harvest: the lock, the marker, and what earlier runs did.
//
// The lock is the kernel's and ends with the process, however that ends. What a run is in the middle of stands in the lock file
// meanwhile, so the next run knows whether one was killed, what of it may still be running, and what it may have left half done.
// The folder is the build's to write as well: what does not hold this sandbox's id was not written by a run here, and is no word.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { kindOf, remove, replace, textOf } = require('./files.cjs');
const { ROOT_PATH } = require('./surroundings.cjs');

const FLOCK = '/usr/bin/flock';
/** The variable by which every process that a run starts can be told. */
const MARK = 'HARVEST_SYNC_RUN';
/** How long killed processes are waited for. */
const DYING_MILLISECONDS = 5000;

class State {
  constructor(workspace, sandbox) {
    this.sandbox = sandbox;
    this.folder = path.join(workspace, '.harvest');
    this.manifest = path.join(this.folder, 'manifest.json');
    this.log = path.join(this.folder, 'sync-install.log');
    this.marker = path.join(this.folder, 'ready');
    this.file = path.join(this.folder, 'sync.json');
    this.lock = undefined;
    this.record = {};
  }

  /** True once the lock is held; false when another run still has it at the deadline. `onWait` is called before waiting. */
  acquire(deadline, onWait) {
    const file = path.join(this.folder, 'sync.lock');
    if (kindOf(file) !== 'file') remove(file);
    // Opened without truncating: it may be another's.
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
    this.lock = fs.openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    if (this.#flock(['--nonblock'])) return true;
    onWait();
    return this.#flock(['--timeout', String(Math.max(0, (deadline - Date.now()) / 1000))]);
  }

  /** The lock belongs to the open file that this process and flock share, so it is held on after flock has ended. */
  #flock(how) {
    const env = { PATH: ROOT_PATH };
    const { status, error } = spawnSync(FLOCK, [...how, '3'], { env, stdio: ['ignore', 'ignore', 'inherit', this.lock] });
    if (error || (status !== 0 && status !== 1)) throw new Error(`flock does not work: ${error?.code ?? status}`);
    return status === 0;
  }

  /** What a run that was killed was in the middle of; undefined when the last one came to its end. */
  leftBehind() {
    return this.#own(textOf(path.join(this.folder, 'sync.lock')));
  }

  #own(text) {
    const value = text === undefined ? undefined : parsed(text);
    return value?.sandbox === this.sandbox ? value : undefined;
  }

  /** Says what this run is in the middle of, for the run after a kill. */
  note(change) {
    Object.assign(this.record, change);
    const text = Buffer.from(JSON.stringify({ sandbox: this.sandbox, ...this.record }));
    // Padded, so that a shorter record needs no truncation that a kill could separate from the write.
    fs.writeSync(this.lock, Buffer.concat([text, Buffer.alloc(Math.max(1, 1024 - text.length), '\n')]), 0, undefined, 0);
  }

  /** This run came to its end. */
  release() {
    fs.ftruncateSync(this.lock);
    fs.closeSync(this.lock);
  }

  removeMarker() {
    remove(this.marker);
  }

  /** Takes away what a build left beside the manifest; the lock file is this run's. */
  begin() {
    for (const name of fs.readdirSync(this.folder)) if (!['manifest.json', 'sync.lock'].includes(name)) remove(path.join(this.folder, name));
  }

  /** The last thing of a run: edits are safe from here on. */
  writeMarker(says) {
    replace(this.marker, `${JSON.stringify(says)}\n`);
  }

  hasMarker() {
    return fs.existsSync(this.marker);
  }

  /** What earlier runs in this sandbox did; undefined before there was one that began. */
  load() {
    return this.#own(textOf(this.file));
  }

  save(known) {
    replace(this.file, `${JSON.stringify({ sandbox: this.sandbox, ...known }, null, 2)}\n`);
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Ends what a killed run had started, which has its mark: it must not write into a checkout that is being repaired. */
function endLeftovers(mark) {
  const until = Date.now() + DYING_MILLISECONDS;
  let ended = 0;
  for (let left = marked(mark); left.length > 0 && Date.now() < until; left = marked(mark)) {
    ended = Math.max(ended, left.length);
    left.forEach((pid) => kill(pid));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  return ended;
}

/** Processes with this in their environment, whatever group or parent they have by now. */
function marked(mark) {
  return processes().filter((pid) => Number(pid) !== process.pid && fs.readFileSync(`/proc/${pid}/environ`).includes(`${MARK}=${mark}\0`));
}

function kill(pid) {
  try {
    process.kill(Number(pid), 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Processes of git at work in a folder. */
function gitProcesses(folder) {
  const isWithin = (cwd) => cwd === folder || cwd.startsWith(`${folder}${path.sep}`);
  return processes().filter((pid) => isWithin(fs.readlinkSync(`/proc/${pid}/cwd`)) && /^git\b/.test(fs.readFileSync(`/proc/${pid}/comm`, 'utf8')));
}

/** Living processes, to be looked at: those that are gone by then, or somebody else's, match nothing. */
function processes() {
  const all = fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  return { filter: (matches) => all.filter((pid) => quietly(() => matches(pid))) };
}

function quietly(look) {
  try {
    return look();
  } catch {
    return false;
  }
}

/** Removes the lock files of a killed git, and answers with how many there were. Refs cannot be called `*.lock`. */
function removeLocks(gitFolder, since) {
  let removed = 0;
  for (const entry of fs.readdirSync(gitFolder, { withFileTypes: true })) {
    const name = path.join(gitFolder, entry.name);
    if (entry.isDirectory() && !['objects', 'lfs', 'hooks'].includes(entry.name)) removed += removeLocks(name, since);
    else if (entry.isFile() && entry.name.endsWith('.lock') && fs.statSync(name).mtimeMs >= since) {
      fs.rmSync(name, { force: true });
      removed += 1;
    }
  }
  return removed;
}

module.exports = { State, MARK, parsed, endLeftovers, gitProcesses, removeLocks };
