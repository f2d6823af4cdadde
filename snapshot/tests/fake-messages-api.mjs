#!/usr/bin/env node
// A stand-in for Anthropic's Messages API on loopback, so that the Claude Agent SDK can be run whole without key and network.
// It answers with a fixed text, or first with the tool calls it was told, and keeps what it was asked: GET /requests.
import { createServer } from 'node:http'
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const KEPT_REQUESTS = 200
const BODY_MAX_BYTES = 16 * 1024 * 1024
const KEPT_BYTES = 64 * 1024 * 1024
const CONTEXT_WINDOW_TOKENS = 200_000

const USAGE = `usage: fake-messages-api.mjs [--host 127.0.0.1] [--port 0] [--text TEXT] [--tool-call NAME JSON]...

  --tool-call   the answers call these tools, one an answer and in this order, before the text ends the turn.
                A call whose tool is not among the request's tools is passed over

  POST /v1/messages               streamed or plain; 401 without a key or token, as the real one
  POST /v1/messages/count_tokens  an estimate
  GET  /requests                  bodies of the last ${KEPT_REQUESTS} POST /v1/messages, oldest first
  GET  /paths                     every other request's method and path
  DELETE /requests                forgets both`

/** Starts it; `url` is what ANTHROPIC_BASE_URL takes. */
export async function startFakeMessagesApi({ host = '127.0.0.1', port = 0, text = 'Done.', toolCalls = [] } = {}) {
  const state = { text, toolCalls, requests: [], sizes: [], paths: [], answers: 0 }
  const server = createServer((request, response) => {
    handle(state, request, response).catch((error) => {
      if (response.headersSent) response.destroy()
      else sendError(response, 400, 'invalid_request_error', String(error?.message ?? error))
    })
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    url: `http://${host}:${server.address().port}`,
    requests: () => state.requests,
    close: () => new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections?.()
    })
  }
}

async function handle(state, request, response) {
  const { pathname } = new URL(request.url, 'http://localhost')
  const route = `${request.method} ${pathname}`
  if (route === 'GET /requests') return sendJson(response, 200, state.requests)
  if (route === 'GET /paths') return sendJson(response, 200, state.paths)
  if (route === 'DELETE /requests') {
    state.requests = []
    state.sizes = []
    state.paths = []
    return sendJson(response, 200, {})
  }
  const body = await read(request)
  if (route === 'POST /v1/messages') {
    if (!request.headers['x-api-key'] && !request.headers.authorization) {
      return sendError(response, 401, 'authentication_error', 'x-api-key header is required')
    }
    const asked = JSON.parse(body)
    keep(state, asked, body.length)
    const message = answer(state, asked)
    return asked.stream ? sendStream(response, message) : sendJson(response, 200, message)
  }
  if (state.paths.length < KEPT_REQUESTS) state.paths.push(route)
  if (route === 'POST /v1/messages/count_tokens') return sendJson(response, 200, { input_tokens: tokens(body) })
  if (request.method === 'HEAD') return response.writeHead(200).end()
  if (route === 'GET /v1/models') return sendJson(response, 200, { data: [], has_more: false, first_id: null, last_id: null })
  return sendError(response, 404, 'not_found_error', `${route} is not faked`)
}

function keep(state, asked, size) {
  state.requests.push(asked)
  state.sizes.push(size)
  while (state.requests.length > KEPT_REQUESTS || state.sizes.reduce((sum, each) => sum + each, 0) > KEPT_BYTES) {
    state.requests.shift()
    state.sizes.shift()
  }
}

/** The next planned tool call that the request offers a tool for, else the text. What was called is read from the conversation. */
function answer(state, asked) {
  const called = new Set(blocks(asked, 'tool_use').map((block) => block.id))
  const offered = new Set((asked.tools ?? []).map((tool) => tool.name))
  const next = state.toolCalls
    .map((call, index) => ({ ...call, id: `toolu_fake_${index + 1}` }))
    .find((call) => offered.has(call.name) && !called.has(call.id))
  state.answers += 1
  return {
    id: `msg_fake_${state.answers}`,
    type: 'message',
    role: 'assistant',
    model: asked.model ?? 'fake',
    content: next
      ? [{ type: 'tool_use', id: next.id, name: next.name, input: next.input }]
      : [{ type: 'text', text: state.text }],
    stop_reason: next ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: Math.min(tokens(JSON.stringify(asked)), CONTEXT_WINDOW_TOKENS / 2),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: 8,
      service_tier: 'standard'
    }
  }
}

function blocks(asked, type) {
  const contents = (asked.messages ?? []).map((message) => message.content)
  return contents.filter(Array.isArray).flat().filter((block) => block?.type === type)
}

function tokens(text) {
  return Math.ceil(text.length / 4)
}

function sendStream(response, message) {
  const send = (data) => response.write(`event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`)
  const [block] = message.content
  const isTool = block.type === 'tool_use'
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'request-id': `req_${message.id}`
  })
  send({
    type: 'message_start',
    message: { ...message, content: [], stop_reason: null, usage: { ...message.usage, output_tokens: 1 } }
  })
  send({ type: 'content_block_start', index: 0, content_block: isTool ? { ...block, input: {} } : { type: 'text', text: '' } })
  send({ type: 'ping' })
  send({
    type: 'content_block_delta',
    index: 0,
    delta: isTool
      ? { type: 'input_json_delta', partial_json: JSON.stringify(block.input) }
      : { type: 'text_delta', text: block.text }
  })
  send({ type: 'content_block_stop', index: 0 })
  send({
    type: 'message_delta',
    delta: { stop_reason: message.stop_reason, stop_sequence: null },
    usage: { output_tokens: message.usage.output_tokens }
  })
  send({ type: 'message_stop' })
  response.end()
}

async function read(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > BODY_MAX_BYTES) throw new Error(`request body is larger than ${BODY_MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function sendJson(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'request-id': 'req_fake' })
  response.end(JSON.stringify(body))
}

function sendError(response, status, type, message) {
  sendJson(response, status, { type: 'error', error: { type, message }, request_id: 'req_fake' })
}

function readArguments(args) {
  const options = { toolCalls: [] }
  const rest = [...args]
  const value = (name) => {
    if (rest.length === 0) throw new Error(`${name} needs a value`)
    return rest.shift()
  }
  while (rest.length > 0) {
    const name = rest.shift()
    if (name === '--host') options.host = value(name)
    else if (name === '--port') options.port = Number(value(name))
    else if (name === '--text') options.text = value(name)
    else if (name === '--tool-call') options.toolCalls.push({ name: value(name), input: JSON.parse(value(name)) })
    else throw new Error(`unknown argument ${name}`)
  }
  return options
}

async function main() {
  const args = process.argv.slice(2)
  if (args.includes('--help')) return console.log(USAGE)
  let options
  try {
    options = readArguments(args)
  } catch (error) {
    console.error(`fake-messages-api: ${error.message}\n\n${USAGE}`)
    process.exitCode = 2
    return
  }
  const api = await startFakeMessagesApi(options)
  console.log(`fake Messages API on ${api.url}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => api.close().then(() => process.exit(0)))
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main()
