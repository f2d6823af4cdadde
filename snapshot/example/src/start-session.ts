// Runs one agent session in a sandbox made from a prebuild, and deletes the sandbox however it ends.
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Daytona, DaytonaNotFoundError, type Sandbox, type Snapshot, SnapshotState } from '@daytonaio/sdk'
import { findPrebuild, folderOf, parseTarget, type Target } from './prebuild.js'
import { createSandbox, deleteSandbox, execute, type Run, run } from './sandbox.js'
import type { SessionRequest } from './session.js'

const USAGE = `usage: start-session TARGET|--snapshot SNAPSHOT [options] < PROMPT

Starts a sandbox from the prebuild of TARGET (owner/name@branch), brings its checkout up to date and lets an agent work on
the prompt. Each message of the Agent SDK is one line of JSON on stdout; everything else goes to stderr.

  --snapshot NAME|ID   start from this prebuild, which harvestctl resolve or something else has chosen
  --base SNAPSHOT      when TARGET has no prebuild: start from this snapshot and clone
  --clone-url URL      what --base clones (default https://HOST/PATH.git)
  --env NAME           give this variable to the session too, and to the install; repeatable
  --minutes N          the session's time (default 120)
  --keep               leave the sandbox to its own end: 15 minutes after the last call

Reads DAYTONA_API_KEY, DAYTONA_API_URL and DAYTONA_TARGET; HARVEST_FLEET, unless --snapshot is given; and, for the session,
CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, GIT_USER_NAME, GIT_USER_EMAIL, GITHUB_TOKEN, LINEAR_API_KEY,
SENTRY_AUTH_TOKEN, GEMINI_API_KEY, HARVEST_MEMORY_DIR.

Exit codes: 0 the agent ended its turn; 1 it failed, or the sandbox did; 2 wrong use; 3 no prebuild; 4 the checkout could not
be brought up to date; 124 out of time; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM.
`
const SYNC_VARIABLES = ['GIT_USER_NAME', 'GIT_USER_EMAIL', 'GITHUB_TOKEN']
const SESSION_VARIABLES = [
  ...SYNC_VARIABLES,
  'CLAUDE_CODE_OAUTH_TOKEN',
  'ANTHROPIC_API_KEY',
  'ANTHROPIC_BASE_URL',
  'LINEAR_API_KEY',
  'SENTRY_AUTH_TOKEN',
  'GEMINI_API_KEY',
  'HARVEST_MEMORY_DIR'
]
const SYNC_SECONDS = 30 * 60
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** An end with a code of its own and nothing more to say than its message. */
class Exit extends Error {
  constructor(readonly code: number, message: string) {
    super(message)
  }
}

interface Clone {
  url: string
  branch: string
  path: string
}

interface Plan {
  start: { snapshot: string } | { target: Target; text: string; base: string | undefined; cloneUrl: string | undefined }
  minutes: number
  keep: boolean
  names: string[]
}

async function main(): Promise<number> {
  const plan = readArguments()
  if (!process.env.CLAUDE_CODE_OAUTH_TOKEN && !process.env.ANTHROPIC_API_KEY) {
    throw new Exit(2, 'set CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_API_KEY: the agent needs one')
  }
  if (!process.env.DAYTONA_API_KEY) throw new Exit(2, 'set DAYTONA_API_KEY: the sandbox is made with it')
  const prompt = await textOf(process.stdin)
  if (prompt.trim() === '') throw new Exit(2, 'the prompt on stdin is empty')

  const daytona = new Daytona()
  const { signal } = interruption
  const name = `session-${randomUUID()}`
  let asked = false
  try {
    const { snapshot, clone } = await whatToStart(daytona, plan)
    log(`starting ${name} from ${clone ? 'base snapshot' : 'prebuild'} ${snapshot.name}`)
    asked = true
    const began = Date.now()
    const sandbox = await createSandbox(daytona, name, snapshot.id, plan.minutes)
    signal.throwIfAborted()
    log(`started in ${Date.now() - began} ms`)
    if (clone) await cloneInto(sandbox, clone, plan, signal)
    else await synchronise(sandbox, plan, signal)
    return await converse(sandbox, { prompt, ...(clone ? { cwd: clone.path } : {}) }, plan, signal)
  } finally {
    if (asked && plan.keep) log(`kept sandbox ${name}`)
    else if (asked) await remove(daytona, name)
  }
}

