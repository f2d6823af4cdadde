// The rules as the runtime reads them: every reference replaced, nothing twice, nothing lost; anything else fails the build.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../flatten-rules.mjs', import.meta.url))
const CONFIG = fileURLToPath(new URL('../../../config', import.meta.url))
const SOUND = {
  'claude.md': '# Rules\n\n@docs/one.md\n\nRead /app/docs/rare.md when it is rare.\n',
  'autonomous-agent.md': '# Alone\n\n@docs/two.md\n',
  'docs/one.md': '## One\n\n@docs/inner.md\n',
  'docs/two.md': '## Two\n',
  'docs/inner.md': '### Inner\n',
  'docs/rare.md': '## Rare\n',
  'mcp-servers.json': '{}',
  'memory-seed.jsonl': '',
}

function flatten(changes) {
  const folder = mkdtempSync(join(tmpdir(), 'rules-'))
  try {
    for (const [name, text] of Object.entries({ ...SOUND, ...changes })) {
      if (text === null) continue
      mkdirSync(dirname(join(folder, 'config', name)), { recursive: true })
      writeFileSync(join(folder, 'config', name), text)
    }
    const app = join(folder, 'app')
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, join(folder, 'config'), app], { encoding: 'utf8' })
    const read = (name) => (existsSync(join(app, name)) ? readFileSync(join(app, name), 'utf8') : undefined)
    return { status, stderr, claude: read('claude.md'), alone: read('autonomous-agent.md'), rare: read('docs/rare.md') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('references are replaced by their documents, and theirs by theirs', () => {
  const { status, stderr, claude, alone, rare } = flatten({})
  assert.equal(status, 0, stderr)
  assert.equal(claude, '# Rules\n\n## One\n\n### Inner\n\nRead /app/docs/rare.md when it is rare.\n')
  assert.equal(alone, '# Alone\n\n## Two\n')
  assert.equal(rare, '## Rare\n')
})

for (const [what, changes, complaint] of [
  ['a document that is not there', { 'docs/two.md': null }, /autonomous-agent\.md.*|docs\/two\.md: there is no such file/],
  ['a reference within a line', { 'docs/two.md': 'see @docs/inner.md\n' }, /docs\/two\.md:1: an @docs\/ reference must stand alone/],
  ['one document in both texts', { 'docs/two.md': '@docs/inner.md\n' }, /docs\/two\.md:1: docs\/inner\.md is included already, at docs\/one\.md:3/],
  ['a document that includes itself', { 'docs/inner.md': '@docs/one.md\n' }, /docs\/one\.md includes itself/],
  ['a document nobody includes or names', { 'docs/lost.md': 'lost\n' }, /docs\/lost\.md: neither included/],
  ['a path that is not there', { 'docs/two.md': 'read /app/docs/gone.md\n' }, /docs\/gone\.md.*there is no such file/],
  ['rules that are not there', { 'claude.md': null }, /claude\.md: there is no such file/],
]) {
  test(`${what} fails the build and writes nothing`, () => {
    const { status, stderr, claude } = flatten(changes)
    assert.equal(status, 1)
    assert.match(stderr, complaint)
    assert.equal(claude, undefined)
  })
}

test('the rules of this repository are sound', () => {
  const app = mkdtempSync(join(tmpdir(), 'app-'))
  try {
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, CONFIG, app], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    for (const name of ['claude.md', 'autonomous-agent.md']) {
      const text = readFileSync(join(app, name), 'utf8')
      assert.ok(!text.includes('@docs/'), name)
      assert.ok(text.length > 2000, `${name} has ${text.length} characters`)
    }
  } finally {
    rmSync(app, { recursive: true })
  }
})
