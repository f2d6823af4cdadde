// Which snapshot a session of a target starts from, by Daytona's list alone: the same answer as `harvestctl resolve` gives
// while RabbitMQ is away. Names carry all that is needed; docs/agent-runtime.md says what they cannot tell.
import { createHash } from 'node:crypto'
import { type Daytona, type Snapshot, SnapshotState } from '@daytonaio/sdk'

const DEFAULT_HOST = 'github.com'
const CASE_INSENSITIVE_HOSTS = [DEFAULT_HOST, 'gitlab.com', 'bitbucket.org']
const PAGE = 200

/** One repository at one branch. */
export interface Target {
  host: string
  path: string
  branch: string
}

/** Reads `owner/name@branch` or `host/owner/name@branch`. */
export function parseTarget(text: string): Target {
  const at = text.indexOf('@')
  const segments = text.slice(0, Math.max(at, 0)).split('/')
  const branch = text.slice(at + 1)
  if (at < 0 || branch === '' || segments.length < 2 || segments.some((segment) => !/^[\w.:-]+$/.test(segment))) {
    throw new Error(`${text} is not a target: write owner/name@branch or host/owner/name@branch`)
  }
  const [first = '', ...rest] = segments
  const named = rest.length > 1 && (/[.:]/.test(first) || first === 'localhost')
  return named
    ? { host: first.toLowerCase(), path: rest.join('/'), branch }
    : { host: DEFAULT_HOST, path: segments.join('/'), branch }
}

/** The folder of the checkout under /workspace. */
export function folderOf(target: Target): string {
  return target.path.split('/').at(-1) ?? target.path
}

/** `hv.<fleet>.<readable>.<hash>`: what every prebuild of the target is named after. */
export function sandboxName(fleet: string, target: Target): string {
  const path = CASE_INSENSITIVE_HOSTS.includes(target.host) ? target.path.toLowerCase() : target.path
  const digest = createHash('sha256').update(`${target.host}/${path}@${target.branch}`).digest()
  // The first 60 bits in base32 with digits 0-9a-v.
  const hash = (digest.readBigUInt64BE() >> 4n).toString(32).padStart(12, '0')
  const readable = folderOf(target).toLowerCase().replace(/[^a-z0-9]/g, '-').slice(0, 20).replace(/-+$/, '') || 'x'
  return `hv.${fleet}.${readable}.${hash}`
}

/** The newest usable prebuild of the target, or none. One that Daytona has put to sleep is none: activating a captured snapshot destroys it. */
export async function findPrebuild(daytona: Daytona, fleet: string, target: Target): Promise<Snapshot | undefined> {
  const prefix = `${sandboxName(fleet, target)}.`
  const rest = /^[0-9a-f]{12}\.[0-9a-f]{8}\.[cw]\.(?<attempt>[0-9a-v]{26})$/
  const found = new Map<string, { snapshot: Snapshot; attempt: string }>()
  for (let page = 1, pages = 1; page <= pages; page += 1) {
    const answer = await daytona.snapshot.list({ page, limit: PAGE })
    pages = answer.totalPages
    for (const snapshot of answer.items) {
      const attempt = snapshot.name.startsWith(prefix) && rest.exec(snapshot.name.slice(prefix.length))?.groups?.attempt
      if (attempt && snapshot.state === SnapshotState.ACTIVE) found.set(snapshot.id, { snapshot, attempt })
    }
  }
  // An attempt's id sorts by time.
  return [...found.values()].sort((a, b) => (a.attempt < b.attempt ? 1 : -1))[0]?.snapshot
}
