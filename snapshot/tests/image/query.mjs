// One query of the Agent SDK from the image, with rules and servers as docs/agent-runtime.md tells the runtime to pass them,
// against a fake Messages API on loopback. Prints what a check may ask for, one fact a line.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

import { startFakeMessagesApi } from '../fake-messages-api.mjs'

const require = createRequire('/opt/harvest/x.js')
const { query } = await import(pathToFileURL(require.resolve('@anthropic-ai/claude-agent-sdk')))

const api = await startFakeMessagesApi({ toolCalls: [{ name: 'mcp__memory__read_graph', input: {} }] })
const rules = ['/app/claude.md', '/app/autonomous-agent.md'].map((path) => readFileSync(path, 'utf8'))
const servers = JSON.parse(execFileSync('/opt/harvest/bin/harvest-mcp-servers', { stdio: ['ignore', 'pipe', 'ignore'] }))

const messages = query({
  prompt: 'Say done.',
  options: {
    systemPrompt: { type: 'preset', preset: 'claude_code', append: rules.join('\n\n') },
    cwd: '/workspace',
    mcpServers: { memory: { ...servers.memory, alwaysLoad: true } },
    strictMcpConfig: true,
    settingSources: [],
    permissionMode: 'bypassPermissions',
    allowDangerouslySkipPermissions: true,
    env: { ...process.env, ANTHROPIC_BASE_URL: api.url, ANTHROPIC_API_KEY: 'not-a-key' },
  },
})
for await (const message of messages) {
  if (message.type === 'system' && message.subtype === 'init') {
    for (const { name, status } of message.mcp_servers) console.log(`server ${name} ${status}`)
  }
  if (message.type === 'result') console.log(`result ${message.subtype}`)
}

const requests = api.requests()
const main = requests.find(({ system }) => JSON.stringify(system ?? '').includes(firstLine(rules[0])))
const system = [main?.system ?? []].flat().map((part) => part.text ?? part).join('\n')
console.log(`claude.md ${count(system, rules[0].trim())}`)
console.log(`autonomous-agent.md ${count(system, rules[1].trim())}`)
console.log(`unresolved ${count(system, '@docs/')}`)
for (const { name } of main?.tools ?? []) if (name.startsWith('mcp__')) console.log(`tool ${name}`)
const results = requests.flatMap(({ messages }) => messages).flatMap(({ content }) => content)
const seeded = results.some((part) => part.type === 'tool_result' && JSON.stringify(part.content).includes('HarvestSession'))
console.log(`memory answered with the seed: ${seeded}`)
// Lines that the caller looks for.
for (const marker of process.argv.slice(2)) console.log(`marker ${count(system, marker)} ${marker}`)
await api.close()
process.exit(0)

function firstLine(text) {
  return text.split('\n').find((line) => line.trim() !== '') ?? ''
}

function count(text, part) {
  return part === '' ? 0 : text.split(part).length - 1
}
