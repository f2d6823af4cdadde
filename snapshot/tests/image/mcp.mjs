// Speaks MCP over stdio with the servers that harvest-mcp-servers names, as the SDK starts them. Run in the image:
//   mcp.mjs names                                prints the servers' names
//   mcp.mjs tools SERVER                         prints the names of its tools
//   mcp.mjs call SERVER TOOL JSON [TOOL JSON]... calls one after another in one session, prints each answer's texts
// A call whose answer says isError ends it with 1.
import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const ANSWER_WITHIN_MILLISECONDS = 60_000

const [what, server, ...rest] = process.argv.slice(2)
const servers = JSON.parse(execFileSync('harvest-mcp-servers', { stdio: ['ignore', 'pipe', 'ignore'] }))
if (what === 'names') {
  console.log(Object.keys(servers).join('\n'))
} else if (servers[server]) {
  await session(servers[server], what === 'tools' ? tools : calls)
} else {
  fail(`no server ${server} among ${Object.keys(servers)}`)
}

async function tools(ask) {
  const { tools } = await ask('tools/list', {})
  console.log(tools.map((tool) => tool.name).join('\n'))
}

async function calls(ask) {
  for (let index = 0; index < rest.length; index += 2) {
    const answer = await ask('tools/call', { name: rest[index], arguments: JSON.parse(rest[index + 1]) })
    console.log(answer.content.map((part) => part.text ?? part.type).join('\n'))
    if (answer.isError) fail(`${rest[index]} answered an error`)
  }
}

async function session({ command, args = [], env = {} }, use) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  let complaints = ''
  child.stderr.on('data', (data) => (complaints = (complaints + data).slice(-2000)))
  const waiting = new Map()
  child.on('exit', (code) => waiting.size && fail(`the server ended with ${code}: ${complaints}`))
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line)
    if (message.method) return answer(child, message)
    waiting.get(message.id)?.(message)
    waiting.delete(message.id)
  })
  let last = 0
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  const ask = async (method, params) => {
    const id = (last += 1)
    const timer = setTimeout(() => fail(`no answer to ${method}: ${complaints}`), ANSWER_WITHIN_MILLISECONDS)
    const message = await new Promise((resolve) => {
      waiting.set(id, resolve)
      send({ id, method, params })
    })
    clearTimeout(timer)
    if (message.error) fail(`${method}: ${JSON.stringify(message.error)}`)
    return message.result
  }
  const client = { name: 'image-test', version: '1' }
  await ask('initialize', { protocolVersion: '2025-06-18', capabilities: { roots: {} }, clientInfo: client })
  send({ method: 'notifications/initialized' })
  await use(ask)
  child.stdin.end()
  child.kill('SIGTERM')
  process.exit(0)
}

/** What servers ask of a client: filesystem wants the roots. */
function answer(child, { id, method }) {
  if (id === undefined) return
  const result = method === 'roots/list' ? { roots: [{ uri: 'file:///workspace', name: 'workspace' }] } : {}
  child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`)
}

function fail(why) {
  console.error(why)
  process.exit(1)
}
