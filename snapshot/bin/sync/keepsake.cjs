// How some files are at one moment, so that they can be put back exactly so: what an install, which runs the repository's code, may
// not change behind the session's back.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { bytesOf, kindOf, remove } = require('./files.cjs');

class Keepsake {
  constructor(names) {
    this.kept = new Map(names.map((name) => [name, memoryOf(name)]));
  }

  /** Puts back what is different now; answers with the names of that. */
  restore() {
    const changed = [...this.kept].filter(([name, memory]) => !isSame(memory, memoryOf(name)));
    for (const [name, memory] of changed) {
      remove(name);
      make(name, memory);
    }
    return changed.map(([name]) => name);
  }
}

/** `{ bytes, mode }`, `{ link }`, `{ entries }` or `{ kind }`, which is all that can be said of what cannot be read; undefined for nothing. */
function memoryOf(name) {
  const kind = kindOf(name);
  if (kind === 'link') return { link: fs.readlinkSync(name) };
  const bytes = kind === 'file' ? bytesOf(name, Number.MAX_SAFE_INTEGER) : undefined;
  if (bytes) return { bytes, mode: fs.statSync(name).mode & 0o7777 };
  if (kind !== 'folder') return kind && { kind };
  return { entries: new Map(fs.readdirSync(name).sort().map((entry) => [entry, memoryOf(path.join(name, entry))])) };
}

function isSame(one, other) {
  if (!one || !other) return one === other;
  if (one.bytes && other.bytes) return one.mode === other.mode && one.bytes.equals(other.bytes);
  if (!one.entries || !other.entries) return one.link === other.link && one.kind === other.kind && !one.bytes === !other.bytes && !one.entries === !other.entries;
  return one.entries.size === other.entries.size && [...one.entries].every(([name, memory]) => isSame(memory, other.entries.get(name)));
}

function make(name, memory) {
  if (!memory) return;
  fs.mkdirSync(path.dirname(name), { recursive: true });
  if (memory.link !== undefined) fs.symlinkSync(memory.link, name);
  else if (memory.bytes) fs.writeFileSync(name, memory.bytes, { flag: 'wx', mode: memory.mode });
  else if (memory.entries) {
    fs.mkdirSync(name);
    for (const [entry, inner] of memory.entries) make(path.join(name, entry), inner);
  }
}

module.exports = { Keepsake };
