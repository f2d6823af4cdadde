// Drives a Daytona-compatible server with the official TypeScript SDK; exits non-zero where it disagrees.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [repository, modules, manner] = process.argv.slice(2)
const require = createRequire(pathToFileURL(`${modules}/`))
const { Daytona } = require('@daytonaio/sdk')

const daytona = new Daytona()
const sandbox = await daytona.create({ name: 'ts', labels: { by: 'ts' }, envVars: { A: '1' }, autoStopInterval: 5, autoDeleteInterval: 0, queueTimeout: 5 })
try {
  assert.equal(sandbox.state, 'started')
  assert.equal((await daytona.get('ts')).id, sandbox.id)
  assert.equal(await sandbox.getUserHomeDir(), '/home/harvest')

  const answer = await sandbox.process.executeCommand('echo $A $B; pwd', '/workspace', { B: '2' }, 20)
  assert.deepEqual([answer.exitCode, answer.result], [0, '1 2\n/workspace\n'])
  await assert.rejects(sandbox.process.executeCommand('sleep 20', undefined, undefined, 1), /timeout/i)

  await sandbox.process.createSession('s')
  const done = await sandbox.process.executeSessionCommand('s', { command: 'echo out; echo err >&2' })
  assert.deepEqual([done.exitCode, done.stdout, done.stderr], [0, 'out\n', 'err\n'])
  const begun = await sandbox.process.executeSessionCommand('s', { command: 'echo one; sleep 1; echo two', runAsync: true })
  let followed = ''
  await sandbox.process.getSessionCommandLogs('s', begun.cmdId, (text) => { followed += text }, () => {})
  assert.equal(followed, 'one\ntwo\n')
  assert.equal((await sandbox.process.getSessionCommand('s', begun.cmdId)).exitCode, 0)
  assert.equal((await sandbox.process.getSessionCommandLogs('s', begun.cmdId)).stdout, 'one\ntwo\n')
  await sandbox.process.deleteSession('s')

  const content = randomBytes(300_000)
  await sandbox.fs.uploadFile(content, '/workspace/d/one')
  assert.deepEqual(Buffer.from(await sandbox.fs.downloadFile('/workspace/d/one')), content)
  assert.deepEqual((await sandbox.fs.listFiles('/workspace/d')).map((file) => file.name), ['one'])
  await sandbox.fs.deleteFile('/workspace/d/one')
  await assert.rejects(sandbox.fs.downloadFile('/workspace/d/one'))

  await sandbox.git.clone(repository, '/workspace/clone')
  assert.equal((await sandbox.git.status('/workspace/clone')).currentBranch, 'main')

  await sandbox.setLabels({ by: 'ts', more: '1' })
  await sandbox.createSnapshot('ts-snapshot')
  // The SDK takes a sandbox that left `snapshotting` for success; in v0.190 the row appears later.
  let snapshot
  while (!snapshot || snapshot.state === 'snapshotting') {
    snapshot = await daytona.snapshot.get('ts-snapshot').catch((error) => { assert.equal(manner, 'v0.190', error) })
  }
  assert.equal(snapshot.state, 'active')
  const child = await daytona.create({ snapshot: 'ts-snapshot' })
  assert.equal((await child.process.executeCommand('ls /workspace')).result, 'clone\nd\n')
  await child.delete()
  await daytona.snapshot.delete(snapshot)
} finally {
  await sandbox.delete()
}
console.log('ok')
process.exit(0)
