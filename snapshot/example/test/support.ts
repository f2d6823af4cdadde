// What the tests run against: a real fleet with one prebuild, a fake Messages API, and what the image has at /opt/harvest
// and /app, shown to sandboxes that are made of the host's own tools.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const repository = resolve(fileURLToPath(import.meta.url), '../../../../..')
const example = join(repository, 'snapshot/example')
const START_MS = 180_000

/** Without what `npm test` puts in of this folder's .npmrc: it would decide how others install. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_(registry|cafile|userconfig|nodedir)$)/.test(name))
)

/** What prebuilt-fleet says of itself. */
export interface Fleet {
  apiUrl: string
  apiKey: string
  fleet: string
  snapshot: string
  snapshotId: string
  repository: string
  branch: string
  path: string
  remote: string
  gitDirectory: string
  stop(): Promise<void>
}

/** Starts a private fleet and waits for its prebuild. It ends with this process, however that ends. */
export async function startFleet(root: string): Promise<Fleet> {
  const program = join(repository, 'target/debug/prebuilt-fleet')
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --workspace --bins`)
  const shown = ['opt/harvest', 'app'].flatMap((path) => ['--expose-read-only', `${join(root, path)}:/${path}`])
  const child = spawn(program, shown, { cwd: repository, env: environment, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  const line = await within(START_MS, 'the fleet to have a prebuild', firstLine(child))
  return {
    ...(JSON.parse(line) as Omit<Fleet, 'stop'>),
    stop: async () => {
      child.stdin.end()
      await ended
    }
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no stdout')
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error('prebuilt-fleet ended before it had a prebuild; see above')
}

/** A folder that holds opt/harvest and app: an exported image, or one made here of the same lockfile and sources. */
export function testRoot(): string {
  const given = process.env.HARVEST_TEST_ROOT
  if (given) return given
  const tools = join(repository, 'snapshot/tools')
  const hash = createHash('sha256').update(readFileSync(join(tools, 'package-lock.json'))).digest('hex').slice(0, 16)
  const roots = join(repository, 'target/session-root')
  const root = join(roots, hash)
  const harvest = join(root, 'opt/harvest')
  if (!existsSync(join(harvest, 'node_modules'))) installTools(tools, roots, root)
  rmSync(join(harvest, 'bin'), { recursive: true, force: true })
  cpSync(join(repository, 'snapshot/bin'), join(harvest, 'bin'), { recursive: true })
  // Sandboxes see the host's /usr and nothing else of it.
  const node = process.execPath
  if (node.startsWith('/usr/')) symlinkSync(node, join(harvest, 'bin/node'))
  else copyFileSync(node, join(harvest, 'bin/node'))
  rmSync(join(root, 'app'), { recursive: true, force: true })
  const flatten = join(repository, 'snapshot/flatten-rules.mjs')
  execFileSync(node, [flatten, join(repository, 'config'), join(root, 'app')], { stdio: 'inherit' })
  return root
}

function installTools(tools: string, roots: string, root: string): void {
  rmSync(roots, { recursive: true, force: true })
  mkdirSync(roots, { recursive: true })
  const unfinished = mkdtempSync(join(roots, 'unfinished-'))
  const harvest = join(unfinished, 'opt/harvest')
  mkdirSync(harvest, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(tools, file), join(harvest, file))
  const install = ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund']
  execFileSync('npm', install, { cwd: harvest, env: environment, stdio: 'inherit' })
  renameSync(unfinished, root)
}

/** What the fake Messages API was asked. */
export interface MessagesRequest {
  system: unknown
  messages: { role: string; content: unknown }[]
  tools?: { name: string }[]
}

export interface FakeMessagesApi {
  url: string
  requests(): MessagesRequest[]
  close(): Promise<void>
}

export async function startFakeMessagesApi(toolCalls: { name: string; input: object }[]): Promise<FakeMessagesApi> {
  const module = (await import(join(repository, 'snapshot/tests/fake-messages-api.mjs'))) as {
    startFakeMessagesApi(options: object): Promise<FakeMessagesApi>
  }
  return module.startFakeMessagesApi({ text: 'All is done.', toolCalls })
}

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
  milliseconds: number
}

export interface Session {
  /** Resolves when this is in its stdout. */
  says(text: string): Promise<void>
  signal(name: NodeJS.Signals): void
  ended: Promise<Ended>
}

/** Runs start-session as a service would. */
export function startSession(args: string[], env: Record<string, string>, prompt: string): Session {
  const started = Date.now()
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [join(example, 'dist/src/start-session.js'), ...args], {
    cwd: tmpdir(),
    env: { PATH, HOME, ...env },
    stdio: 'pipe'
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  child.stdin.on('error', () => {}).end(prompt)
  const ended = new Promise<Ended>((done, failed) => {
    child.once('error', failed)
    child.once('close', (code) => done({ code, ...output, milliseconds: Date.now() - started }))
  })
  return {
    says: (text) =>
      within(
        START_MS,
        `${text} in the session's output`,
        new Promise((found, failed) => {
          const look = () => output.stdout.includes(text) && found()
          child.stdout.on('data', look)
          child.once('close', () => failed(new Error(`the session ended without ${text}:\n${output.stdout}${output.stderr}`)))
          look()
        })
      ),
    signal: (name) => child.kill(name),
    ended
  }
}

/** Commits one file to the branch of a bare repository. */
export function push(fleet: Fleet, file: string, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'push-'))
  const env: NodeJS.ProcessEnv = { ...process.env, GIT_INDEX_FILE: join(folder, 'index') }
  for (const role of ['AUTHOR', 'COMMITTER']) {
    env[`GIT_${role}_NAME`] = 'Test'
    env[`GIT_${role}_EMAIL`] = 'test@example.com'
  }
  const git = (args: string[], input = '') =>
    execFileSync('git', ['-C', fleet.gitDirectory, ...args], { input, encoding: 'utf8', env }).trim()
  try {
    const parent = head(fleet)
    git(['read-tree', parent])
    const blob = git(['hash-object', '-w', '--stdin'], content)
    git(['update-index', '--add', '--cacheinfo', `100644,${blob},${file}`])
    const commit = git(['commit-tree', git(['write-tree']), '-p', parent, '-m', `Change ${file}`])
    git(['update-ref', `refs/heads/${fleet.branch}`, commit, parent])
    return commit
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The commit its branch is at now. */
export function head(fleet: Fleet): string {
  return execFileSync('git', ['-C', fleet.gitDirectory, 'rev-parse', fleet.branch], { encoding: 'utf8' }).trim()
}

/** The first long line of a document: what tells that this one, and not another, was read. */
export function sentenceOf(file: string): string {
  const line = readFileSync(file, 'utf8').split('\n').find((each) => /^[^@#\s].{40,}/.test(each))
  if (line === undefined) throw new Error(`${file} has no line to know it by`)
  return line
}

/** Documents that the rules include, in the order of their lines. */
export function includedDocuments(): string[] {
  const config = join(repository, 'config')
  const lines = ['claude.md', 'autonomous-agent.md'].flatMap((file) => readFileSync(join(config, file), 'utf8').split('\n'))
  return lines.flatMap((line) => /^@(docs\/\S+)$/.exec(line.trim())?.[1] ?? []).map((path) => join(config, path))
}

export function within<T>(milliseconds: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, failed) => {
    timer = setTimeout(() => failed(new Error(`waited ${milliseconds} ms for ${what}`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

export function occurrences(text: string, part: string): number {
  return text.split(part).length - 1
}

