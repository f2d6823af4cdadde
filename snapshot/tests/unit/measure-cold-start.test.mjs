// measure-cold-start.sh through Daytona's API, against sandboxd: real sandboxes are started, timed and deleted.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../measure-cold-start.sh', import.meta.url))
const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../target', import.meta.url))
const SANDBOXD = join(TARGET, 'debug/sandboxd')
const KEY = 'measured-key'

let folder, server, url
before(async () => {
  assert.ok(existsSync(SANDBOXD), `${SANDBOXD} is missing: cargo build --workspace --bins`)
  folder = mkdtempSync(join(tmpdir(), 'measure-'))
  server = spawn(SANDBOXD, ['--data-dir', folder], { env: { ...process.env, SANDBOXD_API_KEYS: KEY }, stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: server.stdout })
  for await (const line of lines) {
    url = /listening on (\S+)/.exec(line)?.[1]
    if (url) break
  }
  server.stdout.resume()
})
after(async () => {
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGTERM')
  await ended
  rmSync(folder, { recursive: true, force: true })
})

const measure = (words, variables) =>
  spawnSync(PROGRAM, words, { encoding: 'utf8', env: { PATH: process.env.PATH, ...variables } })
const sandboxes = () =>
  JSON.parse(execFileSync('curl', ['-s', '-H', `Authorization: Bearer ${KEY}`, `${url}/sandbox`], { encoding: 'utf8' })).items

test('starts are timed from the create to the sandbox being there, and nothing is left', () => {
  const { status, stdout, stderr } = measure(['--runs', '3'], { DAYTONA_API_KEY: KEY, DAYTONA_API_URL: url })
  assert.equal(status, 0, stderr)
  const [, count, least, median, most] = /^sandbox +(\d+) starts: min (\d+) ms, median (\d+) ms, max (\d+) ms/.exec(stdout)
  assert.equal(count, '3')
  assert.ok(0 < Number(least) && Number(least) <= Number(median) && Number(median) <= Number(most), stdout)
  assert.deepEqual(sandboxes(), [])
})

test('a snapshot that is not there is told as Daytona tells it, at once', () => {
  const variables = { DAYTONA_API_KEY: KEY, DAYTONA_API_URL: url, HARVEST_SNAPSHOT: 'no-such-snapshot' }
  const { status, stdout, stderr } = measure([], variables)
  assert.equal(status, 1)
  assert.match(stderr, /did not start.*Snapshot no-such-snapshot not found/)
  assert.doesNotMatch(stderr, /delete it by hand/)
  assert.equal(stdout, '')
  assert.deepEqual(sandboxes(), [])
})

test('without image and key there is nothing to measure, and that is said', () => {
  const { status, stderr } = measure([], {})
  assert.equal(status, 2)
  assert.match(stderr, /name an IMAGE, or set DAYTONA_API_KEY/)
})
