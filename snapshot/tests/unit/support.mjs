// What the tests of the scripts share: a sandbox of folders, programs run with a bound, and waiting for facts.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const BIN = fileURLToPath(new URL('../../bin', import.meta.url));
export const CONFIG = fileURLToPath(new URL('../../../config', import.meta.url));
/** Nothing a test does takes this long; what does is stuck. */
export const BOUND_MILLISECONDS = 60_000;

/** A folder of the test's own, gone after it. */
export function folder(t) {
  const made = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'harvest-unit-')));
  t.after(() => fs.rmSync(made, { recursive: true, force: true, maxRetries: 5 }));
  return made;
}

/** Starts a program; `ended` resolves with its exit code, signal and output. */
export function start(t, program, args, { cwd, env, input } = {}) {
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { child, stdout: '', stderr: '' };
  child.stdout.on('data', (bytes) => (said.stdout += bytes));
  child.stderr.on('data', (bytes) => (said.stderr += bytes));
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  said.killAll = (signal = 'SIGKILL') => {
    try {
      process.kill(-child.pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  };
  t.after(() => said.killAll());
  said.ended = new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      said.killAll();
      reject(new Error(`${program} ${args.join(' ')} did not end:\n${said.stdout}\n${said.stderr}`));
    }, BOUND_MILLISECONDS);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout: said.stdout, stderr: said.stderr });
    });
  });
  said.ended.catch(() => {});
  return said;
}

/** Runs a program to its end. */
export function run(t, program, args, options = {}) {
  return start(t, program, args, { input: '', ...options }).ended;
}

/** Waits until `look` answers with something true, and answers with that. */
export async function eventually(what, look) {
  const until = Date.now() + BOUND_MILLISECONDS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`never seen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Every file below a folder that holds `text`. */
export function filesWith(text, ...folders) {
  const found = [];
  const look = (name) => {
    const stat = fs.lstatSync(name, { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const entry of fs.readdirSync(name)) look(path.join(name, entry));
    else if (stat?.isFile() && fs.readFileSync(name).includes(text)) found.push(name);
  };
  folders.forEach(look);
  return found;
}

export function textOf(file) {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined;
}
