// A sandbox that cannot outlive its session, and commands in it whose output is followed as it comes.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Daytona, DaytonaNotFoundError, type Sandbox } from '@daytonaio/sdk'

const CREATE_SECONDS = 300
const CALL_SECONDS = 60
const POLL_MS = 500
const POLL_FAILURES = 20
const CHUNK_BYTES = 1024 * 1024
const DELETE_MS = 120_000
const DELETE_RETRY_MS = 1_000
const IDLE_MINUTES = 15
/** For starting, for harvest-sync and for cleaning up. */
const BESIDE_THE_SESSION_MINUTES = 45

/** What a command is given. */
export interface Run {
  /** Only this command and its children see it: it is in no file, and not in the sandbox's own record. */
  env: Record<string, string>
  cwd?: string
  seconds: number
  signal: AbortSignal
  onStdout(bytes: Buffer): Promise<void>
  onStderr(bytes: Buffer): Promise<void>
}

/**
 * Creates a sandbox that goes away by itself: 15 minutes after the last call to it, and in any case when its time is up.
 * Labels must not start with `harvest.`; those are the fleet's.
 */
export async function createSandbox(
  daytona: Daytona,
  name: string,
  snapshotId: string,
  minutes: number
): Promise<Sandbox> {
  return daytona.create(
    {
      name,
      snapshot: snapshotId,
      language: 'typescript',
      labels: { purpose: 'agent-session' },
      autoStopInterval: IDLE_MINUTES,
      autoDeleteInterval: 0,
      ttlMinutes: minutes + BESIDE_THE_SESSION_MINUTES
    },
    { timeout: CREATE_SECONDS }
  )
}

/** Deletes the sandbox of that name, which may be there even when creating it failed. */
export async function deleteSandbox(daytona: Daytona, name: string): Promise<void> {
  const deadline = Date.now() + DELETE_MS
  for (;;) {
    try {
      const sandbox = await daytona.get(name)
      await sandbox.delete(CALL_SECONDS)
      return
    } catch (error) {
      if (error instanceof DaytonaNotFoundError) return
      // Daytona refuses while a change of state is under way; anything else may pass as well.
      if (Date.now() > deadline) throw error
      await sleep(DELETE_RETRY_MS)
    }
  }
}

/**
 * Runs a command to its end and answers its exit code; 124 when its time was up.
 *
 * It runs detached and is looked at by short calls, because a long call dies in a load balancer, a session of the toolbox
 * writes its command to disk and takes no environment, and a sandbox that is asked nothing is stopped as idle.
 *
 * Every program is named by its path and no shell is a login shell: folders of the user's are first on PATH and start files
 * are in the home, and both may be a build's. Its exit code is there only once no process of this has the environment any more.
 */
export async function run(sandbox: Sandbox, command: string[], options: Run): Promise<number> {
  const { env, cwd, seconds, signal } = options
  const directory = `/tmp/harvest-run-${randomUUID()}`
  const inner = `echo $$ >${directory}/pid
/usr/bin/timeout --kill-after=10 ${seconds} "$@" >${directory}/out 2>${directory}/err
exec /usr/bin/env -i /bin/sh -c 'echo "$1" >"$2"' end $? ${directory}/exit`
  await execute(
    sandbox,
    `/bin/mkdir -m 700 ${directory} || exit
/usr/bin/setsid /bin/bash -c ${quoted(inner)} run ${command.map(quoted).join(' ')} </dev/null >/dev/null 2>&1 &`,
    cwd,
    env
  )
  const deadline = Date.now() + seconds * 1000 + 60_000
  const read = { out: 0, err: 0 }
  for (let failures = 0; ; ) {
    signal.throwIfAborted()
    if (Date.now() > deadline) return 124
    let state: string, out: Buffer, err: Buffer
    try {
      ;({ state, out, err } = await look(sandbox, directory, read))
      failures = 0
    } catch (error) {
      failures += 1
      if (failures > POLL_FAILURES || (error instanceof DaytonaNotFoundError && (await isGone(sandbox)))) throw error
      await sleep(POLL_MS * failures, undefined, { signal })
      continue
    }
    read.out += out.length
    read.err += err.length
    if (out.length > 0) await options.onStdout(out)
    if (err.length > 0) await options.onStderr(err)
    if (out.length === CHUNK_BYTES || err.length === CHUNK_BYTES) continue
    if (state === 'gone') throw new Error(`${command[0]} was killed; the sandbox may have run out of memory`)
    if (state !== 'running') return Number(state)
    await sleep(POLL_MS, undefined, { signal })
  }
}

/** Whether the API itself says so: a call into the sandbox passes a proxy, whose 404 may be a bad minute of its own. */
async function isGone(sandbox: Sandbox): Promise<boolean> {
  try {
    await sandbox.refreshData()
    return false
  } catch (error) {
    return error instanceof DaytonaNotFoundError
  }
}

/** How the command is doing, then what it has written since: in this order, so that an ended one has nothing left to say. */
async function look(sandbox: Sandbox, directory: string, read: { out: number; err: number }) {
  const answer = await execute(
    sandbox,
    `cd ${directory} || exit
if [ -s exit ]; then /bin/cat exit
elif [ ! -s pid ] || kill -0 "$(/bin/cat pid)" 2>/dev/null; then echo running
else /bin/cat exit 2>/dev/null || echo gone; fi
for part in "out ${read.out}" "err ${read.err}"; do
  set -- $part
  /usr/bin/tail -c +$(($2 + 1)) $1 2>/dev/null | /usr/bin/head -c ${CHUNK_BYTES} | /usr/bin/base64 -w 0
  echo
done`
  )
  const [state = 'gone', out = '', err = ''] = answer.split('\n')
  return { state, out: Buffer.from(out, 'base64'), err: Buffer.from(err, 'base64') }
}

/** Daytona hands a command to zsh where the image has it, else to bash: neither is to read a file of the home's first. */
const NO_START_FILES = { ZDOTDIR: '/', BASH_ENV: '', ENV: '' }

/** A short command's output. What it is given in `env` goes to the process alone. */
export async function execute(
  sandbox: Sandbox,
  command: string,
  cwd?: string,
  env?: Record<string, string>
): Promise<string> {
  const answer = await sandbox.process.executeCommand(command, cwd, { ...NO_START_FILES, ...env }, CALL_SECONDS)
  if (answer.exitCode !== 0) throw new Error(`a command in the sandbox ended with ${answer.exitCode}: ${answer.result}`)
  return answer.result
}

/** As one word of a shell command. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
