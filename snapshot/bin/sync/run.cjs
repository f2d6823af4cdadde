// Programs run by harvest-sync: each by its path, with an environment of its own, in a process group of its own, with a bound, and
// never with a secret in what is kept of them.
//
// A group, because npm and git start others, and all of them must be gone before a checkout is called safe.
'use strict';

const { spawn } = require('node:child_process');
const { StringDecoder } = require('node:string_decoder');

/** What a program gets to clean up after itself (git removes its lock files) before it is killed. */
const GRACE_MILLISECONDS = 5000;
/** How long the pipes are read on when a program has ended but something it started still holds them. */
const DRAIN_MILLISECONDS = 1000;
/** More than this of a program's output is not kept in memory. */
const KEPT_BYTES = 64 * 1024 * 1024;

class Runner {
  /** `session` holds the secrets that are kept out of outputs; `mark` is a variable that all programs are given. */
  constructor(session, mark) {
    this.mark = mark;
    this.scrub = scrubber(session);
    this.group = undefined;
    this.stopped = undefined;
  }

  /**
   * Runs to the end or to the deadline (milliseconds since the epoch): `{ code, stdout, stderr, bytes, late }`, `bytes` being stdout
   * undecoded. `input` is its stdin. Each line of output goes to `onLine` as well, scrubbed. Rejects only when the whole of harvest-sync was told to stop.
   */
  run(program, args, { cwd, environment, deadline, onLine, input }) {
    if (this.stopped) return Promise.reject(this.stopped);
    return new Promise((resolve, reject) => {
      const stdio = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'];
      const child = spawn(program, args, { cwd, env: { ...environment, ...this.mark }, detached: true, stdio });
      // One that ends without reading all of it is judged by its exit code.
      child.stdin?.on('error', () => {}).end(input);
      const end = { code: undefined, stdout: '', stderr: '', bytes: undefined, late: false };
      this.group = child.pid;
      const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => this.#collect(stream, onLine));

      const bound = setTimeout(() => {
        end.late = true;
        this.#endGroup(child.pid);
      }, Math.max(0, deadline - Date.now()));
      let drain;
      let isDone = false;
      const done = () => {
        if (isDone) return;
        isDone = true;
        for (const timer of [bound, drain, this.killing]) clearTimeout(timer);
        this.group = undefined;
        // Others of the group may have ignored the first signal.
        if (child.pid && (end.late || this.stopped)) signalGroup(child.pid, 'SIGKILL');
        end.bytes = stdout();
        end.stdout = end.bytes.toString();
        end.stderr ||= stderr().toString();
        if (this.stopped) reject(this.stopped);
        else resolve(end);
      };
      child.on('error', (error) => {
        Object.assign(end, { code: 127, stderr: `${program} could not be started: ${error.code}` });
        done();
      });
      child.on('exit', (code) => {
        end.code = code ?? 128;
        drain = setTimeout(done, DRAIN_MILLISECONDS);
      });
      child.on('close', done);
    });
  }

  /** Ends what runs now, and everything that would run later. */
  stop(reason) {
    this.stopped ??= reason;
    if (this.group) this.#endGroup(this.group);
  }

  #endGroup(group) {
    signalGroup(group, 'SIGTERM');
    this.killing = setTimeout(() => signalGroup(group, 'SIGKILL'), GRACE_MILLISECONDS);
  }

  /** Answers with what ends the reading and gives all that was read. */
  #collect(stream, onLine) {
    const chunks = [];
    const decoder = new StringDecoder('utf8');
    let kept = 0;
    let rest = '';
    stream.on('data', (bytes) => {
      if (kept < KEPT_BYTES) chunks.push(bytes);
      kept += bytes.length;
      if (!onLine) return;
      const lines = (rest + decoder.write(bytes)).split('\n');
      rest = lines.pop();
      lines.forEach((line) => onLine(this.scrub(line)));
    });
    return () => {
      if (onLine && rest !== '') onLine(this.scrub(rest));
      stream.destroy();
      return Buffer.concat(chunks);
    };
  }
}

/** Nothing happens when the group is gone. */
function signalGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error;
  }
}

/** Takes the values of whatever looks like a secret out of a text, and user and password out of URLs. */
function scrubber(environment) {
  const secrets = Object.entries(environment)
    .filter(([name, value]) => /TOKEN|KEY|SECRET|PASSW|AUTH|CREDENTIAL/i.test(name) && value && value.length >= 6)
    .map(([, value]) => value)
    .sort((a, b) => b.length - a.length);
  return (text) => {
    const without = secrets.reduce((left, secret) => left.split(secret).join('***'), text);
    return without.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/]+@/gi, '$1');
  };
}

/** Control characters, and those that turn the direction of text, as what they are. */
function visible(text) {
  return text.replace(/[\0-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Names for a message; the first few of many. */
function list(names, most = 5) {
  const more = names.length > most ? ` and ${names.length - most} more` : '';
  return names.slice(0, most).join(', ') + more;
}

module.exports = { Runner, scrubber, visible, list };
