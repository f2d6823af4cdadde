#!/usr/bin/env node
// Puts the rules into the form the agent runtime reads: flatten-rules.mjs <config folder> <app folder>
//
// The runtime passes the texts of claude.md and autonomous-agent.md in `systemPrompt.append`, where the SDK resolves no
// `@docs/…` reference. So each such line is replaced by the document it names, here, at image build. Both texts go into
// one request: a document may be included only once in the two together. Anything that would reach the agent
// unresolved fails the build.
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { argv, exit, stderr } from 'node:process'

const RULES = ['claude.md', 'autonomous-agent.md']
const ALONGSIDE = ['mcp-servers.json', 'memory-seed.jsonl', 'docs']
const REFERENCE = /^@(docs\/\S+\.md)$/

class RulesError extends Error {}

/** `name` with every reference replaced, `including` being the documents on the way to it. */
function flatten(config, name, included, including = []) {
  return read(config, name, including)
    .split('\n')
    .flatMap((line, index) => {
      const place = `${name}:${index + 1}`
      const reference = REFERENCE.exec(line.trim())?.[1]
      if (!reference) {
        if (line.includes('@docs/')) {
          throw new RulesError(`${place}: an @docs/ reference must stand alone on its line`)
        }
        return [line]
      }
      if (including.includes(reference)) throw new RulesError(`${place}: ${reference} includes itself`)
      if (included.has(reference)) {
        throw new RulesError(`${place}: ${reference} is included already, at ${included.get(reference)}`)
      }
      included.set(reference, place)
      return [flatten(config, reference, included, [...including, reference]).trimEnd()]
    })
    .join('\n')
}

function read(config, name, including) {
  try {
    return readFileSync(join(config, name), 'utf8')
  } catch (error) {
    const by = including.length > 1 ? ` (included by ${including.at(-2)})` : ''
    throw new RulesError(`${name}${by}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`)
  }
}

/** Documents that are not included are read by their path, so every path that is named has to be there. */
function checkPaths(config, texts) {
  for (const [name, text] of texts) {
    for (const [, path] of text.matchAll(/\/app\/(docs\/[\w./-]+\.md)/g)) read(config, path, [name, path])
  }
}

function documents(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? documents(join(folder, entry.name)) : [join(folder, entry.name)],
  )
}

/** A document that nobody includes or names would never be read. */
function checkNoneIsLost(config, texts, included) {
  const everything = texts.map(([, text]) => text).join('\n')
  for (const path of documents(join(config, 'docs')).map((file) => relative(config, file))) {
    if (!included.has(path) && !everything.includes(`/app/${path}`)) {
      throw new RulesError(`${path}: neither included by an @docs/ line nor named as /app/${path}`)
    }
  }
}

function main([config, app]) {
  if (!config || !app) throw new RulesError('usage: flatten-rules.mjs <config folder> <app folder>')
  const included = new Map()
  const texts = RULES.map((name) => [name, flatten(config, name, included)])
  checkPaths(config, texts)
  checkNoneIsLost(config, texts, included)
  mkdirSync(app, { recursive: true })
  for (const [name, text] of texts) writeFileSync(join(app, name), text)
  for (const name of ALONGSIDE) cpSync(join(config, name), join(app, name), { recursive: true })
}

try {
  main(argv.slice(2))
} catch (error) {
  if (!(error instanceof RulesError)) throw error
  stderr.write(`flatten-rules: ${error.message}\n`)
  exit(1)
}
