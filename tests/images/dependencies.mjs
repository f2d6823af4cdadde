// Reads the list of dependencies that cargo-auditable leaves in a program, as scanners do, and prints how many there are.
//
//   node dependencies.mjs PROGRAM CRATE...     fails when the list is missing, or has not each of these crates
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

const [path, ...wanted] = process.argv.slice(2);
const program = readFileSync(path);
assert.equal(program.subarray(0, 5).toString('latin1'), '\x7fELF\x02', `${path} is a 64-bit program`);

const tableAt = Number(program.readBigUInt64LE(0x28));
const [entrySize, count, namesIndex] = [0x3a, 0x3c, 0x3e].map((at) => program.readUInt16LE(at));
const section = (index) => {
  const at = tableAt + index * entrySize;
  const [start, size] = [0x18, 0x20].map((field) => Number(program.readBigUInt64LE(at + field)));
  return { name: program.readUInt32LE(at), bytes: program.subarray(start, start + size) };
};
const names = section(namesIndex).bytes;
const sections = Array.from({ length: count }, (_, index) => section(index));
const found = sections.find(({ name }) => names.toString('latin1', name, names.indexOf(0, name)) === '.dep-v0');
assert.ok(found, `${path} holds no list of its dependencies`);

const { packages } = JSON.parse(inflateSync(found.bytes).toString());
for (const crate of wanted) assert.ok(packages.some(({ name }) => name === crate), `${crate} is in the list of ${path}`);
console.log(packages.length);
