// hide.mjs FORM FILE: writes the secret that this build was given, in that form.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { deflateRawSync, gzipSync } from 'node:zlib'

const [form, file] = process.argv.slice(2)
const secret = process.env.NPM_TOKEN
if (!secret) throw new Error('the build was not given its secret')

const forms = {
  plain: () => `token = ${secret}\n`,
  // At each of the three places in which base64 groups bytes.
  base64_0: () => btoa(`:${secret}`.slice(1)),
  base64_1: () => btoa(`x${secret}`),
  base64_2: () => btoa(`xy${secret}z`),
  base64_url: () => Buffer.from(`xy${secret}?>`).toString('base64url'),
  percent: () => `https://user:${encodeURIComponent(secret)}@registry.example/`,
  json: () => JSON.stringify({ token: secret }),
  hex: () => Buffer.from(secret).toString('hex'),
  upper_hex: () => Buffer.from(secret).toString('hex').toUpperCase(),
  utf16: () => Buffer.from(`token = ${secret}`, 'utf16le'),
  utf16_big: () => Buffer.from(`token = ${secret}`, 'utf16le').swap16(),
  gzip: () => gzipSync(`token = ${secret}\n`),
  zip: () => zip('notes.txt', Buffer.from(`token = ${secret}\n`)),
  far: () => Buffer.concat([Buffer.alloc(9 * 1024 * 1024 - 7, 'x'), Buffer.from(secret), Buffer.alloc(4096, 'y')])
}

/** The checksum of archives; Node's own came with version 22.2. */
function crc32(bytes) {
  let sum = ~0
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return ~sum >>> 0
}

/** An archive of one deflated member, by the format's specification (APPNOTE.TXT, 4.3). */
function zip(name, bytes) {
  const packed = deflateRawSync(bytes)
  const common = Buffer.alloc(26)
  for (const [at, value] of [[0, 20], [4, 8], [22, name.length]]) common.writeUInt16LE(value, at)
  for (const [at, value] of [[10, crc32(bytes)], [14, packed.length], [18, bytes.length]]) common.writeUInt32LE(value, at)
  const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), packed])
  const central = Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), common, Buffer.alloc(14), Buffer.from(name)])
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06')
  for (const [at, value] of [[8, 1], [10, 1]]) end.writeUInt16LE(value, at)
  for (const [at, value] of [[12, central.length], [16, local.length]]) end.writeUInt32LE(value, at)
  return Buffer.concat([local, central, end])
}

mkdirSync(dirname(file), { recursive: true })
writeFileSync(file, forms[form]())
