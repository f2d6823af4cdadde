// build.sh: what it refuses before it starts, and what it asks of Docker and Daytona. Both are stand-ins that write down how they
// were called: the image itself is built and tested by `make snapshot-test`, and there is no Daytona to make a snapshot in.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../build.sh', import.meta.url))
const DOCKER = `#!/bin/bash
echo "docker $*" >>"$CALLS"
case $1 in
  build) [ -z "$BUILD_FAILS" ] || exit 1
    while [ $# -gt 0 ]; do [ "$1" = --iidfile ] && echo sha256:made >"$2"; shift; done ;;
  image) echo 2000000000 ;;
  push) [ -z "$PUSH_FAILS" ] || exit 1 ;;
esac
`
const DAYTONA = '#!/bin/bash\necho "daytona $*" >>"$CALLS"\n[ -z "$SNAPSHOT_FAILS" ]\n'

let folder
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'build-'))
  mkdirSync(join(folder, 'bin'))
  for (const [name, text] of [['docker', DOCKER], ['daytona', DAYTONA]]) {
    writeFileSync(join(folder, 'bin', name), text)
    chmodSync(join(folder, 'bin', name), 0o755)
  }
  const checkout = join(folder, 'checkout')
  mkdirSync(join(checkout, 'snapshot'), { recursive: true })
  cpSync(PROGRAM, join(checkout, 'snapshot/build.sh'))
  const git = (...words) =>
    execFileSync('git', ['-C', checkout, '-c', 'user.name=t', '-c', 'user.email=t@example.com', ...words], { stdio: 'ignore' })
  git('init')
  git('add', '.')
  git('commit', '-m', 'first')
  git('tag', 'release/1.2')
})
after(() => rmSync(folder, { recursive: true }))

function build(args, variables = {}) {
  const calls = join(folder, 'calls')
  const temporary = mkdtempSync(join(folder, 'tmp-'))
  rmSync(calls, { force: true })
  const { status, stdout, stderr } = spawnSync(join(folder, 'checkout/snapshot/build.sh'), args, {
    encoding: 'utf8',
    env: { PATH: `${folder}/bin:${process.env.PATH}`, HOME: folder, TMPDIR: temporary, CALLS: calls, ...variables },
  })
  const left = execFileSync('find', [temporary, '-mindepth', '1'], { encoding: 'utf8' })
  assert.equal(left, '', 'temporary files are gone, whatever happened')
  const called = existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []
  return { status, stdout, stderr, called: called.filter((call) => call !== 'docker info') }
}

test('the image is tagged after the git tag, once the build has ended well', () => {
  const { status, stdout, called } = build([])
  assert.equal(status, 0)
  assert.equal(stdout, 'harvest-daytona-snapshot:release-1.2\n')
  assert.match(called[0], /^docker build .*--platform linux\/amd64 .*BROWSER=debian --build-arg VERSION=release-1\.2/)
  assert.equal(called[1], 'docker tag sha256:made harvest-daytona-snapshot:release-1.2')
  assert.ok(!called.join().includes(':latest'))
})

test('a failed build tags, pushes and makes nothing', () => {
  const { status, stderr, called } = build(['--push', 'registry.example/sandbox', '--create-snapshot'], { BUILD_FAILS: '1' })
  assert.equal(status, 1)
  assert.match(stderr, /nothing was tagged/)
  assert.equal(called.length, 1)
})

test('a snapshot is made from the local image, with its size', () => {
  const { called } = build(['--tag', 'v7', '--create-snapshot'])
  const wanted = 'daytona snapshot push harvest-daytona-snapshot:v7 --name harvest-snapshot.v7 --cpu 2 --memory 4 --disk 10'
  assert.equal(called.at(-1), wanted)
})

test('a snapshot is made from the pushed image where one was pushed', () => {
  const { called } = build(['--tag', 'v7', '--push', 'registry.example/sandbox', '--create-snapshot'])
  assert.deepEqual(called.slice(-2), [
    'docker push registry.example/sandbox:v7',
    'daytona snapshot create harvest-snapshot.v7 --image registry.example/sandbox:v7 --cpu 2 --memory 4 --disk 10',
  ])
})

test('a snapshot that Daytona does not make is a failure that says what to do', () => {
  const { status, stderr } = build(['--tag', 'v7', '--create-snapshot'], { SNAPSHOT_FAILS: '1' })
  assert.equal(status, 1)
  assert.match(stderr, /names are immutable: if it exists already, build under another --tag/)
})

test('a push that fails makes no snapshot', () => {
  const words = ['--tag', 'v7', '--push', 'registry.example/sandbox', '--create-snapshot']
  const { status, called } = build(words, { PUSH_FAILS: '1' })
  assert.equal(status, 1)
  assert.ok(!called.some((call) => call.startsWith('daytona ')))
})

test('settings reach the build as secrets or by name, never by value', () => {
  const ca = join(folder, 'ca.pem')
  writeFileSync(ca, 'x')
  const { called } = build(['--tag', 'v7', '--extra-ca', ca], { HTTPS_PROXY: 'http://user:password@proxy.example' })
  assert.ok(called[0].includes(`--secret id=extra_ca,src=${ca}`))
  assert.ok(called[0].includes('--build-arg HTTPS_PROXY'))
  assert.ok(!called[0].includes('password'))
})

test('uncommitted changes are neither pushed nor made a snapshot, and built only as -dirty', () => {
  const file = join(folder, 'checkout/snapshot/build.sh')
  const sound = readFileSync(file)
  writeFileSync(file, `${sound}\n# changed\n`)
  try {
    const { status, stderr, called } = build(['--create-snapshot'])
    assert.equal(status, 1)
    assert.match(stderr, /uncommitted changes/)
    assert.deepEqual(called, [])
    assert.equal(build([]).stdout, 'harvest-daytona-snapshot:release-1.2-dirty\n')
  } finally {
    writeFileSync(file, sound)
  }
})

for (const [words, complaint] of [
  [['--tag', 'latest'], /Daytona refuses it/],
  [['--tag', 'a b'], /letters, digits/],
  [['--tag'], /--tag needs a value/],
  [['--browser', 'firefox'], /must be debian, playwright or none/],
  [['--frobnicate'], /unknown argument --frobnicate/],
]) {
  test(`refuses ${words.join(' ')}`, () => {
    const { status, stderr, called } = build(words)
    assert.equal(status, 2)
    assert.match(stderr, complaint)
    assert.deepEqual(called, [])
  })
}