/** Also when it could not be created, for it may be there all the same. */
async function remove(daytona: Daytona, name: string): Promise<void> {
  try {
    await deleteSandbox(daytona, name)
  } catch (error) {
    log(`${name} could not be deleted and goes away by itself when it is idle: ${message(error)}`)
  }
}

/** The snapshot, and what to clone when it is not a prebuild. */
async function whatToStart(daytona: Daytona, { start }: Plan): Promise<{ snapshot: Snapshot; clone?: Clone }> {
  if ('snapshot' in start) return { snapshot: await theSnapshot(daytona, start.snapshot) }
  const fleet = process.env.HARVEST_FLEET
  if (!fleet) throw new Exit(2, 'set HARVEST_FLEET, the fleet whose prebuilds are meant, or give --snapshot')
  const { target, text, base } = start
  const prebuild = await findPrebuild(daytona, fleet, target)
  if (prebuild) return { snapshot: prebuild }
  if (base === undefined) {
    const build = `Build one: harvestctl submit ${text} --wait`
    throw new Exit(3, `${text} has no prebuild in fleet ${fleet}. ${build}. Or start without: --base SNAPSHOT`)
  }
  const url = start.cloneUrl ?? `https://${target.host}/${target.path}.git`
  const clone = { url, branch: target.branch, path: `/workspace/${folderOf(target)}` }
  return { snapshot: await theSnapshot(daytona, base), clone }
}

async function theSnapshot(daytona: Daytona, nameOrId: string): Promise<Snapshot> {
  let snapshot: Snapshot
  try {
    snapshot = await daytona.snapshot.get(nameOrId)
  } catch (error) {
    if (error instanceof DaytonaNotFoundError) throw new Exit(3, `there is no snapshot ${nameOrId}`)
    throw error
  }
  // Nothing wakes one that was captured from a sandbox: activating it ends in `error`, for good.
  if (snapshot.state === SnapshotState.INACTIVE) throw new Exit(3, `${nameOrId} sleeps: no sandbox starts from it. Take another, or build one anew`)
  return snapshot
}

/**
 * Without a prebuild: a checkout and nothing installed, set up as harvest-sync would. The token is read from the environment
 * whenever git asks its helper, so it is in no URL and no file.
 */
async function cloneInto(sandbox: Sandbox, clone: Clone, plan: Plan, signal: AbortSignal): Promise<void> {
  const { GIT_USER_NAME: name, GIT_USER_EMAIL: email, GITHUB_TOKEN: token } = process.env
  const { protocol, host, pathname } = new URL(clone.url)
  const place = [protocol.slice(0, -1), host, decodeURIComponent(pathname).replace(/^\/+|\/+$/g, '')]
  const helper = `/opt/harvest/bin/harvest-git-credential ${place.map((each) => `'${each.replaceAll("'", `'\\''`)}'`).join(' ')}`
  const config = [
    name ? [`user.name=${name}`] : [],
    email ? [`user.email=${email}`] : [],
    token ? [`credential.${clone.url}.helper=${helper}`, `credential.${clone.url}.useHttpPath=true`] : []
  ].flat()
  const options = [...config.flatMap((each) => ['--config', each]), '--branch', clone.branch]
  const command = ['/usr/bin/git', 'clone', ...options, '--', clone.url, clone.path]
  const code = await run(sandbox, command, quietly(SYNC_SECONDS, environment([...SYNC_VARIABLES, ...plan.names]), signal))
  if (code !== 0) throw new Exit(4, `git clone ended with ${code}`)
  const marker = `printf '{"commit":"%s","dependencies":"stale"}\\n' "$(/usr/bin/git rev-parse HEAD)" >/workspace/.harvest/ready`
  await execute(sandbox, `/bin/mkdir -p /workspace/.harvest && ${marker}`, clone.path)
}

/**
 * The checkout is brought to the branch's head; nothing may be edited before this has ended. In two runs, so that the token
 * and the repository's code never meet: the first has the token and runs nothing of the repository's, the second installs.
 */
async function synchronise(sandbox: Sandbox, plan: Plan, signal: AbortSignal): Promise<void> {
  const harvestSync = (options: string[], names: string[]) =>
    run(sandbox, ['/opt/harvest/bin/harvest-sync', ...options], quietly(SYNC_SECONDS, environment(names), signal))
  const others = plan.names.filter((name) => !SESSION_VARIABLES.includes(name))
  let code = await harvestSync(['--no-install'], [...SYNC_VARIABLES, ...others])
  if (code === 5) code = await harvestSync(['--no-fetch', ...others.flatMap((name) => ['--install-variable', name])], others)
  // 4: at an older commit than the branch; 5: dependencies are not those of the commit. The agent can work with both.
  if (![0, 4, 5].includes(code)) throw new Exit(4, `harvest-sync ended with ${code}`)
  if (code !== 0) log(`going on although harvest-sync ended with ${code}`)
}

