// What a running command survives of Daytona's proxy, which answers 401 and 404 of itself while nothing is wrong with key or
// sandbox. A server says here what the real proxy was seen to say (v0.190.0); Daytona's SDK is the real one.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Daytona, DaytonaNotFoundError } from '@daytonaio/sdk'
import { run } from '../src/sandbox.js'

interface Answer {
  status: number
  body: unknown
}

const ID = '5f0c2a52-6f4e-4c9b-9f6e-0d2f3c1b7a10'
const STARTED: Answer = { status: 200, body: { exitCode: 0, result: '' } }
const ENDED: Answer = { status: 200, body: { exitCode: 0, result: '7\n\n\n' } }
const UNREACHED = refusal(401, 'unauthorized: Bearer token validation error: dial tcp 127.0.0.1:3000: connect: connection refused')
const NO_CONTAINER = refusal(404, 'not found: no such container')

function refusal(statusCode: number, message: string): Answer {
  return { status: statusCode, body: { statusCode, message, code: statusCode === 401 ? 'UNAUTHORIZED' : 'NOT_FOUND' } }
}

/** Runs a command in a sandbox whose toolbox answers one after the other like this, and which the API has or has not. */
async function runAgainst(toolbox: Answer[], gone: () => boolean): Promise<number> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const { status, body } = request.url?.startsWith('/toolbox/') ? (toolbox.shift() ?? ENDED) : gone() ? missing() : there(url)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
  const daytona = new Daytona({ apiKey: 'dtn_key', apiUrl })
  try {
    const sandbox = await daytona.get(ID)
    const ignored = async () => {}
    const options = { env: {}, seconds: 30, signal: AbortSignal.timeout(30_000), onStdout: ignored, onStderr: ignored }
    return await run(sandbox, ['/bin/true'], options)
  } finally {
    await daytona[Symbol.asyncDispose]()
    server.closeAllConnections()
    server.close()
  }
}

function there(url: string): Answer {
  const text = { id: ID, organizationId: 'o', name: 's', user: 'harvest', target: 'eu', toolboxProxyUrl: `${url}/toolbox`, state: 'started' }
  return { status: 200, body: { ...text, env: {}, labels: {}, public: false, networkBlockAll: false, cpu: 1, gpu: 0, memory: 1, disk: 3 } }
}

function missing(): Answer {
  return refusal(404, `Sandbox with ID or name ${ID} not found`)
}

test("a 401 or 404 of the proxy's alone ends no command", async () => {
  assert.equal(await runAgainst([STARTED, UNREACHED, NO_CONTAINER, ENDED], () => false), 7)
})

test('a sandbox that the API does not have any more ends it at once', async () => {
  const toolbox = [STARTED, NO_CONTAINER]
  await assert.rejects(runAgainst(toolbox, () => toolbox.length === 0), DaytonaNotFoundError)
})
