// One session, inside the sandbox: start-session.ts uploads this file, compiled, as session.mjs. It imports nothing but Node's
// own modules and, from the image, the Agent SDK.
//
//   /opt/harvest/bin/node session.mjs REQUEST.json
//
// Every message of the SDK is one line of JSON on stdout. Exit codes: 0 the turn succeeded; 1 it did not; 2 wrong use.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { McpHttpServerConfig, McpStdioServerConfig, Options, SDKMessage } from '@anthropic-ai/claude-agent-sdk'

type Sdk = typeof import('@anthropic-ai/claude-agent-sdk')

type McpServers = Record<string, McpStdioServerConfig | McpHttpServerConfig>

/** What REQUEST.json holds. It is deleted as soon as it is read. */
export interface SessionRequest {
  prompt: string
  /** The checkout, where no manifest names it. */
  cwd?: string
}

const MANIFEST = '/workspace/.harvest/manifest.json'
const READY = '/workspace/.harvest/ready'

async function main(file: string | undefined): Promise<number> {
  if (file === undefined) return say('usage: session.mjs REQUEST.json', 2)
  const request = JSON.parse(readFileSync(file, 'utf8')) as SessionRequest
  rmSync(file)
  if (!process.env.CLAUDE_CODE_OAUTH_TOKEN && !process.env.ANTHROPIC_API_KEY) {
    return say('neither CLAUDE_CODE_OAUTH_TOKEN nor ANTHROPIC_API_KEY is set', 2)
  }
  if (!existsSync(READY)) return say(`${READY} is missing: run harvest-sync first`, 2)
  const cwd = request.cwd ?? (JSON.parse(readFileSync(MANIFEST, 'utf8')) as { path: string }).path

  // The SDK is not in this file's folder: it is found from where the image has it.
  const resolved = createRequire('/opt/harvest/x.js').resolve('@anthropic-ai/claude-agent-sdk')
  const { query } = (await import(pathToFileURL(resolved).href)) as Sdk
  let code = 1
  for await (const message of query({ prompt: request.prompt, options: options(cwd) })) {
    process.stdout.write(`${JSON.stringify(message)}\n`)
    if (message.type === 'result') code = succeeded(message) ? 0 : 1
  }
  return code
}

function options(cwd: string): Options {
  return {
    cwd,
    // The image's rules after Claude Code's own prompt. Both files are whole: nothing in them is resolved at run time.
    systemPrompt: {
      type: 'preset',
      preset: 'claude_code',
      append: `${readFileSync('/app/claude.md', 'utf8')}\n\n${readFileSync('/app/autonomous-agent.md', 'utf8')}`
    },
    // Of settings on disk, only the repository's: its CLAUDE.md and .claude/. [] where the repository is not to be trusted.
    settingSources: ['project'],
    // Only the servers of /app/mcp-servers.json, and their tokens over stdin instead of in a command line.
    mcpServers: mcpServers(),
    strictMcpConfig: true,
    mcpServersDelivery: 'initialize',
    tools: { type: 'preset', preset: 'claude_code' },
    // These put work off until later, when this process and its sandbox are gone.
    disallowedTools: ['ScheduleWakeup', 'CronCreate', 'CronDelete', 'CronList'],
    // Nobody is there to be asked; the sandbox is the boundary. Refused for root, which the image's user is not.
    permissionMode: 'bypassPermissions',
    allowDangerouslySkipPermissions: true,
    // This replaces the environment: without the spread there is no PATH and no token. The tokens below are in the servers'
    // own environments already; the agent's shell has no use for them.
    env: {
      ...process.env,
      LINEAR_API_KEY: undefined,
      SENTRY_AUTH_TOKEN: undefined,
      GEMINI_API_KEY: undefined,
      CLAUDE_AGENT_SDK_CLIENT_APP: 'harvest-agent-runtime-example'
    },
    stderr: (text) => process.stderr.write(text)
  }
}

/**
 * Those whose variables are set; which are left out goes to stderr. Tools of servers are searched for by the agent when it
 * needs them, and servers may connect late. Memory must be there from the first turn, so that one is waited for.
 */
function mcpServers(): McpServers {
  const text = execFileSync('/opt/harvest/bin/harvest-mcp-servers', {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const servers = JSON.parse(text) as McpServers
  return servers.memory ? { ...servers, memory: { ...servers.memory, alwaysLoad: true } } : servers
}

function succeeded(message: SDKMessage & { type: 'result' }): boolean {
  return message.subtype === 'success' && !message.is_error
}

function say(text: string, code: number): number {
  process.stderr.write(`session: ${text}\n`)
  return code
}

try {
  process.exitCode = await main(process.argv[2])
} catch (error) {
  process.exitCode = say(error instanceof Error ? error.message : String(error), 1)
}