/** The session itself. What is asked travels in a file that the session deletes; tokens travel in its environment alone. */
async function converse(sandbox: Sandbox, request: SessionRequest, plan: Plan, signal: AbortSignal): Promise<number> {
  const folder = `/tmp/harvest-session-${randomUUID()}`
  await execute(sandbox, `/bin/mkdir -m 700 ${folder}`)
  const program = readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'session.js'))
  await sandbox.fs.uploadFiles([
    { source: program, destination: `${folder}/session.mjs` },
    { source: Buffer.from(JSON.stringify(request)), destination: `${folder}/request.json` }
  ])
  const command = ['/opt/harvest/bin/node', `${folder}/session.mjs`, `${folder}/request.json`]
  const code = await run(sandbox, command, {
    ...quietly(plan.minutes * 60, environment([...SESSION_VARIABLES, ...plan.names]), signal),
    onStdout: (bytes) => write(process.stdout, bytes)
  })
  if (code === 124) throw new Exit(124, `the session's ${plan.minutes} minutes are over`)
  return code
}

/** With all output on stderr. */
function quietly(seconds: number, env: Record<string, string>, signal: AbortSignal): Run {
  const onOutput = (bytes: Buffer) => write(process.stderr, bytes)
  return { env, seconds, signal, onStdout: onOutput, onStderr: onOutput }
}

function environment(names: string[]): Record<string, string> {
  const set = names.map((name) => [name, process.env[name]] as const)
  return Object.fromEntries(set.filter((pair): pair is [string, string] => Boolean(pair[1])))
}

function readArguments(): Plan {
  const { values, positionals } = wrongUse(() =>
    parseArgs({
      allowPositionals: true,
      options: {
        snapshot: { type: 'string' },
        base: { type: 'string' },
        'clone-url': { type: 'string' },
        env: { type: 'string', multiple: true, default: [] },
        minutes: { type: 'string', default: '120' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false }
      }
    })
  )
  if (values.help) {
    process.stdout.write(USAGE)
    process.exit(0)
  }
  const [text, ...more] = positionals
  if (more.length > 0 || (text === undefined) === (values.snapshot === undefined)) {
    throw new Exit(2, `a target or --snapshot is needed, one of them\n\n${USAGE}`)
  }
  const minutes = Number(values.minutes)
  if (!Number.isInteger(minutes) || minutes < 1) throw new Exit(2, '--minutes is a whole number from 1')
  const unset = values.env.find((name) => !process.env[name])
  if (unset !== undefined) throw new Exit(2, `--env ${unset}: the variable is not set`)
  const { snapshot, base, 'clone-url': cloneUrl, keep, env: names } = values
  const start =
    snapshot === undefined ? { target: wrongUse(() => parseTarget(text ?? '')), text: text ?? '', base, cloneUrl } : { snapshot }
  return { start, minutes, keep, names }
}

function wrongUse<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new Exit(2, message(error))
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function log(text: string): void {
  process.stderr.write(`start-session: ${text}\n`)
}

/** Waits for a slow reader instead of piling up what it has not read. That there is none is told by the stream's own event. */
function write(stream: NodeJS.WriteStream, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => stream.write(bytes, () => resolve()))
}

// However it is ended, `finally` above still deletes the sandbox: a signal only makes the current wait fail.
const interruption = new AbortController()
for (const [name, code] of Object.entries(SIGNALS)) {
  process.on(name, () => interruption.abort(new Exit(code, `ended by ${name}`)))
}
process.stderr.on('error', () => {})
process.stdout.on('error', (error) => interruption.abort(new Exit(1, `nobody reads stdout any more: ${error.message}`)))

let code: number
try {
  code = await main()
} catch (error) {
  // A wait that was cut short fails with an AbortError, whose cause is the reason.
  const reason: unknown = interruption.signal.aborted ? interruption.signal.reason : error
  log(message(reason))
  code = reason instanceof Exit ? reason.code : 1
}
// Not process.exitCode: the SDK may still hold a connection open.
process.exit(code)
